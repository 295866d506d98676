//! Orders of the supervisor, and what this engine reports: the daemon's life from READY to its end.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::engine::admin_requests::Admin;
use crate::engine::supervisor_link::{Order, Orders, PeerEnd};
use crate::engine::{Engine, StartError, stop, succession};
use crate::fault;
use crate::handoff::control::{Done, Heartbeat, Mode, StopMode, UpgradePhase};
use crate::proxy::Notice;
use crate::proxy::worker::Worker;

/// What the daemon hears while it lives.
pub(super) struct Ears {
    pub(super) orders: Orders,
    pub(super) heard: mpsc::Receiver<Notice>,
    pub(super) admin: Admin,
}

/// Follows orders until the end.
pub(super) async fn follow(daemon: &Rc<Engine>, mut ears: Ears) -> Result<(), StartError> {
    loop {
        let order = tokio::select! {
            Some(notice) = ears.heard.recv() => {
                daemon.hear(notice);
                continue;
            }
            order = ears.orders.next() => order,
            // Its share of the connections would wait for ever: better a new engine at once.
            () = daemon.worker_lost.notified() => return Err(StartError::WorkerLost),
        };
        match order {
            Order::Go => go(daemon, &mut ears.admin).await?,
            Order::Park(except) => {
                fault::point("engine.park");
                daemon.park(&except).await;
                ears.admin.park().await;
                daemon.reports.parked()?;
                tracing::info!("parked: a new engine accepts");
            }
            Order::Resume => {
                daemon.end_move();
                daemon.resume()?;
                ears.admin.serve(daemon).map_err(StartError::admin_lost)?;
                tracing::warn!("resumed: the new engine failed");
            }
            Order::Commit => tracing::info!("committed: the engine before this one drains"),
            Order::Peer(end) => drop(spawn_local(export(Rc::clone(daemon), end))),
            Order::Move(limit) => drop(spawn_local(move_sessions(Rc::clone(daemon), limit))),
            // Looking up names may take a while, in which other orders and traffic's notices are to be heard.
            Order::Reload => {
                let daemon = Rc::clone(daemon);
                drop(spawn_local(async move { daemon.reload_by_signal().await }));
            }
            Order::Phase(phase) => daemon.set_phase(phase),
            Order::Progress(line) => daemon.tell_asker(line),
            Order::Stop(mode) => {
                let patience = (mode == StopMode::Now).then_some(AT_ONCE);
                return stop::stop(daemon, patience, &mut ears).await;
            }
            Order::Orphaned => {
                tracing::error!("the supervisor is gone: draining");
                ears.admin.close(daemon.upgrading()).await;
                return stop::stop(daemon, None, &mut ears).await;
            }
            Order::Abort(reason) => return Err(StartError::Aborted(reason)),
        }
    }
}

/// Checks that every worker answers, reports READY, and only then accepts.
async fn go(daemon: &Rc<Engine>, admin: &mut Admin) -> Result<(), StartError> {
    fault::point("engine.go");
    if !daemon.workers_answer().await {
        return Err(StartError::Hangs);
    }
    daemon.reports.ready(daemon.stop_limit())?;
    fault::point("engine.ready");
    daemon.accept_all()?;
    admin.serve(daemon).map_err(StartError::admin_lost)?;
    if let Some(import) = daemon.import.borrow_mut().take() {
        spawn_local(succession::receive(Rc::clone(daemon), import));
    }
    spawn_local(beat(Rc::clone(daemon)));
    tracing::info!("lb {} serves", env!("CARGO_PKG_VERSION"));
    Ok(())
}

/// Tells the supervisor that the workers answer. When one does not, silence tells.
async fn beat(daemon: Rc<Engine>) {
    // What the engine before this one has counted is not this one's merit.
    let before = daemon.figures();
    loop {
        if daemon.origin.mode == Mode::Upgrade {
            fault::point("engine.beat");
        }
        if !daemon.workers.iter().all(Worker::is_alive) {
            return daemon.worker_lost.notify_one();
        }
        let answered = daemon.workers_answer().await;
        let now = daemon.figures();
        let beat = Heartbeat {
            sessions: now.sessions,
            accepted: now.accepted.saturating_sub(before.accepted),
            served: now.served.saturating_sub(before.served),
            failed: now.failed.saturating_sub(before.failed),
        };
        if answered && daemon.reports.heartbeat(beat).is_err() {
            return;
        }
        tokio::time::sleep(daemon.reports.heartbeat_interval()).await;
    }
}

impl Engine {
    async fn workers_answer(&self) -> bool {
        for worker in self.workers.iter() {
            if !worker.is_alive() || timeout(ANSWER, worker.census()).await.is_err() {
                return false;
            }
        }
        true
    }

    fn figures(&self) -> Heartbeat {
        let frontends = self.frontends.borrow();
        let backends = self.backends.borrow();
        let of_frontends = |of: fn(&crate::stats::FrontendStats) -> u64| {
            frontends.values().map(|served| of(&served.frontend.stats)).sum()
        };
        let snapshots = backends.values().map(|backend| backend.snapshot());
        let served = snapshots.flat_map(|snapshot| {
            let served = |member: &crate::backend::Member| member.server.stats.sessions_total.value();
            snapshot.members.iter().map(|member| served(member)).collect::<Vec<_>>()
        });
        Heartbeat {
            sessions: self.global.used().into(),
            accepted: of_frontends(|stats| stats.sessions_total.value()),
            served: served.sum(),
            failed: of_frontends(|stats| stats.failed.value()),
        }
    }

    /// What this engine says that a stop may take.
    pub(super) fn stop_limit(&self) -> Duration {
        self.config.borrow().global.hard_stop_after + stop::GRACE
    }

    fn set_phase(&self, phase: UpgradePhase) {
        if phase == UpgradePhase::Idle {
            // Of one that failed: what leads to the other engine is of no more use.
            self.export.borrow_mut().take();
        }
        let was = self.phase.replace(phase);
        if was == UpgradePhase::Idle {
            self.phase_since.set(std::time::Instant::now());
        }
    }

    /// Whether an upgrade is running.
    pub(super) fn upgrading(&self) -> bool {
        self.phase.get() != UpgradePhase::Idle
    }
}

/// Tells the new engine what this one knows. A failure fails the upgrade there: this engine goes on as it was.
async fn export(daemon: Rc<Engine>, end: PeerEnd) {
    match daemon.export(end).await {
        Ok(export) if daemon.upgrading() => *daemon.export.borrow_mut() = Some(export),
        Ok(_) => {}
        Err(error) => tracing::warn!("hand-off: {error}"),
    }
}

/// Hands the sessions over and reports what became of them.
async fn move_sessions(daemon: Rc<Engine>, limit: Duration) {
    let export = daemon.export.borrow_mut().take();
    let done = match export {
        Some(export) => daemon.hand_over(export, limit).await,
        None => Done {
            moved: 0,
            left: u64::from(daemon.global.used()),
            why: Some("there is no way to the new engine".to_owned()),
        },
    };
    if let Err(error) = daemon.reports.done(done) {
        tracing::error!("{error}");
    }
}

/// How long sessions may go on after INT.
const AT_ONCE: Duration = Duration::from_secs(1);
/// A worker that does not answer for so long hangs.
const ANSWER: Duration = Duration::from_millis(1500);
