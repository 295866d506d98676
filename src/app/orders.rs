//! Orders of the supervisor, and what this engine reports: the daemon's life from READY to its end.

use std::rc::Rc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::spawn_local;
use tokio::time::timeout;

use super::admin::Admin;
use super::{Daemon, StartError, stop};
use crate::lifecycle::fault;
use crate::lifecycle::link::{Order, Orders};
use crate::lifecycle::message::{Done, Heartbeat, Mode, StopMode, UpgradePhase};
use crate::proxy::Notice;
use crate::proxy::worker::Worker;

/// What the daemon hears while it lives.
pub(super) struct Ears {
    pub(super) orders: Orders,
    pub(super) heard: mpsc::Receiver<Notice>,
    pub(super) admin: Admin,
}

/// Follows orders until the end.
pub(super) async fn follow(daemon: &Rc<Daemon>, mut ears: Ears) -> Result<(), StartError> {
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
                daemon.resume()?;
                ears.admin.serve(daemon).map_err(StartError::admin_lost)?;
                tracing::warn!("resumed: the new engine failed");
            }
            Order::Commit => tracing::info!("committed: the engine before this one drains"),
            Order::Move(limit) => {
                let done = daemon.move_sessions(limit).await;
                daemon.reports.done(done)?;
            }
            // The state of this engine stays here; the new one starts from the configuration.
            Order::Peer(_) => {}
            Order::Reload => daemon.reload_by_signal().await,
            Order::Phase(phase) => daemon.set_phase(phase),
            Order::Progress(line) => daemon.tell_asker(line),
            Order::Stop(mode) => {
                let patience = (mode == StopMode::Now).then_some(AT_ONCE);
                return stop::stop(daemon, patience, &mut ears).await;
            }
            Order::Orphaned => {
                tracing::error!("the supervisor is gone: draining");
                // Whoever is started next shall find the path free.
                ears.admin.close().await;
                return stop::stop(daemon, None, &mut ears).await;
            }
            Order::Abort(reason) => return Err(StartError::Aborted(reason)),
        }
    }
}

/// Checks that every worker answers, reports READY, and only then accepts.
async fn go(daemon: &Rc<Daemon>, admin: &mut Admin) -> Result<(), StartError> {
    fault::point("engine.go");
    if !daemon.workers_answer().await {
        return Err(StartError::Hangs);
    }
    daemon.reports.ready(daemon.stop_limit())?;
    fault::point("engine.ready");
    daemon.accept_all()?;
    admin.serve(daemon).map_err(StartError::admin_lost)?;
    spawn_local(beat(Rc::clone(daemon)));
    tracing::info!("lb {} serves", env!("CARGO_PKG_VERSION"));
    Ok(())
}

/// Tells the supervisor that the workers answer. When one does not, silence tells.
async fn beat(daemon: Rc<Daemon>) {
    loop {
        if daemon.origin.mode == Mode::Upgrade {
            fault::point("engine.beat");
        }
        if !daemon.workers.iter().all(Worker::is_alive) {
            return daemon.worker_lost.notify_one();
        }
        if daemon.workers_answer().await && daemon.reports.heartbeat(daemon.figures()).is_err() {
            return;
        }
        tokio::time::sleep(daemon.reports.heartbeat_interval()).await;
    }
}

impl Daemon {
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
            frontends
                .values()
                .map(|served| of(&served.frontend.stats))
                .sum()
        };
        let snapshots = backends.values().map(|backend| backend.snapshot());
        let served = snapshots.flat_map(|snapshot| {
            let served =
                |member: &crate::backend::Member| member.server.stats.sessions_total.value();
            snapshot
                .members
                .iter()
                .map(|member| served(member))
                .collect::<Vec<_>>()
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
        let was = self.phase.replace(phase);
        if was == UpgradePhase::Idle {
            self.phase_since.set(std::time::Instant::now());
        }
    }

    /// Whether an upgrade is running.
    pub(super) fn upgrading(&self) -> bool {
        self.phase.get() != UpgradePhase::Idle
    }

    /// Sessions of this version stay where they are and drain.
    async fn move_sessions(&self, _limit: Duration) -> Done {
        let left = u64::from(self.global.used());
        let why = (left > 0).then(|| "this version does not move sessions".to_owned());
        Done {
            moved: 0,
            left,
            why,
        }
    }
}

/// How long sessions may go on after INT.
const AT_ONCE: Duration = Duration::from_secs(1);
/// A worker that does not answer for so long hangs.
const ANSWER: Duration = Duration::from_millis(1500);
