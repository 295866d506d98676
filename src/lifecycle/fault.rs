//! Faults: places where a test can make this very process die, as SIGKILL would have it.
//!
//! Only debug builds and builds with the feature `fault-points` have them. `LB_FAULT=NAME@PATH` in the environment
//! names a point and a file; the process that reaches the point first removes the file and dies, so that whoever
//! comes there later lives on.

/// Dies here if a test wants it.
pub fn point(name: &str) {
    #[cfg(any(debug_assertions, feature = "fault-points"))]
    if let Ok(fault) = std::env::var("LB_FAULT")
        && let Some((wanted, path)) = fault.split_once('@')
        && wanted == name
        && std::fs::remove_file(path).is_ok()
    {
        match nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL) {
            Ok(()) | Err(_) => {}
        }
    }
    #[cfg(not(any(debug_assertions, feature = "fault-points")))]
    let _ = name;
}
