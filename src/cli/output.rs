//! What goes to stdout and stderr.
//!
//! `println!` panics when its reader has left (`lb status | head -1`); these do not.

use std::io::{self, IsTerminal, Write};

use super::ExitStatus;
use crate::log::voice;

/// Writes an answer to stdout. A reader that has left is not an error.
pub(super) fn print(text: &str) -> ExitStatus {
    match try_print(text) {
        Ok(_) => ExitStatus::Done,
        Err(error) => unwritten(&error),
    }
}

/// Writes to stdout; `Ok(false)` when its reader has left.
pub(super) fn try_print(text: &str) -> io::Result<bool> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// Stdout has failed, and not only its reader left.
pub(super) fn unwritten(error: &io::Error) -> ExitStatus {
    complain(&format!("cannot write to stdout: {error}"));
    ExitStatus::Failed
}

/// Writes a message to stderr, `lb:` before it.
pub(super) fn complain(message: &str) {
    voice::write_all(&format!("lb: {message}\n"));
}

/// The text without what could steer a terminal: names and causes come from other machines.
pub(super) fn harmless(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// Whether stdout shows colours: a terminal, and NO_COLOR is not set (<https://no-color.org>).
pub(super) fn colour() -> bool {
    io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
