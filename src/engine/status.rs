//! `lb status`: the engine as a [`Status`].

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::backend::health::{CheckResult, ResultSource};
use crate::backend::{Backend, Member, MemberSpec};
use crate::config::{self, Address};
use crate::control::admin::status::{
    self, Availability, CheckReport, Pace, Percentiles, ServerReport, ServerStatus, ServerTimes, Status, StatusPhase,
    Traffic,
};
use crate::engine::Engine;
use crate::engine::listeners::Served;
use crate::engine::listeners::bind::Bound;
use crate::handoff::control::UpgradePhase;
use crate::log::voice;
use crate::stats::{Rate, ServerStats, Times, Timing};
use crate::sys::clock::millis;

/// The engine at this moment.
pub(super) fn status(engine: &Engine) -> Status {
    let since_look = engine.rates.since_look();
    let frontends: Vec<_> = engine.listeners.iter().map(|(_, served)| frontend(served, since_look)).collect();
    let pools = &engine.pools;
    let backends = engine.config.backends.iter().filter_map(|settings| {
        let backend = pools.get(&settings.name)?;
        let mut report = backend_status(settings, backend, since_look);
        report.discovery = pools.source(&settings.name);
        report.servers.extend(pools.unresolved(settings).iter().map(unresolved));
        for (name, why) in pools.circles(&settings.name) {
            // One of several places of a server may be a circle, and others not.
            if report.servers.iter().all(|server| server.name != name) {
                report.servers.push(circle(name, why));
            }
        }
        Some(report)
    });
    let leaving = pools.leaving();
    let leaving = leaving.iter().filter(|backend| backend.sessions() > 0 || !backend.queue.is_empty());
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
        log_lines_dropped: engine.log.dropped(),
        message_lines_lost: voice::lost_lines(),
        etcd: pools.followers().summary(),
        backends: backends.chain(leaving.map(|backend| leaving_backend(backend, since_look))).collect(),
        frontends,
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

fn backend_status(settings: &config::Backend, backend: &Backend, since_look: Duration) -> status::BackendReport {
    let members = backend.snapshot().members.clone();
    let mut servers: Vec<ServerReport> = members.iter().map(|member| server(member, since_look)).collect();
    servers.extend(backend.leaving().iter().filter_map(|member| leaving_server(member, since_look)));
    let (totals, stats, outage) = (backend.totals(), &backend.stats, backend.outage());
    status::BackendReport {
        name: settings.name.clone(),
        balance: settings.balance.to_string(),
        queue: backend.queue.len() as u64,
        queue_max: stats.queue_max.value(),
        arrivals: stats.sessions_total.value(),
        traffic: Traffic {
            sessions: backend.sessions().into(),
            sessions_max: stats.sessions_max.value(),
            failed: totals.failed.value() + stats.unserved.value(),
            ..traffic(&totals)
        },
        pace: pace(&stats.rate, stats.sessions_total.value(), since_look),
        availability: Availability {
            downs: stats.downs.value(),
            changed_s: outage.changed.map(|changed| changed.elapsed().as_secs()),
            downtime_s: outage.total(Instant::now()).as_secs(),
        },
        fullconn: settings.fullconn.map(u64::from),
        discovery: None,
        servers,
    }
}

/// A backend that the configuration does not have any more, with what is left of it.
fn leaving_backend(backend: &Backend, since_look: Duration) -> status::BackendReport {
    let snapshot = Arc::clone(&backend.snapshot());
    let mut report = backend_status(&snapshot.settings, backend, since_look);
    let members = snapshot.members.iter().cloned().chain(backend.leaving());
    report.servers = members.filter_map(|member| leaving_server(&member, since_look)).collect();
    report
}

/// A server that takes no new sessions and has some left.
fn leaving_server(member: &Member, since_look: Duration) -> Option<ServerReport> {
    let leaves = || ServerReport { status: ServerStatus::Leaving, ..server(member, since_look) };
    (member.server.sessions() > 0).then(leaves)
}

fn frontend(served: &Served, since_look: Duration) -> status::FrontendReport {
    let Served { frontend, bound } = served;
    let (route, stats) = (frontend.route(), &frontend.stats);
    status::FrontendReport {
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

fn server(member: &Member, since_look: Duration) -> ServerReport {
    let server = &member.server;
    let state = server.state().clone();
    let now = Instant::now();
    let stats = &server.stats;
    let times = |of: fn(&Times) -> &Timing| stats.times_if_any().map(of).map(percentiles).unwrap_or_default();
    ServerReport {
        name: server.name.to_string(),
        addr: shown_addr(&member.spec),
        status: match member.status() {
            "UP" => ServerStatus::Up,
            "DOWN" => ServerStatus::Down,
            "DRAIN" => ServerStatus::Drain,
            _ => ServerStatus::Maint,
        },
        check: CheckReport {
            status: state.history.newest().map_or_else(|| "INI".to_owned(), |result| result.status.to_string()),
            health: match (&state.tracking, state.health) {
                (Some(tracking), _) => format!("via {}", tracking.path),
                (None, Some(health)) => health.position().to_string(),
                (None, None) => "no check".to_owned(),
            },
            last: state.history.iter().rev().map(|last| result(last, now)).collect(),
        },
        weight: state.weight.unwrap_or(member.spec.weight).get(),
        backup: member.spec.backup,
        maxconn: member.maxconn().unwrap_or(0).into(),
        throttle: member.throttle(now).map(u64::from),
        checks_failed: stats.checks_failed.value(),
        traffic: Traffic { sessions: server.sessions().into(), ..traffic(stats) },
        pace: pace(&stats.rate, stats.picks.value(), since_look),
        availability: Availability {
            downs: stats.downs.value(),
            changed_s: state.changed.map(|changed| now.saturating_duration_since(changed).as_secs()),
            downtime_s: state.downtime(now).as_secs(),
        },
        times: ServerTimes {
            queue_ms: times(|times| &times.queue),
            connect_ms: times(|times| &times.connect),
            session_ms: times(|times| &times.session),
        },
    }
}

/// What servers count. Sessions that are open now are not counted but known.
fn traffic(stats: &ServerStats) -> Traffic {
    Traffic {
        sessions: 0,
        sessions_max: stats.sessions_max.value(),
        sessions_total: stats.sessions_total.value(),
        bytes_in: stats.bytes_in.value(),
        bytes_out: stats.bytes_out.value(),
        connects: stats.connects.value(),
        connect_errors: stats.connect_errors.value(),
        retries: stats.retries.value(),
        redispatches: stats.redispatches.value(),
        picks: stats.picks.value(),
        failed: stats.failed.value(),
        client_aborts: stats.aborts.client.value(),
        server_aborts: stats.aborts.server.value(),
        internal_errors: stats.aborts.internal.value(),
    }
}

fn pace(rate: &Rate, total: u64, since_look: Duration) -> Pace {
    Pace {
        rate: rate.now(total, since_look),
        rate_max: rate.most.value(),
        last_session_s: rate.quiet(total, since_look).map(|quiet| quiet.as_secs()),
    }
}

/// As in the configuration.
fn shown_addr(spec: &MemberSpec) -> String {
    let addr = spec.addr.named();
    match spec.port_shift {
        None => addr,
        Some(shift) => {
            let host = addr.strip_suffix(":0").unwrap_or(&addr);
            if shift == 0 { host.to_owned() } else { format!("{host}:{shift:+}") }
        }
    }
}

/// A server whose host name has no address yet.
fn unresolved(server: &config::Server) -> ServerReport {
    let shares = server.options.resolve.resolvers.is_some();
    let why = match &server.addr {
        Address::Host(host, _) if shares => format!("resolution: no address of {host} is left for it"),
        Address::Host(host, _) => format!("cannot look up {host}"),
        Address::Ip(_) | Address::Unix(_) => String::new(),
    };
    ServerReport {
        name: server.name.clone(),
        addr: server.addr.to_string(),
        // As HAProxy's MAINT (resolution).
        status: if shares { ServerStatus::Maint } else { ServerStatus::Down },
        check: CheckReport { status: "NOADDR".to_owned(), health: why, last: Vec::new() },
        weight: server.weight.get(),
        backup: server.backup,
        ..ServerReport::default()
    }
}

/// A server that is left out, since it is a frontend of this balancer and leads back to itself.
fn circle(name: &str, why: &str) -> ServerReport {
    ServerReport {
        name: name.to_owned(),
        status: ServerStatus::Down,
        check: CheckReport { status: "CIRCLE".to_owned(), health: why.to_owned(), last: Vec::new() },
        ..ServerReport::default()
    }
}

fn result(result: &CheckResult, now: Instant) -> status::ResultReport {
    let source = match result.source {
        ResultSource::Check => "check",
        ResultSource::Traffic => "traffic",
    };
    let code = result.code.map_or_else(String::new, |code| format!("/{code}"));
    status::ResultReport {
        ok: result.status.is_ok(),
        status: format!("{}{code}", result.status),
        cause: result.cause.clone(),
        duration_ms: fractional_ms(result.duration),
        source: source.to_owned(),
        age_ms: result.ended.map_or(0, |ended| millis(now.saturating_duration_since(ended))),
    }
}

fn percentiles(timing: &Timing) -> Percentiles {
    timing.histogram.quantiles().map_or_else(Percentiles::default, |quantiles| {
        let in_ms = |micros| fractional_ms(Duration::from_micros(micros));
        Percentiles {
            p50: in_ms(quantiles.p50),
            p90: in_ms(quantiles.p90),
            p99: in_ms(quantiles.p99),
            max: in_ms(timing.longest.value()),
            mean: fractional_ms(timing.mean()),
        }
    })
}

fn fractional_ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
