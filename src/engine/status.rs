//! `lb status`: what is running, in the words of `control::admin::status`.

use std::time::{Duration, Instant};

use crate::backend::health::{CheckResult, ResultSource};
use crate::backend::{Backend, Member};
use crate::config::{self, Address};
use crate::control::admin::status::{self, CheckReport, Percentiles, ServerReport, ServerStatus, Status};
use crate::engine::{Engine, Served};
use crate::stats::Histogram;
use crate::sys::clock::millis;

impl Engine {
    pub(super) fn report(&self) -> Status {
        let frontends: Vec<_> = self.frontends.borrow().values().map(frontend).collect();
        let config = self.config.borrow();
        let backends = self.backends.borrow();
        let backends = config.backends.iter().filter_map(|settings| {
            let backend = backends.get(&settings.name)?;
            Some(self.backend(settings, backend))
        });
        Status {
            pid: self.origin.supervisor,
            engine_pid: std::process::id(),
            generation: self.origin.generation,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            uptime_s: (self.origin.uptime + self.started.elapsed()).as_secs(),
            upgrade: self.upgrading().then(|| status::UpgradeReport {
                phase: format!("{:?}", self.phase.get()).to_lowercase(),
                elapsed_ms: millis(self.phase_since.get().elapsed()),
            }),
            threads: u32::try_from(self.workers.len()).unwrap_or(u32::MAX),
            maxconn: self.global.max().into(),
            sessions: self.global.used().into(),
            sessions_total: frontends.iter().map(|frontend| frontend.sessions_total).sum(),
            log_lines_dropped: self.log.dropped(),
            etcd: self.discovery.summary(),
            backends: backends.collect(),
            frontends,
        }
    }

    fn backend(&self, settings: &config::Backend, backend: &Backend) -> status::BackendReport {
        let snapshot = backend.snapshot();
        let mut servers: Vec<ServerReport> = snapshot.members.iter().map(|member| server(member)).collect();
        servers.extend(
            self.discovery
                .merged(settings)
                .servers
                .iter()
                .filter(|server| self.resolver.addr(&server.addr).is_none())
                .map(lost),
        );
        let sum = |of: fn(&ServerReport) -> u64| servers.iter().map(of).sum();
        status::BackendReport {
            name: settings.name.clone(),
            balance: settings.balance.to_string(),
            queue: backend.queue.len() as u64,
            sessions: backend.sessions().into(),
            sessions_total: sum(|server| server.sessions_total),
            bytes_in: sum(|server| server.bytes_in),
            bytes_out: sum(|server| server.bytes_out),
            discovery: self.discovery.status(&settings.name),
            servers,
        }
    }
}

fn frontend(served: &Served) -> status::FrontendReport {
    let Served { frontend, bound } = served;
    let route = frontend.route();
    status::FrontendReport {
        name: frontend.name.to_string(),
        bind: bound.iter().map(|bound| bound.addr.to_string()).collect(),
        backend: route.backend.name.to_string(),
        maxconn: frontend.limit.max().min(frontend.global.max()).into(),
        sessions: frontend.limit.used().into(),
        sessions_total: frontend.stats.sessions_total.value(),
        bytes_in: frontend.stats.bytes_in.value(),
        bytes_out: frontend.stats.bytes_out.value(),
    }
}

fn server(member: &Member) -> ServerReport {
    let server = &member.server;
    let state = server.state().clone();
    let now = Instant::now();
    let stats = &server.stats;
    let times =
        |of: fn(&crate::stats::Times) -> &Histogram| stats.times_if_any().map(of).map(percentiles).unwrap_or_default();
    ServerReport {
        name: server.name.to_string(),
        addr: member.spec.addr.to_string(),
        status: match state.status() {
            "UP" => ServerStatus::Up,
            "DOWN" => ServerStatus::Down,
            "DRAIN" => ServerStatus::Drain,
            _ => ServerStatus::Maint,
        },
        check: CheckReport {
            status: state.history.newest().map_or_else(|| "INI".to_owned(), |result| result.status.to_string()),
            health: state.health.map_or_else(|| "no check".to_owned(), |health| health.position().to_string()),
            last: state.history.iter().rev().map(|last| result(last, now)).collect(),
        },
        weight: state.weight.unwrap_or(member.spec.weight),
        backup: member.spec.backup,
        maxconn: member.spec.maxconn.unwrap_or(0).into(),
        sessions: server.sessions().into(),
        sessions_total: stats.sessions_total.value(),
        bytes_in: stats.bytes_in.value(),
        bytes_out: stats.bytes_out.value(),
        connect_errors: stats.connect_errors.value(),
        retries: stats.retries.value(),
        redispatches: stats.redispatches.value(),
        queue_ms: times(|times| &times.queue),
        connect_ms: times(|times| &times.connect),
        session_ms: times(|times| &times.session),
    }
}

/// A server whose host name nobody could resolve yet.
fn lost(server: &config::Server) -> ServerReport {
    let why = match &server.addr {
        Address::Host(host, _) => format!("cannot look up {host}"),
        Address::Ip(_) | Address::Unix(_) => String::new(),
    };
    ServerReport {
        name: server.name.clone(),
        addr: server.addr.to_string(),
        status: ServerStatus::Down,
        check: CheckReport { status: "NOADDR".to_owned(), health: why, last: Vec::new() },
        weight: server.weight,
        backup: server.backup,
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

fn percentiles(histogram: &Histogram) -> Percentiles {
    histogram.quantiles().map_or_else(Percentiles::default, |quantiles| {
        let in_ms = |micros| fractional_ms(Duration::from_micros(micros));
        Percentiles {
            p50: in_ms(quantiles.p50),
            p90: in_ms(quantiles.p90),
            p99: in_ms(quantiles.p99),
            max: in_ms(quantiles.max),
        }
    })
}

fn fractional_ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
