//! Stopping: no new connections, open sessions continue for a while, then the engine ends.

use std::time::Instant;

use crate::config::counted;
use crate::engine::Engine;
use crate::engine::inputs::{Jobs, LoopEvent};
use crate::engine::stop_state::{StopAction, StopState, patience};
use crate::engine::supervisor_link::SupervisorOrder;
use crate::handoff::control::Stop;
use crate::log::By;
use crate::proxy::worker::SessionFilter;

/// Begins to stop.
pub(super) fn begin(engine: &mut Engine, jobs: &mut Jobs, order: &Stop) {
    engine.stopping = Some(StopState::Closing { patience: patience(order, &engine.config) });
    engine.admin.release_if_parked();
    engine.succession.end_move();
    let leaving = engine.listeners.remove_all();
    let closed = engine.listeners.retire(leaving);
    jobs.start(async {
        closed.await;
        LoopEvent::ListenersClosed
    });
}

/// The listeners are closed.
pub(super) fn drain(engine: &mut Engine) {
    let open = engine.listeners.limit().used();
    if let Some(state) = &mut engine.stopping {
        if open > 0
            && let StopState::Closing { patience } = state
        {
            let time = patience.map(|time| format!("up to {}", humantime::format_duration(time)));
            let have = if open == 1 { "has" } else { "have" };
            let time = time.as_deref().unwrap_or("as long as it takes");
            tracing::info!("stopping: {} {have} {time}", counted(open, "session"));
        }
        state.drain(Instant::now());
    }
}

/// Follows an order while the engine stops. A second order to stop ends it at once, but gives one that is soft its time.
pub(super) async fn follow(engine: &mut Engine, jobs: &mut Jobs, order: SupervisorOrder) {
    match order {
        SupervisorOrder::Stop(order) => {
            let patience = patience(&order, &engine.config);
            if engine.stopping.as_mut().is_some_and(|state| state.hurry(patience, Instant::now())) {
                return;
            }
            tracing::warn!("stopping at once: {} cut", counted(engine.listeners.limit().used(), "session"));
            end(engine, jobs).await;
        }
        SupervisorOrder::Progress(line) => engine.upgrade_status.report(line),
        SupervisorOrder::Orphaned => engine.admin.close(engine.upgrade_status.is_running()).await,
        SupervisorOrder::Reload => tracing::warn!("reload ignored: stopping"),
        _ => {}
    }
}

/// Does what is due by now. To be called after each event, and every few milliseconds.
pub(super) async fn advance(engine: &mut Engine, jobs: &mut Jobs) {
    let open = engine.listeners.limit().used();
    let idle = open == 0 && !engine.succession.is_moving();
    let action = engine.stopping.as_mut().map_or(StopAction::Wait, |state| state.due(Instant::now(), idle));
    match action {
        StopAction::Wait => {}
        StopAction::Cut(over) => {
            let are = if open == 1 { "is" } else { "are" };
            tracing::warn!("stopping: {} {are} cut now", counted(open, "session"));
            engine.workers.iter().for_each(|worker| worker.cut(SessionFilter::All, By::Killed, over));
        }
        StopAction::End => end(engine, jobs).await,
    }
}

async fn end(engine: &mut Engine, jobs: &mut Jobs) {
    engine.stopping = Some(StopState::Answering);
    engine.log.flush();
    let answered = engine.admin.finish().await;
    jobs.start(async {
        answered.await;
        LoopEvent::Ended
    });
}
