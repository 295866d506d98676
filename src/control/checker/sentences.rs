//! What HAProxy says of servers that change their state, word for word: alarms of its users match these sentences.

use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::backend::health::{CheckResult, CheckStatus, ResultSource, Transition};
use crate::backend::{Backend, Member};
use crate::config::AdminState;
use crate::log::ChangeLine;

/// A sentence with its level of syslog.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sentence {
    pub(super) level: u8,
    pub(super) text: String,
}

/// Why a server went UP or DOWN; its text is for messages on stderr.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cause<'a> {
    Result(&'a CheckResult),
    /// The server that it follows, as `backend/server`.
    Via(&'a str),
    /// The words of its agent, and how long it took to answer.
    Agent {
        words: &'a str,
        took: Duration,
    },
}

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Result(result) => write!(f, "{result}"),
            Self::Via(path) => write!(f, "via {path}"),
            Self::Agent { words, .. } => write!(f, "its agent says {}", words.escape_debug()),
        }
    }
}

/// A server went UP or DOWN.
pub(super) fn passed(backend: &Backend, member: &Member, to: Transition, cause: &Cause<'_>) -> Sentence {
    let is_up = to == Transition::WentUp;
    let mut text = format!("{} is {}{}", subject(backend, member), word(is_up), Why { cause, is_up });
    write_counts(&mut text, backend, member, is_up);
    // One that takes no new sessions anyway is no alarm.
    let was_idle = member.server.state().administration() != AdminState::Ready;
    Sentence { level: if is_up || was_idle { ChangeLine::NOTICE } else { ChangeLine::ALERT }, text }
}

/// A server has another administrative state than `before`; `via`: because the one that it follows has.
pub(super) fn administered(
    backend: &Backend,
    member: &Member,
    before: AdminState,
    via: Option<&str>,
) -> impl Iterator<Item = Sentence> + use<> {
    use AdminState::{Drain, Maint, Ready};
    let (now, is_up) = {
        let state = member.server.state();
        (state.administration(), state.is_up())
    };
    let (subject, up) = (subject(backend, member), word(is_up));
    let forced = if via.is_some() { "" } else { "forced " };
    let via = via.map_or_else(String::new, |path| format!(" via {path}"));
    let notice = |text: String| Sentence { level: ChangeLine::NOTICE, text };
    let counted = |mut text: String, is_up: bool| {
        write_counts(&mut text, backend, member, is_up);
        text
    };
    let (first, second) = match (before, now) {
        (Ready, Ready) | (Drain, Drain) | (Maint, Maint) => (None, None),
        (Ready | Drain, Maint) if is_up => {
            let text = counted(format!("{subject} is going DOWN for maintenance{via}"), false);
            (Some(Sentence { level: if before == Ready { ChangeLine::ALERT } else { ChangeLine::NOTICE }, text }), None)
        }
        (Ready | Drain, Maint) => (Some(notice(format!("{subject} was DOWN and now enters maintenance{via}."))), None),
        (Maint, Ready) => (Some(notice(format!("{subject} is {up}/READY (leaving {forced}maintenance)."))), None),
        (Maint, Drain) => (
            Some(notice(format!("{subject} is {up}/DRAIN (leaving {forced}maintenance)."))),
            Some(notice(format!("{subject} remains in forced drain mode."))),
        ),
        (Ready, Drain) => (Some(notice(counted(format!("{subject} enters drain state{via}"), is_up))), None),
        (Drain, Ready) => (Some(notice(format!("{subject} is {up} (leaving forced drain)."))), None),
    };
    first.into_iter().chain(second)
}

/// The last usable server of a backend is none any more.
pub(super) fn unserved(backend: &Backend) -> Sentence {
    let kind = if backend.snapshot().settings.log.is_listen { "proxy" } else { "backend" };
    Sentence { level: ChangeLine::EMERG, text: format!("{kind} {} has no server available!", backend.name) }
}

fn subject(backend: &Backend, member: &Member) -> String {
    let backup = if member.spec.backup { "Backup " } else { "" };
    format!("{backup}Server {}/{}", backend.name, member.spec.name)
}

fn word(is_up: bool) -> &'static str {
    if is_up { "UP" } else { "DOWN" }
}

/// How many servers are left. Sessions wait for the backend here, so that none waits for one server.
fn write_counts(out: &mut String, backend: &Backend, member: &Member, is_up: bool) {
    let (active, backups) = backend.snapshot().usable();
    let on_backup = if active == 0 && backups > 0 { " Running on backup." } else { "" };
    _ = match is_up {
        true => write!(
            out,
            ". {active} active and {backups} backup servers online.{on_backup} 0 sessions requeued, 0 total in queue."
        ),
        false => write!(
            out,
            ". {active} active and {backups} backup servers left.{on_backup} {} sessions active, 0 requeued, 0 remaining in \
             queue.",
            member.server.sessions()
        ),
    };
}

/// A cause as HAProxy tells it.
struct Why<'a> {
    cause: &'a Cause<'a>,
    is_up: bool,
}

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.cause {
            Cause::Via(path) => write!(f, " via {path}"),
            Cause::Agent { words, took } => {
                let reason = description(if self.is_up { CheckStatus::L7Ok } else { CheckStatus::L7Sts });
                let (words, took) = (words.escape_debug(), took.as_millis());
                write!(f, ", reason: {reason}, code: 0, info: \"via agent : {words}\", check duration: {took}ms")
            }
            Cause::Result(result) if result.source == ResultSource::Traffic => {
                write!(f, ", reason: Health analyze, info: \"{}\"", capital(&result.cause))
            }
            Cause::Result(result) => {
                write!(f, ", reason: {}", description(result.status))?;
                if let Some(code) = result.code.or_else(|| (result.status == CheckStatus::L7Sts).then_some(0)) {
                    write!(f, ", code: {code}")?;
                }
                if !result.cause.is_empty() {
                    write!(f, ", info: \"{}\"", capital(&result.cause))?;
                }
                write!(f, ", check duration: {}ms", result.duration.as_millis())
            }
        }
    }
}

/// As the C library writes its reasons.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

fn description(status: CheckStatus) -> &'static str {
    match status {
        CheckStatus::Ini => "Initializing",
        CheckStatus::Checked => "No status change",
        CheckStatus::SockErr => "Socket error",
        CheckStatus::L4Ok => "Layer4 check passed",
        CheckStatus::L4Tout => "Layer4 timeout",
        CheckStatus::L4Con => "Layer4 connection problem",
        CheckStatus::L7Ok => "Layer7 check passed",
        CheckStatus::L7Tout => "Layer7 timeout",
        CheckStatus::L7Rsp => "Layer7 invalid response",
        CheckStatus::L7Sts => "Layer7 wrong status",
    }
}
