//! An engine that hangs is replaced, by the supervisor alone or by an upgrade; one that only stands still with its
//! supervisor is not.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::tempdir;

use crate::support::client::HANG;
use crate::support::config::Config;
use crate::support::fault::arm;
use crate::support::lb::Lb;
use crate::support::origin::{Behaviour, Origin};
use crate::support::wait::{eventually, observe};
use crate::support::waiting::Waiting;

#[test]
fn a_stopped_engine_is_replaced_and_the_clients_that_wait_are_served() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().global(r#"watchdog = "2s""#).origins([&origin]));
    let (addr, hung) = (lb.addr("web"), lb.engine());
    send(hung, Signal::SIGSTOP);
    let mut client = Waiting::new(addr, 1);
    eventually(HANG, "service", || client.is_served().then_some(()));
    assert!(lb.stderr().contains(&format!("engine {hung} has been silent for 2 s")), "{}", lb.stderr());
    assert_ne!(lb.engine(), hung);
    client.ping();
}

#[test]
fn an_engine_with_one_stuck_worker_is_replaced() {
    let origin = Origin::start(Behaviour::Echo);
    let dir = tempdir().unwrap();
    let fault = dir.path().join("fault");
    let config = Config::new().global(r#"watchdog = "2s""#).origins([&origin]);
    let lb = Lb::options().config(&config).env("LB_FAULT", &fault).start();
    let (addr, hung) = (lb.addr("web"), lb.engine());
    arm(&fault, "worker.stats", "hang");
    eventually(HANG, "the hang", || lb.stderr().contains("it hangs and is killed").then_some(()));
    let mut clients = Waiting::queue(addr, 16);
    eventually(HANG, "service", || clients.iter_mut().all(Waiting::is_served).then_some(()));
    assert_ne!(lb.engine(), hung);
}

#[test]
fn an_engine_that_stands_still_with_its_supervisor_is_left() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().global(r#"watchdog = "2s""#).origins([&origin]));
    let engine = lb.engine();
    let mut client = Waiting::new(lb.addr("web"), 1);
    eventually(HANG, "service", || client.is_served().then_some(()));
    send(lb.pid(), Signal::SIGSTOP);
    send(engine, Signal::SIGSTOP);
    observe(Duration::from_secs(4));
    send(lb.pid(), Signal::SIGCONT);
    observe(Duration::from_millis(200));
    send(engine, Signal::SIGCONT);
    observe(Duration::from_secs(2));
    client.ping();
    assert_eq!(lb.engine(), engine, "{}", lb.stderr());
}

#[test]
fn an_upgrade_away_from_a_hung_engine_succeeds_without_its_sessions() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().global(r#"watchdog = "0""#).origins([&origin]));
    let (addr, hung) = (lb.addr("web"), lb.engine());
    send(hung, Signal::SIGSTOP);
    let mut client = Waiting::new(addr, 1);
    lb.signal(Signal::SIGUSR2);
    eventually(HANG, "service", || client.is_served().then_some(()));
    let lost = "the old one was lost with its sessions: it hung and was killed";
    eventually(HANG, "the outcome", || lb.stderr().contains(lost).then_some(()));
    assert_eq!(lb.status().number("generation"), 2);
    assert_ne!(lb.engine(), hung);
    client.ping();
}

#[test]
fn an_upgrade_whose_old_engine_hangs_meanwhile_tells_its_outcome() {
    let origin = Origin::start(Behaviour::Echo);
    let dir = tempdir().unwrap();
    let fault = dir.path().join("fault");
    let lb = Lb::options().config(&Config::new().origins([&origin])).env("LB_FAULT", &fault).start();
    let hung = lb.engine();
    arm(&fault, "engine.park", "stop");
    let output = lb.command(&["upgrade", "--probation", "100ms"]);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("serves, the old one was lost with its sessions"), "{said}");
    assert_ne!(lb.engine(), hung);
}

/// Sends a signal; one that stops is waited for, since a thread may still run for a moment.
fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).unwrap();
    if signal == Signal::SIGSTOP {
        let is_stopped = |thread: std::fs::DirEntry| {
            let status = std::fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            status.contains("State:\tT")
        };
        let threads = || std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
        eventually(HANG, "standstill", || threads().all(|thread| is_stopped(thread.unwrap())).then_some(()));
    }
}
