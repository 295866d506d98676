//! What was learnt about a server, by a check or by traffic.
//!
//! The cause is text for the operator that may quote the server: it is cut and made printable here, so that
//! it can be shown anywhere as it is.

use std::fmt::{self, Write as _};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// One thing learnt about a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    pub status: CheckStatus,
    /// The HTTP status code, where there was one.
    pub code: Option<u16>,
    /// One clear phrase, printable and at most [`MAX_CAUSE`] characters; empty when there is none.
    pub cause: String,
    /// From the start of the check to its result. In text: whole microseconds.
    #[serde(rename = "duration_us", with = "micros")]
    pub duration: Duration,
    pub source: ResultSource,
    /// When it was taken into the server's state. No instant of another process: not in text.
    #[serde(skip)]
    pub ended: Option<Instant>,
}

impl CheckResult {
    /// The result of a check. The cause may hold anything; what is not printable is escaped, what is too long is cut.
    pub fn new(status: CheckStatus, cause: &str, duration: Duration) -> Self {
        Self { status, code: None, cause: printable(cause), duration, source: ResultSource::Check, ended: None }
    }

    /// The same, learnt from a live session.
    pub fn seen_in_traffic(self) -> Self {
        Self { source: ResultSource::Traffic, ..self }
    }

    /// The same, with an HTTP status code.
    pub fn with_code(self, code: u16) -> Self {
        Self { code: Some(code), ..self }
    }
}

/// `L7STS/503 in 12ms: status 503, expected 200-399`.
impl fmt::Display for CheckResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.status)?;
        if let Some(code) = self.code {
            write!(f, "/{code}")?;
        }
        write!(f, " in {}ms", self.duration.as_millis())?;
        if !self.cause.is_empty() {
            write!(f, ": {}", self.cause)?;
        }
        Ok(())
    }
}

/// Where it was learnt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ResultSource {
    Check,
    Traffic,
}

/// HAProxy's `check_status`, as far as it can occur here. Text and serde form are HAProxy's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum CheckStatus {
    /// Not checked yet.
    Ini,
    /// An agent answered and said nothing of the server's health.
    Checked,
    /// This host could not ask: no descriptor, port or memory left. It is no fact about the server.
    SockErr,
    /// Connected, and no more was asked.
    L4Ok,
    /// The connection was not answered in time.
    L4Tout,
    /// The connection was refused, or there is no way to the server.
    L4Con,
    /// The answer was as expected.
    L7Ok,
    /// Connected, but no answer in time.
    L7Tout,
    /// An answer that is not the expected one, or a connection that was closed instead of it.
    L7Rsp,
    /// A proper HTTP answer with a status code that is not expected.
    L7Sts,
}

impl CheckStatus {
    /// The check passed.
    pub fn is_ok(self) -> bool {
        matches!(self, Self::L4Ok | Self::L7Ok)
    }

    /// What to give to [`super::Health::record`]. `None`: nothing. Were a lack of descriptors or ports on this host
    /// counted as a failure, it would take every server DOWN at once.
    pub fn verdict(self) -> Option<bool> {
        match self {
            Self::Ini | Self::Checked | Self::SockErr => None,
            other => Some(other.is_ok()),
        }
    }
}

impl fmt::Display for CheckStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ini => "INI",
            Self::Checked => "CHECKED",
            Self::SockErr => "SOCKERR",
            Self::L4Ok => "L4OK",
            Self::L4Tout => "L4TOUT",
            Self::L4Con => "L4CON",
            Self::L7Ok => "L7OK",
            Self::L7Tout => "L7TOUT",
            Self::L7Rsp => "L7RSP",
            Self::L7Sts => "L7STS",
        })
    }
}

/// Characters in a cause, its final `…` included.
pub(crate) const MAX_CAUSE: usize = 120;

/// Control characters and the like as escapes, then at most [`MAX_CAUSE`] characters.
fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(MAX_CAUSE));
    let mut room = MAX_CAUSE;
    for c in text.chars() {
        let escaped = c.is_control() || is_invisible(c);
        let width = if escaped { c.escape_default().count() } else { 1 };
        // One place is kept for the ellipsis until the text is known to end.
        if width >= room {
            shown.push('…');
            return shown;
        }
        room -= width;
        if escaped {
            write!(shown, "{}", c.escape_default()).expect("writing to a String does not fail");
        } else {
            shown.push(c);
        }
    }
    shown
}

/// Characters that rearrange or hide the text around them on a terminal.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

mod micros {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_micros)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn shows_the_words_of_haproxy() {
        use CheckStatus::*;
        let shown = [Ini, Checked, SockErr, L4Ok, L4Tout, L4Con, L7Ok, L7Tout, L7Rsp, L7Sts].map(|status| {
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{status}\""));
            status.to_string()
        });
        assert_eq!(shown.join(" "), "INI CHECKED SOCKERR L4OK L4TOUT L4CON L7OK L7TOUT L7RSP L7STS");
        let sts = CheckResult::new(L7Sts, "status 503, expected 200-399", 12 * MS).with_code(503);
        assert_eq!(sts.to_string(), "L7STS/503 in 12ms: status 503, expected 200-399");
    }

    #[test]
    fn our_own_lack_of_means_is_no_verdict_on_the_server() {
        assert_eq!(CheckStatus::SockErr.verdict(), None);
        assert_eq!(CheckStatus::Ini.verdict(), None);
        assert_eq!(CheckStatus::L4Ok.verdict(), Some(true));
        assert_eq!(CheckStatus::L7Sts.verdict(), Some(false));
    }

    #[test]
    fn a_cause_is_cut_and_made_printable() {
        for (given, shown) in [
            ("", "".to_owned()),
            ("connection refused", "connection refused".to_owned()),
            ("a\r\nb\x1b[31m\u{202e}", "a\\r\\nb\\u{1b}[31m\\u{202e}".to_owned()),
            (&"é".repeat(119), "é".repeat(119)),
            (&"é".repeat(500), "é".repeat(119) + "…"),
        ] {
            assert_eq!(printable(given), shown);
        }
    }

    proptest! {
        #[test]
        fn any_cause_is_bounded_and_printable(text in "\\PC*|(?s).*") {
            let shown = printable(&text);
            prop_assert!(shown.chars().count() <= MAX_CAUSE);
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
