//! `lb run`: the daemon in the foreground.

use std::ffi::OsString;
use std::path::PathBuf;

use super::ExitStatus;
use super::ask::{Daemon, default_socket};
use crate::app;
use crate::lifecycle::supervisor;

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

/// The process that is started is the supervisor; it starts the engine with the same arguments.
pub(super) fn run(args: Args, daemon: Daemon) -> ExitStatus {
    let code = supervisor::run(args.words(daemon.given()));
    ExitStatus::from_code(code)
}

/// `lb engine`: what the supervisor starts.
#[derive(Debug, clap::Args)]
pub(super) struct EngineArgs {
    /// Check the configuration, print what this binary speaks, and end
    #[arg(long)]
    probe: bool,
    #[command(flatten)]
    run: Args,
}

pub(super) fn engine(args: EngineArgs, daemon: Daemon) -> ExitStatus {
    let source = args.run.source();
    if args.probe {
        return app::probe(&source);
    }
    app::run(app::Start {
        source,
        socket: daemon.given(),
        default_socket: default_socket(),
    })
}

/// Where the configuration is when nobody says otherwise.
pub(super) const DEFAULT_FILE: &str = "/etc/lb/lb.toml";
