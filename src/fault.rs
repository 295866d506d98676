//! Fault points: places where a test can make this process fail.
//!
//! They exist in debug builds and in builds with the feature `fault-points`. `LB_FAULT=PATH` in the environment names a
//! file; the process that reaches the point named by the file's first word removes the file and fails as the second
//! word demands (`kill`, `stop`, `exit`, `panic`, `hang`). Processes that reach the point later are not affected.

/// Fails here if this point is armed.
pub(crate) fn point(name: &str) {
    #[cfg(any(debug_assertions, feature = "fault-points"))]
    armed::fail(name);
    #[cfg(not(any(debug_assertions, feature = "fault-points")))]
    let _ = name;
}

#[cfg(any(debug_assertions, feature = "fault-points"))]
mod armed {
    use std::fs;

    use nix::sys::signal::{Signal, raise};

    pub(crate) fn fail(name: &str) {
        let Some(path) = std::env::var_os("LB_FAULT") else {
            return;
        };
        let text = fs::read_to_string(&path).unwrap_or_default();
        let mut words = text.split_whitespace();
        // Several processes may get here at once: the one that removes the file fails.
        if words.next() != Some(name) || fs::remove_file(&path).is_err() {
            return;
        }
        match words.next() {
            Some("stop") => drop(raise(Signal::SIGSTOP)),
            Some("exit") => std::process::exit(9),
            Some("panic") => panic!("panic at a fault point"),
            Some("hang") => std::thread::sleep(std::time::Duration::from_secs(600)),
            _ => drop(raise(Signal::SIGKILL)),
        }
    }
}
