//! The engine's loop: the only caller with `&mut Engine`.
//!
//! Nothing in it waits for long. What does becomes a job, whose result is an event like any other; so orders, notices,
//! admin requests and heartbeats continue while names are looked up, sessions move or a worker is slow to answer. Orders
//! alone wait while GO, PARK or the ends of a stop are under way, since the next order builds upon them.

use std::env;
use std::time::Duration;

use tokio::time::sleep;

use crate::engine::error::EngineError;
use crate::engine::inputs::{Inputs, Jobs, LoopEvent};
use crate::engine::reload_queue::ReloadAsker;
use crate::engine::stop_state::{StopState, stop_limit};
use crate::engine::succession::{Circumstances, HandoffFuture, HandoffNext, HandoffStep, Succession};
use crate::engine::supervisor_link::SupervisorOrder;
use crate::engine::{Engine, admin_requests, heartbeat, names, reload, stop};
use crate::fault;
use crate::handoff::channel::STARTER_VARIABLE;
use crate::handoff::control::{Done, Stop, UpgradePhase};
use crate::sys::process;

/// Runs an engine that is prepared, until its end.
pub(super) async fn run(mut engine: Engine, mut inputs: Inputs) -> Result<(), EngineError> {
    loop {
        let (orders, stopping) = (takes_orders(&engine), engine.stopping.is_some());
        let event = inputs.next(&mut engine.pools, orders, stopping).await;
        if matches!(event, LoopEvent::Ended) {
            return Ok(());
        }
        handle(&mut engine, &mut inputs.jobs, event).await?;
        if engine.stopping.is_some() {
            stop::advance(&mut engine, &mut inputs.jobs).await;
        }
    }
}

fn takes_orders(engine: &Engine) -> bool {
    !engine.order_under_way && !engine.stopping.as_ref().is_some_and(StopState::holds_orders)
}

async fn handle(engine: &mut Engine, jobs: &mut Jobs, event: LoopEvent) -> Result<(), EngineError> {
    match event {
        LoopEvent::Order(order) if engine.stopping.is_some() => stop::follow(engine, jobs, order).await,
        LoopEvent::Order(order) => follow(engine, jobs, order).await?,
        LoopEvent::Notice(notice) => engine.pools.observe(notice),
        LoopEvent::Request(request) => admin_requests::answer(engine, jobs, request),
        LoopEvent::Pools(news) => names::take(engine, &news),
        LoopEvent::Checked { answer } => serve(engine, jobs, answer)?,
        LoopEvent::Parked { keeps_some } => parked(engine, keeps_some).await?,
        LoopEvent::LendingDue => lend(engine, jobs),
        LoopEvent::RatesDue => look_at_rates(engine, jobs),
        LoopEvent::Pulse(pulse) => heartbeat::beat(engine, jobs, &pulse)?,
        LoopEvent::Reload(step) => reload::advance(engine, jobs, step),
        LoopEvent::Handoff(step) => advance(engine, jobs, *step)?,
        LoopEvent::CountsLate if engine.succession.heritage.awaits_counts() => {
            engine.succession.heritage.expect_no_counts();
            serve_admin(engine)?;
        }
        LoopEvent::ListenersClosed => stop::drain(engine),
        LoopEvent::CountsLate | LoopEvent::Ended | LoopEvent::Tick => {}
    }
    Ok(())
}

async fn follow(engine: &mut Engine, jobs: &mut Jobs, order: SupervisorOrder) -> Result<(), EngineError> {
    match order {
        SupervisorOrder::Go => go(engine, jobs),
        SupervisorOrder::Park(except) => park(engine, jobs, &except),
        SupervisorOrder::Resume => {
            engine.succession.end_move();
            engine.succession.outgoing.resume_counts(&engine.listeners, &engine.pools);
            engine.succession.outgoing.reclaim(&engine.listeners, &engine.pools);
            engine.listeners.resume()?;
            engine.admin.serve()?;
            tracing::warn!("resumed: the new engine failed");
        }
        SupervisorOrder::Commit => tracing::info!("committed: the engine before this one drains"),
        SupervisorOrder::Peer(end) => start_handoff(jobs, Succession::export(end)),
        SupervisorOrder::Move(limit) => hand_over(engine, jobs, limit),
        SupervisorOrder::Reload => reload::ask(engine, jobs, ReloadAsker::Signal),
        SupervisorOrder::Phase(phase) => {
            match phase {
                UpgradePhase::Idle => {
                    engine.succession.outgoing.forget(&engine.listeners, &engine.pools);
                    // Another supervisor than the one at the start may keep it now.
                    names::report(engine);
                }
                UpgradePhase::Activate => {
                    engine.succession.outgoing.begin_lending();
                    lend(engine, jobs);
                }
                _ => {}
            }
            engine.upgrade_status.set_phase(phase);
            // A reload may have waited for the end of the upgrade.
            reload::begin_next(engine, jobs);
        }
        SupervisorOrder::Progress(line) => engine.upgrade_status.report(line),
        SupervisorOrder::Stop(order) => stop::begin(engine, jobs, &order),
        SupervisorOrder::Orphaned => {
            tracing::error!("the supervisor is gone: draining");
            engine.admin.close(engine.upgrade_status.is_running()).await;
            stop::begin(engine, jobs, &Stop::DRAIN);
        }
        SupervisorOrder::Abort(reason) => return Err(EngineError::Aborted(reason)),
    }
    Ok(())
}

/// Checks that every worker answers.
fn go(engine: &mut Engine, jobs: &mut Jobs) {
    fault::point("engine.go");
    engine.order_under_way = true;
    let workers = engine.workers.clone();
    jobs.start(async move { LoopEvent::Checked { answer: workers.answer(ANSWER).await.is_some() } });
}

/// Reports READY, and only then accepts: a death before READY must not take a connection with it.
fn serve(engine: &mut Engine, jobs: &mut Jobs, answer: bool) -> Result<(), EngineError> {
    engine.order_under_way = false;
    if !answer {
        return Err(EngineError::Hangs);
    }
    engine.reports.ready(stop_limit(&engine.config), engine.config.global.watchdog)?;
    if env::var_os(STARTER_VARIABLE).is_some() {
        process::leave_streams().map_err(EngineError::system("cannot open /dev/null"))?;
    }
    fault::point("engine.ready");
    engine.listeners.accept_all()?;
    if let Some(handoff) = engine.succession.receive() {
        start_handoff(jobs, handoff);
    }
    if engine.succession.heritage.awaits_counts() {
        jobs.start(async {
            sleep(LATE_COUNTS).await;
            LoopEvent::CountsLate
        });
    }
    serve_admin(engine)?;
    heartbeat::begin(engine, jobs);
    look_at_rates(engine, jobs);
    names::report(engine);
    engine.pools.report_unusable();
    tracing::info!("lb {} serves", env!("CARGO_PKG_VERSION"));
    Ok(())
}

/// Not before the counts are complete that the engine before this one has answered with: no total falls.
fn serve_admin(engine: &mut Engine) -> Result<(), EngineError> {
    if engine.succession.heritage.awaits_counts() || engine.stopping.is_some() {
        return Ok(());
    }
    engine.admin.serve()
}

/// Takes in a step of a hand-off.
fn advance(engine: &mut Engine, jobs: &mut Jobs, step: HandoffStep) -> Result<(), EngineError> {
    let awaited = engine.succession.heritage.awaits_counts();
    if let Some(counts) = step.counts() {
        heartbeat::inherit(engine, counts);
    }
    let now = Circumstances { upgrading: engine.upgrade_status.is_running(), stopping: engine.stopping.is_some() };
    let next = engine.succession.advance(step, now, &engine.listeners, &engine.pools);
    continue_handoff(engine, jobs, next);
    if awaited { serve_admin(engine) } else { Ok(()) }
}

fn park(engine: &mut Engine, jobs: &mut Jobs, except: &[u64]) {
    fault::point("engine.park");
    engine.order_under_way = true;
    let (parked, keeps_some) = (engine.listeners.park(except), !except.is_empty());
    jobs.start(async move {
        parked.await;
        LoopEvent::Parked { keeps_some }
    });
}

async fn parked(engine: &mut Engine, keeps_some: bool) -> Result<(), EngineError> {
    engine.order_under_way = false;
    engine.succession.outgoing.parked(keeps_some);
    engine.succession.lend(&engine.listeners, &engine.pools);
    engine.admin.park().await;
    engine.succession.outgoing.pass_counts(&engine.listeners, &engine.pools);
    engine.reports.parked()?;
    tracing::info!("parked: a new engine accepts");
    Ok(())
}

/// Looks at the counters of sessions, and does so again after a second.
fn look_at_rates(engine: &mut Engine, jobs: &mut Jobs) {
    engine.rates.look(&engine.listeners, &engine.pools);
    jobs.start(async {
        sleep(SECOND).await;
        LoopEvent::RatesDue
    });
}

/// Divides the places within limits with the new engine, and does so again soon: sessions end meanwhile.
fn lend(engine: &mut Engine, jobs: &mut Jobs) {
    if engine.succession.lend(&engine.listeners, &engine.pools) {
        jobs.start(async {
            sleep(LENDING).await;
            LoopEvent::LendingDue
        });
    }
}

fn hand_over(engine: &mut Engine, jobs: &mut Jobs, limit: Duration) {
    let next = engine.succession.hand_over(limit, &engine.listeners, &engine.pools);
    continue_handoff(engine, jobs, next);
}

fn continue_handoff(engine: &Engine, jobs: &mut Jobs, next: HandoffNext) {
    match next {
        HandoffNext::Wait(handoff) => start_handoff(jobs, handoff),
        HandoffNext::Report(done) => report_done(engine, done),
        HandoffNext::Over => {}
    }
}

fn start_handoff(jobs: &mut Jobs, handoff: HandoffFuture) {
    let panicked = LoopEvent::Handoff(Box::new(HandoffStep::Panicked));
    jobs.start_apart(async { LoopEvent::Handoff(Box::new(handoff.await)) }, panicked);
}

fn report_done(engine: &Engine, done: Done) {
    if let Err(error) = engine.reports.done(done) {
        tracing::error!("{error}");
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// How soon the new engine gets places of sessions that have ended in the old one.
const LENDING: Duration = Duration::from_millis(20);

/// The old engine parks within milliseconds after this one serves. `lb status` is not kept waiting for one that hangs.
const LATE_COUNTS: Duration = Duration::from_secs(1);

/// At the start, a worker that does not answer for so long hangs.
const ANSWER: Duration = Duration::from_millis(1500);
