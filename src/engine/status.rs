//! `lb status`: the engine as a [`Status`].

mod figures;
mod numbers;
mod server;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use self::figures::{pace, times, traffic};
use self::numbers::{ProxyNumbers, ServerNumbers};
use crate::backend::{Backend, Member};
use crate::config;
use crate::control::admin::status::{
    self, Availability, Losses, ProcessReport, ServerReport, Status, StatusPhase, Traffic,
};
use crate::engine::Engine;
use crate::engine::listeners::Served;
use crate::engine::listeners::bind::Bound;
use crate::handoff::control::UpgradePhase;
use crate::log::voice;
use crate::sys::clock::millis;
use crate::sys::resources;

/// The engine at this moment.
pub(super) fn status(engine: &Engine) -> Status {
    let since_look = engine.rates.since_look();
    let numbers = ProxyNumbers::of(&engine.config);
    let frontends = engine
        .listeners
        .iter()
        .map(|(name, served)| status::FrontendReport { id: numbers.frontend(name), ..frontend(served, since_look) });
    let pools = &engine.pools;
    let backends = engine.config.backends.iter().filter_map(|settings| {
        let backend = pools.get(&settings.name)?;
        let servers = ServerNumbers::of(settings);
        let mut report = backend_status(settings, backend, numbers.backend(&settings.name), since_look);
        let members = backend.snapshot().members.clone();
        report.servers =
            members.iter().map(|member| server::server(member, servers.member(member), since_look)).collect();
        report.servers.extend(leaving_servers(backend.leaving(), &servers, since_look));
        report.discovery = pools.source(&settings.name);
        let unresolved = pools.unresolved(settings);
        report.servers.extend(unresolved.iter().map(|one| server::unresolved(one, servers.configured(&one.name))));
        for (name, why) in pools.circles(&settings.name) {
            // One of several places of a server may be a circle, and others not.
            if report.servers.iter().all(|server| server.name != name) {
                report.servers.push(server::circle(name, servers.configured(name), why));
            }
        }
        Some(report)
    });
    let leaving = pools.leaving();
    let leaving = leaving.iter().filter(|backend| backend.sessions() > 0 || !backend.queue.is_empty());
    let leaving = numbers.others().zip(leaving).map(|(id, backend)| leaving_backend(backend, id, since_look));
    let upgrade = &engine.upgrade_status;
    Status {
        pid: engine.origin.supervisor,
        engine_pid: std::process::id(),
        generation: engine.origin.generation,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        uptime_s: engine.origin.uptime().as_secs(),
        upgrade: status_phase(upgrade.phase())
            .map(|phase| status::UpgradeReport { phase, elapsed_ms: millis(upgrade.elapsed()) }),
        threads: u32::try_from(engine.workers.count()).unwrap_or(u32::MAX),
        maxconn: engine.listeners.limit().max().into(),
        sessions: engine.listeners.limit().used().into(),
        sessions_total: engine.listeners.sessions_total(),
        losses: Losses { log_lines_dropped: engine.log.dropped(), message_lines_lost: voice::lost_lines() },
        process: process(engine, since_look),
        etcd: pools.followers().summary(),
        backends: backends.chain(leaving).collect(),
        frontends: frontends.collect(),
    }
}

fn process(engine: &Engine, since_look: Duration) -> ProcessReport {
    let (listeners, rates) = (&engine.listeners, &engine.rates);
    let began = SystemTime::now() - engine.origin.uptime();
    let began = began.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let bytes_out = listeners.bytes_out();
    let servers = engine.pools.iter().map(|(_, backend)| backend.snapshot().members.len() as u64);
    ProcessReport {
        node: resources::host_name(),
        released: env!("LB_RELEASED").to_owned(),
        started_at: began.as_secs(),
        descriptors_max: resources::descriptor_limit(),
        listeners: listeners.iter().map(|(_, served)| served.bound.len() as u64).sum(),
        pipes: rates.pipes as u64,
        pipes_max: rates.pipes_max as u64,
        idle_percent: rates.idle_percent(),
        tasks: servers.sum::<u64>() + u64::from(listeners.limit().used()),
        pace: pace(&rates.sessions, listeners.sessions_total(), since_look),
        bytes_out,
        bytes_out_rate: rates.bytes_out.now(bytes_out, since_look),
        stopping: engine.stopping.is_some(),
    }
}

/// `None`: no upgrade is running.
fn status_phase(phase: UpgradePhase) -> Option<StatusPhase> {
    match phase {
        UpgradePhase::Idle => None,
        UpgradePhase::Probe => Some(StatusPhase::Probe),
        UpgradePhase::Hello => Some(StatusPhase::Hello),
        UpgradePhase::Prepare => Some(StatusPhase::Prepare),
        UpgradePhase::Activate => Some(StatusPhase::Activate),
        UpgradePhase::Probation => Some(StatusPhase::Probation),
        UpgradePhase::Move => Some(StatusPhase::Move),
    }
}

/// A backend, without its servers. `id`: its number.
fn backend_status(
    settings: &config::Backend,
    backend: &Backend,
    id: u32,
    since_look: Duration,
) -> status::BackendReport {
    let (totals, stats, outage) = (backend.totals(), &backend.stats, backend.outage());
    status::BackendReport {
        id,
        name: settings.name.clone(),
        balance: settings.balance.to_string(),
        queue: backend.queue.len() as u64,
        queue_max: stats.queue_max.value(),
        arrivals: stats.sessions_total.value(),
        traffic: Traffic {
            sessions: backend.sessions().into(),
            sessions_max: stats.sessions_max.value(),
            failed: totals.failed.value() + stats.unserved.value(),
            client_aborts: totals.aborts.client.value() + stats.client_aborts.value(),
            ..traffic(&totals)
        },
        pace: pace(&stats.rate, stats.sessions_total.value(), since_look),
        availability: Availability {
            downs: stats.downs.value(),
            changed_s: outage.changed.map(|changed| changed.elapsed().as_secs()),
            downtime_s: outage.total(Instant::now()).as_secs(),
        },
        fullconn: settings.fullconn.map(u64::from),
        allbackups: settings.allbackups,
        times: totals.times_if_any().map(times).unwrap_or_default(),
        discovery: None,
        servers: Vec::new(),
    }
}

/// A backend that the configuration does not have any more, with what is left of it.
fn leaving_backend(backend: &Backend, id: u32, since_look: Duration) -> status::BackendReport {
    let snapshot = Arc::clone(&backend.snapshot());
    let mut report = backend_status(&snapshot.settings, backend, id, since_look);
    let members = snapshot.members.iter().cloned().chain(backend.leaving());
    report.servers = leaving_servers(members, &ServerNumbers::of(&snapshot.settings), since_look).collect();
    report
}

/// Those that take no new sessions and have some left.
fn leaving_servers(
    members: impl IntoIterator<Item = Arc<Member>>,
    numbers: &ServerNumbers<'_>,
    since_look: Duration,
) -> impl Iterator<Item = ServerReport> {
    let members = members.into_iter();
    members.filter_map(move |one| server::leaving_server(&one, numbers.other(&one), since_look))
}

fn frontend(served: &Served, since_look: Duration) -> status::FrontendReport {
    let Served { frontend, bound } = served;
    let (route, stats) = (frontend.route(), &frontend.stats);
    status::FrontendReport {
        id: 0,
        name: frontend.name.to_string(),
        bind: bound.iter().map(Bound::shown).collect(),
        backend: route.backend.name.to_string(),
        maxconn: frontend.limit.max().min(frontend.global.max()).into(),
        sessions: frontend.limit.used().into(),
        sessions_max: stats.sessions_max.value(),
        sessions_total: stats.sessions_total.value(),
        bytes_in: stats.bytes_in.value(),
        bytes_out: stats.bytes_out.value(),
        request_errors: stats.request_errors.value(),
        rate_limit: route.settings.rate_limit.map(u64::from),
        pace: pace(&stats.rate, stats.sessions_total.value(), since_look),
    }
}
