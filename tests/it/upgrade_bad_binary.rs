//! Upgrades that must fail: whatever the new binary does, no connection fails, and one sentence says why.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Output;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::config::Config;
use crate::support::knocker::Knocker;
use crate::support::lb::{Lb, copy_of_binary};
use crate::support::origin::{Behaviour, Origin};
use crate::support::ping_pong::PingPong;
use crate::support::proc;
use crate::support::wait::eventually;

#[test]
fn a_file_that_is_no_lb_is_refused_by_its_kind() {
    let stage = Stage::new();
    let file = |name: &str, mode: u32, content: &[u8]| {
        let path = stage.dir.path().join(name);
        fs::write(&path, content).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        path
    };
    let mut foreign = fs::read("/bin/true").unwrap();
    foreign[18] = 0xf3; // e_machine: RISC-V
    let cases: Vec<(PathBuf, &str)> = vec![
        (stage.dir.path().join("missing"), "No such file"),
        (stage.dir.path().to_owned(), "not a regular file"),
        (file("plain", 0o644, b"x"), "not executable"),
        (file("shared", 0o777, b"x"), "written by others"),
        (file("empty", 0o755, b""), "not a program for this machine"),
        (
            file("text", 0o755, b"hello"),
            "not a program for this machine",
        ),
        (
            file("foreign", 0o755, &foreign),
            "not a program for this machine",
        ),
        (
            file("script", 0o755, b"#!/bin/sh\necho lb-handoff core=1\n"),
            "a script",
        ),
        (PathBuf::from("/bin/true"), "is not lb"),
        (PathBuf::from("/bin/false"), "ended with code 1"),
        (PathBuf::from("/bin/echo"), "is not lb: engine --probe"),
        (
            PathBuf::from("/bin/ls"),
            "does not accept the configuration",
        ),
    ];
    for (path, expected) in cases {
        let output = stage
            .lb
            .command(&["upgrade", "--binary", path.to_str().unwrap()]);
        let text = told(&output);
        assert_eq!(output.status.code(), Some(3), "{path:?}: {text}");
        assert!(text.contains(expected), "{path:?}: {text}");
        assert!(text.contains("the old engine goes on"), "{text}");
    }
    stage.assert_untouched();
}

#[test]
fn a_probe_that_dies_or_hangs_is_told_so() {
    let stage = Stage::new();
    for (way, expected) in [
        ("kill", "was killed by a signal"),
        ("panic", "a test wants this panic"),
        ("hang", "within 10 s"),
    ] {
        let output = stage.upgrade_with_fault("engine.probe", way);
        assert_eq!(output.status.code(), Some(3), "{}", told(&output));
        assert!(told(&output).contains(expected), "{}", told(&output));
    }
    stage.assert_untouched();
}

#[test]
fn a_new_engine_that_fails_before_it_is_ready_costs_nothing() {
    let stage = Stage::new();
    for (point, way, expected) in [
        ("engine.start", "kill", "SIGKILL"),
        ("engine.start", "exit", "ended with code 9"),
        ("engine.start", "hang", "did not say hello within 5 s"),
        ("engine.prepare", "panic", "ended"),
        ("engine.go", "kill", "SIGKILL"),
        ("engine.go", "stop", "did not begin to serve within 10 s"),
    ] {
        let output = stage.upgrade_with_fault(point, way);
        let text = told(&output);
        assert_eq!(output.status.code(), Some(3), "{point} {way}: {text}");
        assert!(text.contains(expected), "{point} {way}: {text}");
    }
    stage.assert_untouched();
}

#[test]
fn a_new_engine_that_fails_in_probation_is_rolled_back() {
    let mut stage = Stage::new();
    for (point, way, expected) in [
        ("engine.ready", "kill", "SIGKILL"),
        ("engine.beat", "kill", "SIGKILL"),
        ("engine.beat", "exit", "ended with code 9"),
        ("engine.beat", "panic", STILL),
        ("engine.beat", "stop", STILL),
        ("engine.beat", "hang", STILL),
    ] {
        let output = stage.upgrade_with_fault(point, way);
        let text = told(&output);
        assert_eq!(output.status.code(), Some(6), "{point} {way}: {text}");
        let seen =
            text.contains(expected) || expected == STILL && text.contains("accepts no connections");
        assert!(seen, "{point} {way}: {text}");
        assert!(text.contains("the old engine serves again"), "{text}");
        let served = stage.clients.as_ref().unwrap().served();
        eventually(Duration::from_secs(20), "clients served", || {
            (stage.clients.as_ref().unwrap().served() > served + 50).then_some(())
        });
    }
    stage.finish(5);
}

#[test]
fn the_supervisors_death_in_an_upgrade_leaves_no_second_engine_for_long() {
    let stage = Stage::new();
    stage.set_fault("supervisor.park", "kill");
    let output = stage.lb.command(&["upgrade", "--probation", "1s"]);
    assert!(!output.status.success(), "{}", told(&output));
    stage.lb.notify().clear_store();
    eventually(Duration::from_secs(20), "nothing listens", || {
        std::net::TcpStream::connect(stage.addr).err()
    });
}

/// A balancer whose new engines can be made to fail, with clients that look on.
struct Stage {
    lb: Lb,
    addr: std::net::SocketAddr,
    engine: i32,
    dir: TempDir,
    binary: PathBuf,
    clients: Option<Knocker>,
    sessions: Option<PingPong>,
    _origin: Origin,
}

impl Stage {
    fn new() -> Self {
        let origin = Origin::start(Behaviour::Echo);
        let dir = tempfile::tempdir().unwrap();
        let binary = dir.path().join("lb");
        copy_of_binary(&binary);
        let lb = Lb::options()
            .config(&Config::new().origins([&origin]))
            .env("LB_FAULT", &dir.path().join("fault"))
            .start();
        let addr = lb.addr("web");
        Self {
            engine: lb.engine(),
            clients: Some(Knocker::start(addr, 4)),
            sessions: Some(PingPong::start(addr, 4)),
            lb,
            addr,
            dir,
            binary,
            _origin: origin,
        }
    }

    fn set_fault(&self, point: &str, way: &str) {
        let fresh = self.dir.path().join("fault.new");
        fs::write(&fresh, format!("{point} {way}")).unwrap();
        fs::rename(fresh, self.dir.path().join("fault")).unwrap();
    }

    fn upgrade_with_fault(&self, point: &str, way: &str) -> Output {
        self.set_fault(point, way);
        let binary = self.binary.to_str().unwrap();
        let output = self
            .lb
            .command(&["upgrade", "--binary", binary, "--probation", "10s"]);
        assert!(
            !self.dir.path().join("fault").exists(),
            "{point} was not reached"
        );
        output
    }

    #[track_caller]
    fn assert_untouched(mut self) {
        self.finish(0);
    }

    /// No client was refused; at most `killed` engines have taken what they had in hand with them.
    #[track_caller]
    fn finish(&mut self, killed: u64) {
        let knocks = self.clients.take().unwrap().finish();
        assert_eq!(knocks.refused, 0, "{knocks:?}");
        assert!(knocks.broken <= killed * 4, "{knocks:?}");
        self.sessions.take().unwrap().finish().assert_unharmed();
        assert_eq!(self.lb.engine(), self.engine);
        eventually(Duration::from_secs(20), "one engine", || {
            (proc::descendants(self.lb.pid()).len() == 1).then_some(())
        });
        assert_eq!(self.lb.status().number("generation"), 1);
    }
}

/// It depends on the moment which of its signs of being stuck is seen first.
const STILL: &str = "silent for 2 s";

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}
