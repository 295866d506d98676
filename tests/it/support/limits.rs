//! The machine's limits, and mutual exclusion of tests on it.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises this process's descriptor limit as far as it may go, and returns it.
pub(crate) fn raise_descriptors() -> u64 {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    hard
}

/// Held by tests that measure time, CPU or memory, or load the whole machine, while they run.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `short`, or `long` when `tests/run --long` asks for it.
pub(crate) fn amount<T>(short: T, long: T) -> T {
    if std::env::var_os("LB_TEST_LONG").is_some() { long } else { short }
}
