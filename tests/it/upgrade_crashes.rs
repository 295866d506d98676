//! SIGKILL at each step of an upgrade: of the old engine, of the new one, of the supervisor. No connection is refused,
//! and only sessions of the killed process are lost.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::Output;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::client::{HANG, connect};
use crate::support::config::Config;
use crate::support::failing_upgrade::fake_engine;
use crate::support::fault;
use crate::support::knocker::{Knocker, Knocks};
use crate::support::lb::Lb;
use crate::support::limits::amount;
use crate::support::origin::{Behaviour, Origin};
use crate::support::ping_pong::PingPong;
use crate::support::proc;
use crate::support::wait::eventually;

#[test]
fn the_old_engine_killed_at_any_step_refuses_no_connection() {
    for point in ["engine.park", "old.offered", "old.committed"] {
        for _ in 0..amount(1, 20) {
            let stage = CrashStage::new();
            let _sessions = PingPong::start(stage.addr, 4);
            let output = stage.upgrade(point);
            // The command was connected to the killed engine; the new one was READY, so that the upgrade is done.
            assert_eq!(output.status.code(), Some(7), "{point}: {output:?}");
            eventually(HANG, "the supervisor's message", || {
                stage.lb.stderr().contains("the old one was lost").then_some(())
            });
            stage.assert_one_engine_serves(2);
            assert_eq!(stage.finish().refused, 0, "{point}");
        }
    }
}

#[test]
fn the_new_engine_killed_while_sessions_move_gives_the_rest_back() {
    for _ in 0..amount(1, 20) {
        let stage = CrashStage::new();
        let sessions = PingPong::start(stage.addr, 4);
        let output = stage.upgrade("new.offered");
        assert_eq!(output.status.code(), Some(6), "{output:?}");
        // The new engine had their sockets, but had not accepted any session yet.
        sessions.run_for(100);
        sessions.finish().assert_unharmed();
        stage.assert_one_engine_serves(1);
        assert_eq!(stage.finish().refused, 0);
    }
}

#[test]
fn sessions_not_moved_in_time_stay() {
    let origin = Origin::start(Behaviour::Echo);
    let config = Config::bare().threads(8).origins([&origin]);
    let lb = Lb::start(&config);
    let mut clients: Vec<_> = (0..80).map(|_| connect(lb.addr("web")).unwrap()).collect();
    assert!(clients.iter_mut().all(is_served));
    let dir = tempfile::tempdir().unwrap();
    let slow = fake_engine(dir.path(), "slow");
    // It takes the sessions of four workers of eight and dies when the time for moving has passed.
    let output = lb.command(&["upgrade", "--binary", slow.to_str().unwrap(), "--probation", "100ms"]);
    assert_eq!(output.status.code(), Some(6), "{output:?}");
    let stayed = clients.iter_mut().filter_map(|c| is_served(c).then_some(())).count();
    // The kernel spreads connections evenly within limits.
    assert!((10..=70).contains(&stayed), "{stayed} of 80");
    assert_eq!(lb.status().server("app/a").number("sessions"), stayed as u64);
}

fn is_served(client: &mut TcpStream) -> bool {
    let mut echo = [0];
    client.write_all(b"x").is_ok() && client.read_exact(&mut echo).is_ok()
}

#[test]
fn the_supervisor_killed_at_any_step_refuses_no_connection_once_it_is_restarted() {
    for point in [
        "supervisor.probe",
        "supervisor.introduce",
        "supervisor.go",
        "supervisor.park",
        "supervisor.commit",
        "supervisor.move",
        "supervisor.promote",
        "supervisor.replace",
    ] {
        for _ in 0..amount(1, 20) {
            let mut stage = CrashStage::new();
            let output = stage.upgrade_until_the_supervisor_dies(point);
            // Its last message may have been sent before.
            let code = output.status.code();
            assert!(matches!(code, Some(0 | 1)), "{point}: {output:?}");
            stage.lb.start_again_from_store();
            let clients = stage.clients.as_ref().unwrap();
            let served = clients.served();
            eventually(HANG, "clients served", || (clients.served() > served + 20).then_some(()));
            assert_eq!(stage.finish().refused, 0, "{point}");
        }
    }
}

/// A balancer under observation by clients.
struct CrashStage {
    lb: Lb,
    addr: std::net::SocketAddr,
    fault: PathBuf,
    clients: Option<Knocker>,
    _dir: TempDir,
    _origin: Origin,
}

impl CrashStage {
    fn new() -> Self {
        let origin = Origin::start(Behaviour::Echo);
        let dir = tempfile::tempdir().unwrap();
        let fault = dir.path().join("fault");
        let lb = Lb::options().config(&Config::new().origins([&origin])).env("LB_FAULT", &fault).start();
        let addr = lb.addr("web");
        eventually(HANG, "listeners stored", || (lb.notify().stored().len() == 3).then_some(()));
        let clients = Some(Knocker::start(addr, 4));
        Self { lb, addr, fault, clients, _dir: dir, _origin: origin }
    }

    /// Upgrades; the first process to reach `point` is killed there.
    fn upgrade(&self, point: &str) -> Output {
        fault::arm(&self.fault, point, "kill");
        let output = self.lb.command(&["upgrade", "--probation", "300ms"]);
        assert!(!self.fault.exists(), "{point} was not reached");
        output
    }

    /// As `upgrade`, with systemd's part: the remaining processes of the service are killed, too.
    fn upgrade_until_the_supervisor_dies(&mut self, point: &str) -> Output {
        fault::arm(&self.fault, point, "kill");
        std::thread::scope(|scope| {
            let run = scope.spawn(|| self.lb.command(&["upgrade", "--probation", "300ms"]));
            let mut engines = Vec::new();
            eventually(HANG, "the supervisor's death", || {
                let children = proc::descendants(self.lb.pid());
                if !children.is_empty() {
                    engines = children;
                }
                (!self.fault.exists()).then_some(())
            });
            for engine in engines {
                match kill(Pid::from_raw(engine), Signal::SIGKILL) {
                    // ESRCH: it has already ended.
                    Ok(()) | Err(_) => {}
                }
            }
            run.join().unwrap()
        })
    }

    #[track_caller]
    fn assert_one_engine_serves(&self, generation: u64) {
        eventually(HANG, "one engine", || (proc::descendants(self.lb.pid()).len() == 1).then_some(()));
        assert_eq!(self.lb.status().number("generation"), generation);
    }

    fn finish(mut self) -> Knocks {
        self.clients.take().unwrap().finish()
    }
}
