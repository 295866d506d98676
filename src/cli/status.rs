//! `lb status`: what is running, once or every second. The tables for people are in `view`.

mod view;

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use super::arguments::StatusArgs;
use super::ask::{AdminSocket, Refusal};
use super::{ExitStatus, output};
use crate::control::admin::Request;

pub(super) use view::server_table;

pub(super) fn run(args: &StatusArgs, socket: &AdminSocket) -> ExitStatus {
    if args.watch {
        return watch(args.json, socket);
    }
    match look(args.json, socket) {
        Ok(text) => output::print(&text),
        Err(refusal) => refusal.show(),
    }
}

fn look(json: bool, socket: &AdminSocket) -> Result<String, Refusal> {
    let value = socket.ask(&Request::Status)?;
    if json {
        // Unparsed: fields of a newer daemon are kept.
        return Ok(format!("{value}\n"));
    }
    Ok(view::page(&parse(value)?, output::colour()))
}

/// Reads an answer of the daemon.
pub(super) fn parse<T: DeserializeOwned>(value: Value) -> Result<T, Refusal> {
    serde_json::from_value(value).map_err(|error| Refusal {
        status: ExitStatus::Failed,
        message: format!("cannot read the daemon's answer: {error}; it may be of another version; try --json"),
    })
}

/// Ends with Ctrl-C or when stdout is closed. Once the daemon has answered, later failures are reported and retried.
fn watch(json: bool, socket: &AdminSocket) -> ExitStatus {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            output::complain(&format!("cannot watch: {error}"));
            return ExitStatus::Failed;
        }
    };
    let status = runtime.block_on(async {
        tokio::select! {
            status = show_every_second(json, socket) => status,
            _ = tokio::signal::ctrl_c() => ExitStatus::Done,
        }
    });
    // Does not wait for a request that is still open.
    runtime.shutdown_background();
    status
}

async fn show_every_second(json: bool, socket: &AdminSocket) -> ExitStatus {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = false;
    loop {
        seconds.tick().await;
        let asked = socket.clone();
        let look = tokio::task::spawn_blocking(move || look(json, &asked)).await;
        let text = match look.expect("asking does not panic") {
            Ok(text) => text,
            Err(refusal) if !seen => return refusal.show(),
            Err(refusal) => {
                output::complain(&refusal.message);
                continue;
            }
        };
        let text = if !json && output::is_terminal() { output::redrawn(&text) } else { text };
        match output::try_print(&text) {
            Ok(true) => seen = true,
            Ok(false) => return ExitStatus::Done,
            Err(error) => return output::unwritten(&error),
        }
    }
}
