//! What `lb sessions --json` prints, and how sessions are named. A contract: fields are added, never renamed.

use std::fmt;
use std::num::ParseIntError;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Sessions as they stood when they were asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SessionList {
    /// All that were meant; a limit may have left some of them out below.
    pub(crate) total: u64,
    pub(crate) sessions: Vec<SessionReport>,
}

/// A session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SessionReport {
    pub(crate) id: SessionId,
    pub(crate) frontend: String,
    pub(crate) backend: String,
    /// `None`: it has none yet.
    pub(crate) server: Option<String>,
    /// As in the log.
    pub(crate) client: String,
    pub(crate) state: SessionPhase,
    pub(crate) age_ms: u64,
    /// Since the last byte. `None`: bytes do not move yet, or not any more.
    pub(crate) idle_ms: Option<u64>,
    /// When it ends unless something happens. `None`: never.
    pub(crate) expires_ms: Option<u64>,
    /// From the client.
    pub(crate) bytes_in: u64,
    /// To the client.
    pub(crate) bytes_out: u64,
}

/// Names a session. No other one ever has it, also not after an upgrade or a restart; a session that moves to another
/// engine has another one there. A text in JSON, whose readers may take large numbers for fractions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// What a session does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SessionPhase {
    /// Its PROXY header has not come yet.
    Header,
    /// It waits for a server.
    Queue,
    Connecting,
    Relaying,
    /// One side is gone, and the other one is to get what is left.
    Closing,
    /// A word of a newer version.
    #[default]
    #[serde(other)]
    Unknown,
}

/// Which sessions come first.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionOrder {
    /// The oldest.
    #[default]
    Age,
    /// The longest silent.
    Idle,
    /// Those that have moved the most bytes, both ways together.
    Bytes,
    In,
    Out,
}

impl SessionPhase {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Header => "header",
            Self::Queue => "queue",
            Self::Connecting => "connecting",
            Self::Relaying => "relaying",
            Self::Closing => "closing",
            Self::Unknown => "unknown",
        }
    }
}

impl SessionOrder {
    /// Puts those to the front that it is about.
    pub(crate) fn sort(self, sessions: &mut [SessionReport]) {
        let most = |session: &SessionReport| match self {
            Self::Age => session.age_ms,
            Self::Idle => session.idle_ms.map_or(0, |idle| idle + 1),
            Self::Bytes => session.bytes_in + session.bytes_out,
            Self::In => session.bytes_in,
            Self::Out => session.bytes_out,
        };
        // By id last: it is the order in which a worker accepted them.
        sessions.sort_unstable_by_key(|session| (std::cmp::Reverse(most(session)), session.id));
    }
}

/// As HAProxy writes the addresses of its sessions.
impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl FromStr for SessionId {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).map(Self)
    }
}

impl Serialize for SessionId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|_| serde::de::Error::custom(format!("`{text}` is no id of a session")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_as_it_is_written() {
        let id = SessionId(0x1aae_4420_0000_0c01);
        assert_eq!(serde_json::to_string(&id).unwrap(), "\"0x1aae442000000c01\"");
        for text in ["0x1aae442000000c01", "1aae442000000c01"] {
            assert_eq!(serde_json::from_value::<SessionId>(text.into()).unwrap(), id);
        }
        for wrong in ["", "0x", "app1", "-1", "0x1aae442000000c01f"] {
            let error = serde_json::from_value::<SessionId>(wrong.into()).unwrap_err().to_string();
            assert!(error.contains("is no id of a session"), "{wrong}: {error}");
        }
    }

    #[test]
    fn those_that_are_sorted_for_come_first() {
        let session = |id, age_ms, idle_ms, bytes_in, bytes_out| SessionReport {
            id: SessionId(id),
            age_ms,
            idle_ms,
            bytes_in,
            bytes_out,
            ..SessionReport::default()
        };
        let table = [
            (SessionOrder::Age, [2, 1, 3]),
            (SessionOrder::Idle, [3, 1, 2]),
            (SessionOrder::Bytes, [1, 3, 2]),
            (SessionOrder::In, [3, 1, 2]),
            (SessionOrder::Out, [1, 2, 3]),
        ];
        for (order, expected) in table {
            let mut sessions =
                [session(1, 50, Some(0), 1, 9), session(2, 70, None, 0, 2), session(3, 20, Some(20), 5, 0)];
            order.sort(&mut sessions);
            assert_eq!(sessions.map(|session| session.id.0), expected, "{order:?}");
        }
    }
}
