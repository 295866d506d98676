//! Faults: places where a test can make this very process fail.
//!
//! Only debug builds and builds with the feature `fault-points` have them. `LB_FAULT=PATH` in the environment names a
//! file; the process that reaches a point whose name is the file's first word removes the file and does what the
//! second word says (`kill`, `stop`, `exit`, `panic`, `hang`), so that whoever comes there later lives on.

/// Fails here if a test wants it.
pub(crate) fn point(name: &str) {
    #[cfg(any(debug_assertions, feature = "fault-points"))]
    wanted::fail(name);
    #[cfg(not(any(debug_assertions, feature = "fault-points")))]
    let _ = name;
}

#[cfg(any(debug_assertions, feature = "fault-points"))]
mod wanted {
    use std::fs;

    use nix::sys::signal::{Signal, raise};

    pub(crate) fn fail(name: &str) {
        let Some(path) = std::env::var_os("LB_FAULT") else {
            return;
        };
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut words = text.split_whitespace();
        // Several processes may come here at once: the one that removes the file is meant.
        if words.next() != Some(name) || fs::remove_file(&path).is_err() {
            return;
        }
        match words.next() {
            Some("stop") => drop(raise(Signal::SIGSTOP)),
            Some("exit") => std::process::exit(9),
            Some("panic") => panic!("a test wants this panic"),
            Some("hang") => std::thread::sleep(std::time::Duration::from_secs(600)),
            _ => drop(raise(Signal::SIGKILL)),
        }
    }
}
