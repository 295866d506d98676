//! Facts from /proc about processes: descriptors, pipes, memory, CPU. Figures are of whole process trees, since the
//! balancer is a supervisor and an engine.

use std::fs;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::process::{PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// All descendants of `pid`.
pub(crate) fn descendants(pid: i32) -> Vec<i32> {
    let parents: Vec<(i32, i32)> = numbers("/proc").filter_map(|child| Some((child, parent(child)?))).collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(&ancestor) = found.get(next) {
        found.extend(parents.iter().filter(|(_, parent)| *parent == ancestor).map(|(child, _)| *child));
        next += 1;
    }
    found.split_off(1)
}

/// SIGKILL; waits for the end, of which there is no other event for a process that is no child of this one.
pub(crate) fn end(pid: i32) {
    let Some(process) = rustix::process::Pid::from_raw(pid) else { return };
    let Ok(pidfd) = pidfd_open(process, PidfdFlags::empty()) else { return };
    pidfd_send_signal(&pidfd, Signal::KILL).ok();
    poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::from(END_LIMIT)).ok();
}

/// `pid` and its descendants.
pub(crate) fn tree(pid: i32) -> Vec<i32> {
    let mut all = descendants(pid);
    all.insert(0, pid);
    all
}

/// CPU time (user and system) used by the tree's living threads.
pub(crate) fn cpu(pid: i32) -> Duration {
    let of_thread = |text: String| text.split(' ').next()?.parse().ok();
    Duration::from_nanos(sum_of_threads(pid, "schedstat", of_thread))
}

/// How often the tree's living threads have gone to sleep, and so were woken.
pub(crate) fn sleeps(pid: i32) -> u64 {
    sum_of_threads(pid, "status", |text| {
        let mut lines = text.lines();
        lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:")?.trim().parse().ok())
    })
}

/// Whether no thread of the process runs, because of a SIGSTOP.
pub(crate) fn is_stopped(pid: i32) -> bool {
    let stopped = |thread: i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/task/{thread}/status")).unwrap_or_default();
        status.lines().any(|line| line.starts_with("State:") && line.contains("T (stopped)"))
    };
    numbers(&format!("/proc/{pid}/task")).all(stopped)
}

/// The sum of a number from the file `file` of each thread of the tree in /proc.
fn sum_of_threads(pid: i32, file: &str, number: impl Fn(String) -> Option<u64>) -> u64 {
    let of_process = |pid: i32| -> u64 {
        let paths = numbers(&format!("/proc/{pid}/task")).map(|thread| format!("/proc/{pid}/task/{thread}/{file}"));
        paths.filter_map(|path| number(fs::read_to_string(path).ok()?)).sum()
    };
    tree(pid).into_iter().map(of_process).sum()
}

/// Private memory (clean and dirty) of the tree in bytes: what its end would free.
pub(crate) fn private_memory(pid: i32) -> u64 {
    let of = |pid: i32| -> u64 {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let private = text.lines().filter(|line| line.starts_with("Private_"));
        private.filter_map(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok()).sum::<u64>() * 1024
    };
    tree(pid).into_iter().map(of).sum()
}

/// The lowest descriptor that is not open in the process `pid`: the number its next `open` or `accept` returns.
pub(crate) fn free_descriptor(pid: i32) -> i32 {
    let open: Vec<i32> = numbers(&format!("/proc/{pid}/fd")).collect();
    (0..).find(|number| !open.contains(number)).unwrap()
}

/// The targets of the tree's descriptors: `socket:[1]`, `pipe:[2]`, `/some/file`.
pub(crate) fn descriptors(pid: i32) -> Vec<String> {
    let of = |pid: i32| {
        let links = numbers(&format!("/proc/{pid}/fd")).map(move |fd| format!("/proc/{pid}/fd/{fd}"));
        links.filter_map(|link| Some(fs::read_link(link).ok()?.to_string_lossy().into_owned()))
    };
    tree(pid).into_iter().flat_map(of).collect()
}

/// Ends of pipes held by the tree.
pub(crate) fn pipes(pid: i32) -> usize {
    descriptors(pid).iter().filter(|target| target.starts_with("pipe:")).count()
}

pub(crate) fn threads(pid: i32) -> usize {
    tree(pid).into_iter().map(|pid| numbers(&format!("/proc/{pid}/task")).count()).sum()
}

/// A kernel counter: of /proc/net/netstat by its name, e.g. `ListenDrops`; of /proc/net/snmp with its protocol in
/// front, as nstat(8) prints it: `TcpOutRsts`.
pub(crate) fn netstat(name: &str) -> u64 {
    let read = |file: &str| fs::read_to_string(file).unwrap();
    let text = read("/proc/net/netstat") + &read("/proc/net/snmp");
    let lines: Vec<&str> = text.lines().collect();
    let found = lines.chunks(2).find_map(|pair| {
        let protocol = pair[0].split(':').next()?;
        let is_it = |word: &str| word == name || name.strip_prefix(protocol) == Some(word);
        let index = pair[0].split(' ').position(is_it)?;
        pair[1].split(' ').nth(index)?.parse().ok()
    });
    found.unwrap_or_else(|| panic!("no counter {name}"))
}

fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(1)?.parse().ok()
}

/// The entries of a directory that are numbers.
fn numbers(dir: &str) -> impl Iterator<Item = i32> + use<> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Milliseconds that a killed process takes at most to be gone.
const END_LIMIT: u16 = 10_000;

#[test]
fn the_figures_of_this_process_make_sense() {
    let me = std::process::id().cast_signed();
    // Other tests of this process open and close files meanwhile.
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    assert!(descriptors(me).contains(&path));
    drop(file);
    assert!(!descriptors(me).iter().any(|open| open.starts_with(&path)));
    assert!(cpu(me) > Duration::ZERO);
    assert!(private_memory(me) > 100_000);
    assert!(threads(me) > 1);
    assert!(netstat("ListenDrops") < u64::MAX);
    assert!(netstat("TcpOutRsts") < u64::MAX);
}
