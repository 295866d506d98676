//! What each request of the admin socket does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::time::Duration;

use crate::control::admin::name_pattern::NamePattern;
use crate::control::admin::{Answer, ProgressSender, Request, Status};
use crate::engine::admin_socket::{PendingRequest, Reply};
use crate::engine::inputs::{Jobs, LoopEvent};
use crate::engine::pools::administration::Administered;
use crate::engine::reload_queue::ReloadAsker;
use crate::engine::sessions::SessionScope;
use crate::engine::upgrade_status::Asker;
use crate::engine::{Engine, reload, sessions, status};
use crate::exit::ExitStatus;
use crate::handoff::control::Upgrade;
use crate::stats::Counts;
use crate::sys::other_process::OtherProcess;

/// Answers a request, or has it answered later. A panic fails the request and nothing else: a bug in a table must not
/// end the sessions.
pub(super) fn answer(engine: &mut Engine, jobs: &mut Jobs, pending: PendingRequest) {
    // What a panic leaves behind is what it leaves in any task of this thread. The dropped reply answers the client.
    if catch_unwind(AssertUnwindSafe(|| perform(engine, jobs, pending))).is_err() {
        tracing::error!("an admin request panicked");
    }
}

fn perform(engine: &mut Engine, jobs: &mut Jobs, pending: PendingRequest) {
    let PendingRequest { request, progress, reply } = pending;
    let answer = match request {
        Request::Status => Answer::value(&lasting_status(engine)),
        Request::ServerList => Answer::value(&lasting_status(engine).backends),
        Request::ServerFacts { backend, server } => Answer::value(&engine.pools.facts(&backend, &server)),
        Request::SetServer { backend, server, state } => {
            administered(engine.pools.set_state(&backend, &server, state), &progress)
        }
        Request::SetWeight { backend, server, weight } => {
            administered(engine.pools.set_weight(&backend, &server, weight), &progress)
        }
        Request::Accept { backend } => outcome(engine.pools.accept_held(&backend)),
        Request::ClearCounters { .. } if engine.upgrade_status.is_running() => {
            Answer::busy("counters stay: an upgrade is in progress, which adds up those of two engines")
        }
        Request::ClearCounters { all } => clear_counters(engine, all),
        Request::Sessions { backend, server, sort, limit } => {
            let scope = scope(engine, backend, server);
            return later(jobs, reply, sessions::list(engine.workers.clone(), scope, sort, limit));
        }
        Request::KillSessions { ids } => return later(jobs, reply, sessions::kill(engine.workers.clone(), ids)),
        Request::KillServer { backend, server, over_ms } => {
            let scope = scope(engine, Some(backend), Some(server));
            let over = Duration::from_millis(over_ms);
            return later(jobs, reply, sessions::kill_all(engine.workers.clone(), scope, over));
        }
        Request::Stop => return stop(engine.origin.supervisor, reply),
        Request::Reload if engine.upgrade_status.is_running() => {
            Answer::busy("reload refused: an upgrade is in progress")
        }
        Request::Reload => {
            progress.say("reading the configuration");
            return reload::ask(engine, jobs, ReloadAsker::Client { progress, reply });
        }
        Request::Upgrade { binary, probation_ms } => {
            return upgrade(engine, binary, probation_ms, Asker { progress, reply });
        }
    };
    reply.send(answer);
}

/// Has the supervisor stop, as its signal does. Answered before: afterwards this engine may be gone.
fn stop(supervisor: u32, reply: Reply) {
    match OtherProcess::open(supervisor) {
        Ok(supervisor) => {
            reply.send(Answer::done("stopping: open sessions finish"));
            if let Err(error) = supervisor.terminate() {
                tracing::error!("cannot signal the supervisor: {error}");
            }
        }
        Err(error) => reply.send(Answer::failed(ExitStatus::Failed, format!("cannot signal the supervisor: {error}"))),
    }
}

/// Answers when this is done, beside the loop. Dropped by a panic, the reply answers the client.
fn later(jobs: &mut Jobs, reply: Reply, answer: impl Future<Output = Answer> + 'static) {
    let job = async {
        reply.send(answer.await);
        LoopEvent::Tick
    };
    jobs.start_apart(job, LoopEvent::Tick);
}

fn scope(engine: &Engine, backend: Option<String>, server: Option<String>) -> SessionScope {
    let (backend, server) = (NamePattern::new(backend), server.map(|server| NamePattern::new(Some(server))));
    let unknown = engine.pools.unknown(&backend, server.as_ref());
    SessionScope { backend, server, unknown }
}

/// The status, once its counts are where they survive this engine's upgrade.
fn lasting_status(engine: &mut Engine) -> Status {
    let status = status::status(engine);
    engine.succession.heritage.report_counts(&engine.listeners, &engine.pools);
    status
}

/// Passes the request on to the supervisor, whose lines go to the asker.
fn upgrade(engine: &mut Engine, binary: Option<PathBuf>, probation_ms: Option<u64>, asker: Asker) {
    let request = engine.upgrade_status.number_request();
    let binary = binary.map(|path| path.display().to_string());
    match engine.reports.upgrade(Upgrade { request, binary, probation_ms }) {
        Ok(()) => engine.upgrade_status.wait(request, asker),
        Err(error) => asker.reply.send(Answer::failed(ExitStatus::Failed, error.to_string())),
    }
}

/// What was counted so far is forgotten, or only the maxima are.
fn clear_counters(engine: &Engine, all: bool) -> Answer {
    engine.listeners.iter().for_each(|(_, served)| served.frontend.stats.clear(all));
    engine.pools.iter().for_each(|(_, backend)| backend.clear_counters(all));
    Answer::done(if all { "all counters begin anew" } else { "all maxima begin anew" })
}

fn administered(outcome: Result<Administered, String>, progress: &ProgressSender) -> Answer {
    outcome.map_or_else(Answer::bad_request, |administered| {
        administered.warnings.iter().for_each(|warning| progress.say(format!("warning: {warning}")));
        Answer::value(&administered)
    })
}

fn outcome(outcome: Result<String, String>) -> Answer {
    outcome.map_or_else(Answer::bad_request, Answer::done)
}
