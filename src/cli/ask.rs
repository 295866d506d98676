//! Requests to the running daemon, and messages with a remedy when it does not answer.

use std::path::PathBuf;

use serde_json::Value;

use super::usual_sockets::{SYSTEM_SOCKET, is_trustworthy, usual_sockets};
use super::{ExitStatus, output};
use crate::control::admin::{Answer, Client, ClientError, Request};

/// The admin socket of the daemon that a command is about.
#[derive(Debug, Clone)]
pub(super) struct AdminSocket {
    /// As given with `--socket` or by the environment.
    given: Option<PathBuf>,
}

/// Why a request failed.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: ExitStatus,
    pub(super) message: String,
    /// The engine that was asked did not come to an answer.
    pub(super) lost: bool,
}

impl AdminSocket {
    /// `given`: with `--socket`; else the environment may name it, to every command and to the daemon itself.
    pub(super) fn new(given: Option<PathBuf>) -> Self {
        let named = || std::env::var_os("LB_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from);
        Self { given: given.or_else(named) }
    }

    /// As given, which overrides the configuration.
    pub(super) fn given(self) -> Option<PathBuf> {
        self.given
    }

    /// Sends one request; lines of progress go to stderr.
    pub(super) fn ask(&self, request: &Request) -> Result<Value, Refusal> {
        let answer =
            self.connect().and_then(|client| client.ask(request, |line| output::complain(&harmless_lines(line))));
        match answer {
            Ok(Answer::Error { exit, message, .. }) => {
                // A refusal is never success, whatever number came with it.
                let status = Some(ExitStatus::from_code(exit)).filter(|status| *status != ExitStatus::Done);
                let (status, message) = (status.unwrap_or(ExitStatus::Failed), harmless_lines(&message));
                Err(Refusal { status, message, lost: false })
            }
            Ok(Answer::Ok(value)) => Ok(value),
            Ok(other) => unreachable!("the client returns the last answer only, not {other:?}"),
            Err(error) => {
                let lost = matches!(error, ClientError::Closed(_) | ClientError::Silent { .. });
                Err(Refusal { status: ExitStatus::Failed, message: self.explain(&error), lost })
            }
        }
    }

    /// Sends one request and says nothing: what goes wrong is no answer.
    pub(super) fn ask_quietly(&self, request: &Request) -> Option<Value> {
        match self.connect().and_then(|client| client.ask(request, |_| {})) {
            Ok(Answer::Ok(value)) => Some(value),
            _ => None,
        }
    }

    /// Connects to the daemon that is named, or that answers first where one usually is. A socket that refuses says more
    /// than one that is not there.
    fn connect(&self) -> Result<Client, ClientError> {
        if let Some(path) = &self.given {
            return Client::connect(path);
        }
        let (mut denied, mut absent) = (None, None);
        for path in usual_sockets().iter().filter(|path| is_trustworthy(path)) {
            match Client::connect(path) {
                Ok(client) => return Ok(client),
                Err(error) if error.is_absence() => {
                    absent.get_or_insert(error);
                }
                // That may be the system's; this user can have one of its own.
                Err(error @ ClientError::Denied(_)) => {
                    denied.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(denied.or(absent).unwrap_or_else(|| ClientError::NoSocket(SYSTEM_SOCKET.into())))
    }

    /// What went wrong, with all places where a daemon was looked for.
    fn explain(&self, error: &ClientError) -> String {
        let text = explain(error);
        let ClientError::NoSocket(first) = error else { return text };
        let others = usual_sockets().into_iter().filter(|path| self.given.is_none() && path != first);
        let others: Vec<_> = others.map(|path| path.display().to_string()).collect();
        let with_others = |first| format!("{first}, nor {}", others.join(" or "));
        let first = first.display().to_string();
        if others.is_empty() { text } else { text.replacen(&first, &with_others(&first), 1) }
    }

    /// Sends a request and prints the outcome: the daemon's message, or with `json` its whole answer.
    pub(super) fn ask_and_show(&self, request: &Request, json: bool) -> ExitStatus {
        show(self.ask(request), json)
    }
}

/// Prints an outcome: the daemon's message, or with `json` its whole answer.
pub(super) fn show(outcome: Result<Value, Refusal>, json: bool) -> ExitStatus {
    match outcome {
        Ok(value) if json => output::print(&format!("{value}\n")),
        Ok(value) => match sentence(&value) {
            Some(text) => output::print(&format!("{}\n", harmless_lines(&text))),
            None => ExitStatus::Done,
        },
        Err(refusal) => refusal.show(),
    }
}

impl Refusal {
    pub(super) fn show(&self) -> ExitStatus {
        output::complain(&self.message);
        self.status
    }
}

fn explain(error: &ClientError) -> String {
    let remedy = match error {
        ClientError::NoSocket(_) | ClientError::NoListener(_) => {
            return format!(
                "no daemon answers: {error}; start one with `lb run`, or name the socket of a running one with --socket PATH \
                 (one with `socket = false` has none)"
            );
        }
        ClientError::Denied(_) => {
            "try it with sudo, or as the user that the daemon runs as (one with `socket = false` has none)"
        }
        ClientError::Closed(_) => "try it with sudo, or as the user that the daemon runs as",
        ClientError::Silent { .. } => {
            "an engine that hangs is replaced by the watchdog, or at once with `kill -USR2 PID`, with the pid of `lb run`"
        }
        ClientError::Garbled { .. } => "is it the admin socket of `lb`?",
        ClientError::Io { .. } => "name the admin socket of a running daemon with --socket PATH",
    };
    format!("{error}; {remedy}")
}

/// The message in an answer.
fn sentence(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.get("message").and_then(Value::as_str).map_or_else(|| other.to_string(), str::to_owned)),
    }
}

fn harmless_lines(text: &str) -> String {
    text.lines().map(output::harmless).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_of_an_answer() {
        let table = [
            ("null", None),
            ("\"reloaded\"", Some("reloaded")),
            (r#"{"message":"upgraded","pid":7}"#, Some("upgraded")),
            (r#"{"pid":7}"#, Some(r#"{"pid":7}"#)),
        ];
        for (value, expected) in table {
            assert_eq!(sentence(&serde_json::from_str(value).unwrap()).as_deref(), expected);
        }
    }

    #[test]
    fn every_failure_names_a_remedy() {
        let path = || PathBuf::from("/run/lb/lb.sock");
        assert!(explain(&ClientError::NoSocket(path())).contains("/run/lb/lb.sock; start one with `lb run`"));
        assert!(explain(&ClientError::NoListener(path())).contains("--socket PATH"));
        assert!(explain(&ClientError::Denied(path())).contains("sudo"));
        assert!(explain(&ClientError::Closed(path())).contains("the user that the daemon runs as"));
    }
}
