//! A server that tracks another one has its state, as in HAProxy.

use crate::support::client::{HANG, connect, read_to_end};
use crate::support::config::Config;
use crate::support::haproxy::Haproxy;
use crate::support::lb::Lb;
use crate::support::origin::Origin;
use crate::support::outcome::Ending;
use crate::support::wait::eventually;

#[test]
fn a_server_has_the_state_of_the_one_that_it_tracks() {
    let mut origins = ["a", "t", "u"].map(Origin::named);
    let [a, t, u] = origins.each_ref().map(Origin::addr);
    let other = format!(
        "[backend.other.servers]\nt = {{ addr = \"{t}\", track = \"app/a\" }}\nu = {{ addr = \"{u}\", track = \"t\" }}"
    );
    let lb = Lb::start(&Config::new().server("a", a).table(&other));
    let haproxy = Haproxy::backend(&format!(
        " server a {a} check inter 100 rise 2 fall 3\nbackend other\n server t {t} track app/a\n server u {u} track other/t"
    ));
    let servers = ["app/a", "other/t", "other/u"];
    let ours = || servers.map(|server| lb.status().server(server).text("status"));
    let theirs = || {
        let stat = haproxy.command("show stat");
        servers.map(|server| {
            let begin = server.replace('/', ",") + ",";
            let row = stat.lines().find(|row| row.starts_with(&begin)).unwrap();
            row.split(',').nth(17).unwrap().split(' ').next().unwrap().to_owned()
        })
    };
    // The words of HAProxy, which may be between two states for a while.
    let same = |expected: &str| {
        eventually(HANG, expected, || {
            let both = (ours(), theirs());
            (both.0 == both.1 && both.0.iter().all(|status| status == expected)).then_some(())
        });
    };
    let set = |state: &str| {
        lb.command_ok(&["server", state, "app/a"]);
        haproxy.command(&format!("set server app/a state {state}"));
    };
    same("UP");
    origins[0].stop();
    same("DOWN");
    origins[0].restart();
    same("UP");
    set("drain");
    same("DRAIN");
    set("maint");
    same("MAINT");
    assert_eq!(lb.status().server("other/t").at("/check/health").unwrap(), "via app/a");
    lb.command_ok(&["upgrade", "--probation", "0s"]);
    same("MAINT");
    set("ready");
    same("UP");
    lb.command_ok(&["server", "maint", "other/t"]);
    haproxy.command("set server other/t state maint");
    eventually(HANG, "its own maint, and one more follows", || {
        let both = (ours(), theirs());
        (both.0 == both.1 && both.0 == ["UP", "MAINT", "MAINT"]).then_some(())
    });
}

#[test]
fn sessions_end_with_the_maint_of_the_server_that_theirs_tracks() {
    let origins = ["a", "t"].map(Origin::named);
    let tracking = "track = \"app/a\", on_marked_down = \"shutdown-sessions\"";
    let other = format!("[backend.other.servers]\nt = {{ addr = \"{}\", {tracking} }}", origins[1].addr());
    let front = "[frontend.other]\nbind = \"127.0.0.1:0\"\nbackend = \"other\"\n";
    let lb = Lb::start(&Config::new().server("a", origins[0].addr()).table(front).table(&other));
    let client = connect(lb.addr("other")).unwrap();
    eventually(HANG, "a session", || (lb.status().server("other/t").number("sessions") == 1).then_some(()));
    lb.command_ok(&["server", "maint", "app/a"]);
    assert_eq!(read_to_end(&client), (b"t".to_vec(), Ending::Fin));
}

#[test]
fn a_reload_links_anew() {
    let mut origins = ["a", "b"].map(Origin::named);
    let [a, b] = origins.each_ref().map(Origin::addr);
    let config = |first: &str, second: &str| Config::new().server_with("a", a, first).server_with("b", b, second);
    let lb = Lb::start(&config("weight = 1", "track = \"a\""));
    let is = |server: &str, status: &str| {
        eventually(HANG, status, || (lb.status().server(server).text("status") == status).then_some(()));
    };
    is("app/a", "UP");
    origins[1].stop();
    // Now the other way round: for a moment both configurations together would be a circle.
    lb.reload(&config("track = \"b\"", "weight = 1"));
    is("app/a", "DOWN");
    lb.reload(&config("weight = 1", "weight = 1"));
    is("app/a", "UP");
    is("app/b", "DOWN");
}
