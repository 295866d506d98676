//! Upgrades that must fail: whatever the new binary does, no connection fails, and one sentence states the reason.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::stat::Mode;

use crate::support::failing_upgrade::{FailingUpgrade, UpgradeResult};
use crate::support::limits::amount;
use crate::support::wait::eventually;

#[test]
fn a_file_that_is_no_lb_is_refused_by_its_kind() {
    let stage = FailingUpgrade::new();
    let dir = stage.dir.path().to_owned();
    let at = |name: &str| dir.join(name);
    let file = |name: &str, mode: u32, content: &[u8]| {
        // A rename, as the file was just open for writing here.
        let (fresh, path) = (at("fresh"), at(name));
        fs::write(&fresh, content).unwrap();
        fs::set_permissions(&fresh, Permissions::from_mode(mode)).unwrap();
        fs::rename(fresh, &path).unwrap();
        path
    };
    let mut foreign = fs::read("/bin/true").unwrap();
    foreign[18] = 0xf3; // e_machine: RISC-V
    let real = fs::read(at("lb")).unwrap();
    let mut holed = real.clone();
    // Around the entry point, wherever the linker has put it; before the code lies what the loader itself reads.
    let entry = usize::try_from(u64::from_le_bytes(real[24..32].try_into().unwrap())).unwrap();
    holed[entry - 32 * 1024..entry + 32 * 1024].fill(0);
    symlink(at("loop"), at("loop")).unwrap();
    symlink(at("nowhere"), at("dangling")).unwrap();
    nix::unistd::mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
    let _listener = UnixListener::bind(at("socket")).unwrap();
    chown(file("stranger", 0o755, &real), Some(4711), None).unwrap();
    let cases: Vec<(PathBuf, &str)> = vec![
        (at("missing"), "No such file"),
        (at("dangling"), "No such file"),
        (at("loop"), "symbolic links"),
        (at("lb").join("inside"), "Not a directory"),
        (dir.clone(), "not a regular file"),
        (at("fifo"), "not a regular file"),
        (at("socket"), "not a regular file"),
        ("/dev/zero".into(), "not a regular file"),
        (file("plain", 0o644, b"x"), "not executable"),
        (file("shared", 0o777, b"x"), "written by others"),
        (file("of-group", 0o775, b"x"), "written by others"),
        (at("stranger"), "belongs to uid 4711"),
        (file("empty", 0o755, b""), "not a program for this machine"),
        (file("text", 0o755, b"hello"), "not a program for this machine"),
        (file("foreign", 0o755, &foreign), "not a program for this machine"),
        (file("beginning", 0o755, &real[..100]), "cannot be executed"),
        (file("eighth", 0o755, &real[..real.len() / 8]), "killed by"),
        (file("holed", 0o755, &holed), "was killed by a signal"),
        (file("script", 0o755, b"#!/bin/sh\necho lb-handoff core=1\n"), "a script"),
        ("/bin/true".into(), "is not lb"),
        ("/bin/false".into(), "ended with code 1"),
        ("/bin/echo".into(), "is not lb: engine --probe"),
        ("/bin/ls".into(), "does not accept the configuration"),
    ];
    for (path, expected) in cases {
        stage.to(&path).assert(name(&path), 3, expected);
    }
    stage.assert_untouched();
}

#[test]
fn a_probe_that_dies_hangs_or_prints_nonsense_is_reported() {
    let stage = FailingUpgrade::new();
    for (way, expected) in
        [("kill", "was killed by a signal"), ("panic", "panic at a fault point"), ("hang", "within 10 s")]
    {
        stage.with_fault("engine.probe", way).assert(way, 3, expected);
    }
    for (how, code, expected) in [
        ("probe-core-2", 4, "speaks hand-off protocol 2, this one 1"),
        ("probe-rubbish-core", 3, "is not lb"),
        ("probe-rubbish", 3, "is not lb"),
        ("probe-endless", 3, "within 10 s"),
        ("probe-segfaults", 3, "was killed by a signal"),
    ] {
        stage.with_fake(how).assert(how, code, expected);
    }
    stage.assert_untouched();
}

#[test]
fn a_new_engine_that_fails_before_it_is_ready_costs_nothing() {
    let stage = FailingUpgrade::new();
    for (point, way, expected) in [
        ("engine.start", "kill", "SIGKILL"),
        ("engine.start", "exit", "ended with code 9"),
        ("engine.start", "hang", "did not say hello within 5 s"),
        ("engine.prepare", "panic", "ended"),
        ("engine.go", "kill", "SIGKILL"),
        ("engine.go", "stop", "did not begin to serve within 10 s"),
    ] {
        let kind = format!("{point} {way}");
        stage.with_fault(point, way).assert(&kind, 3, expected);
    }
    for (how, expected) in [
        ("dies-with-hello", "ended with code 7"),
        ("dies-after-hello", "ended with code 7"),
        ("dies-before-prepared", "ended with code 7"),
        ("gives-up", "had enough"),
        ("exits-after-go", "ended with code 7"),
        ("without-descriptors", ""),
        ("without-memory", ""),
    ] {
        stage.with_fake(how).assert(how, 3, expected);
    }
    for how in amount(&[][..], &["hangs-after-hello"][..]) {
        stage.with_fake(how).assert(how, 3, "within 40 s");
    }
    stage.assert_untouched();
}

#[test]
fn a_new_engine_that_fails_in_probation_is_rolled_back() {
    let stage = FailingUpgrade::new();
    for (point, way, expected) in [
        ("engine.ready", "kill", "SIGKILL"),
        ("engine.beat", "kill", "SIGKILL"),
        ("engine.beat", "exit", "ended with code 9"),
        ("engine.beat", "panic", STILL),
        ("engine.beat", "stop", STILL),
        ("engine.beat", "hang", STILL),
    ] {
        let kind = format!("{point} {way}");
        assert_rolled_back(&kind, &stage.with_fault(point, way), expected);
        stage.wait_until_clients_are_served();
    }
    for (how, expected) in [
        ("dies-when-ready", "SIGKILL"),
        ("serves-nothing", "it accepts no connections"),
        ("fails-its-connections", "its connections fail"),
    ] {
        assert_rolled_back(how, &stage.with_fake(how), expected);
        stage.wait_until_clients_are_served();
    }
    // Three of them had accepted connections, which died with them.
    stage.assert_only_cut_by(5);
}

#[test]
fn the_supervisors_death_in_an_upgrade_leaves_no_second_engine_for_long() {
    let stage = FailingUpgrade::new();
    stage.set_fault("supervisor.park", "kill");
    let output = stage.lb.command(&["upgrade", "--probation", "1s"]);
    assert!(!output.status.success(), "{output:?}");
    stage.lb.notify().clear_store();
    eventually(Duration::from_secs(20), "nothing listens", || std::net::TcpStream::connect(stage.addr).err());
}

#[track_caller]
fn assert_rolled_back(kind: &str, result: &UpgradeResult, expected: &str) {
    // Which sign of being stuck shows first depends on timing.
    let stuck = expected == STILL && result.text.contains("accepts no connections");
    result.assert(kind, 6, if stuck { "accepts no connections" } else { expected });
}

fn name(path: &Path) -> &str {
    path.to_str().unwrap()
}

const STILL: &str = "silent for 2 s";
