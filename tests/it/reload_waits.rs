//! A reload that has to wait, for an upgrade or for its file, is done later or refused, and holds up nothing meanwhile.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use crate::support::client::{HANG, greeting};
use crate::support::config::Config;
use crate::support::lb::{BINARY, Lb};
use crate::support::origin::Origin;
use crate::support::port::Port;
use crate::support::proc;
use crate::support::process::{Process, run};
use crate::support::wait::{eventually, eventually_eq};

#[test]
fn hup_during_an_upgrade_is_done_after_it() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let lb = Lb::start(&Config::new().origins([&a]));
    let addr = lb.addr("web");
    let generation = lb.status().number("generation");
    std::thread::scope(|scope| {
        let upgrade = scope.spawn(|| lb.command_ok(&["upgrade", "--probation", "2s"]));
        eventually(HANG, "probation", || lb.stderr().contains("probation of").then_some(()));
        // The new engine has read the file already.
        lb.write_config(&Config::new().server("b", b.server()).text());
        (0..3).for_each(|_| lb.signal(Signal::SIGHUP));
        assert_eq!(greeting(addr).unwrap(), "a");
        upgrade.join().unwrap();
    });
    eventually_eq(HANG, "b".to_owned(), || greeting(addr).unwrap());
    assert_eq!(lb.status().number("generation"), generation + 1);
    assert!(!lb.stderr().contains("refused"), "{}", lb.stderr());
}

#[test]
fn a_fifo_without_a_writer_holds_up_neither_traffic_nor_admin_nor_later_reloads() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let lb = Lb::start(&Config::new().origins([&a]));
    let addr = lb.addr("web");
    let file = lb.dir().join("lb.toml");
    let threads = proc::threads(lb.pid());
    fs::remove_file(&file).unwrap();
    mkfifo(&file, Mode::S_IRWXU).unwrap();
    let refused = std::thread::scope(|scope| {
        let reload = scope.spawn(|| lb.command(&["reload"]));
        eventually(HANG, "a thread that reads", || (proc::threads(lb.pid()) > threads).then_some(()));
        for _ in 0..20 {
            lb.signal(Signal::SIGHUP);
            assert_eq!(greeting(addr).unwrap(), "a");
            lb.status();
        }
        assert!(!reload.is_finished(), "the fifo was read: {:?}", reload.join());
        assert_eq!(proc::threads(lb.pid()), threads + 1, "threads pile up");
        fs::remove_file(&file).unwrap();
        lb.write_config(&Config::new().server("b", b.server()).text());
        reload.join().unwrap()
    });
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{words}");
    assert!(words.contains("could not be read within 5 s"), "{words}");
    eventually_eq(HANG, "b".to_owned(), || greeting(addr).unwrap());
    assert_eq!(lb.stderr().matches("reloaded: 1").count(), 1, "{}", lb.stderr());
    eventually(HANG, "no thread is left", || (proc::threads(lb.pid()) <= threads).then_some(()));
}

#[test]
fn a_configuration_is_read_from_any_file_that_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::named("a");
    let file = dir.path().join("lb.toml");
    fs::write(&file, Config::new().origins([&origin]).text()).unwrap();
    let checked = |script: &str| {
        let mut command = Command::new("bash");
        command.args(["-c", script, "bash", BINARY]).arg(&file);
        run(&command, HANG)
    };
    for script in [
        "\"$1\" check -f <(cat \"$2\")",
        "\"$1\" check -f <(sleep 0.3; head -c 10 \"$2\"; sleep 0.3; tail -c +11 \"$2\")",
        "\"$1\" check -f /proc/self/fd/0 < \"$2\"",
        "cd / && ln -s \"$2\" \"$2.link\" && \"$1\" check -f \"$2.link\"",
    ] {
        let output = checked(script);
        assert!(output.status.success(), "{script}: {output:?}");
    }
    let output = checked("\"$1\" check -f <(true)");
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no frontend"), "{output:?}");
}

#[test]
fn a_daemon_keeps_a_configuration_that_came_through_a_pipe() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::named("a");
    let port = Port::reserve();
    let text = Config::new().bind(&format!("[\"{}\"]", port.addr())).origins([&origin]).text();
    let file = dir.path().join("lb.toml");
    fs::write(&file, text).unwrap();
    for script in [
        "exec \"$1\" run -f <(cat \"$2\") --socket \"$3\"",
        "cat \"$2\" | exec \"$1\" run -f /dev/stdin --socket \"$3\"",
    ] {
        let socket = dir.path().join("lb.sock");
        let mut command = Command::new("bash");
        command.args(["-c", script, "bash", BINARY]).args([&file, &socket]);
        let lb = Process::start("lb", dir.path(), &command);
        serves(port.addr(), "a");
        let engine = engine(&socket);
        kill(Pid::from_raw(engine), Signal::SIGKILL).unwrap();
        eventually(HANG, "another engine", || (try_engine(&socket)? != engine).then_some(()));
        serves(port.addr(), "a");
        for args in [&["reload"][..], &["upgrade", "--probation", "0s"]] {
            let output = run(Command::new(BINARY).args(args).arg("--socket").arg(&socket), HANG);
            assert!(output.status.success(), "{output:?}");
        }
        serves(port.addr(), "a");
        drop(lb);
    }
}

fn serves(addr: SocketAddr, name: &str) {
    eventually(HANG, "served", || (greeting(addr).ok()? == name).then_some(()));
}

fn engine(socket: &Path) -> i32 {
    eventually(HANG, "status", || try_engine(socket))
}

fn try_engine(socket: &Path) -> Option<i32> {
    let output = run(Command::new(BINARY).args(["status", "--json", "--socket"]).arg(socket), HANG);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    i32::try_from(status.get("engine_pid")?.as_i64()?).ok()
}
