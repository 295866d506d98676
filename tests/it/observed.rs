//! What live connects show of a server, and what its ups and downs do to sessions.

use std::io::Read;

use crate::support::client::{HANG, connect, read_to_end};
use crate::support::config::Config;
use crate::support::haproxy::Haproxy;
use crate::support::lb::Lb;
use crate::support::origin::{Behaviour, Origin};
use crate::support::wait::{eventually, eventually_eq};

/// Checks go to a port that always answers, so that only sessions find out.
fn observed(on_error: &str) -> (Origin, Origin, Lb, Haproxy) {
    let (origin, well) = (Origin::named("a"), Origin::named("w"));
    let port = well.addr().port();
    let config = Config::bare()
        .backend(&format!("retries = 0\ntimeout = {{ queue = \"1ms\" }}\nerror_limit = 10\non_error = \"{on_error}\""))
        .backend(&format!("check = {{ port = {port}, inter = \"1h\", init_state = \"fully-up\" }}"))
        .server("a", origin.addr());
    let lb = Lb::start(&config);
    let haproxy = Haproxy::backend(&format!(
        " retries 0\n no option redispatch\n server a {} check port {port} inter 1h observe layer4 error-limit 10 on-error {on_error}",
        origin.addr()
    ));
    (origin, well, lb, haproxy)
}

#[test]
fn a_server_that_refuses_sessions_and_passes_its_checks_is_not_tried_without_end() {
    let (mut origin, well) = (Origin::named("a"), Origin::named("w"));
    let config = Config::bare()
        .backend("timeout = { queue = \"2s\" }\nerror_limit = 1\non_error = \"fastinter\"")
        .backend(&format!("check = {{ port = {}, init_state = \"fully-up\" }}", well.addr().port()))
        .server("a", origin.addr());
    let lb = Lb::start(&config);
    origin.stop();
    read_to_end(&connect(lb.addr("web")).unwrap());
    let errors = lb.status().server("app/a").number("connect_errors");
    assert!((2..20).contains(&errors), "{errors} connects in 2 s");
}

/// One more session by each; how many connects of `lb` have failed by then.
fn knock(lb: &Lb, haproxy: &Haproxy) -> u64 {
    for addr in [lb.addr("web"), haproxy.addr()] {
        read_to_end(&connect(addr).unwrap());
    }
    lb.status().server("app/a").number("connect_errors")
}

#[test]
fn so_many_failed_connects_in_a_row_take_a_server_down() {
    let (mut origin, _well, lb, haproxy) = observed("mark-down");
    let downs = || (lb.stderr().matches("server a is DOWN").count(), haproxy.stat("a", "chkdown"));
    origin.stop();
    // A session of `lb` makes some more attempts, since no other server is there.
    assert!((0..2).all(|_| knock(&lb, &haproxy) < 10));
    origin.restart();
    // One that succeeds between them ends the row.
    let before = knock(&lb, &haproxy);
    origin.stop();
    for _ in 0..10 {
        assert_eq!(downs().1, 0, "HAProxy counts up to 10");
        let early = downs().0 > 0;
        let failed = knock(&lb, &haproxy) - before;
        assert!(!early || failed >= 10, "DOWN after {failed}");
    }
    eventually(HANG, "DOWN in both", || (downs() == (1, 1)).then_some(()));
}

#[test]
fn fastinter_takes_no_server_down() {
    let (mut origin, _well, lb, haproxy) = observed("fastinter");
    origin.stop();
    let failed = (0..12).fold(0, |_, _| knock(&lb, &haproxy));
    assert!(failed >= 12, "{failed}");
    assert_eq!((lb.status().server("app/a").text("status"), haproxy.status("a")), ("UP".to_owned(), "UP".to_owned()));
}

#[test]
fn a_server_that_comes_up_takes_the_sessions_of_the_backups_away() {
    let mut origins = ["a", "b"].map(|name| Origin::start(Behaviour::SpeakFirst(name.as_bytes().to_vec())));
    let [a, b] = origins.each_ref().map(Origin::addr);
    let config = Config::new().server_with("a", a, "on_marked_up = \"shutdown-backup-sessions\"").server_with(
        "b",
        b,
        "backup = true",
    );
    let lb = Lb::start(&config);
    let haproxy = Haproxy::backend(&format!(
        " server a {a} check inter 100 rise 2 fall 3 on-marked-up shutdown-backup-sessions\n server b {b} backup"
    ));
    let states = || [lb.status().server("app/a").text("status"), haproxy.status("a")];
    let on_backup = || {
        [lb.addr("web"), haproxy.addr()].map(|addr| {
            let mut client = connect(addr).unwrap();
            let mut name = [0];
            client.read_exact(&mut name).unwrap();
            assert_eq!(&name, b"b");
            client
        })
    };
    origins[0].stop();
    eventually_eq(HANG, ["DOWN", "DOWN"].map(str::to_owned), states);
    let clients = on_backup();
    origins[0].restart();
    clients.iter().for_each(|client| drop(read_to_end(client)));
    eventually(HANG, "its line", || lb.stdout().lines().any(|line| line.contains(" U- ")).then_some(()));
    // The end of MAINT is such a moment too.
    lb.command_ok(&["server", "maint", "app/a"]);
    haproxy.command("set server app/a state maint");
    let clients = on_backup();
    lb.command_ok(&["server", "ready", "app/a"]);
    haproxy.command("set server app/a state ready");
    clients.iter().for_each(|client| drop(read_to_end(client)));
}
