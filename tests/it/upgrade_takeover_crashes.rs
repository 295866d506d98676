//! SIGKILL at each step of a takeover: of either supervisor, of either engine. One balancer continues to serve, no
//! connection is refused, and a later takeover succeeds.

use std::net::SocketAddr;
use std::path::PathBuf;

use lb::internals::sys::local::{self, LocalKind};

use crate::support::client::HANG;
use crate::support::config::Config;
use crate::support::fault;
use crate::support::knocker::Knocker;
use crate::support::lb::Lb;
use crate::support::limits::amount;
use crate::support::origin::{Behaviour, Origin};
use crate::support::ping_pong::PingPong;
use crate::support::takeover::{TakeoverDir, assert_retires, failure, wait_for_output};
use crate::support::wait::eventually;

#[test]
fn the_old_supervisor_killed_at_any_step_leaves_the_new_one_which_refuses_no_connection() {
    for point in [
        "supervisor.introduce",
        "supervisor.go",
        "supervisor.park",
        "supervisor.commit",
        "supervisor.move",
        "supervisor.handover",
        "supervisor.retire",
    ] {
        for _ in 0..amount(1, 10) {
            let mut stage = TakeoverStage::new();
            stage.old_dies_at(point);
            let new = stage.launch(None);
            stage.assert_dead();
            new.wait_for_notice("READY=1");
            stage.assert_served(point);
            // It has all that a successor needs, and listens at the path.
            eventually(HANG, point, || local::connect(&stage.shared.path(), LocalKind::Seqpacket).ok());
            let next = stage.shared.start();
            assert_retires(&mut { new });
            stage.assert_served(point);
            stage.finish(point);
            drop(next);
        }
    }
}

#[test]
fn an_old_supervisor_that_dies_before_it_hands_anything_over_still_has_a_successor() {
    let mut stage = TakeoverStage::new();
    stage.old_dies_at("supervisor.welcome");
    let new = stage.launch(None);
    stage.assert_dead();
    new.wait_for_notice("READY=1");
    stage.addr = new.addr("web");
    PingPong::start(stage.addr, 2).finish().assert_unharmed();
}

#[test]
fn the_new_supervisor_killed_at_any_step_leaves_the_old_one_which_refuses_no_connection() {
    for point in ["taker.welcome", "taker.born", "taker.start", "taker.ready", "taker.handover"] {
        for _ in 0..amount(1, 10) {
            let mut stage = TakeoverStage::new();
            let sessions = PingPong::start(stage.addr, 4);
            let new = stage.launch(Some(point));
            stage.assert_reached(point);
            wait_for_output(&stage.old, "the old engine");
            stage.assert_served(point);
            assert_eq!(stage.old.status().number("generation"), 1);
            sessions.run_for(40);
            let next = stage.shared.start();
            assert_retires(&mut stage.old);
            stage.assert_served(point);
            sessions.run_for(40);
            sessions.finish().assert_unharmed();
            stage.finish(point);
            drop((new, next));
        }
    }
}

#[test]
fn the_new_supervisor_killed_after_the_takeover_is_started_again() {
    let mut stage = TakeoverStage::new();
    let new = stage.launch(Some("taker.taken"));
    stage.assert_reached("taker.taken");
    assert_retires(&mut stage.old);
    // As after the death of any supervisor: its engine drains, and the port is free.
    let next = stage.shared.start();
    PingPong::start(next.addr("web"), 2).finish().assert_unharmed();
    drop(new);
}

#[test]
fn the_new_engine_killed_at_any_step_leaves_the_old_one_which_refuses_no_connection() {
    for (point, expected) in [
        ("engine.start", 3),
        ("engine.prepare", 3),
        ("engine.go", 3),
        ("engine.ready", 6),
        ("engine.beat", 6),
        ("new.offered", 6),
    ] {
        for _ in 0..amount(1, 10) {
            let mut stage = TakeoverStage::new();
            let sessions = PingPong::start(stage.addr, 4);
            let (code, message) = failure(stage.launch(Some(point)));
            stage.assert_reached(point);
            assert_eq!(code, expected, "{point}: {message}");
            assert!(message.contains("was ended by SIGKILL"), "{point}: {message}");
            stage.assert_served(point);
            sessions.run_for(40);
            sessions.finish().assert_unharmed();
            assert_eq!(stage.old.status().number("generation"), 1);
            let _next = stage.shared.start();
            assert_retires(&mut stage.old);
            stage.finish(point);
        }
    }
}

#[test]
fn the_old_engine_killed_at_any_step_refuses_no_connection() {
    for point in ["engine.park", "old.offered", "old.committed"] {
        for _ in 0..amount(1, 10) {
            let mut stage = TakeoverStage::new();
            let _sessions = PingPong::start(stage.addr, 4);
            stage.old_dies_at(point);
            let new = stage.launch(None);
            new.wait_for_notice("READY=1");
            stage.assert_reached(point);
            wait_for_output(&new, "the old one was lost with its sessions");
            assert_retires(&mut stage.old);
            stage.assert_served(point);
            stage.finish(point);
        }
    }
}

/// A balancer under observation by clients.
struct TakeoverStage {
    shared: TakeoverDir,
    old: Lb,
    addr: SocketAddr,
    fault: PathBuf,
    clients: Knocker,
    _origin: Origin,
}

impl TakeoverStage {
    fn new() -> Self {
        let origin = Origin::start(Behaviour::Echo);
        let shared = TakeoverDir::new(&Config::new().origins([&origin]));
        let fault = shared.dir().join("fault");
        let old = shared.options().env("LB_FAULT", &fault).start();
        let addr = old.addr("web");
        let clients = Knocker::start(addr, 4);
        Self { shared, old, addr, fault, clients, _origin: origin }
    }

    /// The old supervisor or its engine, whichever reaches the point, is killed there.
    fn old_dies_at(&self, point: &str) {
        fault::arm(&self.fault, point, "kill");
    }

    /// Starts the new balancer; its supervisor or its engine is killed at this point.
    fn launch(&mut self, point: Option<&str>) -> Lb {
        let options = self.shared.options();
        let Some(point) = point else {
            return options.launch();
        };
        self.fault = self.shared.dir().join("fault-of-the-new-one");
        fault::arm(&self.fault, point, "kill");
        options.env("LB_FAULT", &self.fault).launch()
    }

    #[track_caller]
    fn assert_reached(&self, point: &str) {
        eventually(HANG, point, || (!self.fault.exists()).then_some(()));
    }

    #[track_caller]
    fn assert_dead(&mut self) {
        let status = self.old.wait(HANG);
        assert!(!status.success(), "{status}");
    }

    #[track_caller]
    fn assert_served(&self, point: &str) {
        let served = self.clients.served();
        eventually(HANG, point, || (self.clients.served() > served + 20).then_some(()));
    }

    #[track_caller]
    fn finish(self, point: &str) {
        let knocks = self.clients.finish();
        assert_eq!(knocks.refused, 0, "{point}: {knocks:?}");
    }
}
