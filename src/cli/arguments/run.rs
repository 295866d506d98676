//! `lb run`, and the hidden `lb engine` that it starts.

use std::path::PathBuf;
use std::time::Duration;

use super::probation::probation;

/// Run the balancer in the foreground
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lb run
  lb run -f lb.toml
  lb run --bind 127.0.0.1:8080 --server a=10.0.0.1:80 --server b=10.0.0.2:80
  lb run --takeover /run/lb/handoff.sock -f lb.toml

With --takeover, a running lb that was started with the same path (in another
container, for example) hands everything over as in `lb upgrade`: no connection
is refused and none is cut. Both share the network and the directory of PATH,
which has mode 0700. If no lb listens there, this one starts as usual. Exit
codes of a takeover that ends before it is done:
  1  the path could not be used
  2  the path, its directory or the process behind it is not to be trusted
  3  it failed, 6: it was rolled back; the old lb continues
  4  the old lb speaks another protocol
  5  an upgrade or another takeover is in progress

Signals:
  TERM        stop accepting, let open sessions finish up to `hard_stop_after`
  INT         the same within one second; a second TERM or INT: at once
  USR1, QUIT  the same without a limit, unless `hard_stop_after` is set
  HUP         as `lb reload`
  USR2        as `lb upgrade`

Environment:
  LB_LOG  messages on stderr: error, warn, info (default), debug, trace")]
pub(crate) struct RunArgs {
    /// Configuration file, as with `-f`
    #[arg(value_name = "FILE", conflicts_with_all = ["file", "bind", "server"])]
    pub(crate) path: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
    /// Take over from the lb that listens at PATH, if there is one, and listen there for a successor
    #[arg(long, value_name = "PATH")]
    pub(crate) takeover: Option<PathBuf>,
    /// With --takeover: how long it must serve before open sessions move to it: 0s to 60s [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = probation, requires = "takeover")]
    pub(crate) probation: Option<Duration>,
    /// With --takeover: after a successor took over, wait for TERM instead of ending: for a policy that restarts what ends
    #[arg(long, requires = "takeover")]
    pub(crate) linger: bool,
}

/// Where the configuration comes from; the engine gets the same flags.
#[derive(Debug, clap::Args)]
pub(crate) struct ConfigArgs {
    /// Configuration file: TOML, or an haproxy.cfg, which may be several files or directories [default: /etc/lb/lb.toml]
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: Vec<PathBuf>,
    /// Leave out the sections of an haproxy.cfg that cannot run here, and run the others
    #[arg(long, conflicts_with_all = ["bind", "server"])]
    pub(crate) skip_refused: bool,
    /// Without a file: an address to listen on; may be repeated
    #[arg(long, value_name = "ADDR", conflicts_with = "file", requires = "server")]
    pub(crate) bind: Vec<String>,
    /// Without a file: a server; may be repeated
    #[arg(long, value_name = "[NAME=]ADDR", conflicts_with = "file", requires = "bind")]
    pub(crate) server: Vec<String>,
}

/// `lb engine`: started by the supervisor.
#[derive(Debug, clap::Args)]
pub(crate) struct EngineArgs {
    /// Check the configuration, print the protocol versions of this binary, and end
    #[arg(long)]
    pub(crate) probe: bool,
    #[command(flatten)]
    pub(crate) config: ConfigArgs,
}

/// The configuration file where no `-f` is given.
pub(crate) const DEFAULT_FILE: &str = "/etc/lb/lb.toml";
