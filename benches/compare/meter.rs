//! Usage of processes: CPU from the scheduler's accounting (`/proc/PID/task/TID/schedstat`, nanoseconds on a CPU),
//! which other programs on the machine hardly disturb, and memory.

use std::fs;
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

/// The descendants of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meter {
    pid: u32,
}

impl Meter {
    pub(crate) fn new(pid: u32) -> Self {
        Self { pid }
    }

    /// This process.
    pub(crate) fn own() -> Self {
        Self::new(std::process::id())
    }

    /// Pids of all descendants, without the process itself.
    pub(crate) fn below(&self) -> Vec<u32> {
        let mut pids = vec![self.pid];
        let mut next = 0;
        while next < pids.len() {
            for task in tasks(pids[next]) {
                let children = fs::read_to_string(format!("{task}/children")).unwrap_or_default();
                pids.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
            }
            next += 1;
        }
        pids.split_off(1)
    }

    /// CPU time of all threads below since they began.
    pub(crate) fn cpu(&self) -> Duration {
        let nanos = self.below().into_iter().flat_map(tasks).filter_map(|task| on_cpu(&task));
        Duration::from_nanos(nanos.sum())
    }

    /// CPU time of the process itself.
    pub(crate) fn cpu_itself(&self) -> Duration {
        Duration::from_nanos(tasks(self.pid).iter().filter_map(|task| on_cpu(task)).sum())
    }

    /// Private memory of all descendants, in bytes: what their end would free. `None`: it cannot be read.
    pub(crate) fn memory(&self) -> Option<u64> {
        self.below().into_iter().map(private).sum()
    }
}

/// CPU time of this program and of the children it has waited for.
pub(crate) fn family() -> Duration {
    let used = |target| {
        let usage = getrusage(target).ok()?;
        let micros = |time: nix::sys::time::TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
        let all = micros(usage.user_time()) + micros(usage.system_time());
        u64::try_from(all).ok()
    };
    let micros = [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN].into_iter().filter_map(used);
    Duration::from_micros(micros.sum())
}

/// CPU time of all programs of the machine, from `/proc/stat`, in steps of ten milliseconds.
pub(crate) fn machine() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    let fields: Vec<u64> =
        stat.lines().next()?.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; see proc(5).
    let busy = fields.get(..3)?.iter().sum::<u64>() + fields.get(5..7)?.iter().sum::<u64>();
    Some(Duration::from_millis(busy * 10))
}

fn tasks(pid: u32) -> Vec<String> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    names.map(|tid| format!("/proc/{pid}/task/{tid}")).collect()
}

fn on_cpu(task: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("{task}/schedstat")).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

fn private(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let kilobytes = text
        .lines()
        .filter(|line| line.starts_with("Private_"))
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    Some(kilobytes.sum::<u64>() * 1024)
}
