//! `lb upgrade`: replaces the running binary. Waits for the outcome, which is its exit code.

use super::arguments::UpgradeArgs;
use super::ask::AdminSocket;
use super::{ExitStatus, output};
use crate::control::admin::Request;

pub(super) fn run(args: UpgradeArgs, socket: &AdminSocket) -> ExitStatus {
    // The daemon has another working directory.
    let binary = match args.binary.map(std::path::absolute).transpose() {
        Ok(binary) => binary,
        Err(error) => {
            output::complain(&format!("--binary: {error}"));
            return ExitStatus::BadInput;
        }
    };
    let probation_ms = args.probation.and_then(|time| u64::try_from(time.as_millis()).ok());
    socket.ask_and_show(&Request::Upgrade { binary, probation_ms }, args.json)
}
