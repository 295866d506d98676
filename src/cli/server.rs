//! `lb server`: lists and administers the servers of a running daemon.

use std::time::Duration;

use serde::Serialize;

use super::arguments::{ServerArgs, ServerCommand, ServerPath, ServerTarget};
use super::ask::AdminSocket;
use super::changes::Changes;
use super::status::{parse, server_table};
use super::wait::{self, Awaited, MeantServers, Wish};
use super::{ExitStatus, output};
use crate::config::AdminState;
use crate::control::admin::{Request, status};
use crate::sys::clock::millis;

pub(super) fn run(args: ServerArgs, socket: &AdminSocket) -> ExitStatus {
    match args.command {
        ServerCommand::List { json } => list(socket, json),
        ServerCommand::Ready(target) => administer(socket, target, AdminState::Ready, None),
        ServerCommand::Drain { target, wait } => administer(socket, target, AdminState::Drain, wait),
        ServerCommand::Maint { target, wait } => administer(socket, target, AdminState::Maint, wait),
        ServerCommand::Weight { target, weight } => {
            change(socket, target, |backend, server| Request::SetWeight { backend, server, weight })
        }
        ServerCommand::Kill { target, over } => {
            let over_ms = millis(over);
            change(socket, target, |backend, server| Request::KillServer { backend, server, over_ms })
        }
        ServerCommand::Accept { backend, json } => socket.ask_and_show(&Request::Accept { backend }, json),
    }
}

fn change(socket: &AdminSocket, target: ServerTarget, request: impl Fn(String, String) -> Request) -> ExitStatus {
    let requests = target.servers.into_iter().map(|path| request(path.backend, path.server));
    Changes::make(socket, requests).show(target.json)
}

/// `wait`: until the servers are without sessions, or so long.
fn administer(socket: &AdminSocket, target: ServerTarget, state: AdminState, wait: Option<Duration>) -> ExitStatus {
    let Some(limit) = wait else {
        return change(socket, target, |backend, server| Request::SetServer { backend, server, state });
    };
    let servers: Vec<_> = target.servers.iter().map(MeantServers::new).collect();
    let requests = target.servers.into_iter();
    let mut changes = Changes::make(
        socket,
        requests.map(|ServerPath { backend, server }| Request::SetServer { backend, server, state }),
    );
    if changes.status() != ExitStatus::Done {
        return changes.show(target.json);
    }
    match wait::until(socket, &servers, Wish::Empty, limit) {
        Ok(Awaited::Met) => {
            changes.answer.insert("left".to_owned(), 0.into());
            changes.show(target.json)
        }
        Ok(Awaited::Late { lack, sessions }) => {
            changes.answer.insert("left".to_owned(), sessions.into());
            changes.show(target.json);
            output::complain(&format!("{lack} after {}", humantime::format_duration(limit)));
            ExitStatus::SessionsLeft
        }
        Err(refusal) => {
            changes.show(target.json);
            refusal.show()
        }
    }
}

fn list(socket: &AdminSocket, json: bool) -> ExitStatus {
    let backends = match socket.ask(&Request::ServerList).and_then(parse::<Vec<status::BackendReport>>) {
        Ok(backends) => backends,
        Err(refusal) => return refusal.show(),
    };
    if !json {
        return output::print(&server_table(&backends).render(output::colour()));
    }
    let list = backends
        .iter()
        .flat_map(|backend| backend.servers.iter().map(|server| Listed { backend: &backend.name, server }));
    let list = serde_json::to_string(&list.collect::<Vec<_>>()).expect("a server holds only strings and numbers");
    output::print(&format!("{list}\n"))
}

/// A server as `lb server list --json` prints it: as in `lb status --json`, with its backend.
#[derive(Serialize)]
struct Listed<'a> {
    backend: &'a str,
    #[serde(flatten)]
    server: &'a status::ServerReport,
}
