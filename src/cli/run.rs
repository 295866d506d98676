//! `lb run`: the daemon in the foreground.

use std::path::PathBuf;

use super::ExitStatus;
use super::ask::{Daemon, default_socket};
use crate::app;

/// Run the balancer in the foreground
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  lb run
  lb run -f lb.toml
  lb run --bind 127.0.0.1:8080 --server a=10.0.0.1:80 --server b=10.0.0.2:80

Signals:
  TERM  stop accepting, let open sessions finish (up to `hard_stop_after`)
  INT   the same within one second; a second TERM or INT: at once
  HUP   as `lb reload`
  USR2  as `lb upgrade`")]
pub(super) struct Args {
    /// Configuration file [default: /etc/lb/lb.toml]
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Without a file: an address to listen on; may be repeated
    #[arg(
        long,
        value_name = "ADDR",
        conflicts_with = "file",
        requires = "server"
    )]
    bind: Vec<String>,
    /// Without a file: a server; may be repeated
    #[arg(
        long,
        value_name = "[NAME=]ADDR",
        conflicts_with = "file",
        requires = "bind"
    )]
    server: Vec<String>,
}

impl Args {
    fn source(self) -> app::Source {
        if self.bind.is_empty() && self.server.is_empty() {
            return app::Source::File(self.file.unwrap_or_else(|| DEFAULT_FILE.into()));
        }
        app::Source::Flags {
            binds: self.bind,
            servers: self.server,
        }
    }
}

pub(super) fn run(args: Args, daemon: Daemon) -> ExitStatus {
    app::run(app::Start {
        source: args.source(),
        socket: daemon.given(),
        default_socket: default_socket(),
    })
}

/// Where the configuration is when nobody says otherwise.
pub(super) const DEFAULT_FILE: &str = "/etc/lb/lb.toml";
