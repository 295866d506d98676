//! `lb wait`, and what `--wait` of other commands does: asks again and again until servers are as wished.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use super::arguments::{ServerPath, WaitArgs};
use super::ask::{AdminSocket, Refusal};
use super::status::parse;
use super::{ExitStatus, output};
use crate::config::counted;
use crate::control::admin::name_pattern::NamePattern;
use crate::control::admin::status::{BackendReport, ServerReport, ServerStatus};
use crate::control::admin::{Request, Status};

/// How servers are to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    Up,
    Down,
    Empty,
}

/// How it came out.
#[derive(Debug)]
pub(super) enum Awaited {
    Met,
    /// The time was up: what is not as wished, for people, and the sessions of all servers meant.
    Late {
        lack: String,
        sessions: u64,
    },
}

pub(super) fn run(args: &WaitArgs, socket: &AdminSocket) -> ExitStatus {
    let wish = match (args.up, args.down) {
        (true, _) => Wish::Up,
        (_, true) => Wish::Down,
        _ => Wish::Empty,
    };
    let servers: Vec<_> = args.servers.iter().map(MeantServers::new).collect();
    let (status, message, sessions) = match until(socket, &servers, wish, args.timeout) {
        Ok(Awaited::Met) => (ExitStatus::Done, String::new(), 0),
        Ok(Awaited::Late { lack, sessions }) => {
            let message = format!("{lack} after {}", humantime::format_duration(args.timeout));
            (ExitStatus::WAITED_IN_VAIN, message, sessions)
        }
        Err(refusal) => return refusal.show(),
    };
    if !message.is_empty() {
        output::complain(&message);
    }
    if args.json {
        let met = status == ExitStatus::Done;
        return match output::print(&format!("{}\n", json!({"met": met, "message": message, "sessions": sessions}))) {
            ExitStatus::Done => status,
            failed => failed,
        };
    }
    status
}

/// Asks until all of the servers are as wished. What goes wrong after the first answer may be an engine that is replaced:
/// it is asked again as long as there is time.
pub(super) fn until(
    socket: &AdminSocket,
    servers: &[MeantServers],
    wish: Wish,
    limit: Duration,
) -> Result<Awaited, Refusal> {
    let end = Instant::now() + limit;
    let mut status = look(socket)?;
    let is_unknown = |meant: &&MeantServers| wish != Wish::Up && meant.among(&status.backends).next().is_none();
    if let Some(unknown) = servers.iter().find(is_unknown) {
        let message = format!("no server is {}; `lb server list` shows them", unknown.shown);
        return Err(Refusal { status: ExitStatus::BadInput, message, lost: false });
    }
    let mut pause = Duration::from_millis(20);
    loop {
        let Some(lack) = lack(&status, servers, wish) else { return Ok(Awaited::Met) };
        let now = Instant::now();
        if now >= end {
            let sessions = servers.iter().flat_map(|meant| meant.among(&status.backends));
            let sessions = sessions.map(|(_, server)| server.traffic.sessions).sum();
            return Ok(Awaited::Late { lack, sessions });
        }
        sleep(pause.min(end - now));
        pause = (pause * 2).min(LONGEST_PAUSE);
        match look(socket) {
            Ok(now) => status = now,
            Err(refusal) if Instant::now() >= end => return Err(refusal),
            Err(_) => {}
        }
    }
}

/// Servers as the command line names them.
#[derive(Debug)]
pub(super) struct MeantServers {
    shown: String,
    backend: NamePattern,
    server: NamePattern,
}

impl MeantServers {
    pub(super) fn new(ServerPath { backend, server }: &ServerPath) -> Self {
        let pattern = |name: &String| NamePattern::new(Some(name.clone()));
        Self { shown: format!("{backend}/{server}"), backend: pattern(backend), server: pattern(server) }
    }

    fn among<'b>(&self, backends: &'b [BackendReport]) -> impl Iterator<Item = (&'b BackendReport, &'b ServerReport)> {
        let backends = backends.iter().filter(|backend| self.backend.matches(&backend.name));
        let servers = backends.flat_map(|backend| backend.servers.iter().map(move |server| (backend, server)));
        servers.filter(|(_, server)| self.server.matches(&server.name))
    }
}

fn look(socket: &AdminSocket) -> Result<Status, Refusal> {
    socket.ask(&Request::Status).and_then(parse)
}

/// What is not as wished yet, in words.
fn lack(status: &Status, servers: &[MeantServers], wish: Wish) -> Option<String> {
    let mut lacks = Vec::new();
    for meant in servers {
        let mut found = meant.among(&status.backends).peekable();
        if wish == Wish::Up && found.peek().is_none() {
            lacks.push(format!("no server is {}", meant.shown));
        }
        lacks.extend(found.filter(|(_, server)| !is_met(server, wish)).map(|(backend, server)| {
            let is = match wish {
                Wish::Empty => format!("has {}", counted(server.traffic.sessions, "session")),
                Wish::Up | Wish::Down => format!("is {}", server.status.word()),
            };
            format!("{}/{} {is}", backend.name, server.name)
        }));
    }
    match &lacks[..] {
        // The previous engine has sessions that the one that answers does not know yet.
        [] if wish == Wish::Empty && status.upgrade.is_some() => Some("an upgrade is in progress".to_owned()),
        [] => None,
        [first] => Some(first.clone()),
        [first, others @ ..] => Some(format!("{first} and {} like it", counted(others.len(), "other"))),
    }
}

fn is_met(server: &ServerReport, wish: Wish) -> bool {
    match wish {
        Wish::Up => server.status == ServerStatus::Up,
        Wish::Down => matches!(server.status, ServerStatus::Down | ServerStatus::Maint | ServerStatus::Leaving),
        Wish::Empty => server.traffic.sessions == 0,
    }
}

const LONGEST_PAUSE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::admin::status::{Traffic, UpgradeReport};

    #[test]
    fn what_lacks_is_said() {
        let server = |name: &str, status, sessions| ServerReport {
            name: name.to_owned(),
            status,
            traffic: Traffic { sessions, ..Traffic::default() },
            ..ServerReport::default()
        };
        let servers = vec![
            server("a", ServerStatus::Up, 0),
            server("b", ServerStatus::Down, 3),
            server("c", ServerStatus::Drain, 1),
        ];
        let backends = vec![BackendReport { name: "app".into(), servers, ..BackendReport::default() }];
        let mut status = Status { backends, ..Status::default() };
        let lacks =
            |status: &Status, path: &str, wish| lack(status, &[MeantServers::new(&path.parse().unwrap())], wish);
        let table = [
            ("app/a", Wish::Up, None),
            ("app/a", Wish::Empty, None),
            ("app/b", Wish::Down, None),
            ("app/gone", Wish::Down, None),
            ("app/gone", Wish::Empty, None),
            ("app/a", Wish::Down, Some("app/a is UP")),
            ("app/b", Wish::Empty, Some("app/b has 3 sessions")),
            ("app/new", Wish::Up, Some("no server is app/new")),
            ("app/*", Wish::Up, Some("app/b is DOWN and 1 other like it")),
            ("*/*", Wish::Empty, Some("app/b has 3 sessions and 1 other like it")),
        ];
        for (path, wish, expected) in table {
            assert_eq!(lacks(&status, path, wish).as_deref(), expected, "{path} {wish:?}");
        }
        status.upgrade = Some(UpgradeReport::default());
        assert!(lacks(&status, "app/a", Wish::Empty).is_some() && lacks(&status, "app/a", Wish::Up).is_none());
    }
}
