//! The sessions that are open: a list of them, and the end of some. The workers are asked beside the engine's loop.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::time::timeout;

use crate::config::counted;
use crate::control::admin::Answer;
use crate::control::admin::name_pattern::NamePattern;
use crate::control::admin::sessions::{SessionId, SessionList, SessionOrder, SessionPhase, SessionReport};
use crate::engine::workers::Workers;
use crate::exit::ExitStatus;
use crate::proxy::sighting::{SessionState, Sighting};
use crate::sys::clock::millis;

/// Which sessions are meant.
#[derive(Debug)]
pub(super) struct SessionScope {
    pub(super) backend: NamePattern,
    pub(super) server: Option<NamePattern>,
    /// What is wrong with these names, where no session is found either.
    pub(super) unknown: Option<String>,
}

/// What ended sessions are answered with.
#[derive(Debug, Serialize)]
struct Killed {
    changed: bool,
    message: String,
    killed: usize,
    /// Ids that no session has, or not any more.
    missing: Vec<SessionId>,
}

impl SessionScope {
    fn has(&self, sighting: &Sighting) -> bool {
        let server = sighting.activity.server.as_deref();
        self.backend.matches(&sighting.backend)
            && self.server.as_ref().is_none_or(|pattern| server.is_some_and(|server| pattern.matches(server)))
    }

    fn shown(&self) -> String {
        let server = self.server.as_ref().map_or("*", NamePattern::text);
        format!("{}/{server}", self.backend.text())
    }
}

/// The sessions meant, those first that `order` is about; at most `limit` of them.
pub(super) async fn list(workers: Workers, scope: SessionScope, order: SessionOrder, limit: Option<u64>) -> Answer {
    let Ok(sightings) = timeout(ANSWER, look(&workers, &scope)).await else { return late() };
    if sightings.is_empty()
        && let Some(unknown) = scope.unknown
    {
        return Answer::bad_request(unknown);
    }
    let now = Instant::now();
    let mut sessions: Vec<_> = sightings.iter().map(|sighting| report(sighting, now)).collect();
    order.sort(&mut sessions);
    let total = sessions.len() as u64;
    sessions
        .truncate(limit.map_or(MOST_LISTED, |limit| usize::try_from(limit).unwrap_or(MOST_LISTED).min(MOST_LISTED)));
    Answer::value(&SessionList { total, sessions })
}

/// Ends the sessions with these ids.
pub(super) async fn kill(workers: Workers, ids: Vec<SessionId>) -> Answer {
    let wanted: Arc<[u64]> = ids.iter().map(|id| id.0).collect();
    let Ok(killed) = timeout(ANSWER, end(&workers, &wanted, Duration::ZERO)).await else { return late() };
    let mut missing = ids;
    missing.sort_unstable();
    missing.dedup();
    missing.retain(|id| !killed.contains(&id.0));
    let names: Vec<_> = missing.iter().map(SessionId::to_string).collect();
    let lacks = format!("no session {} (any more); `lb sessions` shows those that are open", names.join(", "));
    if killed.is_empty() {
        return Answer::bad_request(lacks);
    }
    tracing::info!("{} killed by the operator", counted(killed.len(), "session"));
    let done = format!("{} killed", counted(killed.len(), "session"));
    let message = if missing.is_empty() { done } else { format!("{done}; {lacks}") };
    Answer::value(&Killed { changed: true, message, killed: killed.len(), missing })
}

/// Ends the sessions meant, evenly spread over a time.
pub(super) async fn kill_all(workers: Workers, scope: SessionScope, over: Duration) -> Answer {
    let Ok(sightings) = timeout(ANSWER, look(&workers, &scope)).await else { return late() };
    if sightings.is_empty()
        && let Some(unknown) = scope.unknown
    {
        return Answer::bad_request(unknown);
    }
    let wanted: Arc<[u64]> = sightings.iter().map(|sighting| sighting.id).collect();
    let Ok(killed) = timeout(ANSWER, end(&workers, &wanted, over)).await else { return late() };
    let shown = scope.shown();
    let message = match (counted(killed.len(), "session"), over) {
        _ if killed.is_empty() => format!("{shown} has no session"),
        (sessions, Duration::ZERO) => format!("{sessions} of {shown} killed"),
        (sessions, over) => format!("{sessions} of {shown} end within {}", humantime::format_duration(over)),
    };
    if !killed.is_empty() {
        tracing::info!("{message} by the operator");
    }
    Answer::value(&Killed { changed: !killed.is_empty(), message, killed: killed.len(), missing: Vec::new() })
}

/// All workers at once. One that has ended has no sessions.
async fn look(workers: &Workers, scope: &SessionScope) -> Vec<Sighting> {
    let asked: Vec<_> = workers.iter().map(|worker| worker.look()).collect();
    let mut found = Vec::new();
    for answer in asked {
        found.extend(answer.await.unwrap_or_default().into_iter().filter(|sighting| scope.has(sighting)));
    }
    found
}

/// Returns the ids of the sessions that end.
async fn end(workers: &Workers, ids: &Arc<[u64]>, over: Duration) -> Vec<u64> {
    let asked: Vec<_> = workers.iter().map(|worker| worker.kill(Arc::clone(ids), over)).collect();
    let mut killed = Vec::new();
    for answer in asked {
        killed.extend(answer.await.unwrap_or_default());
    }
    killed
}

fn report(sighting: &Sighting, now: Instant) -> SessionReport {
    let activity = &sighting.activity;
    SessionReport {
        id: SessionId(sighting.id),
        frontend: sighting.frontend.to_string(),
        backend: sighting.backend.to_string(),
        server: activity.server.as_deref().map(str::to_owned),
        client: sighting.client.to_string(),
        state: match activity.state {
            SessionState::Header => SessionPhase::Header,
            SessionState::Queue => SessionPhase::Queue,
            SessionState::Connecting => SessionPhase::Connecting,
            SessionState::Relaying => SessionPhase::Relaying,
            SessionState::Closing => SessionPhase::Closing,
        },
        age_ms: millis(sighting.age),
        idle_ms: activity.idle.map(millis),
        expires_ms: activity.until.map(|until| millis(until.saturating_duration_since(now))),
        bytes_in: activity.bytes.from_client,
        bytes_out: activity.bytes.to_client,
    }
}

fn late() -> Answer {
    Answer::failed(ExitStatus::Failed, format!("a worker did not answer within {} s", ANSWER.as_secs()))
}

/// Workers answer within milliseconds, unless one hangs.
const ANSWER: Duration = Duration::from_secs(2);

/// Sessions in one answer.
const MOST_LISTED: usize = 100_000;
