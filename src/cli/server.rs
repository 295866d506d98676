//! `lb server`: lists and administers the servers of a running daemon.

use serde::Serialize;

use super::arguments::{ServerArgs, ServerCommand, ServerPath, ServerTarget};
use super::ask::AdminSocket;
use super::status::{parse, server_table};
use super::{ExitStatus, output};
use crate::config::AdminState;
use crate::control::admin::{Request, status};
use crate::sys::clock::millis;

pub(super) fn run(args: ServerArgs, socket: &AdminSocket) -> ExitStatus {
    match args.command {
        ServerCommand::List { json } => list(socket, json),
        ServerCommand::Ready(target) => administer(socket, target, AdminState::Ready),
        ServerCommand::Drain(target) => administer(socket, target, AdminState::Drain),
        ServerCommand::Maint(target) => administer(socket, target, AdminState::Maint),
        ServerCommand::Weight { target: ServerTarget { server: ServerPath { backend, server }, json }, weight } => {
            socket.ask_and_show(&Request::SetWeight { backend, server, weight }, json)
        }
        ServerCommand::Kill { servers, over, json } => kill(socket, servers, millis(over), json),
        ServerCommand::Accept { backend, json } => socket.ask_and_show(&Request::Accept { backend }, json),
    }
}

fn administer(socket: &AdminSocket, target: ServerTarget, state: AdminState) -> ExitStatus {
    let ServerPath { backend, server } = target.server;
    socket.ask_and_show(&Request::SetServer { backend, server, state }, target.json)
}

/// One server after the other; the first refusal that there is decides the exit code.
fn kill(socket: &AdminSocket, servers: Vec<ServerPath>, over_ms: u64, json: bool) -> ExitStatus {
    let requests =
        servers.into_iter().map(|ServerPath { backend, server }| Request::KillServer { backend, server, over_ms });
    let ended: Vec<_> = requests.map(|request| socket.ask_and_show(&request, json)).collect();
    ended.into_iter().find(|status| *status != ExitStatus::Done).unwrap_or(ExitStatus::Done)
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
