//! `lb counters`: the counters of a running daemon begin anew.

use super::ExitStatus;
use super::arguments::{CountersArgs, CountersCommand};
use super::ask::AdminSocket;
use crate::control::admin::Request;

pub(super) fn run(args: &CountersArgs, socket: &AdminSocket) -> ExitStatus {
    match args.command {
        CountersCommand::Clear { all, json } => socket.ask_and_show(&Request::ClearCounters { all }, json),
    }
}
