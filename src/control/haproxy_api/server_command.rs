//! Commands for one server, read from their words: `set server`, `set weight`, `enable health` and the like.

use std::net::IpAddr;

use super::keyword::Verb;
use super::line::CommandWords;
use super::numbers::{split, whole};
use crate::config::AdminState;

/// What happens to a server.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ServerChange {
    State(AdminState),
    Weight(NewWeight),
    ShowWeight,
    Maxconn(u64),
    Health(ForcedHealth),
    Agent(ForcedHealth),
    /// `enable` and `disable`
    Checks(bool),
    AgentChecks(bool),
    Address(NewAddress),
    Name(String),
    /// Of its checks: an address and a port. A text says what is wrong with it where there are checks.
    CheckPlace(Option<&'static str>),
    /// Of its agent; the text is what is said where it has none.
    AgentPlace(&'static str),
    Delete,
    KillSessions,
    Wrong(&'static str),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ForcedHealth {
    Up,
    Stopping,
    Down,
    /// Another word.
    Unknown,
}

/// A weight: a number, or percents of the configured one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NewWeight {
    Absolute(u16),
    Relative(u16),
}

/// `addr ADDRESS [port PORT]`
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NewAddress {
    /// What was written, if it is no address.
    pub(super) ip: Result<IpAddr, String>,
    pub(super) port: Option<String>,
}

impl NewWeight {
    fn read(text: &str) -> Result<Self, &'static str> {
        let Some((number, rest)) = split(text) else {
            return Err(if text.is_empty() {
                "Require <weight> or <weight%>."
            } else {
                "Empty weight string empty or preceded by garbage"
            });
        };
        let most = i64::from(MOST_PERCENT);
        match rest {
            "%" if number < 0 => Err("Relative weight must be positive."),
            // What is in range fits.
            "%" => Ok(Self::Relative(u16::try_from(number.min(most)).unwrap_or(MOST_PERCENT))),
            _ if !(0..=256).contains(&number) => Err("Absolute weight can only be between 0 and 256 inclusive."),
            "" => Ok(Self::Absolute(u16::try_from(number).unwrap_or(0))),
            _ => Err("Trailing garbage in weight string"),
        }
    }

    /// What it is for a server with this weight in its configuration.
    pub(super) fn of(self, configured: u16) -> u16 {
        match self {
            Self::Absolute(weight) => weight,
            Self::Relative(percent) => {
                let weight = u32::from(configured) * u32::from(percent) / 100;
                u16::try_from(weight.min(256)).unwrap_or(256)
            }
        }
    }
}

/// `all`: the whole line.
pub(super) fn read(verb: Verb, all: &CommandWords) -> ServerChange {
    let weight = |text: &str| NewWeight::read(text).map_or_else(ServerChange::Wrong, ServerChange::Weight);
    match verb {
        Verb::DelServer => ServerChange::Delete,
        Verb::ShutdownSessions => ServerChange::KillSessions,
        Verb::DisableServer => ServerChange::State(AdminState::Maint),
        Verb::EnableServer => ServerChange::State(AdminState::Ready),
        Verb::DisableHealth => ServerChange::Checks(false),
        Verb::EnableHealth => ServerChange::Checks(true),
        Verb::DisableAgent => ServerChange::AgentChecks(false),
        Verb::EnableAgent => ServerChange::AgentChecks(true),
        Verb::GetWeight => ServerChange::ShowWeight,
        Verb::SetWeight => weight(all.get(3)),
        Verb::SetMaxconnServer => server_maxconn(all.get(4)).map_or_else(ServerChange::Wrong, ServerChange::Maxconn),
        _ => match all.get(3) {
            "weight" => weight(all.get(4)),
            what => set(what, all),
        },
    }
}

fn set(what: &str, all: &CommandWords) -> ServerChange {
    let value = all.get(4);
    match what {
        "state" => match value {
            "ready" => ServerChange::State(AdminState::Ready),
            "drain" => ServerChange::State(AdminState::Drain),
            "maint" => ServerChange::State(AdminState::Maint),
            _ => ServerChange::Wrong("'set server <srv> state' expects 'ready', 'drain' and 'maint'."),
        },
        "health" => match forced(value) {
            ForcedHealth::Unknown => {
                ServerChange::Wrong("'set server <srv> health' expects 'up', 'stopping', or 'down'.")
            }
            health => ServerChange::Health(health),
        },
        "agent" => ServerChange::Agent(forced(value)),
        "addr" if value.is_empty() => {
            ServerChange::Wrong("set server <b>/<s> addr requires an address and optionally a port.")
        }
        "addr" => ServerChange::Address(NewAddress {
            ip: value.parse().map_err(|_| value.to_owned()),
            port: (all.get(5) == "port").then(|| all.get(6).to_owned()),
        }),
        "fqdn" if value.is_empty() => ServerChange::Wrong("set server <b>/<s> fqdn requires a FQDN."),
        "fqdn" => ServerChange::Name(value.to_owned()),
        "check-addr" if value.is_empty() => {
            ServerChange::Wrong("set server <b>/<s> check-addr requires an address and optionally a port.")
        }
        "check-addr" => ServerChange::CheckPlace(None),
        "check-port" if value.is_empty() => ServerChange::Wrong("set server <b>/<s> check-port requires a port."),
        "check-port" => match whole(value) {
            Ok(1..=65535) => ServerChange::CheckPlace(None),
            Ok(_) => ServerChange::CheckPlace(Some("provided port is invalid")),
            Err(_) => ServerChange::CheckPlace(Some("provided port is not an integer")),
        },
        "agent-addr" if value.is_empty() => {
            ServerChange::Wrong("set server <b>/<s> agent-addr requires an address and optionally a port.")
        }
        "agent-port" if value.is_empty() => ServerChange::Wrong("set server <b>/<s> agent-port requires a port."),
        "agent-addr" | "agent-port" => ServerChange::AgentPlace("agent checks are not enabled on this server"),
        "agent-send" => ServerChange::AgentPlace("agent checks are not enabled on this server."),
        "ssl" => {
            ServerChange::Wrong("'set server <srv> ssl' cannot be set.  default-server should define ssl settings")
        }
        _ => ServerChange::Wrong(USAGE),
    }
}

fn forced(text: &str) -> ForcedHealth {
    match text {
        "up" => ForcedHealth::Up,
        "stopping" => ForcedHealth::Stopping,
        "down" => ForcedHealth::Down,
        _ => ForcedHealth::Unknown,
    }
}

/// What `set maxconn server` takes.
fn server_maxconn(text: &str) -> Result<u64, &'static str> {
    match whole(text) {
        _ if text.is_empty() => Err("Require <maxconn>."),
        Err(true) => Err("Trailing garbage in maxconn string"),
        Err(false) => Err("maxconn string empty or preceded by garbage"),
        Ok(number) => Ok(u64::try_from(number).unwrap_or(0)),
    }
}

/// More makes no difference: 256 is the largest weight.
const MOST_PERCENT: u16 = 25600;

const USAGE: &str = "usage: set server <backend>/<server> addr | agent | agent-addr | agent-port | agent-send | check-addr | \
    check-port | fqdn | health | ssl | state | weight";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_numbers_or_percents() {
        for (text, weight) in [
            ("5", Ok(NewWeight::Absolute(5))),
            ("0", Ok(NewWeight::Absolute(0))),
            ("50%", Ok(NewWeight::Relative(50))),
            ("10000%", Ok(NewWeight::Relative(10000))),
            ("99999%", Ok(NewWeight::Relative(MOST_PERCENT))),
            ("", Err("Require <weight> or <weight%>.")),
            ("x", Err("Empty weight string empty or preceded by garbage")),
            ("5x", Err("Trailing garbage in weight string")),
            ("-5%", Err("Relative weight must be positive.")),
            ("-1", Err("Absolute weight can only be between 0 and 256 inclusive.")),
            ("257", Err("Absolute weight can only be between 0 and 256 inclusive.")),
        ] {
            assert_eq!(NewWeight::read(text), weight, "{text}");
        }
        let table = [
            (NewWeight::Relative(50), 5, 2),
            (NewWeight::Relative(10000), 1, 100),
            (NewWeight::Relative(25600), 9, 256),
        ];
        for (weight, configured, result) in table {
            assert_eq!(weight.of(configured), result);
        }
    }
}
