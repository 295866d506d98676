//! Limits of the process: descriptors, pipes, cores.

use std::time::Duration;
use std::{fs, io, thread};

use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::{TimeVal, TimeValLike};
use nix::unistd::geteuid;

use super::fd;
use super::pipe::PIPE_BYTES;

/// How many descriptors this process may have: soft and hard limit.
fn descriptor_limits() -> (u64, u64) {
    // Cannot fail for a valid resource; POSIX promises at least 20, and 1,024 is Linux's default.
    getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((1024, 1024))
}

/// How many descriptors this process may have.
pub(crate) fn descriptor_limit() -> u64 {
    descriptor_limits().0
}

/// Raises the soft descriptor limit to the hard one, as HAProxy does, and returns what it is now.
pub(crate) fn raise_descriptor_limit() -> u64 {
    let (soft, hard) = descriptor_limits();
    if soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok() { hard } else { soft }
}

/// Makes the kernel's table of this process's descriptors as large as they may become (at most `TABLE`), while the
/// process has one thread. It grows by doubling otherwise, and once there are more threads each doubling waits for an
/// RCU grace period: `accept` or the receipt of sessions then takes tens of milliseconds, on saturated cores up to a
/// second.
pub(crate) fn reserve_descriptors() {
    let highest = raise_descriptor_limit().min(TABLE).saturating_sub(1);
    let Ok(highest) = i32::try_from(highest) else {
        return;
    };
    let reserved = fcntl(io::stderr(), FcntlArg::F_DUPFD_CLOEXEC(highest));
    if let Ok(number) = reserved {
        // Closed at once; the table never shrinks. Whether it worked or not, nothing but time depends on it.
        drop(fd::inherit(number));
    }
}

/// 256 KiB of kernel memory; enough for 16,000 sessions.
const TABLE: u64 = 32_768;

/// Time that the threads of this process have used.
pub(crate) fn cpu_time() -> Duration {
    let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) else { return Duration::ZERO };
    let of = |time: TimeVal| {
        let micros = u64::try_from(time.num_microseconds()).unwrap_or(0);
        Duration::from_micros(micros)
    };
    of(usage.user_time()) + of(usage.system_time())
}

/// The name of this host.
pub(crate) fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    name.trim_end().to_owned()
}

/// Cores that this process may run on.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// How many pipes of [`PIPE_BYTES`] the process may hold. An unprivileged user has `fs.pipe-user-pages-soft` pages
/// for all its processes (16,384 by default); half of them are taken, since two engines live during an upgrade.
pub(crate) fn pipe_budget() -> usize {
    // Root is exempt through CAP_SYS_RESOURCE; what bounds it is memory: 1,024 pipes are 256 MiB at the very most.
    const PRIVILEGED: usize = 1024;
    if geteuid().is_root() {
        return PRIVILEGED;
    }
    let pages = fs::read_to_string("/proc/sys/fs/pipe-user-pages-soft")
        .ok()
        .and_then(|text| text.trim().parse::<usize>().ok())
        .unwrap_or(16_384);
    if pages == 0 { PRIVILEGED } else { (pages / 2 / (PIPE_BYTES / 4096)).min(PRIVILEGED) }
}
