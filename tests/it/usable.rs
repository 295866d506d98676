//! A backend without a usable server is said so: to the operator whose command caused it, and in the log.

use crate::support::client::HANG;
use crate::support::config::Config;
use crate::support::lb::Lb;
use crate::support::origin::{Behaviour, Origin};
use crate::support::wait::eventually_eq;

const LOST: &str = "backend app: no server is usable; sessions wait up to timeout.queue";
const REGAINED: &str = "backend app: sessions are served again; 1 in use";

#[test]
fn taking_the_last_usable_server_away_warns() {
    let [a, b] = [(); 2].map(|()| Origin::start(Behaviour::Echo));
    let lb = Lb::start(&Config::new().origins([&a, &b]));
    assert_eq!(asked(&lb, &["server", "drain", "app/b"]), "");
    let said = |what: &str| lb.stderr().matches(what).count();
    for (round, command) in (1..).zip([["drain", "app/a", ""], ["maint", "app/a", ""], ["weight", "app/a", "0"]]) {
        let command: Vec<&str> =
            [&["server"], &command[..]].concat().into_iter().filter(|word| !word.is_empty()).collect();
        assert_eq!(asked(&lb, &command), format!("lb: warning: {LOST}\n"), "{command:?}");
        eventually_eq(HANG, (round, round - 1), || (said(LOST), said(REGAINED)));
        let back: &[&str] =
            if command[1] == "weight" { &["server", "weight", "app/a", "1"] } else { &["server", "ready", "app/a"] };
        assert_eq!(asked(&lb, back), "");
        eventually_eq(HANG, (round, round), || (said(LOST), said(REGAINED)));
    }
    // Stays out over an upgrade, and is said anew by an engine that serves none.
    asked(&lb, &["server", "drain", "app/a"]);
    lb.command_ok(&["upgrade", "--probation", "0s"]);
    eventually_eq(HANG, (5, 3), || (said(LOST), said(REGAINED)));
    asked(&lb, &["server", "ready", "app/a"]);
    eventually_eq(HANG, (5, 4), || (said(LOST), said(REGAINED)));
}

#[test]
fn a_check_or_a_reload_that_takes_the_last_one_is_told_too() {
    let [mut a, b] = [(); 2].map(|()| Origin::start(Behaviour::Echo));
    let lb = Lb::start(&Config::new().origins([&a, &b]));
    let said = |what: &str| lb.stderr().matches(what).count();
    lb.command_ok(&["server", "maint", "app/b"]);
    a.stop();
    eventually_eq(HANG, (1, 0), || (said(LOST), said(REGAINED)));
    a.restart();
    eventually_eq(HANG, (1, 1), || (said(LOST), said(REGAINED)));
    lb.write_config(&Config::new().server_with("a", a.server(), "disabled = true").server("b", b.server()).text());
    assert_eq!(asked(&lb, &["reload"]), format!("lb: reading the configuration\nlb: warning: {LOST}\n"));
    eventually_eq(HANG, (2, 1), || (said(LOST), said(REGAINED)));
    lb.write_config(&Config::new().origins([&a, &b]).text());
    assert_eq!(asked(&lb, &["reload"]), "lb: reading the configuration\n");
    eventually_eq(HANG, (2, 2), || (said(LOST), said(REGAINED)));
}

/// What a command that succeeds prints to stderr.
#[track_caller]
fn asked(lb: &Lb, args: &[&str]) -> String {
    let output = lb.command(args);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stderr).unwrap()
}
