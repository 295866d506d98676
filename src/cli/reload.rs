//! `lb reload`: the running daemon reads its configuration again.

use super::ExitStatus;
use super::arguments::ReloadArgs;
use super::ask::AdminSocket;
use crate::control::admin::Request;

pub(super) fn run(args: &ReloadArgs, socket: &AdminSocket) -> ExitStatus {
    socket.ask_and_show(&Request::Reload, args.json)
}
