//! Signals: each has the effect that HAProxy's or nginx's users expect, none is deadly by accident, and what the parent has
//! left of them does not matter.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::client::{HANG, established, greeting, read_to_end};
use crate::support::config::Config;
use crate::support::haproxy::Haproxy;
use crate::support::lb::{BINARY, Lb};
use crate::support::machine::Stopwatch;
use crate::support::origin::{Behaviour, Origin};
use crate::support::proc;
use crate::support::process::Process;
use crate::support::wait::{eventually, eventually_eq, observe};

#[test]
fn usr1_lets_every_session_finish_as_haproxy_does_and_quit_as_nginx_does() {
    for signal in [Signal::SIGUSR1, Signal::SIGQUIT] {
        let (_origin, mut lb, addr) = Lb::echoing("");
        let mut session = established(addr);
        lb.signal(signal);
        lb.wait_for_notice("STOPPING=1");
        eventually(HANG, "new connections refused", || TcpStream::connect(addr).err());
        observe(Duration::from_millis(300));
        echo(&mut session);
        drop(session);
        assert_eq!(lb.wait(HANG).code(), Some(0), "{signal}");
    }
    let origin = Origin::start(Behaviour::Echo);
    let mut haproxy = Haproxy::balance(&[origin.addr()], "");
    let addr = haproxy.addr();
    let mut session = established(addr);
    haproxy.signal(Signal::SIGUSR1);
    eventually(HANG, "new connections refused", || TcpStream::connect(addr).err());
    observe(Duration::from_millis(300));
    echo(&mut session);
    drop(session);
    assert_eq!(haproxy.wait(HANG).code(), Some(0));
}

#[test]
fn a_soft_stop_ends_at_the_limit_that_is_written_or_when_int_or_term_shorten_it() {
    let (_origin, mut lb, addr) = Lb::echoing(r#"hard_stop_after = "1s""#);
    let session = established(addr);
    let watch = Stopwatch::start();
    lb.signal(Signal::SIGUSR1);
    assert!(lb.wait(HANG).success());
    assert!(watch.by_the_clock() >= Duration::from_secs(1) && watch.elapsed() < Duration::from_secs(5), "{watch:?}");
    drop(session);
    let (_origin, mut lb, addr) = Lb::echoing("");
    let _session = established(addr);
    lb.signal(Signal::SIGUSR1);
    eventually(HANG, "new connections refused", || TcpStream::connect(addr).err());
    // Asked again, it is still soft.
    lb.signal(Signal::SIGQUIT);
    observe(Duration::from_millis(200));
    assert!(lb.is_running());
    lb.signal(Signal::SIGINT);
    let watch = Stopwatch::start();
    lb.wait(HANG);
    assert!(watch.elapsed() < Duration::from_secs(4), "{watch:?}");
}

#[test]
fn no_signal_is_deadly_by_accident_to_the_supervisor_or_the_engine() {
    let (_origin, mut lb, addr) = Lb::echoing("");
    let engine = lb.engine();
    let mut session = established(addr);
    for number in HARMLESS.iter().copied().chain(34..=64) {
        send(lb.pid(), number);
    }
    let orders = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGQUIT];
    for number in HARMLESS.iter().copied().chain(34..=64).chain(orders.map(|signal| signal as i32)) {
        send(engine, number);
    }
    observe(Duration::from_millis(300));
    echo(&mut session);
    echo(&mut established(addr));
    assert!(lb.is_running());
    assert_eq!(lb.engine(), engine);
}

#[test]
fn ignored_and_blocked_signals_of_the_parent_do_not_matter() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let env = ["env", "--ignore-signal", "--block-signal"];
    let mut lb = Lb::options().config(&Config::new().origins([&a])).within(&env).start();
    let addr = lb.addr("web");
    for pid in proc::tree(lb.pid()) {
        assert_eq!(ignored(pid), 1 << (Signal::SIGPIPE as i32 - 1), "{pid}");
    }
    let engine = lb.engine();
    kill(Pid::from_raw(engine), Signal::SIGKILL).unwrap();
    eventually(HANG, "another engine", || lb.stderr().contains("serves again").then_some(()));
    assert_ne!(lb.engine(), engine);
    lb.write_config(&Config::new().server("b", b.server()).text());
    lb.signal(Signal::SIGHUP);
    eventually_eq(HANG, "b".to_owned(), || greeting(addr).unwrap());
    lb.signal(Signal::SIGTERM);
    assert!(lb.wait(HANG).success());
}

#[test]
fn as_process_1_it_takes_the_same_signals() {
    for signal in [Signal::SIGUSR1, Signal::SIGQUIT, Signal::SIGTERM] {
        let origin = Origin::start(Behaviour::Echo);
        let unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
        let mut lb = Lb::options().config(&Config::new().origins([&origin])).within(&unshare).start();
        let mut session = established(lb.addr("web"));
        let supervisor = proc::descendants(lb.pid())[0];
        for number in HARMLESS {
            send(supervisor, *number);
        }
        send(supervisor, signal as i32);
        lb.wait_for_notice("STOPPING=1");
        echo(&mut session);
        drop(session);
        assert!(lb.wait(HANG).success(), "{signal}");
    }
}

#[test]
fn hup_while_the_engine_starts_is_done_afterwards() {
    let origin = Origin::start(Behaviour::Echo);
    let mut lb = Lb::options().config(&Config::new().origins([&origin])).launch();
    let ready = || lb.notify().lines().contains(&"READY=1".to_owned());
    eventually(HANG, "signals blocked", || (ready() || blocks_hup(lb.pid())).then_some(()));
    eventually(HANG, "ready in spite of HUP", || {
        lb.signal(Signal::SIGHUP);
        ready().then_some(())
    });
    eventually(HANG, "reloaded", || lb.stderr().contains("reloaded: 1 frontend").then_some(()));
    assert!(lb.is_running());
}

#[test]
fn register_and_its_command_are_as_robust() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new("env");
    command.args(["--ignore-signal", "--block-signal", BINARY, "register", "--etcd", "http://127.0.0.1:1"]);
    command.args(["--key", "/app/a", "--addr", "127.0.0.1:1", "--drain", "0s", "--", "sleep", "1000"]);
    let mut app = Process::start("register", dir.path(), &command);
    // Not a shell, which changes its mask by itself.
    let status = eventually(HANG, "the command", || {
        let texts =
            proc::descendants(app.pid()).into_iter().map(|pid| fs::read_to_string(format!("/proc/{pid}/status")));
        texts.flatten().find(|status| status.starts_with("Name:\tsleep"))
    });
    assert_eq!((mask(&status, "SigIgn"), mask(&status, "SigBlk")), (0, 0), "{status}");
    let suspending = [Signal::SIGTSTP, Signal::SIGTTIN, Signal::SIGTTOU].map(|signal| signal as i32);
    for number in HARMLESS.iter().copied().filter(|number| !suspending.contains(number)) {
        send(app.pid(), number);
    }
    observe(Duration::from_millis(300));
    assert!(app.ended().is_none());
    app.signal(Signal::SIGTERM);
    // The command is ended by it.
    assert_eq!(app.wait(HANG).code(), Some(128 + 15));
}

fn echo(stream: &mut TcpStream) {
    stream.write_all(b"x").unwrap();
    let mut answer = [0];
    if stream.read_exact(&mut answer).is_err() {
        panic!("no echo: {:?}", read_to_end(stream));
    }
}

/// By number: real-time signals have no name in the crates.
#[track_caller]
fn send(pid: i32, number: i32) {
    let status = Command::new("kill").args([format!("-{number}"), pid.to_string()]).status().unwrap();
    assert!(status.success(), "kill -{number} {pid}");
}

fn ignored(pid: i32) -> u64 {
    mask(&fs::read_to_string(format!("/proc/{pid}/status")).unwrap(), "SigIgn")
}

fn blocks_hup(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    mask(&status, "SigBlk") & 1 != 0
}

/// A set of signals in a `status` of /proc, without the two that belong to the C library.
fn mask(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(":\t"));
    u64::from_str_radix(line.unwrap_or("0"), 16).unwrap() & !(0b11 << 31)
}

/// Signals whose default action ends or suspends a process, and that no program means so by accident.
const HARMLESS: &[i32] = &[
    Signal::SIGALRM as i32,
    Signal::SIGVTALRM as i32,
    Signal::SIGPROF as i32,
    Signal::SIGIO as i32,
    Signal::SIGPWR as i32,
    Signal::SIGSTKFLT as i32,
    Signal::SIGXCPU as i32,
    Signal::SIGXFSZ as i32,
    Signal::SIGPIPE as i32,
    Signal::SIGWINCH as i32,
    Signal::SIGURG as i32,
    Signal::SIGCONT as i32,
    Signal::SIGTSTP as i32,
    Signal::SIGTTIN as i32,
    Signal::SIGTTOU as i32,
];
