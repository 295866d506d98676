//! Signs of life to the supervisor. When a worker does not answer, there is none: silence is the message.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::backend::Member;
use crate::engine::Engine;
use crate::engine::error::EngineError;
use crate::engine::inputs::{Jobs, LoopEvent};
use crate::engine::workers::{Pulse, Workers};
use crate::fault;
use crate::handoff::control::{Heartbeat, Mode};
use crate::handoff::peer::{Counted, PeerMessage};
use crate::stats::FrontendStats;

/// Sends the first heartbeat as soon as the workers answer. Counts from now on: those inherited from the previous engine
/// are excluded.
pub(super) fn begin(engine: &mut Engine, jobs: &mut Jobs) {
    engine.origin.inherited = figures(engine);
    next(engine, jobs, Duration::ZERO);
}

/// Leaves out counts, too, that come from the previous engine later.
pub(super) fn inherit(engine: &mut Engine, counts: &PeerMessage) {
    let inherited = &mut engine.origin.inherited;
    match counts {
        PeerMessage::Frontend(record) if engine.listeners.frontend(&record.name).is_some() => {
            inherited.accepted += record.sessions_total;
            inherited.failed += record.failed;
        }
        PeerMessage::Server(record) => {
            let member = engine.pools.get(&record.backend).and_then(|backend| backend.member(&record.name));
            let sessions = record.counts.iter().find(|count| count.what == Counted::Sessions as u32);
            inherited.served += sessions.filter(|_| member.is_some()).map_or(0, |count| count.value);
        }
        _ => {}
    }
}

/// Sends a heartbeat if the workers have answered, and waits for the next.
pub(super) fn beat(engine: &mut Engine, jobs: &mut Jobs, pulse: &Pulse) -> Result<(), EngineError> {
    match pulse {
        // The connections queued for that worker would wait for ever: better a new engine at once.
        Pulse::WorkerLost if engine.stopping.is_none() => return Err(EngineError::WorkerLost),
        // A stop continues without that worker: the sessions of the others have their time.
        Pulse::WorkerLost | Pulse::Answered(_) => {
            if let Pulse::Answered(stats) = pulse {
                engine.rates.hear(*stats);
            }
            let (now, before) = (figures(engine), &engine.origin.inherited);
            let beat = Heartbeat {
                sessions: now.sessions,
                accepted: now.accepted.saturating_sub(before.accepted),
                served: now.served.saturating_sub(before.served),
                failed: now.failed.saturating_sub(before.failed),
                full: now.full,
            };
            // A failure passes, or the supervisor is gone, which is an order of its own.
            engine.reports.heartbeat(beat).ok();
            engine.succession.heritage.report_counts(&engine.listeners, &engine.pools);
        }
        Pulse::Silent => {}
        Pulse::Failed => {
            next(engine, jobs, AFTER_PANIC);
            return Ok(());
        }
    }
    next(engine, jobs, engine.reports.heartbeat_interval());
    Ok(())
}

fn next(engine: &Engine, jobs: &mut Jobs, after: Duration) {
    let (workers, mode) = (engine.workers.clone(), engine.origin.mode);
    let pulse = async move {
        sleep(after).await;
        LoopEvent::Pulse(feel(&workers, mode).await)
    };
    // After a panic the engine continues to serve. An upgrade sees the silence and is rolled back.
    jobs.start_apart(pulse, LoopEvent::Pulse(Pulse::Failed));
}

async fn feel(workers: &Workers, mode: Mode) -> Pulse {
    if mode == Mode::Upgrade {
        fault::point("engine.beat");
    }
    if !workers.are_alive() {
        return Pulse::WorkerLost;
    }
    workers.answer(PATIENCE).await.map_or(Pulse::Silent, Pulse::Answered)
}

fn figures(engine: &Engine) -> Heartbeat {
    let of_frontends =
        |of: fn(&FrontendStats) -> u64| engine.listeners.iter().map(|(_, served)| of(&served.frontend.stats)).sum();
    let served = |member: &Arc<Member>| member.server.stats.sessions_total.value();
    let backends = engine.pools.iter().map(|(_, backend)| backend.snapshot().members.iter().map(served).sum::<u64>());
    Heartbeat {
        sessions: engine.listeners.limit().used().into(),
        accepted: of_frontends(|stats| stats.sessions_total.value()),
        served: backends.sum(),
        failed: of_frontends(|stats| stats.failed.value()),
        full: engine.listeners.is_full(),
    }
}

/// A worker that is slow is not silent: an answer is waited for longer than the supervisor does.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than an upgrade endures silence, and shorter than a watchdog does.
const AFTER_PANIC: Duration = Duration::from_secs(4);
