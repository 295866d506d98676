//! Under systemd: the unit is confined, and the notifications are those that systemd expects.

use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::support::client::HANG;
use crate::support::config::Config;
use crate::support::figure::figure;
use crate::support::lb::{Lb, lb};
use crate::support::origin::{Behaviour, Origin};
use crate::support::process::run;
use crate::support::wait::eventually;

#[test]
fn the_unit_is_confined() {
    let mut command = Command::new("systemd-analyze");
    command.args(["security", "--offline=true", "--no-pager", "--threshold=18", &installed("lb.service")]);
    let output = run(&command, Duration::from_secs(20));
    let text = String::from_utf8_lossy(&output.stdout);
    let verdict = text.lines().find(|line| line.contains("exposure level")).unwrap_or_default();
    figure("systemd-analyze security", verdict.trim_start_matches(|c: char| !c.is_ascii()).trim());
    assert!(output.status.success(), "more exposed than 1.8: {verdict}");
}

#[test]
fn systemd_understands_the_unit() {
    // The files to be installed may be missing here.
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(installed("lb.service")).unwrap().replace("/usr/bin/lb", "/bin/true");
    let file = dir.path().join("lb.service");
    std::fs::write(&file, text).unwrap();
    let mut command = Command::new("systemd-analyze");
    command.args(["verify", "--man=no", "--recursive-errors=no"]).arg(&file);
    let output = run(&command, Duration::from_secs(20));
    let words = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !words.contains("lb.service"), "{words}");
    let mut command = Command::new("systemd-sysusers");
    command.args(["--dry-run", &installed("lb.sysusers")]);
    assert!(run(&command, Duration::from_secs(20)).status.success());
}

#[test]
fn the_sample_configuration_is_valid() {
    let output = lb(&["check", "-f", &installed("lb.toml")]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn ready_means_that_every_bind_listens_and_the_store_has_the_listeners() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().bind(r#"["127.0.0.1:0", "[::1]:0"]"#).origins([&origin]));
    for addr in lb.status().bound("web") {
        assert!(std::net::TcpStream::connect(addr).is_ok());
    }
    assert!(lb.notify().lines().iter().any(|line| line.starts_with("STATUS=")));
    eventually(HANG, "listeners in the fd store", || (lb.notify().stored().len() >= 2).then_some(()));
}

#[test]
fn reloading_is_announced_with_its_time_and_ended() {
    let origin = Origin::start(Behaviour::Echo);
    let mut lb = Lb::start(&Config::new().origins([&origin]));
    lb.signal(Signal::SIGHUP);
    lb.wait_for_notice("RELOADING=1");
    let ready = || lb.notify().lines().iter().filter(|line| *line == "READY=1").count();
    eventually(HANG, "ready again", || (ready() == 2).then_some(()));
    assert!(lb.notify().lines().iter().any(|line| line.starts_with("MONOTONIC_USEC=")));
    lb.signal(Signal::SIGTERM);
    lb.wait_for_notice("STOPPING=1");
    assert!(lb.wait(HANG).success());
}

fn installed(file: &str) -> String {
    format!("{}/systemd/{file}", env!("CARGO_MANIFEST_DIR"))
}
