//! The engine dies, or its supervisor does: the effect on clients, and the cleaning up.

use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::client::{HANG, connect};
use crate::support::config::Config;
use crate::support::figure::figure;
use crate::support::knocker::Knocker;
use crate::support::lb::{Lb, lb};
use crate::support::limits::amount;
use crate::support::machine::Stopwatch;
use crate::support::origin::{Behaviour, Origin};
use crate::support::ping_pong::PingPong;
use crate::support::proc;
use crate::support::process::Process;
use crate::support::wait::{eventually, observe};

#[test]
fn a_killed_engine_is_replaced_and_no_connection_is_refused() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().origins([&origin]));
    let clients = Knocker::start(lb.addr("web"), CLIENTS);
    let kills = amount(5, 30);
    let mut slowest = Duration::ZERO;
    for _ in 0..kills {
        // Longer than a second, otherwise it would count as a crash loop.
        observe(Duration::from_millis(1100));
        let served = clients.served();
        let watch = Stopwatch::start();
        kill_engine(&lb);
        eventually(HANG, "clients served again", || (clients.served() > served + CLIENTS as u64).then_some(()));
        slowest = slowest.max(watch.elapsed());
    }
    let knocks = clients.finish();
    figure(
        &format!("{kills} engines killed with SIGKILL, {CLIENTS} clients"),
        format!("{knocks:?}, slowest return {slowest:?}"),
    );
    assert_eq!(knocks.refused, 0);
    let in_hand = u64::try_from(CLIENTS * kills).unwrap();
    assert!(knocks.broken <= in_hand, "more than what was in hand: {knocks:?}");
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    assert!(lb.stderr().contains("connections wait in the queues"));
}

#[test]
fn an_engine_that_dies_at_once_each_time_is_restarted_with_a_delay() {
    let origin = Origin::start(Behaviour::Echo);
    let config = Config::new().origins([&origin]);
    let mut lb = Lb::start(&config);
    let lb_addr = lb.addr("web");
    // The next engines find an unusable configuration.
    lb.write_config("[global]\nthreads = \"many\"\n");
    kill_engine(&lb);
    eventually(HANG, "back-off of 400 ms", || lb.stderr().contains("in 400 ms").then_some(()));
    assert!(lb.is_running());
    let starts = lb.stderr().matches("the next one starts").count();
    assert!(starts <= 5, "{starts} starts");
    lb.write_config(&config.text());
    // Not accepted by any engine yet: the connection waits in the kernel's queue for the next one.
    PingPong::start(lb_addr, 1).finish().assert_unharmed();
    lb.signal(Signal::SIGTERM);
    assert!(lb.wait(HANG).success());
}

#[test]
fn a_first_start_that_fails_ends_with_the_engines_code_and_message() {
    let output = lb(&["run", "-f", "/nonexistent/lb.toml"]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("/nonexistent/lb.toml"));
    let dir = tempfile::tempdir().unwrap();
    // A single missing level would be created.
    let socket = dir.path().join("none/of/these/lb.sock");
    let flags = ["run", "--bind", "127.0.0.1:0", "--server", "127.0.0.1:1", "--socket"];
    let mut args = flags.to_vec();
    args.push(socket.to_str().unwrap());
    let output = lb(&args);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("does not exist"));
}

#[test]
fn an_engine_without_its_supervisor_finishes_its_sessions_and_ends() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().origins([&origin]));
    let (addr, engine) = (lb.addr("web"), lb.engine());
    let sessions = PingPong::start(addr, 5);
    lb.signal(Signal::SIGKILL);
    lb.notify().clear_store();
    eventually(HANG, "listeners closed", || connect(addr).err());
    sessions.run_for(200);
    assert!(is_alive(engine));
    sessions.finish().assert_unharmed();
    eventually(HANG, "the engine's end", || (!is_alive(engine)).then_some(()));
}

#[test]
fn after_the_supervisors_death_its_successor_finds_the_queues_in_the_fd_store() {
    let origin = Origin::start(Behaviour::Echo);
    let mut lb = Lb::start(&Config::new().origins([&origin]));
    let addr = lb.addr("web");
    eventually(HANG, "listeners stored", || (lb.notify().stored().len() >= 3).then_some(()));
    let engine = lb.engine();
    let clients = Knocker::start(addr, CLIENTS);
    eventually(HANG, "clients served", || (clients.served() > 100).then_some(()));
    // As systemd does it: the main process is gone, so that the rest of the group is killed.
    lb.signal(Signal::SIGKILL);
    kill(Pid::from_raw(engine), Signal::SIGKILL).unwrap();
    lb.start_again_from_store();
    let served = clients.served();
    eventually(HANG, "clients served by the successor", || (clients.served() > served + 200).then_some(()));
    let knocks = clients.finish();
    assert_eq!(knocks.refused, 0, "{knocks:?}");
    assert!(knocks.broken <= CLIENTS as u64, "{knocks:?}");
}

#[test]
fn as_pid_1_it_reaps_orphans_passes_signals_on_and_ends() {
    let origin = Origin::start(Behaviour::Echo);
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("lb.toml");
    fs::write(&config, Config::new().origins([&origin]).text()).unwrap();
    let socket = dir.path().join("lb.sock");
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--mount-proc", "--kill-child", "--"])
        .arg(env!("CARGO_BIN_EXE_lb"))
        .args(["run", "-f"])
        .arg(&config)
        .arg("--socket")
        .arg(&socket);
    let mut process = Process::start("lb", dir.path(), &command);
    let ask = |args: &[&str]| {
        let mut args = args.to_vec();
        args.extend(["--socket", socket.to_str().unwrap()]);
        lb(&args)
    };
    eventually(HANG, "status", || ask(&["status"]).status.success().then_some(()));
    let init = proc::descendants(process.pid())[0];
    // An orphan becomes a child of PID 1, and must not stay a zombie.
    let mut stranger = Command::new("nsenter");
    stranger.args(["--target", &init.to_string(), "--pid", "--mount", "--"]);
    stranger.args(["sh", "-c", "sleep 0.05 & exit 0"]);
    assert!(stranger.status().unwrap().success());
    eventually(HANG, "no zombie", || {
        let zombie = |pid: &i32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.contains(") Z ")
        };
        let children = proc::descendants(init);
        (children.len() == 1 && !children.iter().any(zombie)).then_some(())
    });
    let upgrade = ask(&["upgrade", "--probation", "100ms"]);
    assert!(upgrade.status.success(), "{upgrade:?}");
    kill(Pid::from_raw(init), Signal::SIGTERM).unwrap();
    assert!(process.wait(HANG).success());
    assert!(!socket.exists());
}

fn kill_engine(lb: &Lb) {
    kill(Pid::from_raw(lb.engine()), Signal::SIGKILL).unwrap();
}

const CLIENTS: usize = 8;

fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
