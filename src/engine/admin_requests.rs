//! What each request of the admin socket does.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use crate::control::admin::{Answer, ProgressSender, Request, Status};
use crate::engine::admin_socket::PendingRequest;
use crate::engine::inputs::Jobs;
use crate::engine::pools::Administered;
use crate::engine::reload_queue::ReloadAsker;
use crate::engine::upgrade_status::Asker;
use crate::engine::{Engine, reload, status};
use crate::exit::ExitStatus;
use crate::handoff::control::Upgrade;

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
        Request::SetServer { backend, server, state } => {
            administered(engine.pools.set_state(&backend, &server, state), &progress)
        }
        Request::SetWeight { backend, server, weight } => {
            administered(engine.pools.set_weight(&backend, &server, weight), &progress)
        }
        Request::Accept { backend } => outcome(engine.pools.accept_held(&backend)),
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

fn administered(outcome: Result<Administered, String>, progress: &ProgressSender) -> Answer {
    outcome.map_or_else(Answer::bad_request, |Administered { done, warning }| {
        if let Some(warning) = warning {
            progress.say(format!("warning: {warning}"));
        }
        Answer::done(done)
    })
}

fn outcome(outcome: Result<String, String>) -> Answer {
    outcome.map_or_else(Answer::bad_request, Answer::done)
}
