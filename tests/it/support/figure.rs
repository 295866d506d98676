//! Figures that a run prints whatever its outcome: `figure: NAME = VALUE`.

use std::io::Write;

/// Written past the test harness's capture, so that a green run shows them too.
pub(crate) fn figure(name: &str, value: impl std::fmt::Display) {
    let line = format!("figure: {name} = {value}\n");
    // A closed stderr does not fail a test.
    drop(std::io::stdout().write_all(line.as_bytes()));
}
