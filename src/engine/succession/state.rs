//! What an engine knows and has counted, as messages.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::backend::health::{CheckResult, Health, Standing};
use crate::backend::{Member, Server, ServerState};
use crate::config::AdminState;
use crate::engine::Engine;
use crate::engine::succession::peer_link::{PeerLink, PeerLinkError};
use crate::handoff::features::{Agreed, Feature};
use crate::handoff::peer::{
    Bucket, Count, Counted, Frontend, Histogram, Knowledge, PeerMessage, Server as ServerRecord, Timed,
};
use crate::proxy::frontend;
use crate::stats::{self, Counter, ServerStats, Times};
use crate::sys::clock::millis;

/// Counts that were told before.
#[derive(Debug, Clone, Default)]
pub(super) struct Baseline {
    frontends: HashMap<String, Frontend>,
    servers: HashMap<(String, String), ServerRecord>,
}

impl Engine {
    /// Sends all counts beyond `told`, and what is known unless it was told before. Returns what is told now.
    pub(super) async fn tell_state(
        &self,
        bridge: &mut PeerLink,
        agreed: &Agreed,
        told: &Baseline,
    ) -> Result<Baseline, PeerLinkError> {
        let first = told.frontends.is_empty() && told.servers.is_empty();
        let now = self.gather();
        if first && agreed.has(Feature::Discovery) {
            for record in self.discovery.records() {
                let message = PeerMessage::Discovery(record);
                bridge.send(&message, Vec::new()).await?;
            }
        }
        if agreed.has(Feature::Counters) {
            for (name, frontend) in &now.frontends {
                let message = less_frontend(frontend, told.frontends.get(name));
                bridge.send(&PeerMessage::Frontend(message), Vec::new()).await?;
            }
        }
        for (key, server) in &now.servers {
            let mut message = less_server(server, told.servers.get(key));
            if !agreed.has(Feature::Counters) {
                message.counts.clear();
            }
            if !agreed.has(Feature::Histograms) {
                message.histograms.clear();
            }
            if !first || !agreed.has(Feature::Health) {
                message.knowledge.clear();
            }
            bridge.send(&PeerMessage::Server(message), Vec::new()).await?;
        }
        Ok(now)
    }

    /// Takes one message of the other engine's state in. Names that this configuration does not have are left out.
    pub(super) fn take_state(&self, message: PeerMessage) -> Result<(), PeerLinkError> {
        match message {
            PeerMessage::Frontend(record) => {
                if let Some(served) = self.frontends.borrow().get(&record.name) {
                    add_frontend(&served.frontend, &record);
                }
            }
            PeerMessage::Server(record) => self.take_server(&record),
            // Once the first servers are known it would come too late.
            PeerMessage::Discovery(_) => {}
            _ => return Err(PeerLinkError::OutOfTurn),
        }
        Ok(())
    }

    /// Publishes every backend anew after its servers' state was changed behind its back.
    pub(super) fn refresh_all(&self) {
        for backend in self.backends.borrow().values() {
            backend.refresh(Instant::now());
        }
    }

    fn take_server(&self, record: &ServerRecord) {
        let backends = self.backends.borrow();
        let Some(backend) = backends.get(&record.backend) else {
            return;
        };
        let snapshot = backend.snapshot();
        let Some(member) = snapshot.members.iter().find(|member| *member.server.name == *record.name) else {
            return;
        };
        add_server(&member.server.stats, record);
        // Health belongs to an address.
        if let Some(knowledge) = record.knowledge.first()
            && member.spec.addr.to_string() == record.addr
        {
            know(member, knowledge, Instant::now());
        }
    }

    fn gather(&self) -> Baseline {
        let mut all = Baseline::default();
        for (name, served) in &*self.frontends.borrow() {
            all.frontends.insert(name.clone(), frontend_record(&served.frontend));
        }
        for (name, backend) in &*self.backends.borrow() {
            for member in &backend.snapshot().members {
                let record = server_record(name, member);
                all.servers.insert((name.clone(), record.name.clone()), record);
            }
        }
        all
    }
}

fn frontend_record(frontend: &frontend::Frontend) -> Frontend {
    let stats = &frontend.stats;
    Frontend {
        name: frontend.name.to_string(),
        sessions_total: stats.sessions_total.value(),
        bytes_in: stats.bytes_in.value(),
        bytes_out: stats.bytes_out.value(),
        failed: stats.failed.value(),
    }
}

fn add_frontend(frontend: &frontend::Frontend, record: &Frontend) {
    let stats = &frontend.stats;
    stats.sessions_total.add(record.sessions_total);
    stats.bytes_in.add(record.bytes_in);
    stats.bytes_out.add(record.bytes_out);
    stats.failed.add(record.failed);
}

fn less_frontend(now: &Frontend, told: Option<&Frontend>) -> Frontend {
    let Some(told) = told else { return now.clone() };
    Frontend {
        name: now.name.clone(),
        sessions_total: now.sessions_total.saturating_sub(told.sessions_total),
        bytes_in: now.bytes_in.saturating_sub(told.bytes_in),
        bytes_out: now.bytes_out.saturating_sub(told.bytes_out),
        failed: now.failed.saturating_sub(told.failed),
    }
}

fn server_record(backend: &str, member: &Member) -> ServerRecord {
    let server = &member.server;
    ServerRecord {
        backend: backend.to_owned(),
        name: server.name.to_string(),
        addr: member.spec.addr.to_string(),
        counts: counters(&server.stats)
            .map(|(what, counter)| Count { what: what as u32, value: counter.value() })
            .into(),
        histograms: server
            .stats
            .times_if_any()
            .map(|times| histograms(times).map(histogram_record).into())
            .unwrap_or_default(),
        knowledge: vec![knowledge(server, &server.state(), member.spec.disabled, Instant::now())],
    }
}

fn add_server(stats: &ServerStats, record: &ServerRecord) {
    for (what, counter) in counters(stats) {
        if let Some(count) = record.counts.iter().find(|count| count.what == what as u32) {
            counter.add(count.value);
        }
    }
    for theirs in &record.histograms {
        if let Some((_, ours)) = histograms(stats.times()).into_iter().find(|(what, _)| *what as u32 == theirs.what) {
            let buckets: Vec<_> = theirs.buckets.iter().map(|bucket| (bucket.number, bucket.count)).collect();
            ours.restore(&buckets);
        }
    }
}

fn less_server(now: &ServerRecord, told: Option<&ServerRecord>) -> ServerRecord {
    let mut rest = now.clone();
    let Some(told) = told else { return rest };
    for count in &mut rest.counts {
        let before = told.counts.iter().find(|other| other.what == count.what);
        count.value = count.value.saturating_sub(before.map_or(0, |before| before.value));
    }
    for histogram in &mut rest.histograms {
        let Some(before) = told.histograms.iter().find(|other| other.what == histogram.what) else {
            continue;
        };
        for bucket in &mut histogram.buckets {
            let before = before.buckets.iter().find(|other| other.number == bucket.number);
            bucket.count = bucket.count.saturating_sub(before.map_or(0, |before| before.count));
        }
    }
    rest
}

fn counters(stats: &ServerStats) -> [(Counted, &Counter); 8] {
    [
        (Counted::Sessions, &stats.sessions_total),
        (Counted::BytesIn, &stats.bytes_in),
        (Counted::BytesOut, &stats.bytes_out),
        (Counted::ConnectErrors, &stats.connect_errors),
        (Counted::Retries, &stats.retries),
        (Counted::Redispatches, &stats.redispatches),
        (Counted::ChecksFailed, &stats.checks_failed),
        (Counted::Downs, &stats.downs),
    ]
}

fn histograms(times: &Times) -> [(Timed, &stats::Histogram); 3] {
    [(Timed::Queue, &times.queue), (Timed::Connect, &times.connect), (Timed::Session, &times.session)]
}

fn histogram_record((what, histogram): (Timed, &stats::Histogram)) -> Histogram {
    let bucket = |(number, count)| Bucket { number, count };
    Histogram { what: what as u32, buckets: histogram.counts().into_iter().map(bucket).collect() }
}

fn knowledge(server: &Server, state: &ServerState, configured: bool, now: Instant) -> Knowledge {
    let standing = state.health.map(|health| health.value());
    let age = |since: Option<Instant>| since.map(|since| millis(now.saturating_duration_since(since)));
    let history: Vec<(&CheckResult, Option<u64>)> =
        state.history.iter().map(|result| (result, age(result.ended))).collect();
    Knowledge {
        admin: state.admin,
        weight: state.weight,
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
        // Results hold numbers and printable text: there is nothing that JSON could not say.
        history: serde_json::to_vec(&history).unwrap_or_default(),
        configured: configured == (state.admin == AdminState::Maint),
    }
}

fn know(member: &Member, knowledge: &Knowledge, now: Instant) {
    let mut state = member.server.state();
    if !knowledge.configured || knowledge.admin == AdminState::Drain {
        state.admin = knowledge.admin;
    }
    state.weight = knowledge.weight;
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
