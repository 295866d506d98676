//! `lb status`: what is running, once or every second. The tables for people are in `view`.

mod screen;
mod view;

use std::future::pending;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::arguments::StatusArgs;
use super::ask::{AdminSocket, Refusal};
use super::{ExitStatus, output};
use crate::control::admin::Request;

use screen::Screen;
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
        lost: false,
    })
}

/// Ends with `q`, with a signal, or when stdout is closed. Once the daemon has answered, later failures are shown and
/// retried.
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
            () = stop_signal() => ExitStatus::Done,
        }
    });
    // Does not wait for a request that is still open.
    runtime.shutdown_background();
    status
}

/// A signal that ends the watch, whose terminal has to be given back first.
async fn stop_signal() {
    let arrival = async |kind| match signal(kind) {
        Ok(mut signal) => drop(signal.recv().await),
        Err(_) => pending().await,
    };
    tokio::select! {
        () = arrival(SignalKind::interrupt()) => {}
        () = arrival(SignalKind::terminate()) => {}
        () = arrival(SignalKind::hangup()) => {}
        () = arrival(SignalKind::quit()) => {}
    }
}

async fn show_every_second(json: bool, socket: &AdminSocket) -> ExitStatus {
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Opened with the first answer: what is wrong before that stays readable.
    let mut screen = None;
    let mut page: Option<String> = None;
    loop {
        tokio::select! {
            _ = seconds.tick() => {}
            goes_on = key(&mut screen) => {
                if !goes_on {
                    return ExitStatus::Done;
                }
                if let Some(ended) = show(&mut screen, page.as_deref().unwrap_or_default()) {
                    return ended;
                }
                continue;
            }
        }
        let asked = socket.clone();
        let look = tokio::task::spawn_blocking(move || look(json, &asked)).await;
        match look.expect("asking does not panic") {
            Ok(text) => {
                if page.is_none() && !json {
                    screen = Screen::open();
                }
                page = Some(text);
            }
            Err(refusal) => match (&page, &screen) {
                (None, _) => return refusal.show(),
                (Some(last), Some(_)) => page = Some(stale(last, &refusal.message)),
                (Some(_), None) => {
                    output::complain(&refusal.message);
                    continue;
                }
            },
        }
        if let Some(ended) = show(&mut screen, page.as_deref().unwrap_or_default()) {
            return ended;
        }
    }
}

async fn key(screen: &mut Option<Screen>) -> bool {
    match screen {
        Some(screen) => screen.key().await,
        None => pending().await,
    }
}

/// `Some`: stdout is closed.
fn show(screen: &mut Option<Screen>, page: &str) -> Option<ExitStatus> {
    let shown = match screen {
        Some(screen) => screen.draw(page),
        None => output::try_print(page),
    };
    match shown {
        Ok(true) => None,
        Ok(false) => Some(ExitStatus::Done),
        Err(_) => Some(ExitStatus::Failed),
    }
}

/// The last page with what is wrong in place of its first line.
fn stale(page: &str, message: &str) -> String {
    let rest = page.split_once('\n').map_or("", |(_, rest)| rest);
    format!("lb: {message}\n{rest}")
}
