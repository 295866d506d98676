//! The division of cores between the load and the balancers.

use std::io;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

/// The load runs on the first core of this program; balancers get the others, or with two threads all.
pub(crate) fn balancing_cores(threads: usize) -> Vec<usize> {
    let cores = cores();
    match cores.as_slice() {
        [_, others @ ..] if others.len() >= threads => others[..threads].to_vec(),
        _ => cores,
    }
}

/// Pins this thread, which is the whole load, to its core.
pub(crate) fn pin_load() -> io::Result<()> {
    match cores().first() {
        Some(first) => pin(&[*first]),
        None => Ok(()),
    }
}

/// The cores that this program was allowed to use when it began.
fn cores() -> Vec<usize> {
    static CORES: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    let allowed = || {
        let set = nix::sched::sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
        (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect()
    };
    CORES.get_or_init(allowed).clone()
}

fn pin(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// A child inherits the cores of the thread that starts it.
pub(crate) fn on_cores<T>(cores: &[usize], spawn: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    pin(cores)?;
    let child = spawn();
    pin_load()?;
    child
}
