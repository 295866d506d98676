//! `lb demo` as a first-time user runs it.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::support::figure::figure;
use crate::support::proc;
use crate::support::process::{Process, run};
use crate::support::wait::eventually;

fn demo(args: &[&str], temporary: &std::path::Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lb"));
    command.arg("demo").args(args).env("TMPDIR", temporary);
    command
}

#[test]
fn a_killed_and_a_drained_server_and_an_upgrade_cost_no_request() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(&demo(&["--seconds", "6", "--json"], dir.path()), Duration::from_secs(60));
    let report = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{report}{}", String::from_utf8_lossy(&output.stdout));
    for event in [
        "bert is killed",
        "bert is back",
        "carl is drained",
        "carl is ready again",
        "the balancer is replaced",
        "0 left to drain",
    ] {
        assert!(report.contains(event), "no {event:?} in {report}");
    }
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["failed"], 0);
    let open = summary["open_connection"]["answered"].as_u64();
    assert!(open.is_some_and(|answered| answered > 10), "{}", summary["open_connection"]);
    let requests = summary["requests"].as_u64().unwrap();
    let servers = summary["servers"].as_object().unwrap();
    let answered = servers.values().map(|count| count.as_u64().unwrap()).sum::<u64>();
    assert_eq!((answered, servers.len()), (requests, 3));
    assert!(dir.path().read_dir().unwrap().next().is_none(), "the demo left something in {}", dir.path().display());
    figure("demo requests a second", &summary["rate"]);
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let own = tempfile::tempdir().unwrap();
    let mut demo = Process::start("demo", own.path(), &demo(&["--seconds", "600"], dir.path()));
    eventually(Duration::from_secs(20), "the load", || demo.stderr().contains("listens").then_some(()));
    let processes = proc::descendants(demo.pid());
    assert!(processes.len() >= 3, "{processes:?}");
    demo.signal(Signal::SIGINT);
    assert_eq!(demo.wait(Duration::from_secs(10)).code(), Some(1));
    eventually(Duration::from_secs(10), "the end of its processes", || {
        processes.iter().all(|&pid| is_gone(pid)).then_some(())
    });
    assert!(dir.path().read_dir().unwrap().next().is_none());
}

/// Ended, even if not reaped yet: a zombie has no command line.
fn is_gone(pid: i32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).map_or(true, |line| line.is_empty())
}
