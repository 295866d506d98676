//! Messages of `lb register`.

/// A message to stderr.
pub(super) fn complain(message: &str) {
    eprintln!("lb: register: {message}");
}
