//! What the operator had asked of HAProxy's servers holds for lb, too: by the file that HAProxy itself has written.

use std::fs;

use tempfile::TempDir;

use crate::support::client::{HANG, greeting};
use crate::support::config::Config;
use crate::support::haproxy::Haproxy;
use crate::support::lb::{Lb, LbOptions};
use crate::support::origin::Origin;
use crate::support::port::Port;
use crate::support::wait::eventually;

#[test]
fn drain_maint_and_weights_of_haproxy_come_along() {
    let origins = ["ready", "drain", "maint", "heavy", "zero"].map(Origin::named);
    let [ready, drain, maint, heavy, zero] = origins.each_ref().map(Origin::addr);
    let haproxy = Haproxy::backend(&format!(
        " server ready {ready} check\n server drain {drain} check\n server maint {maint} check\n\
         \x20server heavy {heavy} weight 10\n server zero {zero} weight 5\n server off {maint} disabled\n\
         \x20server on {maint} disabled\n server gone {maint}"
    ));
    for command in [
        "set server app/drain state drain",
        "set server app/maint state maint",
        "set server app/on state ready",
        "set server app/gone state maint",
        "set weight app/heavy 20",
        "set weight app/zero 0",
    ] {
        haproxy.command(command);
    }
    let states = haproxy.command("show servers state");
    // `off` is not `disabled` any more, and `heavy` has kept its weight.
    let config = Config::new()
        .global("server_state_file = \"@DIR@/states\"")
        .server("ready", ready)
        .server("drain", drain)
        .server("maint", maint)
        .server_with("heavy", heavy, "weight = 10")
        .server_with("zero", zero, "weight = 5")
        .server("off", maint)
        .server_with("on", maint, "disabled = true");
    let (lb, _dir) = started(&config, Some(states.as_bytes()));
    let state = |server: &str| lb.status().server(&format!("app/{server}")).text("status");
    let weight = |server: &str| lb.status().server(&format!("app/{server}")).number("weight");
    let names = ["ready", "drain", "maint", "heavy", "zero", "off", "on"];
    assert_eq!(names.map(state), ["UP", "DRAIN", "MAINT", "UP", "UP", "UP", "UP"]);
    assert_eq!(names.map(weight), [1, 1, 1, 20, 0, 1, 1]);
    assert!(lb.stderr().contains("/states: app/drain drain, app/heavy weight 20, app/maint maint, app/on ready"));
    assert!(lb.stderr().contains("/states: not here and left out: app/gone"), "{}", lb.stderr());
    let served: Vec<_> = (0..50).map(|_| greeting(lb.addr("web")).unwrap()).collect();
    assert!(!served.iter().any(|name| ["drain", "zero"].contains(&name.as_str())), "{served:?}");
}

#[test]
fn the_same_haproxy_cfg_finds_the_states_of_its_servers() {
    let origins = ["ready", "drain", "maint"].map(Origin::named);
    let [ready, drain, maint] = origins.each_ref().map(Origin::addr);
    let servers = format!(" server ready {ready} weight 5\n server drain {drain}\n server maint {maint}\n");
    let haproxy = Haproxy::backend(&servers);
    haproxy.command("set server app/drain state drain");
    haproxy.command("set server app/maint state maint");
    haproxy.command("set weight app/ready 7");
    let states = haproxy.command("show servers state");
    let dir = tempfile::tempdir().unwrap();
    let port = Port::reserve();
    for (loads, file, taken) in [("global", "states", true), ("local", "app", true), ("none", "states", false)] {
        let file = dir.path().join(file);
        fs::write(&file, &states).unwrap();
        let cfg = dir.path().join("haproxy.cfg");
        let base = dir.path().display();
        let text = format!(
            "global\n server-state-base {base}\n server-state-file states\ndefaults\n mode tcp\n timeout connect 5s\n \
             timeout client 9s\n timeout server 9s\n load-server-state-from-file {loads}\n\
             frontend web\n bind {}\n default_backend app\nbackend app\n{servers}",
            port.addr()
        );
        fs::write(&cfg, text).unwrap();
        let lb = Lb::start_with_flags(&["-f", cfg.to_str().unwrap()]);
        let status = |server: &str| lb.status().server(&format!("app/{server}")).text("status");
        let weight = lb.status().server("app/ready").number("weight");
        let expected = if taken { (["UP", "DRAIN", "MAINT"], 7) } else { (["UP", "UP", "UP"], 5) };
        assert_eq!(
            (["ready", "drain", "maint"].map(status), weight),
            (expected.0.map(str::to_owned), expected.1),
            "{loads}"
        );
        fs::remove_file(&file).unwrap();
    }
}

#[test]
fn states_are_read_at_the_start_only() {
    let origin = Origin::named("a");
    let config = Config::new().backend("server_state_file = \"@DIR@/states\"").server("a", origin.addr());
    let states = "1\n2 app 1 a 127.0.0.1 2 1 1 1 6 1 0 2 0 0 0 0 - 1 - 0 0 - - 0\n";
    let (lb, _dir) = started(&config, Some(states.as_bytes()));
    let state = |lb: &Lb| lb.status().server("app/a").text("status");
    assert_eq!(state(&lb), "MAINT");
    lb.command_ok(&["server", "ready", "app/a"]);
    lb.command_ok(&["reload"]);
    assert_eq!(state(&lb), "UP");
    lb.command_ok(&["upgrade", "--probation", "0s"]);
    assert_eq!(state(&lb), "UP");
    assert_eq!(greeting(lb.addr("web")).unwrap(), "a");
}

#[test]
fn a_file_that_is_missing_or_broken_is_a_warning() {
    let origin = Origin::named("a");
    let config = Config::new().global("server_state_file = \"@DIR@/states\"").server("a", origin.addr());
    let cases: [(Option<&[u8]>, &str); 4] = [
        (None, "/states: it cannot be read: "),
        (Some(b"2\n"), "/states: it does not begin with the line `1`"),
        (Some(b"\xff"), "/states: it is no text"),
        (Some(b"1\nnonsense\n2 app 1 a 127.0.0.1 2 8 1 1 6 1 0 2 0 0 0 0 - 1\n"), "/states:2: this and perhaps"),
    ];
    for (states, words) in cases {
        let (lb, _dir) = started(&config, states);
        eventually(HANG, "the warning", || lb.stderr().contains(words).then_some(()));
        assert_eq!(lb.stderr().matches("WARN").count(), 1, "{}", lb.stderr());
    }
}

/// With this file beside it.
fn started(config: &Config, states: Option<&[u8]>) -> (Lb, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    if let Some(states) = states {
        fs::write(dir.path().join("states"), states).unwrap();
    }
    let text = config.text().replace("@DIR@", dir.path().to_str().unwrap());
    (LbOptions::default().text(&text).start(), dir)
}
