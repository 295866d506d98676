//! Servers that change their state are lines of the log, beside HAProxy: the same cfg and the same events give the same
//! lines, levels and order.

use std::fs;
use std::io::Read;

use crate::support::agent::Agent;
use crate::support::client::{HANG, connect};
use crate::support::config::Config;
use crate::support::haproxy::Haproxy;
use crate::support::lb::Lb;
use crate::support::origin::{Behaviour, Origin};
use crate::support::port::Port;
use crate::support::syslog::Syslog;
use crate::support::wait::eventually;

/// The word of a command for lb, and for HAProxy.
const STATES: [&str; 3] = ["maint", "drain", "ready"];

#[test]
fn a_cfg_logs_what_happens_to_its_servers_as_haproxy_does() {
    let mut origins = ["a", "b", "c"].map(Origin::named);
    let [a, b, c] = origins.each_ref().map(Origin::addr);
    let (theirs, ours) = (Syslog::bind(), Syslog::bind());
    let cfg = |log: &Syslog, port: u16| {
        let check = "check inter 100 rise 2 fall 2";
        format!(
            "global\n log {} local3\ndefaults\n mode tcp\n log global\n option tcplog\n timeout connect 1s\n timeout client 9s\n \
             timeout server 9s\nfrontend web\n bind 127.0.0.1:{port}\n default_backend app\nbackend app\n server a {a} {check}\n \
             server b {b} {check}\n server c {c} {check} backup\nlisten own\n bind 127.0.0.1:0\n server t {b} track app/b\n\
             backend quiet\n no log\n server b {b} {check}\n",
            log.addr()
        )
    };
    let port = Port::reserve();
    let text = cfg(&theirs, port.addr().port());
    // HAProxy takes no port 0.
    let second = Port::reserve();
    let text = text.replace("127.0.0.1:0\n", &format!("{}\n", second.addr()));
    let haproxy = Haproxy::whole(port, &text, &[]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("haproxy.cfg");
    fs::write(&file, cfg(&ours, 0)).unwrap();
    let lb = Lb::start_with_flags(&["-f", file.to_str().unwrap()]);
    let same = |what: &str, count: usize| {
        let lines = [theirs.changes(count), ours.changes(count)];
        assert_eq!(lines[0], lines[1], "{what}");
    };
    // A session on each server, for the count of those on one that goes DOWN.
    let _held = [haproxy.addr(), lb.addr("web")].map(|addr| {
        [(); 2].map(|()| {
            let mut client = connect(addr).unwrap();
            client.read_exact(&mut [0]).unwrap();
            client
        })
    });
    for (index, count) in [(0, 1), (1, 3), (2, 2)] {
        origins[index].stop();
        same("stopped", count);
    }
    for (index, count) in [(2, 1), (0, 1), (1, 2)] {
        origins[index].restart();
        same("restarted", count);
    }
    let set = |server: &str, state: &str, count: usize| {
        assert!(STATES.contains(&state));
        haproxy.command(&format!("set server app/{server} state {state}"));
        lb.command_ok(&["server", state, &format!("app/{server}")]);
        same(state, count);
    };
    for (server, state, count) in [
        ("a", "maint", 1),
        ("a", "ready", 1),
        ("a", "drain", 1),
        ("a", "maint", 1),
        ("a", "drain", 2),
        ("a", "ready", 1),
        ("b", "maint", 3),
        ("b", "ready", 2),
        ("c", "maint", 1),
    ] {
        set(server, state, count);
    }
    origins[0].stop();
    same("stopped again", 1);
    set("a", "maint", 1);
}

#[test]
fn what_an_agent_does_is_logged_as_in_haproxy() {
    let origin = Origin::start(Behaviour::Echo);
    let (theirs, ours) = (Syslog::bind(), Syslog::bind());
    let agents = [Agent::start("up\n"), Agent::start("up\n")];
    let cfg = |log: &Syslog, agent: &Agent, port: u16| {
        format!(
            "global\n log {} local3\ndefaults\n mode tcp\n log global\n option tcplog\n timeout connect 1s\n timeout client 9s\n \
             timeout server 9s\nfrontend web\n bind 127.0.0.1:{port}\n default_backend app\nbackend app\n server a {} check \
             inter 100 rise 2 fall 2 agent-check agent-port {} agent-inter 100\n server b {} backup\n",
            log.addr(),
            origin.addr(),
            agent.addr.port(),
            origin.addr(),
        )
    };
    let port = Port::reserve();
    let text = cfg(&theirs, &agents[0], port.addr().port());
    let _haproxy = Haproxy::whole(port, &text, &[]);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("haproxy.cfg");
    fs::write(&file, cfg(&ours, &agents[1], 0)).unwrap();
    let _lb = Lb::start_with_flags(&["-f", file.to_str().unwrap()]);
    for (words, count) in [
        ("down because # of this\n", 1),
        ("up\n", 1),
        ("drain\n", 1),
        ("ready\n", 1),
        ("maint\n", 1),
        ("ready\n", 1),
        ("stopped\n", 1),
        ("up ready\n", 1),
        ("fail\n", 1),
        ("up\n", 1),
    ] {
        agents.iter().for_each(|agent| agent.say(Some(words)));
        let lines = [theirs.changes(count), ours.changes(count)];
        assert_eq!(lines[0], lines[1], "{words}");
    }
}

#[test]
fn changes_go_to_all_targets_but_stdout_unless_the_configuration_says_otherwise() {
    for (log, backend, on_syslog, on_stdout) in [
        ("target = [\"stdout\", \"@\"]", "", true, false),
        ("changes = true, target = [\"stdout\", \"@\"]", "", true, true),
        ("changes = false, target = [\"stdout\", \"@\"]", "", false, false),
        ("target = \"stdout\"", "log = { target = \"@\" }", true, false),
        ("target = \"@\"", "log = { changes = false }", false, false),
    ] {
        let syslog = Syslog::bind();
        let with = |text: &str| text.replace('@', &syslog.addr().to_string());
        let mut origin = Origin::start(Behaviour::Echo);
        let config =
            Config::new().global(&format!("log = {{ {} }}", with(log))).backend(&with(backend)).origins([&origin]);
        let lb = Lb::start(&config);
        origin.stop();
        eventually(HANG, "the message", || lb.stderr().contains("server a is DOWN").then_some(()));
        let sentence = "Server app/a is DOWN, reason: Layer4 connection problem";
        if on_syslog {
            let lines = syslog.changes(2);
            assert!(lines[0].starts_with("<129 lb Server app/a is DOWN") && lines[1].starts_with("<128 "), "{lines:?}");
        }
        if on_stdout {
            eventually(HANG, "the line", || lb.stdout().contains(sentence).then_some(()));
        }
        // What is written is there with the next line about something else.
        origin.restart();
        eventually(HANG, "the message", || lb.stderr().contains("server a is UP").then_some(()));
        assert_eq!(lb.stdout().contains(sentence), on_stdout, "{log}, {backend}");
        if !on_syslog {
            syslog.socket.set_nonblocking(true).unwrap();
            assert!(syslog.socket.recv(&mut [0; 10]).is_err(), "{log}, {backend}");
        }
    }
}
