//! `lb upgrade`: replaces the running binary. Waits for the outcome, which is its exit code.

use std::thread::sleep;
use std::time::{Duration, Instant};

use super::arguments::UpgradeArgs;
use super::ask::{AdminSocket, Refusal, show};
use super::{ExitStatus, output};
use crate::control::admin::{Request, Status};

pub(super) fn run(args: UpgradeArgs, socket: &AdminSocket) -> ExitStatus {
    // The daemon has another working directory.
    let binary = match args.binary.map(std::path::absolute).transpose() {
        Ok(binary) => binary,
        Err(error) => {
            output::complain(&format!("--binary: {error}"));
            return ExitStatus::BadInput;
        }
    };
    let limit = args.probation.unwrap_or_default() + LONGEST;
    let probation_ms = args.probation.and_then(|time| u64::try_from(time.as_millis()).ok());
    let before = status(socket);
    match (socket.ask(&Request::Upgrade { binary, probation_ms }), before) {
        (Err(refusal), Some(before)) if refusal.lost => outcome_without(socket, &before, &refusal, limit),
        (outcome, _) => show(outcome, args.json),
    }
}

/// The engine that was asked hung or died. The supervisor continues, and the engine that then serves shows the outcome.
fn outcome_without(socket: &AdminSocket, before: &Status, refusal: &Refusal, limit: Duration) -> ExitStatus {
    output::complain(&format!("{}; waiting for the outcome", refusal.message));
    let until = Instant::now() + limit;
    let mut answered = Instant::now();
    while Instant::now() < until && answered.elapsed() < GONE {
        let now = status(socket);
        if now.is_some() {
            answered = Instant::now();
        }
        match now.filter(|now| now.upgrade.is_none()) {
            Some(now) if now.generation > before.generation => {
                let engine = now.engine_pid;
                output::complain(&format!("engine {engine} serves, the old one was lost with its sessions"));
                return ExitStatus::SessionsLeft;
            }
            Some(now) if now.engine_pid != before.engine_pid => {
                let engine = now.engine_pid;
                output::complain(&format!("not upgraded: the old engine was lost, and {engine} serves in its place"));
                return ExitStatus::UpgradeFailed;
            }
            _ => sleep(AGAIN),
        }
    }
    output::complain("the outcome is not known; `lb status` shows which engine serves");
    ExitStatus::Failed
}

fn status(socket: &AdminSocket) -> Option<Status> {
    serde_json::from_value(socket.ask(&Request::Status).ok()?).ok()
}

/// All phases of an upgrade but its probation take no longer.
const LONGEST: Duration = Duration::from_secs(120);
/// An engine that died is replaced sooner; without a supervisor none comes, or one that knows of no upgrade.
const GONE: Duration = Duration::from_secs(5);
const AGAIN: Duration = Duration::from_millis(200);
