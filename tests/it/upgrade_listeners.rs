//! Upgrades as clients and operators see them: no new connection fails, one pid, nothing left behind.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::ab::Ab;
use crate::support::client::HANG;
use crate::support::config::Config;
use crate::support::figure::figure;
use crate::support::knocker::Knocker;
use crate::support::lb::{Lb, copy_of_binary};
use crate::support::limits::{alone, amount};
use crate::support::machine::Stopwatch;
use crate::support::origin::{Behaviour, Origin};
use crate::support::ping_pong::PingPong;
use crate::support::proc;
use crate::support::wait::{eventually, eventually_eq, observe};

#[test]
fn upgrades_under_apachebench_fail_no_request_and_leave_nothing_behind() {
    let _alone = alone();
    let origin = Origin::start(Behaviour::Http(100));
    let lb = Lb::start(&Config::new().origins([&origin]));
    let addr = lb.addr("web");
    upgrade(&lb, "0s");
    let before = RestingHoldings::of(&lb);
    let upgrades = amount(20, 200);
    let requests = amount(20_000, 400_000);
    let mut ab = Ab::start(addr, requests, 20, &[]);
    let mut done = 0;
    while done < upgrades || ab.is_running() {
        upgrade(&lb, "50ms");
        done += 1;
    }
    let report = ab.finish();
    figure(&format!("ab through {done} upgrades"), &report);
    report.assert_flawless();
    eventually(HANG, "one engine left", || (proc::descendants(lb.pid()).len() == 1).then_some(()));
    let after = RestingHoldings::of(&lb);
    assert!(after.is_no_more_than(&before), "{before:?}, then {after:?}");
    assert_eq!(lb.status().number("generation"), done + 2);
    assert_eq!(lb.status().number("pid"), u64::try_from(lb.pid()).unwrap());
}

#[test]
fn new_connections_wait_no_longer_during_an_upgrade_than_otherwise() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().origins([&origin]));
    let clients = Knocker::start(lb.addr("web"), 8);
    observe(Duration::from_secs(2));
    let otherwise = clients.finish().longest;
    let clients = Knocker::start(lb.addr("web"), 8);
    for _ in 0..amount(5, 50) {
        upgrade(&lb, "100ms");
    }
    let knocks = clients.finish();
    figure("connections through upgrades", format!("{knocks:?}, longest without upgrades {otherwise:?}"));
    assert_eq!((knocks.refused, knocks.broken), (0, 0), "{knocks:?}");
    let limit = otherwise * 3 + Duration::from_millis(700);
    assert!(knocks.longest < limit, "{knocks:?}, {otherwise:?}");
}

#[test]
fn usr2_upgrades_to_the_file_at_the_path_of_the_start() {
    let origin = Origin::start(Behaviour::Echo);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("lb");
    copy_of_binary(&path);
    let lb = Lb::options().config(&Config::new().origins([&origin])).binary(&path).start();
    let engine = lb.engine();
    let running = std::fs::metadata(&path).unwrap();
    // As a package manager does it: the running file is deleted.
    copy_of_binary(&path);
    lb.signal(Signal::SIGUSR2);
    eventually(Duration::from_secs(30), "another engine", || (lb.engine() != engine).then_some(()));
    eventually(HANG, "the supervisor is the new file, too", || {
        use std::os::unix::fs::MetadataExt;
        let of = |pid: i32| std::fs::metadata(format!("/proc/{pid}/exe")).unwrap().ino();
        let new = std::fs::metadata(&path).unwrap().ino();
        assert_ne!(new, running.ino());
        (of(lb.pid()) == new && of(lb.engine()) == new).then_some(())
    });
    assert_eq!(lb.status().number("generation"), 2);
}

#[test]
fn one_upgrade_at_a_time_the_others_are_refused_with_5() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().origins([&origin]));
    let codes = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..10).map(|_| scope.spawn(|| lb.command(&["upgrade", "--probation", "2s"]))).collect();
        let outputs = runs.into_iter().map(|run| run.join().unwrap());
        let mut codes: Vec<_> = outputs
            .map(|output| {
                let text = String::from_utf8_lossy(&output.stderr).into_owned();
                let code = output.status.code().unwrap();
                assert!(code != 5 || text.contains("upgrade in progress"), "{text}");
                code
            })
            .collect();
        codes.sort_unstable();
        codes
    });
    assert_eq!(codes, [0, 5, 5, 5, 5, 5, 5, 5, 5, 5]);
}

#[test]
fn while_an_upgrade_runs_status_shows_its_phase_and_a_reload_is_refused() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().origins([&origin]));
    std::thread::scope(|scope| {
        let run = scope.spawn(|| lb.command(&["upgrade", "--probation", "3s"]));
        eventually(HANG, "the phase in status", || {
            let status = lb.command_ok(&["status", "--json"]);
            status.contains("\"probation\"").then_some(())
        });
        let refused = lb.command(&["reload"]);
        assert_eq!(refused.status.code(), Some(5), "{refused:?}");
        assert!(run.join().unwrap().status.success());
    });
    lb.command_ok(&["reload"]);
}

#[test]
fn term_in_probation_finishes_the_upgrade_and_then_stops() {
    let origin = Origin::start(Behaviour::Echo);
    let mut lb = Lb::start(&Config::new().origins([&origin]));
    let addr = lb.addr("web");
    let sessions = PingPong::start(addr, 5);
    std::thread::scope(|scope| {
        let run = scope.spawn(|| lb.command(&["upgrade", "--probation", "30s"]));
        eventually(HANG, "probation", || lb.stderr().contains("probation of 30 s").then_some(()));
        let newer = PingPong::start(addr, 5);
        lb.signal(Signal::SIGTERM);
        sessions.run_for(100);
        newer.run_for(100);
        newer.finish().assert_unharmed();
        let output = run.join().unwrap();
        assert_eq!(output.status.code(), Some(7), "{output:?}");
    });
    sessions.finish().assert_unharmed();
    assert!(lb.wait(HANG).success());
}

#[test]
fn a_standstill_in_probation_is_not_taken_for_the_new_engines_silence() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().origins([&origin]));
    let engine = lb.engine();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| lb.command(&["upgrade", "--probation", "5s"]));
        eventually(HANG, "probation", || lb.stderr().contains("probation of 5 s").then_some(()));
        let all = proc::tree(lb.pid()).into_iter().map(Pid::from_raw);
        all.clone().for_each(|pid| kill(pid, Signal::SIGSTOP).unwrap());
        observe(Duration::from_secs(3));
        // The supervisor first: it has only the time to judge by.
        for pid in all {
            kill(pid, Signal::SIGCONT).unwrap();
            observe(Duration::from_millis(300));
        }
        let output = run.join().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
    });
    assert_ne!(lb.engine(), engine);
}

#[test]
fn a_client_of_the_command_that_goes_away_does_not_stop_the_upgrade() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().origins([&origin]));
    let engine = lb.engine();
    let mut client = UnixStream::connect(lb.dir().join("lb.sock")).unwrap();
    std::io::Write::write_all(&mut client, b"{\"request\":\"upgrade\",\"probation_ms\":100}\n").unwrap();
    eventually(HANG, "it begins", || lb.stderr().contains("upgrade: engine").then_some(()));
    drop(OwnedFd::from(client));
    eventually(HANG, "another engine", || (lb.engine() != engine).then_some(()));
}

#[test]
fn an_upgrade_applies_the_present_configuration() {
    let origin = Origin::start(Behaviour::Echo);
    let config = |threads: u64, binds: &[&str]| {
        let binds = binds.iter().map(|bind| format!("\"{bind}\"")).collect::<Vec<_>>();
        let text = Config::new().bind(&format!("[{}]", binds.join(", "))).origins([&origin]).text();
        text.replace("threads = 2", &format!("threads = {threads}"))
    };
    let lb = Lb::start(&Config::new().bind(r#"["127.0.0.1:0", "127.0.0.2:0"]"#).origins([&origin]));
    let bound = lb.status().bound("web");
    let (kept, removed) = (bound[0], bound[1]);
    let clients = Knocker::start(kept, 8);
    for threads in [4, 1, 2, 3] {
        lb.write_config(&config(threads, &["127.0.0.1:0", "127.0.0.3:0"]));
        upgrade(&lb, "100ms");
        let status = lb.status();
        assert_eq!(status.number("threads"), threads);
        assert_eq!(status.bound("web")[0], kept, "a port of 0 stays what it was");
        let added = status.bound("web")[1];
        PingPong::start(added, 2).finish().assert_unharmed();
    }
    // systemd's duplicates are removed, too, so that the port no longer listens.
    eventually(HANG, "the removed address refuses", || std::net::TcpStream::connect(removed).err());
    let knocks = clients.finish();
    assert_eq!((knocks.refused, knocks.broken), (0, 0), "{knocks:?}");
}

#[test]
fn a_port_that_is_taken_fails_the_upgrade_before_anything_is_touched() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().origins([&origin]));
    let (addr, engine) = (lb.addr("web"), lb.engine());
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let bind = format!(r#"["127.0.0.1:0", "{}"]"#, taken.local_addr().unwrap());
    lb.write_config(&Config::new().bind(&bind).origins([&origin]).text());
    let output = lb.command(&["upgrade"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("cannot bind") && text.contains("the old engine goes on"), "{text}");
    assert_eq!((lb.addr("web"), lb.engine()), (addr, engine));
}

#[test]
fn a_configuration_with_an_error_fails_the_probe_with_its_place() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().origins([&origin]));
    lb.write_config("[frontend.web]\nblance = 1\n");
    let output = lb.command(&["upgrade"]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("lb.toml:2:1"), "{text}");
}

#[test]
fn after_an_upgrade_a_dead_engine_is_replaced_by_the_new_binary() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().origins([&origin]));
    upgrade(&lb, "0s");
    let engine = lb.engine();
    let clients = Knocker::start(lb.addr("web"), 4);
    kill(Pid::from_raw(engine), Signal::SIGKILL).unwrap();
    eventually(HANG, "another engine", || (lb.engine() != engine).then_some(()));
    let served = clients.served();
    eventually(HANG, "clients served", || (clients.served() > served + 100).then_some(()));
    assert_eq!(clients.finish().refused, 0);
    assert_eq!(lb.status().number("generation"), 2);
}

#[test]
fn the_service_manager_sees_one_pid_and_the_same_sockets_through_an_upgrade() {
    let origin = Origin::start(Behaviour::Echo);
    let mut lb = Lb::start(&Config::new().origins([&origin]));
    eventually(HANG, "listeners stored", || (lb.notify().stored().len() == 3).then_some(()));
    let names = lb.notify().stored();
    upgrade(&lb, "0s");
    assert_eq!(lb.notify().stored(), names);
    assert!(!lb.notify().lines().iter().any(|line| line.starts_with("MAINPID")));
    let status = format!("STATUS=serving, engine {}", lb.engine());
    lb.wait_for_notice(&status);
    let watch = Stopwatch::start();
    lb.signal(Signal::SIGTERM);
    lb.wait_for_notice("STOPPING=1");
    assert!(lb.wait(HANG).success());
    assert!(watch.elapsed() < Duration::from_secs(5), "{watch:?}");
}

/// The resources of a balancer at rest.
#[derive(Debug)]
struct RestingHoldings {
    descriptors: usize,
    threads: usize,
    processes: usize,
}

impl RestingHoldings {
    fn of(lb: &Lb) -> Self {
        eventually_eq(HANG, 1, || proc::descendants(lb.pid()).len());
        Self {
            descriptors: proc::descriptors(lb.pid()).len(),
            threads: proc::threads(lb.pid()),
            processes: proc::tree(lb.pid()).len(),
        }
    }

    fn is_no_more_than(&self, other: &Self) -> bool {
        // Sockets of checks come and go.
        self.descriptors <= other.descriptors + 4 && self.threads <= other.threads && self.processes <= other.processes
    }
}

/// An upgrade that must succeed; sessions may stay on the old engine.
#[track_caller]
fn upgrade(lb: &Lb, probation: &str) {
    let output = lb.command(&["upgrade", "--probation", probation]);
    let code = output.status.code();
    assert!(matches!(code, Some(0 | 7)), "{output:?}");
}
