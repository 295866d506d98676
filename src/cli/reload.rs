//! `lb reload`: the running daemon reads its configuration again.

use super::ExitStatus;
use super::ask::AdminSocket;
use crate::control::admin::Request;

/// Read the configuration again and apply what changed
#[derive(Debug, clap::Args)]
#[command(after_help = "\
All or nothing: with an error in the file (exit code 2) or a new address that
cannot be bound, everything stays as it is. Open sessions go on; servers that
stay keep their health, counts and sessions.

Example:
  lb check -f /etc/lb/lb.toml && lb reload")]
pub(super) struct Args {
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, daemon: &AdminSocket) -> ExitStatus {
    daemon.ask_and_show(&Request::Reload, args.json)
}
