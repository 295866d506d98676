//! What went wrong with a check, in the operator's words.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use nix::errno::Errno;

use crate::backend::health::CheckStatus;
use crate::config::{ScriptAction, ScriptStep};

/// Why a check failed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ProbeFailure {
    pub(super) status: CheckStatus,
    pub(super) code: Option<u16>,
    /// One phrase; `CheckResult` cuts it and makes it printable.
    pub(super) cause: Cow<'static, str>,
}

impl ProbeFailure {
    pub(super) fn new(status: CheckStatus, cause: impl Into<Cow<'static, str>>) -> Self {
        Self { status, code: None, cause: cause.into() }
    }

    /// The same, in the words that the file has for this step, and with its comment.
    pub(super) fn said_of(mut self, step: &ScriptStep) -> Self {
        let own = match &step.action {
            ScriptAction::Expect(answer) => answer.on_error.clone(),
            ScriptAction::Connect(_) | ScriptAction::Send(_) => None,
        };
        if let Some(own) = own {
            self.cause = own.into();
        }
        if let Some(comment) = &step.comment {
            self.cause = format!("{} ({comment})", self.cause).into();
        }
        self
    }

    /// No connection came about.
    pub(super) fn connecting(err: &io::Error) -> Self {
        match errno(err) {
            // This host lacks something: that is no news of the server. Ports run out for each destination.
            Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM => {
                Self::new(CheckStatus::SockErr, format!("this host: {}", describe(err)))
            }
            Errno::EADDRNOTAVAIL => Self::new(CheckStatus::SockErr, "this host: no free local port or address"),
            // connect(2) to a unix socket does not wait for room in the queue.
            Errno::EAGAIN => Self::new(CheckStatus::L4Con, "accept queue is full"),
            Errno::ETIMEDOUT => Self::new(CheckStatus::L4Tout, describe(err)),
            _ => Self::new(CheckStatus::L4Con, describe(err)),
        }
    }

    /// A program could not be started. HAProxy too takes one that is not there for a failure, which an operator sees.
    pub(super) fn starting(err: &io::Error, program: &Path) -> Self {
        match errno(err) {
            Errno::EMFILE | Errno::ENFILE | Errno::EAGAIN | Errno::ENOMEM => {
                Self::new(CheckStatus::SockErr, format!("this host: {}", describe(err)))
            }
            _ => Self::new(CheckStatus::L7Rsp, format!("{}: {}", program.display(), describe(err))),
        }
    }

    /// The connection broke: HAProxy's SOCKERR, which is kept for our own faults here.
    pub(super) fn broken(err: &io::Error, during: &str) -> Self {
        Self::new(CheckStatus::L7Rsp, format!("{} {during}", describe(err)))
    }
}

/// The system's phrase, as in `connection refused`.
fn describe(err: &io::Error) -> String {
    match errno(err) {
        Errno::UnknownErrno => err.to_string(),
        errno => errno.desc().to_lowercase(),
    }
}

fn errno(err: &io::Error) -> Errno {
    err.raw_os_error().map_or(Errno::UnknownErrno, Errno::from_raw)
}

/// The beginning of some bytes as text, for a quotation; `…` stands for the rest.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    let cut = &bytes[..bytes.len().min(EXCERPT)];
    let mut text = String::new();
    for chunk in cut.utf8_chunks() {
        text.push_str(chunk.valid());
        for byte in chunk.invalid() {
            write!(text, "\\x{byte:02x}").expect("writing to a String does not fail");
        }
    }
    // The last line break before the cut carries nothing, and would be shown escaped.
    let shown = text.trim_end_matches(['\r', '\n']);
    if cut.len() < bytes.len() { format!("{shown}…") } else { shown.to_owned() }
}

/// Bytes quoted of an answer: two such quotations fit into a cause.
const EXCERPT: usize = 40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_this_host_lacks_from_what_the_server_does() {
        for (errno, status, cause) in [
            (Errno::ECONNREFUSED, CheckStatus::L4Con, "connection refused"),
            (Errno::EHOSTUNREACH, CheckStatus::L4Con, "no route to host"),
            (Errno::ENOENT, CheckStatus::L4Con, "no such file or directory"),
            (Errno::EAGAIN, CheckStatus::L4Con, "accept queue is full"),
            (Errno::ETIMEDOUT, CheckStatus::L4Tout, "connection timed out"),
            (Errno::EMFILE, CheckStatus::SockErr, "this host: too many open files"),
            (Errno::EADDRNOTAVAIL, CheckStatus::SockErr, "this host: no free local port or address"),
        ] {
            let failure = ProbeFailure::connecting(&io::Error::from(errno));
            assert_eq!((failure.status, &*failure.cause), (status, cause));
        }
    }

    #[test]
    fn tells_what_this_host_lacks_from_a_program_that_is_not_there() {
        for (errno, status, cause) in [
            (Errno::EMFILE, CheckStatus::SockErr, "this host: too many open files"),
            (Errno::EAGAIN, CheckStatus::SockErr, "this host: try again"),
            (Errno::ENOMEM, CheckStatus::SockErr, "this host: out of memory"),
            (Errno::ENOENT, CheckStatus::L7Rsp, "/bin/x: no such file or directory"),
            (Errno::EACCES, CheckStatus::L7Rsp, "/bin/x: permission denied"),
        ] {
            let failure = ProbeFailure::starting(&io::Error::from(errno), Path::new("/bin/x"));
            assert_eq!((failure.status, &*failure.cause), (status, cause));
        }
    }

    #[test]
    fn quotes_a_little_of_any_bytes() {
        assert_eq!(excerpt(b"+PONG\r\n"), "+PONG");
        assert_eq!(excerpt(b"a\xff\xc3"), "a\\xff\\xc3");
        assert_eq!(excerpt("ä".as_bytes()), "ä");
        assert_eq!(excerpt(&[b'x'; 41]), "x".repeat(40) + "…");
    }
}
