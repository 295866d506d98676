//! `lb register` with a real etcd: a server's key exists while the server is well, says that the server drains, and is
//! deleted before the server stops.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::support::client::HANG;
use super::support::etcd::Etcd;
use super::support::lb::BINARY;
use super::support::origin::{Behaviour, Origin};
use super::support::process::Process;
use super::support::wait::{eventually, observe};

const SOON: Duration = Duration::from_secs(5);
const KEY: &str = "/app/a";

fn register(dir: &Path, etcd: &Etcd, origin: &Origin, rest: &[&str]) -> Process {
    let mut command = Command::new(BINARY);
    command.args(["register", "--etcd", &etcd.endpoint(), "--key", KEY]);
    command.args(["--addr", &origin.addr().to_string(), "--ttl", "2"]).args(rest);
    Process::start("register", dir, &command)
}

fn is_there(etcd: &Etcd) -> Option<()> {
    (!etcd.all("/app/").is_empty()).then_some(())
}

/// What the key says while the server leaves.
fn draining(origin: &Origin) -> String {
    format!(r#"{{"addr":"{}","drain":true}}"#, origin.addr())
}

fn says(etcd: &Etcd, value: &str) -> Option<()> {
    (etcd.all("/app/") == [("a".to_owned(), value.to_owned())]).then_some(())
}

fn is_gone(etcd: &Etcd) -> Option<()> {
    etcd.all("/app/").is_empty().then_some(())
}

#[test]
fn the_key_is_put_once_the_check_passes_and_kept_beyond_its_lease() {
    let dir = tempfile::tempdir().unwrap();
    let etcd = Etcd::start();
    let origin = Origin::start(Behaviour::Http(10));
    origin.set_http_status(503);
    let app = register(dir.path(), &etcd, &origin, &["--check", "http:/ping"]);
    eventually(SOON, "some failed checks", || (origin.requests() >= 2).then_some(()));
    assert!(etcd.all("/app/").is_empty());
    assert!(app.stderr().contains("is not well yet"), "{}", app.stderr());
    origin.set_http_status(200);
    eventually(SOON, "the key", || is_there(&etcd));
    assert_eq!(etcd.all("/app/"), [("a".to_owned(), origin.addr().to_string())]);
    observe(Duration::from_secs(5));
    assert_eq!(etcd.all("/app/").len(), 1);
}

#[test]
fn a_server_that_is_not_well_any_more_has_no_key_until_it_is_again() {
    let dir = tempfile::tempdir().unwrap();
    let etcd = Etcd::start();
    let mut origin = Origin::start(Behaviour::Http(10));
    let options = ["--check", "http:/ping", "--inter", "500ms", "--", "sleep", "1000"];
    let app = register(dir.path(), &etcd, &origin, &options);
    eventually(SOON, "the key", || is_there(&etcd));
    // It answers, but not well.
    origin.set_http_status(503);
    eventually(SOON, "the key gone", || is_gone(&etcd));
    let says = |text: &str| eventually(SOON, text, || app.stderr().contains(text).then_some(()));
    says("fails its check: L7STS/503");
    says("/app/a is removed until the check passes again");
    origin.set_http_status(200);
    eventually(SOON, "the key put again", || is_there(&etcd));
    says("is registered again");
    // It is dead, and etcd is away when that shows.
    etcd.freeze();
    origin.stop();
    says("fails its check: L4CON");
    etcd.thaw();
    eventually(SOON + SOON, "the key gone", || is_gone(&etcd));
    origin.restart();
    eventually(SOON + SOON, "the key put again", || is_there(&etcd));
}

#[test]
fn one_failure_of_a_check_does_not_remove_the_key() {
    let dir = tempfile::tempdir().unwrap();
    let etcd = Etcd::start();
    let origin = Origin::start(Behaviour::Http(10));
    let app = register(dir.path(), &etcd, &origin, &["--check", "http:/ping", "--inter", "200ms", "--fall", "1000"]);
    eventually(SOON, "the key", || is_there(&etcd));
    origin.set_http_status(503);
    eventually(SOON, "the failed check", || app.stderr().contains("fails its check").then_some(()));
    observe(Duration::from_secs(2));
    assert_eq!(is_there(&etcd), Some(()));
}

#[test]
fn a_key_that_another_client_deletes_is_put_again() {
    let dir = tempfile::tempdir().unwrap();
    let etcd = Etcd::start();
    let origin = Origin::start(Behaviour::Http(10));
    let app = register(dir.path(), &etcd, &origin, &[]);
    for deleted in 1..=2 {
        eventually(SOON, "the key", || is_there(&etcd));
        etcd.delete(KEY);
        let told = || app.stderr().matches("/app/a was deleted by another client").count();
        eventually(SOON, "the message", || (told() == deleted).then_some(()));
    }
    eventually(SOON, "the key", || is_there(&etcd));
}

#[test]
fn a_lease_that_another_client_ends_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let etcd = Etcd::start();
    let origin = Origin::start(Behaviour::Http(10));
    let app = register(dir.path(), &etcd, &origin, &[]);
    eventually(SOON, "the key", || is_there(&etcd));
    etcd.revoke_all();
    eventually(SOON, "the message", || app.stderr().contains("the lease was lost").then_some(()));
    eventually(SOON, "the key", || is_there(&etcd));
    assert!(!app.stderr().contains("deleted by another"), "{}", app.stderr());
}

#[test]
fn the_key_says_drain_first_then_it_goes_then_the_command_and_its_exit_code_is_returned() {
    let dir = tempfile::tempdir().unwrap();
    let etcd = Etcd::start();
    let origin = Origin::start(Behaviour::Http(10));
    let told = dir.path().join("told");
    let hup = dir.path().join("hup");
    let script = format!(
        "trap 'echo > {}; exit 7' TERM; trap 'echo > {}' HUP; while :; do sleep 0.05; done",
        told.display(),
        hup.display()
    );
    let mut app = register(dir.path(), &etcd, &origin, &["--drain", "5s", "--", "sh", "-c", &script]);
    eventually(SOON, "the key", || is_there(&etcd));
    app.signal(Signal::SIGHUP);
    eventually(SOON, "the signal passed on", || hup.exists().then_some(()));
    app.signal(Signal::SIGTERM);
    eventually(SOON, "the drain", || says(&etcd, &draining(&origin)));
    let drains = Instant::now();
    // Longer than its lease, which is kept meanwhile.
    while says(&etcd, &draining(&origin)).is_some() {
        assert!(!told.exists() && app.ended().is_none());
        observe(Duration::from_millis(100));
    }
    let drained = drains.elapsed();
    assert!(drained > Duration::from_millis(4000), "{drained:?}");
    assert_eq!(is_gone(&etcd), Some(()));
    assert_eq!(app.wait(HANG).code(), Some(7));
    assert!(told.exists());
}

#[test]
fn a_command_that_ends_takes_its_key_along() {
    let dir = tempfile::tempdir().unwrap();
    let etcd = Etcd::start();
    let origin = Origin::start(Behaviour::Http(10));
    let pid = dir.path().join("pid");
    let script = format!("echo $$ > {0}.new; mv {0}.new {0}; exec sleep 100", pid.display());
    let mut app = register(dir.path(), &etcd, &origin, &["--", "sh", "-c", &script]);
    eventually(SOON, "the key", || is_there(&etcd));
    // The key may exist before the command has printed its id.
    let pid = eventually(SOON, "its pid", || fs::read_to_string(&pid).ok());
    let pid: i32 = pid.trim().parse().unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    // In the form of a shell.
    assert_eq!(app.wait(SOON).code(), Some(128 + 9));
    assert!(etcd.all("/app/").is_empty());
}

#[test]
fn a_command_that_does_not_stop_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let etcd = Etcd::start();
    let origin = Origin::start(Behaviour::Http(10));
    let script = "trap '' TERM; while :; do sleep 0.05; done";
    let options = ["--drain", "0s", "--kill-after", "1s", "--", "sh", "-c", script];
    let mut app = register(dir.path(), &etcd, &origin, &options);
    eventually(SOON, "the key", || is_there(&etcd));
    app.signal(Signal::SIGTERM);
    assert_eq!(app.wait(SOON).code(), Some(128 + 9));
}

#[test]
fn it_registers_without_a_command_until_a_signal_stops_it() {
    let dir = tempfile::tempdir().unwrap();
    let etcd = Etcd::start();
    let origin = Origin::start(Behaviour::Http(10));
    let mut app = register(dir.path(), &etcd, &origin, &["--drain", "30s"]);
    eventually(SOON, "the key", || is_there(&etcd));
    app.signal(Signal::SIGINT);
    eventually(SOON, "the drain", || says(&etcd, &draining(&origin)));
    // A second signal cuts the drain short.
    app.signal(Signal::SIGINT);
    assert_eq!(app.wait(SOON).code(), Some(0));
    assert_eq!(is_gone(&etcd), Some(()));
}

#[test]
fn one_that_is_killed_leaves_its_key_to_the_lease() {
    let dir = tempfile::tempdir().unwrap();
    let etcd = Etcd::start();
    let origin = Origin::start(Behaviour::Http(10));
    let mut app = register(dir.path(), &etcd, &origin, &[]);
    eventually(SOON, "the key", || is_there(&etcd));
    assert_eq!(app.kill().signal(), Some(9));
    eventually(Duration::from_secs(8), "the end of the lease", || is_gone(&etcd));
}

#[test]
fn an_etcd_that_was_away_longer_than_the_lease_has_the_key_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut etcd = Etcd::stopped();
    let origin = Origin::start(Behaviour::Http(10));
    // COMMAND starts without waiting for etcd.
    let started = dir.path().join("started");
    let script = format!("echo > {}; exec sleep 1000", started.display());
    let app = register(dir.path(), &etcd, &origin, &["--", "sh", "-c", &script]);
    eventually(SOON, "the command", || started.exists().then_some(()));
    eventually(SOON, "the message", || app.stderr().contains("trying again").then_some(()));
    etcd.restart();
    eventually(SOON + SOON, "the key", || is_there(&etcd));
    etcd.freeze();
    observe(Duration::from_secs(4));
    etcd.thaw();
    let times = || app.stderr().matches("is registered").count();
    eventually(SOON + SOON, "the key put anew", || (times() == 2).then_some(()));
    eventually(SOON, "the key", || is_there(&etcd));
    // A restored etcd that lacks the key gets it again.
    etcd.delete(KEY);
    let snapshot = etcd.snapshot();
    etcd.restore(&snapshot, "another");
    eventually(SOON + SOON, "the key put anew", || (times() == 3).then_some(()));
    assert_eq!(is_there(&etcd), Some(()));
}

#[test]
fn a_key_put_by_another_client_is_spoken_of_once_and_left_alone_until_it_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let etcd = Etcd::start();
    let origin = Origin::start(Behaviour::Http(10));
    let mut app = register(dir.path(), &etcd, &origin, &["--drain", "0s"]);
    eventually(SOON, "the key", || is_there(&etcd));
    etcd.put(KEY, "10.0.0.9:80");
    let told = || app.stderr().matches("put by another client; it is left alone until it is gone").count();
    eventually(SOON, "the message", || (told() == 1).then_some(()));
    assert!(app.stderr().contains("/app/a is now `10.0.0.9:80`"), "{}", app.stderr());
    etcd.put(KEY, "10.0.0.8:80");
    // Longer than its lease.
    observe(Duration::from_secs(4));
    assert_eq!((says(&etcd, "10.0.0.8:80"), told()), (Some(()), 1));
    etcd.delete(KEY);
    eventually(SOON, "its own key", || says(&etcd, &origin.addr().to_string()));
    etcd.put(KEY, "10.0.0.9:80");
    eventually(SOON, "the message", || (told() == 2).then_some(()));
    app.signal(Signal::SIGTERM);
    app.wait(SOON);
    assert_eq!(etcd.all("/app/"), [("a".to_owned(), "10.0.0.9:80".to_owned())]);
}

#[test]
fn a_key_that_is_there_at_the_start_is_overwritten_with_a_warning() {
    let dir = tempfile::tempdir().unwrap();
    let etcd = Etcd::start();
    let origin = Origin::start(Behaviour::Http(10));
    etcd.put(KEY, "10.0.0.9:80");
    let app = register(dir.path(), &etcd, &origin, &[]);
    eventually(SOON, "its own key", || says(&etcd, &origin.addr().to_string()));
    let warning = "/app/a was `10.0.0.9:80`, put by another client, and is overwritten";
    assert!(app.stderr().contains(warning), "{}", app.stderr());
}

#[test]
fn a_command_that_cannot_be_started_is_reported_as_by_a_shell() {
    let dir = tempfile::tempdir().unwrap();
    let etcd = Etcd::stopped();
    let origin = Origin::start(Behaviour::Http(10));
    let mut app = register(dir.path(), &etcd, &origin, &["--", "/no/such/program"]);
    assert_eq!(app.wait(SOON).code(), Some(127));
    assert!(app.stderr().contains("cannot start /no/such/program"), "{}", app.stderr());
}
