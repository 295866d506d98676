//! `lb sessions` and `lb session`: lists the sessions of a running daemon, and ends some.

use std::collections::BTreeMap;

use super::arguments::{NameScope, SessionArgs, SessionCommand, SessionsArgs, SortKey};
use super::ask::{AdminSocket, Refusal, show};
use super::status::parse;
use super::table::{Cell, Colour, Table};
use super::units::{bytes, lasting};
use super::{ExitStatus, output};
use crate::config::counted;
use crate::control::admin::Request;
use crate::control::admin::sessions::{SessionId, SessionList, SessionOrder, SessionPhase, SessionReport};

pub(super) fn list(args: &SessionsArgs, socket: &AdminSocket) -> ExitStatus {
    if args.json && args.scopes.len() < 2 {
        // Unparsed: fields of a newer daemon are kept.
        let scope = args.scopes.first();
        return show(socket.ask(&request(scope, order(args.sort), args.limit)), true);
    }
    let list = match look(args, socket) {
        Ok(list) => list,
        Err(refusal) => return refusal.show(),
    };
    if args.json {
        let line = serde_json::to_string(&list).expect("sessions hold only strings and numbers");
        return output::print(&format!("{line}\n"));
    }
    let status = output::print(&table(&list.sessions).render(output::colour()));
    let left = list.total - list.sessions.len() as u64;
    if left > 0 {
        output::complain(&format!("{} more", counted(left, "session")));
    }
    status
}

pub(super) fn run(args: SessionArgs, socket: &AdminSocket) -> ExitStatus {
    match args.command {
        SessionCommand::Kill { ids, json } => {
            let ids = ids.into_iter().map(SessionId).collect();
            socket.ask_and_show(&Request::KillSessions { ids }, json)
        }
    }
}

/// What is asked for in one list, whatever number of names it has.
fn look(args: &SessionsArgs, socket: &AdminSocket) -> Result<SessionList, Refusal> {
    let sort = order(args.sort);
    let ask =
        |scope: Option<&NameScope>, limit| socket.ask(&request(scope, sort, limit)).and_then(parse::<SessionList>);
    if let [] | [_] = &args.scopes[..] {
        return ask(args.scopes.first(), args.limit);
    }
    // A session may be meant twice, and the limit is for all of them together.
    let mut found = BTreeMap::new();
    for scope in &args.scopes {
        found.extend(ask(Some(scope), None)?.sessions.into_iter().map(|session| (session.id, session)));
    }
    let mut sessions: Vec<_> = found.into_values().collect();
    sort.sort(&mut sessions);
    let total = sessions.len() as u64;
    sessions.truncate(args.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX));
    Ok(SessionList { total, sessions })
}

fn request(scope: Option<&NameScope>, sort: SessionOrder, limit: Option<u64>) -> Request {
    let backend = scope.map(|scope| scope.backend.clone());
    let server = scope.and_then(|scope| scope.server.clone());
    Request::Sessions { backend, server, sort, limit }
}

fn order(key: SortKey) -> SessionOrder {
    match key {
        SortKey::Age => SessionOrder::Age,
        SortKey::Idle => SessionOrder::Idle,
        SortKey::Bytes => SessionOrder::Bytes,
        SortKey::In => SessionOrder::In,
        SortKey::Out => SessionOrder::Out,
    }
}

fn table(sessions: &[SessionReport]) -> Table {
    let mut table =
        Table::new(&["ID", "CLIENT", "FRONTEND", "SERVER", "STATE", ">AGE", ">IDLE", ">EXPIRES", ">IN", ">OUT"]);
    for session in sessions {
        let time = |ms: Option<u64>| Cell::right(ms.map(lasting).unwrap_or_default());
        table.row(vec![
            Cell::left(session.id.to_string()),
            Cell::left(&session.client),
            Cell::left(&session.frontend),
            Cell::left(format!("{}/{}", session.backend, session.server.as_deref().unwrap_or("-"))),
            state(session.state),
            time(Some(session.age_ms)),
            time(session.idle_ms),
            time(session.expires_ms),
            bytes(session.bytes_in),
            bytes(session.bytes_out),
        ]);
    }
    table
}

fn state(state: SessionPhase) -> Cell {
    let cell = Cell::left(state.word());
    match state {
        SessionPhase::Relaying => cell.coloured(Colour::Green),
        SessionPhase::Header | SessionPhase::Queue | SessionPhase::Connecting | SessionPhase::Closing => {
            cell.coloured(Colour::Yellow)
        }
        SessionPhase::Unknown => cell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_a_row() {
        let session = SessionReport {
            id: SessionId(0x1f),
            frontend: "web".into(),
            backend: "app".into(),
            client: "10.0.0.1:5".into(),
            state: SessionPhase::Queue,
            age_ms: 62_000,
            ..SessionReport::default()
        };
        let text = table(&[session]).render(false);
        let row: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(row, ["0x1f", "10.0.0.1:5", "web", "app/-", "queue", "1m2s", "-", "-", "0", "0"]);
    }
}
