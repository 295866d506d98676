//! The counts and the state of servers as messages, and back.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::backend::health::{CheckResult, Health, Standing};
use crate::backend::{Member, Server, ServerState};
use crate::config::{AdminState, Weight};
use crate::engine::listeners::Listeners;
use crate::engine::pools::Pools;
use crate::engine::succession::peer_link::PeerLinkError;
use crate::engine::succession::places;
use crate::engine::succession::sums::{
    add_backend, add_frontend, add_server, backend_record, backend_since, counts_anything, counts_record,
    frontend_record, frontend_since, histogram_records, server_since,
};
use crate::handoff::features::{Agreed, Feature};
use crate::handoff::peer::{BackendRecord, FrontendRecord, Knowledge, NamesRecord, PeerMessage, ServerRecord};
use crate::stats::FrontendStats;
use crate::sys::clock::millis;

/// Stands for all servers of a backend, or all frontends, that are no more.
const GONE: &str = "";

/// The counts and the state of all servers at one moment.
#[derive(Debug, Clone, Default)]
pub(super) struct Baseline {
    frontends: HashMap<String, FrontendRecord>,
    backends: HashMap<String, BackendRecord>,
    servers: HashMap<(String, String), ServerRecord>,
}

impl Baseline {
    /// Everything, as messages that the other engine understands.
    pub(super) fn first_messages(&self, agreed: &Agreed, pools: &Pools) -> Vec<PeerMessage> {
        let names = pools.name_parts().into_iter().map(|saved| PeerMessage::Names(NamesRecord { saved }));
        let mut messages: Vec<_> = names.collect();
        if agreed.has(Feature::Discovery) {
            messages.extend(pools.followers().records().into_iter().map(PeerMessage::Discovery));
        }
        messages.extend(self.counts_since(&Self::default(), agreed));
        for server in self.servers.values() {
            let mut message = server.clone();
            if !agreed.has(Feature::Health) {
                message.knowledge.clear();
            }
            messages.push(server_message(message, agreed));
        }
        messages
    }

    /// The counts beyond those of `before`, as messages that the other engine understands.
    pub(super) fn messages_since(&self, before: &Self, agreed: &Agreed) -> Vec<PeerMessage> {
        let mut messages = self.counts_since(before, agreed);
        for (key, server) in &self.servers {
            let mut message = server_since(server, before.servers.get(key));
            if key.1 == GONE {
                // What servers counted that left since then is with the others by now; it was sent under their names.
                let left =
                    before.servers.iter().filter(|(left, _)| left.0 == key.0 && !self.servers.contains_key(*left));
                message = left.fold(message, |message, (_, left)| server_since(&message, Some(left)));
            }
            message.knowledge.clear();
            if counts_anything(&message) {
                messages.push(server_message(message, agreed));
            }
        }
        messages
    }

    /// New engine: what has changed since `before`, as a whole.
    pub(super) fn changes_since(&self, before: &Self) -> Vec<PeerMessage> {
        let frontends = self.frontends.iter().filter(|(name, now)| before.frontends.get(*name) != Some(*now));
        let backends = self.backends.iter().filter(|(name, now)| before.backends.get(*name) != Some(*now));
        let servers = self.servers.iter().filter(|(key, now)| before.servers.get(*key) != Some(*now));
        let frontends = frontends.map(|(_, frontend)| PeerMessage::Frontend(frontend.clone()));
        let backends = backends.map(|(_, backend)| PeerMessage::Backend(backend.clone()));
        frontends.chain(backends).chain(servers.map(|(_, server)| PeerMessage::Server(server.clone()))).collect()
    }

    /// Old engine: takes in the counts of the new one.
    pub(super) fn take(&mut self, message: PeerMessage) {
        match message {
            PeerMessage::Frontend(record) => _ = self.frontends.insert(record.name.clone(), record),
            PeerMessage::Backend(record) => _ = self.backends.insert(record.name.clone(), record),
            PeerMessage::Server(record) => {
                self.servers.insert((record.backend.clone(), record.name.clone()), record);
            }
            _ => {}
        }
    }

    /// Old engine: adds what the new one has counted beyond `sent`.
    pub(super) fn restore(&self, sent: &Self, listeners: &Listeners, pools: &Pools) {
        for (name, frontend) in &self.frontends {
            take_frontend(listeners, &frontend_since(frontend, sent.frontends.get(name)));
        }
        for (name, backend) in &self.backends {
            take_backend(pools, &backend_since(backend, sent.backends.get(name)));
        }
        for (key, server) in &self.servers {
            take_server(pools, &server_since(server, sent.servers.get(key)));
        }
    }

    fn counts_since(&self, before: &Self, agreed: &Agreed) -> Vec<PeerMessage> {
        if !agreed.has(Feature::Counters) {
            return Vec::new();
        }
        let since = |(name, frontend): (&String, &FrontendRecord)| {
            let since = frontend_since(frontend, before.frontends.get(name));
            let left = before.frontends.iter().filter(|(left, _)| name == GONE && !self.frontends.contains_key(*left));
            left.fold(since, |since, (_, left)| frontend_since(&since, Some(left)))
        };
        let frontends = self.frontends.iter().map(since).map(PeerMessage::Frontend);
        let backends = self.backends.iter().map(|(name, backend)| backend_since(backend, before.backends.get(name)));
        frontends.chain(backends.map(PeerMessage::Backend)).collect()
    }
}

/// The present counts and state. The counts that stand for no name go under [`GONE`]: an older engine, which knows no
/// such name, leaves them out.
pub(super) fn gather(listeners: &Listeners, pools: &Pools) -> Baseline {
    collect(listeners, pools, server_record, leaving_record)
}

/// The present counts alone, without times.
pub(super) fn tally(listeners: &Listeners, pools: &Pools) -> Baseline {
    let record = |backend: &str, member: &Member| counts_record(backend, &member.server.name, &member.server.stats);
    let mut all = collect(listeners, pools, record, record);
    // Ages differ each time, and are no counts.
    all.frontends.values_mut().for_each(|frontend| frontend.quiet_ms = None);
    all.backends.values_mut().for_each(|backend| (backend.quiet_ms, backend.changed_ms) = (None, None));
    all.servers.values_mut().for_each(|server| server.quiet_ms = None);
    all
}

fn collect(
    listeners: &Listeners,
    pools: &Pools,
    record: impl Fn(&str, &Member) -> ServerRecord,
    leaving: impl Fn(&str, &Member) -> ServerRecord,
) -> Baseline {
    let mut all = Baseline::default();
    let mut add = |name: &str, stats: &FrontendStats| {
        all.frontends.insert(name.to_owned(), frontend_record(name, stats));
    };
    listeners.iter().for_each(|(name, served)| add(name, &served.frontend.stats));
    listeners.departed().see(add);
    let left = pools.leaving();
    for backend in pools.iter().map(|(_, backend)| backend).chain(&left) {
        all.backends.insert(backend.name.to_string(), backend_record(backend));
        let members = backend.snapshot().members.clone();
        let mut records: Vec<_> = members.iter().map(|member| record(&backend.name, member)).collect();
        records.extend(backend.leaving().iter().map(|member| leaving(&backend.name, member)));
        // After these: a server whose last session ends meanwhile is counted once.
        backend.see_remembered(|name, counts| records.push(counts_record(&backend.name, name, counts)));
        all.servers.extend(records.into_iter().map(|record| ((record.backend.clone(), record.name.clone()), record)));
    }
    all
}

/// Takes one message of the other engine's state in. Of names that this configuration does not have the counts alone are
/// taken.
pub(super) fn take_state(listeners: &Listeners, pools: &Pools, message: PeerMessage) -> Result<(), PeerLinkError> {
    match message {
        PeerMessage::Frontend(record) => take_frontend(listeners, &record),
        PeerMessage::Backend(record) => take_backend(pools, &record),
        PeerMessage::Server(record) => take_server(pools, &record),
        PeerMessage::Held(held) => places::leave(listeners, pools, &held),
        // Once the first servers are there it comes too late.
        PeerMessage::Discovery(_) | PeerMessage::Names(_) => {}
        _ => return Err(PeerLinkError::OutOfTurn),
    }
    Ok(())
}

fn take_frontend(listeners: &Listeners, record: &FrontendRecord) {
    match listeners.frontend(&record.name) {
        Some(frontend) => add_frontend(&frontend.stats, record),
        None => listeners.departed().add_counts(&record.name, |stats| add_frontend(stats, record)),
    }
}

fn take_backend(pools: &Pools, record: &BackendRecord) {
    add_backend(&pools.get_or_leaving(&record.name), record);
}

fn take_server(pools: &Pools, record: &ServerRecord) {
    let backend = pools.get_or_leaving(&record.backend);
    backend.add_counts(&record.name, |stats| add_server(stats, record));
    // Health belongs to an address.
    if let Some(knowledge) = record.knowledge.first()
        && let Some(member) = backend.member(&record.name)
        && member.spec.addr.to_string() == record.addr
    {
        restore(&member, knowledge, Instant::now());
    }
}

fn server_message(mut message: ServerRecord, agreed: &Agreed) -> PeerMessage {
    if !agreed.has(Feature::Counters) {
        message.counts.clear();
    }
    if !agreed.has(Feature::Histograms) {
        message.histograms.clear();
    }
    PeerMessage::Server(message)
}

fn server_record(backend: &str, member: &Member) -> ServerRecord {
    let server = &member.server;
    ServerRecord {
        knowledge: vec![knowledge(server, &server.state(), member.spec.disabled, Instant::now())],
        ..leaving_record(backend, member)
    }
}

/// Without knowledge: the name may stand for a new server by then.
fn leaving_record(backend: &str, member: &Member) -> ServerRecord {
    let stats = &member.server.stats;
    let times = stats.times_if_any().map(histogram_records);
    ServerRecord {
        addr: member.spec.addr.to_string(),
        histograms: times.unwrap_or_default(),
        ..counts_record(backend, &member.server.name, stats)
    }
}

fn knowledge(server: &Server, state: &ServerState, configured: bool, now: Instant) -> Knowledge {
    let standing = state.health.map(|health| health.value());
    let age = |since: Option<Instant>| since.map(|since| millis(now.saturating_duration_since(since)));
    let history: Vec<(&CheckResult, Option<u64>)> =
        state.history.iter().map(|result| (result, age(result.ended))).collect();
    Knowledge {
        admin: state.admin,
        weight: state.weight.map(Weight::get),
        up_failures: standing.and_then(|standing| match standing {
            Standing::Up { failures } => Some(failures),
            Standing::Down { .. } => None,
        }),
        down_successes: standing.and_then(|standing| match standing {
            Standing::Down { successes } => Some(successes),
            Standing::Up { .. } => None,
        }),
        suspect: server.is_suspect(),
        recovering_ms: age(state.recovering_since),
        changed_ms: age(state.changed),
        // Results hold numbers and printable text: JSON can hold all of it.
        history: serde_json::to_vec(&history).unwrap_or_default(),
        configured: configured == (state.admin == AdminState::Maint),
        maxconn: state.maxconn,
        agent_down: state.agent_down,
        downtime_ms: Some(millis(state.downtime)),
    }
}

fn restore(member: &Member, knowledge: &Knowledge, now: Instant) {
    let mut state = member.server.state();
    let decided = std::mem::replace(&mut state.admin, knowledge.admin);
    state.weight = knowledge.weight.and_then(Weight::new);
    state.maxconn = knowledge.maxconn;
    state.agent_down = knowledge.agent_down && member.spec.options.agent.is_some();
    let standing = match (knowledge.up_failures, knowledge.down_successes) {
        (Some(failures), _) => Some(Standing::Up { failures }),
        (None, Some(successes)) => Some(Standing::Down { successes }),
        (None, None) => None,
    };
    if let (Some(ours), Some(theirs)) = (&mut state.health, standing) {
        let (rise, fall) = ours.limits();
        *ours = Health::restore(theirs, rise, fall);
    }
    let since = |age: Option<u64>| age.and_then(|age| now.checked_sub(Duration::from_millis(age)));
    state.recovering_since = since(knowledge.recovering_ms);
    state.changed = since(knowledge.changed_ms);
    state.downtime = Duration::from_millis(knowledge.downtime_ms.unwrap_or(0));
    if knowledge.configured && knowledge.admin != AdminState::Drain {
        state.administer(decided, now);
    }
    if let Ok(history) = serde_json::from_slice::<Vec<(CheckResult, Option<u64>)>>(&knowledge.history) {
        for (result, age) in history {
            let ended = since(age);
            state.history.push(CheckResult { ended, ..result });
        }
    }
    drop(state);
    if knowledge.suspect {
        member.server.suspect();
    }
}
