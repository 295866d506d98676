//! Messages of the supervisor on stderr.

use std::io::{self, Write};

/// Prints one line. A closed stderr must not end the supervisor, hence no `eprintln!`.
pub(crate) fn print(text: impl AsRef<str>) {
    match writeln!(io::stderr(), "lb: {}", text.as_ref()) {
        Ok(()) | Err(_) => {}
    }
}
