//! Messages of `lb register`.

use crate::log::voice;

/// A message to stderr.
pub(super) fn complain(message: &str) {
    voice::say(format_args!("register: {message}"));
}
