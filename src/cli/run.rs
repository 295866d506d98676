//! `lb run`: the daemon in the foreground.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use super::ExitStatus;
use super::ask::{AdminSocket, default_socket};
use super::upgrade::probation;
use crate::engine;
use crate::supervisor;

/// Run the balancer in the foreground
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lb run
  lb run -f lb.toml
  lb run --bind 127.0.0.1:8080 --server a=10.0.0.1:80 --server b=10.0.0.2:80
  lb run --takeover /run/lb/handoff.sock -f lb.toml

With --takeover, an lb that runs already and was started with the same path, in
another container say, hands everything over as in `lb upgrade`: no connection
is refused and none is cut. The directory has mode 0700 and is shared by both;
the network is, too. If nobody answers there, it starts as usual. What ends a
takeover before it is done:
  1  the path could not be used
  2  the path, its directory or who answers there is not to be trusted
  3  it failed, 6: it was rolled back; the old lb goes on
  4  the old lb speaks another protocol
  5  an upgrade or another takeover is in progress

Signals:
  TERM  stop accepting, let open sessions finish (up to `hard_stop_after`)
  INT   the same within one second; a second TERM or INT: at once
  HUP   as `lb reload`
  USR2  as `lb upgrade`")]
pub(super) struct Args {
    #[command(flatten)]
    config: ConfigArgs,
    /// Take over from the lb that listens at PATH, if there is one, and listen there for a successor
    #[arg(long, value_name = "PATH")]
    takeover: Option<PathBuf>,
    /// How long it must serve before open sessions move to it: 0s to 60s [default: 5s]
    #[arg(long, value_name = "TIME", value_parser = probation, requires = "takeover")]
    probation: Option<Duration>,
    /// After it was taken over, wait for TERM instead of ending with 0: for a restart policy that restarts whatever ends
    #[arg(long, requires = "takeover")]
    linger: bool,
}

/// What the engine is told, too.
#[derive(Debug, clap::Args)]
struct ConfigArgs {
    /// Configuration file [default: /etc/lb/lb.toml]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Without a file: an address to listen on; may be repeated
    #[arg(long, value_name = "ADDR", conflicts_with = "file", requires = "server")]
    bind: Vec<String>,
    /// Without a file: a server; may be repeated
    #[arg(long, value_name = "[NAME=]ADDR", conflicts_with = "file", requires = "bind")]
    server: Vec<String>,
}

impl ConfigArgs {
    /// As they are written on a command line.
    fn words(&self, socket: Option<PathBuf>) -> Vec<OsString> {
        let mut words = Vec::new();
        let mut option = |name: &str, value: OsString| words.extend([name.into(), value]);
        if let Some(socket) = socket {
            option("--socket", socket.into());
        }
        if let Some(file) = &self.file {
            option("-f", file.into());
        }
        for bind in &self.bind {
            option("--bind", bind.into());
        }
        for server in &self.server {
            option("--server", server.into());
        }
        words
    }

    fn source(self) -> engine::Source {
        if self.bind.is_empty() && self.server.is_empty() {
            return engine::Source::File(self.file.unwrap_or_else(|| DEFAULT_FILE.into()));
        }
        engine::Source::Flags { binds: self.bind, servers: self.server }
    }
}

/// The process that is started is the supervisor; it starts the engine with the same arguments.
pub(super) fn run(args: Args, daemon: AdminSocket) -> ExitStatus {
    let probation = args.probation;
    let linger = args.linger;
    let takeover = args.takeover.map(|path| supervisor::Takeover { path, probation, linger });
    let code = supervisor::run(args.config.words(daemon.given()), takeover);
    ExitStatus::from_code(code)
}

/// `lb engine`: what the supervisor starts.
#[derive(Debug, clap::Args)]
pub(super) struct EngineArgs {
    /// Check the configuration, print what this binary speaks, and end
    #[arg(long)]
    probe: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

pub(super) fn engine(args: EngineArgs, daemon: AdminSocket) -> ExitStatus {
    let source = args.config.source();
    if args.probe {
        return engine::probe(&source);
    }
    engine::run(engine::Start { source, socket: daemon.given(), default_socket: default_socket() })
}

/// Where the configuration is when nobody says otherwise.
pub(super) const DEFAULT_FILE: &str = "/etc/lb/lb.toml";
