//! The words of the admin socket: what can be asked, and what comes back.
//!
//! Pure: bytes in, values out. A request is `{"request": "set_weight", "backend": "app", …}`, an answer
//! `{"answer": "ok", "value": …}`. Nothing that arrives here may panic: the property tests below hold it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::sessions::{SessionId, SessionOrder};
use crate::config::AdminState;
use crate::exit::ExitStatus;

/// What an operator asks of the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Answered with a [`Status`](super::status::Status).
    Status,
    /// Answered with the `backends` of a `Status` alone.
    ServerList,
    /// Answered with [`ServerFacts`](super::facts::ServerFacts).
    ServerFacts { backend: String, server: String },
    /// Change the administration of servers. Here and below the names of servers and backends may have `*` and `?`, and
    /// an answer has `changed` and `message`.
    SetServer { backend: String, server: String, state: AdminState },
    /// Change the weight of servers (0–256) until the configuration or discovery brings another.
    SetWeight { backend: String, server: String, weight: u16 },
    /// Forget all maxima; `all`: let totals and times begin anew, too.
    ClearCounters {
        #[serde(default)]
        all: bool,
    },
    /// Answered with a [`SessionList`](super::sessions::SessionList). No name: all.
    Sessions {
        #[serde(default)]
        backend: Option<String>,
        /// `None`: also sessions without a server.
        #[serde(default)]
        server: Option<String>,
        #[serde(default)]
        sort: SessionOrder,
        #[serde(default)]
        limit: Option<u64>,
    },
    /// End these sessions.
    KillSessions { ids: Vec<SessionId> },
    /// End the sessions of servers, evenly spread over a time in milliseconds.
    KillServer {
        backend: String,
        server: String,
        #[serde(default)]
        over_ms: u64,
    },
    /// Stop as at TERM.
    Stop,
    /// Read the configuration again.
    Reload,
    /// Apply a discovery change that is held back because it would take most servers away.
    Accept { backend: String },
    /// Replace the running binary.
    Upgrade {
        /// `None`: the path that the daemon was started from.
        #[serde(default)]
        binary: Option<PathBuf>,
        /// How long the new engine must serve before sessions move, in milliseconds. `None`: the default.
        #[serde(default)]
        probation_ms: Option<u64>,
    },
}

/// One line of what comes back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "answer", content = "value", rename_all = "snake_case")]
pub enum Answer {
    /// Done. A text, or an object whose `message` is one, is meant for people; null: there is no text.
    Ok(Value),
    /// A step of long work, for people. The last answer is still to come.
    Progress(String),
    /// Long work continues and there is nothing new; it only keeps the client from giving up.
    Heartbeat,
    /// Not done, and why.
    Error {
        #[serde(default)]
        kind: ErrorKind,
        /// An [`ExitStatus`] as a number.
        exit: u8,
        /// One sentence without a full stop, or, for a bad configuration, one line an error.
        message: String,
    },
}

/// Where the fault lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The request is wrong: not JSON, an unknown request, a name that does not exist, a configuration with errors.
    BadRequest,
    /// Something else is under way that excludes it; later it may work.
    Busy,
    /// The request is right and the daemon could not do it. Also what a newer daemon's unknown kind reads as.
    #[default]
    #[serde(other)]
    Failed,
}

/// The longest request, with its newline.
pub(crate) const MAX_REQUEST: usize = 64 * 1024;

impl Request {
    /// Reads one request line (with or without its newline).
    ///
    /// # Errors
    /// The [`Answer::Error`] to send back, which names what is wrong with the line.
    pub fn parse(line: &[u8]) -> Result<Self, Answer> {
        let line = line.trim_ascii();
        if line.is_empty() {
            return Err(Answer::bad_request("the request is empty"));
        }
        serde_json::from_slice(line).map_err(|error| Answer::bad_request(format!("cannot read the request: {error}")))
    }
}

impl Answer {
    /// Done, and something is different now; the words are for people.
    pub fn done(message: impl Into<String>) -> Self {
        Self::Ok(serde_json::json!({"changed": true, "message": message.into()}))
    }

    /// Done, with facts for programs. Beside them a `message` is shown to people.
    pub fn value(value: &impl Serialize) -> Self {
        match serde_json::to_value(value) {
            Ok(value) => Self::Ok(value),
            Err(error) => Self::failed(ExitStatus::Failed, format!("cannot write the answer: {error}")),
        }
    }

    /// The request is wrong.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::error(ErrorKind::BadRequest, ExitStatus::BadInput, message)
    }

    /// The request is right and was not done; `exit` is what the command ends with.
    pub fn failed(exit: ExitStatus, message: impl Into<String>) -> Self {
        Self::error(ErrorKind::Failed, exit, message)
    }

    /// Something else is under way.
    pub fn busy(message: impl Into<String>) -> Self {
        Self::error(ErrorKind::Busy, ExitStatus::Busy, message)
    }

    /// Whether no further answer follows.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Ok(_) | Self::Error { .. })
    }

    /// The answer as a line, newline included.
    pub fn to_line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("an answer holds only strings, numbers and JSON values");
        line.push(b'\n');
        line
    }

    fn error(kind: ErrorKind, exit: ExitStatus, message: impl Into<String>) -> Self {
        Self::Error { kind, exit: exit.code(), message: message.into() }
    }
}

#[cfg(test)]
mod tests;
