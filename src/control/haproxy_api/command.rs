//! Commands: what a client asks for, read from its words.
//!
//! What is wrong with the arguments of a command for a server or a frontend is said only once that is found, as HAProxy
//! does it; so a wrong one is a [`ServerChange::Wrong`] and the like.

use std::time::Duration;

use super::answer::{OUT_OF_RANGE, WANTS_FRONTEND, WANTS_INTEGER, WANTS_SERVER};
use super::answer::{Said, SeverityStyle};
use super::keyword::Verb;
use super::line::CommandWords;
use super::numbers::{delay, leading_integer};
use super::server_command::{self, ServerChange};

/// A command with its arguments.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ApiCommand {
    Say(Said),
    /// For the server of this backend and name.
    Server(String, String, ServerChange),
    Frontend(String, FrontendChange),
    SetMaxconn(u64),
    AddServer(String, String, Vec<String>),
    ClearCounters {
        all: bool,
    },
    KillSession(u64),
    Wait(Duration, Option<(String, String)>),
    Client(ClientChange),
    Show(Verb, Vec<String>),
    Reload,
}

/// What happens to a frontend.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FrontendChange {
    Enable,
    Disable,
    Shutdown,
    Maxconn(u64),
    Wrong(&'static str),
}

/// What changes for the client that asks.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ClientChange {
    TogglePrompt,
    Quit,
    LowerToUser,
    LowerToOperator,
    Silence(Duration),
    Severity(SeverityStyle),
}

impl ApiCommand {
    /// Reads the words behind those of the command itself; `all`: the whole line.
    pub(super) fn read(verb: Verb, all: &CommandWords) -> Self {
        match verb {
            Verb::User => Self::Client(ClientChange::LowerToUser),
            Verb::Operator => Self::Client(ClientChange::LowerToOperator),
            Verb::Prompt => Self::Client(ClientChange::TogglePrompt),
            Verb::Quit => Self::Client(ClientChange::Quit),
            Verb::Reload => Self::Reload,
            Verb::SetTimeout => timeout(all.get(2), all.get(3)),
            Verb::SetSeverity => severity(all.get(2)),
            Verb::ClearCounters => Self::ClearCounters { all: all.get(2) == "all" },
            Verb::ClearTable => Self::Say(Said::error(match all.get(2) {
                "" => CLEAR_TABLE,
                _ => super::answer::NO_TABLE,
            })),
            Verb::SetMaxconnGlobal => global_maxconn(all.get(3)),
            Verb::SetMaxconnFrontend => frontend(all.get(3), || frontend_maxconn(all.get(4))),
            Verb::EnableFrontend => frontend(all.get(2), || FrontendChange::Enable),
            Verb::DisableFrontend => frontend(all.get(2), || FrontendChange::Disable),
            Verb::ShutdownFrontend => frontend(all.get(2), || FrontendChange::Shutdown),
            Verb::ShutdownSession => session(all.get(2)),
            Verb::AddServer => add_server(all),
            Verb::Wait => wait(all),
            Verb::DelServer
            | Verb::DisableAgent
            | Verb::DisableHealth
            | Verb::DisableServer
            | Verb::EnableAgent
            | Verb::EnableHealth
            | Verb::EnableServer
            | Verb::GetWeight
            | Verb::SetMaxconnServer
            | Verb::SetServer
            | Verb::SetWeight
            | Verb::ShutdownSessions => for_server(verb, all),
            other => {
                let own = if matches!(other, Verb::ShowServersConn | Verb::ShowServersState) { 3 } else { 2 };
                Self::Show(other, all.as_slice().get(own..).unwrap_or_default().to_vec())
            }
        }
    }
}

fn for_server(verb: Verb, all: &CommandWords) -> ApiCommand {
    // `shutdown sessions server` and `set maxconn server` have three words of their own.
    let own = if matches!(verb, Verb::ShutdownSessions | Verb::SetMaxconnServer) { 3 } else { 2 };
    match server_path(all.get(own)) {
        Some((backend, server)) => ApiCommand::Server(backend, server, server_command::read(verb, all)),
        None => ApiCommand::Say(Said::error(WANTS_SERVER)),
    }
}

/// `backend/server`
fn server_path(text: &str) -> Option<(String, String)> {
    let (backend, server) = text.split_once('/')?;
    (!backend.is_empty() && !server.is_empty()).then(|| (backend.to_owned(), server.to_owned()))
}

fn frontend(name: &str, change: impl FnOnce() -> FrontendChange) -> ApiCommand {
    match name {
        "" => ApiCommand::Say(Said::error(WANTS_FRONTEND)),
        name => ApiCommand::Frontend(name.to_owned(), change()),
    }
}

fn frontend_maxconn(text: &str) -> FrontendChange {
    match (text, leading_integer(text)) {
        ("", _) => FrontendChange::Wrong("Integer value expected."),
        (_, number) => u64::try_from(number).map_or(FrontendChange::Wrong(OUT_OF_RANGE), FrontendChange::Maxconn),
    }
}

fn global_maxconn(text: &str) -> ApiCommand {
    match text {
        "" => ApiCommand::Say(Said::error(WANTS_INTEGER)),
        text => ApiCommand::SetMaxconn(u64::try_from(leading_integer(text)).unwrap_or(0)),
    }
}

/// `0x…`, as in `show sess`.
fn session(text: &str) -> ApiCommand {
    let hex = text.strip_prefix("0x").unwrap_or(text);
    match u64::from_str_radix(hex, 16) {
        Ok(id) if id > 0 => ApiCommand::KillSession(id),
        _ => ApiCommand::Say(Said::error("Session pointer expected (use 'show sess').")),
    }
}

fn timeout(what: &str, text: &str) -> ApiCommand {
    let say = |text: &str| ApiCommand::Say(Said::error(text));
    match (what, delay(text, Duration::from_secs(1))) {
        ("cli", _) if text.is_empty() => say(WANTS_INTEGER),
        ("cli", Some(time)) if !time.is_zero() => ApiCommand::Client(ClientChange::Silence(time)),
        ("cli", _) => say("Invalid timeout value."),
        _ => say("'set timeout' only supports 'cli'."),
    }
}

fn severity(text: &str) -> ApiCommand {
    ApiCommand::Client(ClientChange::Severity(match text {
        "none" => SeverityStyle::Hidden,
        "number" => SeverityStyle::Number,
        "string" => SeverityStyle::Word,
        _ => return ApiCommand::Say(Said::error("one of 'none', 'number', 'string' is a required argument")),
    }))
}

fn add_server(all: &CommandWords) -> ApiCommand {
    match server_path(all.get(2)) {
        None => ApiCommand::Say(Said::error(WANTS_SERVER)),
        Some((backend, server)) => {
            ApiCommand::AddServer(backend, server, all.as_slice().get(3..).unwrap_or_default().to_vec())
        }
    }
}

/// `wait DELAY [srv-removable BACKEND/SERVER]`, as in HAProxy 3.0.
fn wait(all: &CommandWords) -> ApiCommand {
    let say = |text: &str| ApiCommand::Say(Said::error(text));
    if matches!(all.get(1), "" | "-h") {
        return ApiCommand::Say(Said::info(WAIT_USAGE));
    }
    let Some(time) = delay(all.get(1), Duration::from_millis(1)).filter(|time| !time.is_zero()) else {
        return say("Invalid duration.");
    };
    match all.get(2) {
        "" => ApiCommand::Wait(time, None),
        "srv-removable" => match server_path(all.get(3)) {
            Some(path) => ApiCommand::Wait(time, Some(path)),
            None => say("Missing server name (<backend>/<server>)."),
        },
        _ => ApiCommand::Say(Said::error(WAIT_USAGE)),
    }
}

const CLEAR_TABLE: &str =
    "Required arguments: <table> \"data.<store_data_type>\" <operator> <value> or <table> key <key>";

const WAIT_USAGE: &str = "Usage: wait {-h|<duration>} [condition [args...]]
  - '-h' displays this help
  - <duration> is the maximum wait time, optionally suffixed by the unit among 'us', 'ms', 's', 'm', 'h', and 'd'. ; the default unit is milliseconds.
  - <condition> indicates what to wait for, no longer than the duration. Supported conditions are:
    - <none> : by default, just sleep for the specified duration.
    - srv-removable <proxy>/<server>: wait for this server to become removable.";

#[cfg(test)]
mod tests {
    use super::super::keyword;
    use super::*;

    fn read(line: &str) -> ApiCommand {
        let (words, table) = (CommandWords::from(line), keyword::of_process());
        ApiCommand::read(keyword::find(&table, words.as_slice()).expect(line).verb, &words)
    }

    fn said(line: &str) -> String {
        match read(line) {
            ApiCommand::Say(said) => said.text(SeverityStyle::Hidden),
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn wrong_arguments_have_haproxys_words() {
        for (line, text) in [
            ("set server", WANTS_SERVER),
            ("set server zz", WANTS_SERVER),
            ("set server /z", WANTS_SERVER),
            ("add server zz/", WANTS_SERVER),
            ("shutdown sessions server", WANTS_SERVER),
            ("enable frontend", WANTS_FRONTEND),
            ("set maxconn frontend", WANTS_FRONTEND),
            ("set maxconn global", WANTS_INTEGER),
            ("set timeout", "'set timeout' only supports 'cli'."),
            ("set timeout cli", WANTS_INTEGER),
            ("set timeout cli x", "Invalid timeout value."),
            ("set timeout cli 0", "Invalid timeout value."),
            ("shutdown session", "Session pointer expected (use 'show sess')."),
            ("shutdown session zz", "Session pointer expected (use 'show sess')."),
            ("wait x", "Invalid duration."),
        ] {
            assert_eq!(said(line).trim_end(), text, "{line}");
        }
    }

    #[test]
    fn right_ones_are_read() {
        let server = |change| ApiCommand::Server("zz".into(), "z1".into(), change);
        for (line, command) in [
            ("set maxconn server zz/z1 5", server(ServerChange::Maxconn(5))),
            ("set maxconn server zz/z1 5x", server(ServerChange::Wrong("Trailing garbage in maxconn string"))),
            ("set maxconn frontend aa 5x", ApiCommand::Frontend("aa".into(), FrontendChange::Maxconn(5))),
            ("set maxconn frontend aa -1", ApiCommand::Frontend("aa".into(), FrontendChange::Wrong(OUT_OF_RANGE))),
            ("set timeout cli 2m", ApiCommand::Client(ClientChange::Silence(Duration::from_secs(120)))),
            ("shutdown session 0x1F", ApiCommand::KillSession(31)),
            ("clear counters all", ApiCommand::ClearCounters { all: true }),
            (
                "wait 5 srv-removable zz/z1",
                ApiCommand::Wait(Duration::from_millis(5), Some(("zz".into(), "z1".into()))),
            ),
        ] {
            assert_eq!(read(line), command, "{line}");
        }
    }
}
