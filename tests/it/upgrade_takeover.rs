//! `lb run --takeover`: a balancer started elsewhere takes over the traffic of the running one.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::ab::Ab;
use crate::support::client::HANG;
use crate::support::config::Config;
use crate::support::figure::figure;
use crate::support::knocker::Knocker;
use crate::support::lb::{BINARY, Lb};
use crate::support::limits::{alone, amount};
use crate::support::origin::{Behaviour, Origin};
use crate::support::ping_pong::PingPong;
use crate::support::proc;
use crate::support::process::run;
use crate::support::status::Status;
use crate::support::takeover::{TakeoverDir, assert_retires, failure, wait_for_output};
use crate::support::wait::eventually;

#[test]
fn repeated_takeovers_under_load_refuse_and_cut_no_connection() {
    let _alone = alone();
    let (echo, http) = (Origin::start(Behaviour::Echo), Origin::start(Behaviour::Http(100)));
    let http_tables = format!(
        "[frontend.http]\nbind = [\"127.0.0.1:0\"]\nbackend = \"http\"\n\
         [backend.http]\n[backend.http.servers]\na = \"{}\"\n",
        http.server()
    );
    let shared = TakeoverDir::new(&Config::new().origins([&echo]).table(&http_tables));
    let mut lb = shared.start();
    let (addr, http_addr) = (lb.addr("web"), lb.addr("http"));
    let sessions = PingPong::start(addr, 50);
    let clients = Knocker::start(addr, 4);
    let mut ab = Ab::start(http_addr, amount(20_000, 200_000), 8, &[]);
    let (mut takeovers, mut moved) = (0, 0);
    while takeovers < amount(3, 30) || ab.is_running() {
        let mut old = lb;
        lb = shared.start();
        takeovers += 1;
        moved += moved_sessions(&lb);
        assert_retires(&mut old);
        assert!(proc::descendants(old.pid()).is_empty());
        assert!(old.notify().stored().is_empty());
        let status = lb.status();
        assert_eq!(status.number("generation"), takeovers + 1);
        assert_eq!(status.bound("web"), [addr]);
    }
    // The successor is a balancer like any other.
    assert!(lb.command_ok(&["upgrade", "--probation", "100ms"]).contains("upgraded"));
    let mut old = lb;
    lb = shared.start();
    assert_retires(&mut old);
    lb.command_ok(&["reload"]);
    sessions.run_for(200);
    let report = ab.finish();
    figure(&format!("ab beside {takeovers} takeovers"), &report);
    report.assert_flawless();
    let knocks = clients.finish();
    assert_eq!((knocks.refused, knocks.broken), (0, 0), "{knocks:?}");
    let sessions = sessions.finish();
    sessions.assert_unharmed();
    figure("longest pause of a ping-pong session through takeovers under load", format!("{:?}", sessions.slowest));
    assert!(moved >= 50 * takeovers, "{moved} moved");
    lb.signal(Signal::SIGTERM);
    assert!(lb.wait(HANG).success());
    let left: Vec<_> = std::fs::read_dir(shared.dir()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn between_pid_and_mount_namespaces_everything_is_taken_over_and_each_has_its_own_admin_socket() {
    let origin = Origin::start(Behaviour::Echo);
    let shared = TakeoverDir::new(&Config::new().origins([&origin]));
    let private = shared.dir().join("private");
    std::fs::create_dir(&private).unwrap();
    let socket = private.join("lb.sock");
    // As in containers: the paths are the same, but only the shared directory is common.
    let script = format!("mount -t tmpfs none {} && exec \"$@\"", private.display());
    let unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--uts", "--ipc"];
    let within = [&unshare[..], &["--kill-child", "sh", "-c", &script, "sh"]].concat();
    let start = || {
        let options = shared.options().within(&within).socket(socket.clone());
        options.start()
    };
    let mut first = start();
    let addr = inside(&first, &socket).bound("web")[0];
    let sessions = PingPong::start(addr, 10);
    let clients = Knocker::start(addr, 2);
    let mut second = start();
    assert_retires(&mut first);
    assert_eq!(inside(&second, &socket).number("generation"), 2);
    let third = start();
    assert_retires(&mut second);
    let status = inside(&third, &socket);
    assert_eq!(status.number("generation"), 3);
    assert_eq!(status.number("pid"), 1);
    sessions.run_for(100);
    sessions.finish().assert_unharmed();
    let knocks = clients.finish();
    assert_eq!((knocks.refused, knocks.broken), (0, 0), "{knocks:?}");
    assert!(moved_sessions(&third) >= 10);
}

#[test]
fn the_admin_socket_answers_at_its_path_throughout() {
    let origin = Origin::start(Behaviour::Echo);
    let shared = TakeoverDir::new(&Config::new().origins([&origin]));
    let mut first = shared.start();
    let second = shared.options().launch();
    let mut generations = vec![];
    eventually(HANG, "the second generation", || {
        generations.push(second.status().number("generation"));
        (generations.last() == Some(&2)).then_some(())
    });
    assert!(generations.is_sorted(), "{generations:?}");
    assert_retires(&mut first);
    assert_eq!(second.status().number("generation"), 2);
}

#[test]
fn two_at_once_a_reload_and_an_upgrade_are_refused_while_one_takes_over() {
    let origin = Origin::start(Behaviour::Echo);
    let shared = TakeoverDir::new(&Config::new().origins([&origin]));
    let mut first = shared.start();
    let second = shared.options_with("2s").launch();
    wait_for_output(&second, "probation");
    let (code, message) = failure(shared.options().launch());
    assert_eq!((code, &*message), (5, "lb: not taken over: takeover in progress"));
    let upgrade = second.command(&["upgrade"]);
    assert_eq!(upgrade.status.code(), Some(5), "{upgrade:?}");
    let reload = second.command(&["reload"]);
    assert_eq!(reload.status.code(), Some(5), "{reload:?}");
    for lb in [&first, &second] {
        lb.signal(Signal::SIGUSR2);
        lb.signal(Signal::SIGHUP);
    }
    second.wait_for_notice("READY=1");
    assert_retires(&mut first);
    // The same the other way round.
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| second.command(&["upgrade", "--probation", "2s"]));
        wait_for_output(&second, "upgrade: checked");
        let (code, message) = failure(shared.options().launch());
        assert_eq!((code, &*message), (5, "lb: not taken over: upgrade in progress"));
        assert!(upgrade.join().unwrap().status.success());
    });
}

#[test]
fn of_many_started_at_once_one_serves_in_the_end() {
    let origin = Origin::start(Behaviour::Echo);
    let shared = TakeoverDir::new(&Config::new().origins([&origin]));
    let mut all: Vec<Lb> = (0..6).map(|_| shared.options().launch()).collect();
    // Each has started as the first, has taken over and perhaps was taken over, or was refused.
    eventually(HANG, "one that runs", || {
        all.retain_mut(Lb::is_running);
        (all.len() == 1).then_some(())
    });
    all[0].wait_for_notice("READY=1");
    PingPong::start(all[0].addr("web"), 2).finish().assert_unharmed();
}

#[test]
fn a_configuration_that_is_wrong_changes_nothing() {
    let origin = Origin::start(Behaviour::Echo);
    let shared = TakeoverDir::new(&Config::new().origins([&origin]));
    let first = shared.start();
    let addr = first.addr("web");
    let sessions = PingPong::start(addr, 3);
    let wrong = shared.options().text("[global]\nthreads = \"many\"\n").launch();
    let (code, message) = failure(wrong);
    assert_eq!(code, 3, "{message}");
    assert!(message.contains("not taken over, the old engine goes on"), "{message}");
    assert_eq!(first.status().number("generation"), 1);
    sessions.run_for(50);
    sessions.finish().assert_unharmed();
    let _second = shared.start();
}

#[test]
fn a_failure_in_probation_is_rolled_back_and_no_connection_is_refused() {
    let origin = Origin::start(Behaviour::Echo);
    let shared = TakeoverDir::new(&Config::new().origins([&origin]));
    let first = shared.start();
    let addr = first.addr("web");
    let sessions = PingPong::start(addr, 5);
    let clients = Knocker::start(addr, 4);
    // Killed, stopped so that it is silent, and a supervisor that is asked to stop.
    for (signal, code) in [(Signal::SIGKILL, Some(6)), (Signal::SIGSTOP, Some(6)), (Signal::SIGTERM, None)] {
        let mut second = shared.options_with("10s").launch();
        wait_for_output(&second, "probation");
        let served = clients.served();
        eventually(HANG, "clients of the new engine", || (clients.served() > served + 10).then_some(()));
        if signal == Signal::SIGTERM {
            second.signal(signal);
        } else {
            let engine = proc::descendants(second.pid())[0];
            kill(Pid::from_raw(engine), signal).unwrap();
        }
        let status = second.wait(HANG);
        if let Some(code) = code {
            assert_eq!(status.code(), Some(code), "{}", second.stderr());
            wait_for_output(&second, "rolled back, the old engine serves again");
        }
        let served = clients.served();
        eventually(HANG, "clients of the old engine", || (clients.served() > served + 10).then_some(()));
        assert_eq!(first.status().number("generation"), 1);
    }
    sessions.run_for(50);
    sessions.finish().assert_unharmed();
    let knocks = clients.finish();
    assert_eq!(knocks.refused, 0, "{knocks:?}");
    // The killed engine had accepted some; the stopped one kept its clients waiting.
    assert!(knocks.broken <= 8, "{knocks:?}");
    let _third = shared.start();
}

#[test]
fn a_predecessor_stopped_by_a_signal_lets_the_new_one_serve() {
    let origin = Origin::start(Behaviour::Echo);
    let shared = TakeoverDir::new(&Config::new().origins([&origin]));
    let mut first = shared.start();
    let addr = first.addr("web");
    let clients = Knocker::start(addr, 4);
    let second = shared.options_with("10s").launch();
    wait_for_output(&second, "probation");
    first.signal(Signal::SIGTERM);
    assert_retires(&mut first);
    second.wait_for_notice("READY=1");
    let served = clients.served();
    eventually(HANG, "clients of the new engine", || (clients.served() > served + 100).then_some(()));
    let knocks = clients.finish();
    assert_eq!((knocks.refused, knocks.broken), (0, 0), "{knocks:?}");
}

#[test]
fn with_linger_a_predecessor_waits_for_a_signal_after_the_takeover() {
    let origin = Origin::start(Behaviour::Echo);
    let shared = TakeoverDir::new(&Config::new().origins([&origin]));
    let mut first = shared.options().flags(&["--linger"]).start();
    // The option survives an upgrade.
    first.command_ok(&["upgrade", "--probation", "0s"]);
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let second = shared.options().flags(&["--linger"]).start();
        wait_for_output(&first, "waiting for TERM");
        assert!(first.is_running());
        assert!(proc::descendants(first.pid()).is_empty());
        first.signal(signal);
        assert_retires(&mut first);
        PingPong::start(second.addr("web"), 2).finish().assert_unharmed();
        first = second;
    }
}

/// The status as a process in the namespaces of `lb` sees it.
fn inside(lb: &Lb, socket: &Path) -> Status {
    let init = proc::descendants(lb.pid())[0];
    let mut command = Command::new("nsenter");
    command.args(["--target", &init.to_string(), "--mount", "--", BINARY]);
    command.args(["status", "--json", "--socket"]).arg(socket);
    let output = run(&command, Duration::from_secs(20));
    assert!(output.status.success(), "{output:?}");
    Status::parse(&String::from_utf8_lossy(&output.stdout))
}

/// The number of moved sessions, by the last line of a takeover.
fn moved_sessions(lb: &Lb) -> u64 {
    let number = |line: &str| line.split(" sessions moved").next()?.rsplit(' ').next()?.parse().ok();
    eventually(HANG, "the report of the takeover", || {
        lb.stderr().lines().find(|line| line.starts_with("lb: taken over in")).and_then(number)
    })
}
