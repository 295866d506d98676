//! How a server stands, in HAProxy's words: administration, health, and where it is between rise and fall.

use std::collections::HashMap;

use crate::control::admin::Status;
use crate::control::admin::status::{CheckPosition, ServerReport, ServerStatus};

/// All servers of a status, to be found by those that follow them.
pub(super) struct ServerStandings<'s>(HashMap<(&'s str, &'s str), &'s ServerReport>);

/// A server, and the one whose checks decide about it: itself, or the last of those that it follows.
#[derive(Clone, Copy)]
pub(super) struct ServerStanding<'s> {
    pub(super) server: &'s ServerReport,
    decisive: &'s ServerReport,
    /// `backend/server` of `decisive` where it is another one.
    via: Option<&'s str>,
}

/// Servers that follow each other are no circle; a status of another version is not trusted in that.
const LONGEST_CHAIN: usize = 64;

impl<'s> ServerStandings<'s> {
    pub(super) fn of(status: &'s Status) -> Self {
        let tracks = |server: &&ServerReport| !server.settings.tracks.is_empty();
        let is_needed = status.backends.iter().flat_map(|backend| &backend.servers).any(|server| tracks(&server));
        let backends = status.backends.iter().filter(|_| is_needed);
        let servers = backends.flat_map(|backend| {
            backend.servers.iter().map(|server| ((backend.name.as_str(), server.name.as_str()), server))
        });
        Self(servers.collect())
    }

    pub(super) fn server(&self, server: &'s ServerReport) -> ServerStanding<'s> {
        let (mut decisive, mut via) = (server, None);
        for _ in 0..LONGEST_CHAIN {
            let path = decisive.settings.tracks.as_str();
            let Some(next) = path.split_once('/').and_then(|path| self.0.get(&path)) else { break };
            (decisive, via) = (next, Some(path));
        }
        ServerStanding { server, decisive, via }
    }
}

impl<'s> ServerStanding<'s> {
    /// Takes no session, and is not checked.
    pub(super) fn is_maint(self) -> bool {
        self.server.status == ServerStatus::Maint || self.is_unresolved()
    }

    /// Its name has no address.
    pub(super) fn is_unresolved(self) -> bool {
        self.server.check.status == "NOADDR"
    }

    /// Takes no new sessions.
    pub(super) fn is_draining(self) -> bool {
        matches!(self.server.status, ServerStatus::Drain | ServerStatus::Leaving)
    }

    /// By its checks and its agent, whatever the operator asks of it.
    pub(super) fn is_up(self) -> bool {
        match self.server.status {
            ServerStatus::Up => true,
            ServerStatus::Down | ServerStatus::Unknown => false,
            ServerStatus::Drain | ServerStatus::Maint | ServerStatus::Leaving => {
                let position = self.position();
                position.is_none_or(|position| position.level >= position.rise) && !self.is_down_by_agent()
            }
        }
    }

    /// New sessions may come to it.
    pub(super) fn is_usable(self) -> bool {
        self.server.status == ServerStatus::Up && self.server.weight > 0
    }

    /// Nothing but a result of a check can bring it up, and none has begun to.
    pub(super) fn is_fully_down(self) -> bool {
        let at_bottom = self.position().is_none_or(|position| position.level == 0);
        self.is_maint() || (!self.is_up() && (at_bottom || self.is_down_by_agent()))
    }

    /// In `show servers state`: the server that it follows is in maint, or drains.
    pub(super) fn inherits(self, status: ServerStatus) -> bool {
        self.via.is_some() && self.decisive.status == status
    }

    /// As in the column `status`.
    pub(super) fn text(self) -> String {
        match self.via.filter(|_| self.inherits(ServerStatus::Maint)) {
            _ if self.is_unresolved() => "MAINT (resolution)".to_owned(),
            Some(via) => format!("MAINT (via {via})"),
            None if self.is_maint() => "MAINT".to_owned(),
            None if self.is_up() => self.text_of_up(),
            None => self.text_of_down(),
        }
    }

    fn text_of_up(self) -> String {
        let top = |position: &CheckPosition| position.rise + position.fall - 1;
        let falling = self.position().filter(|position| position.level < top(position));
        let (draining, agent) = (self.is_draining(), self.decisive.agent.is_some());
        match falling {
            _ if draining && agent => "DRAIN (agent)".to_owned(),
            Some(CheckPosition { level, rise, fall }) => {
                let word = if draining { "DRAIN" } else { "UP" };
                format!("{word} {}/{fall}", level + 1 - rise)
            }
            None if draining => "DRAIN".to_owned(),
            None if self.position().is_none() => "no check".to_owned(),
            None => "UP".to_owned(),
        }
    }

    fn text_of_down(self) -> String {
        match self.position() {
            _ if self.is_down_by_agent() => "DOWN (agent)".to_owned(),
            Some(CheckPosition { level: 1.., rise, .. }) => {
                format!("DOWN {}/{rise}", self.position().map_or(0, |position| position.level))
            }
            _ => "DOWN".to_owned(),
        }
    }

    fn position(self) -> Option<CheckPosition> {
        self.decisive.check.position
    }

    fn is_down_by_agent(self) -> bool {
        self.decisive.agent.as_ref().is_some_and(|agent| !agent.up)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::admin::status::{AgentReport, BackendReport, CheckReport, ServerSettings};

    fn checked(status: ServerStatus, level: u32) -> ServerReport {
        let position = Some(CheckPosition { level, rise: 2, fall: 3 });
        ServerReport { status, check: CheckReport { position, ..CheckReport::default() }, ..ServerReport::default() }
    }

    fn with_agent(server: ServerReport, up: bool) -> ServerReport {
        ServerReport { agent: Some(AgentReport { up, ..AgentReport::default() }), ..server }
    }

    fn text(server: ServerReport) -> String {
        let status = Status {
            backends: vec![BackendReport { servers: vec![server], ..BackendReport::default() }],
            ..Status::default()
        };
        ServerStandings::of(&status).server(&status.backends[0].servers[0]).text()
    }

    #[test]
    fn servers_have_the_words_of_haproxy() {
        use ServerStatus::{Down, Drain, Leaving, Maint, Up};
        let unchecked = |status| ServerReport { status, ..ServerReport::default() };
        let unresolved = CheckReport { status: "NOADDR".into(), ..CheckReport::default() };
        for (server, expected) in [
            (checked(Up, 4), "UP"),
            (checked(Up, 3), "UP 2/3"),
            (checked(Up, 2), "UP 1/3"),
            (checked(Down, 1), "DOWN 1/2"),
            (checked(Down, 0), "DOWN"),
            (checked(Drain, 4), "DRAIN"),
            (checked(Drain, 2), "DRAIN 1/3"),
            // As HAProxy: what is down does not drain.
            (checked(Drain, 0), "DOWN"),
            (checked(Maint, 4), "MAINT"),
            (unchecked(Up), "no check"),
            (unchecked(Down), "DOWN"),
            (unchecked(Drain), "DRAIN"),
            (unchecked(Leaving), "DRAIN"),
            (with_agent(checked(Up, 4), true), "UP"),
            (with_agent(unchecked(Up), true), "no check"),
            (with_agent(checked(Drain, 4), true), "DRAIN (agent)"),
            (with_agent(checked(Down, 4), false), "DOWN (agent)"),
            (ServerReport { check: unresolved, status: Maint, ..ServerReport::default() }, "MAINT (resolution)"),
        ] {
            assert_eq!(text(server.clone()), expected, "{server:?}");
        }
    }

    #[test]
    fn one_that_follows_another_has_its_words() {
        let follows = |name: &str, path: &str, status| ServerReport {
            name: name.into(),
            status,
            settings: ServerSettings { tracks: path.into(), ..ServerSettings::default() },
            ..ServerReport::default()
        };
        let servers = |status, level| {
            vec![
                follows("a", "b/b", status),
                follows("b", "b/c", status),
                ServerReport { name: "c".into(), ..checked(status, level) },
            ]
        };
        for (status, level, expected) in [
            (ServerStatus::Up, 2, ["UP 1/3"; 3]),
            (ServerStatus::Down, 1, ["DOWN 1/2"; 3]),
            (ServerStatus::Maint, 0, ["MAINT (via b/c)", "MAINT (via b/c)", "MAINT"]),
        ] {
            let backend =
                BackendReport { name: "b".into(), servers: servers(status, level), ..BackendReport::default() };
            let status = Status { backends: vec![backend], ..Status::default() };
            let standings = ServerStandings::of(&status);
            let texts: Vec<_> = status.backends[0].servers.iter().map(|one| standings.server(one).text()).collect();
            assert_eq!(texts, expected);
        }
    }
}
