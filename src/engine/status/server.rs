//! A server as a [`ServerReport`].

use std::time::{Duration, Instant};

use super::figures::{fractional_ms, pace, times, traffic};
use crate::backend::health::{CheckResult, ResultSource};
use crate::backend::{Member, MemberSpec};
use crate::config::{self, Address, AdminState};
use crate::control::admin::status::{
    self, AgentReport, Availability, CheckPosition, CheckReport, ServerReport, ServerSettings, ServerStatus, Traffic,
};
use crate::sys::clock::millis;

/// A server. `id`: its number within the backend.
pub(super) fn server(member: &Member, id: u32, since_look: Duration) -> ServerReport {
    let server = &member.server;
    let state = server.state().clone();
    let now = Instant::now();
    let (stats, options) = (&server.stats, &member.spec.options);
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
            position: state.health.map(|health| {
                let (rise, fall) = health.limits();
                CheckPosition { level: health.counter(), rise: rise.get(), fall: fall.get() }
            }),
            failed_while_up: stats.checks.failed_while_up.value(),
            port: options.check.as_ref().and_then(|check| check.port),
            addr: options.check.as_ref().and_then(|check| check.addr),
        },
        agent: options.agent.as_ref().map(|agent| AgentReport {
            up: !state.agent_down,
            last: state.agent_said.as_ref().map(|said| result(said, now)),
            port: agent.port,
            addr: agent.addr,
        }),
        settings: ServerSettings {
            id,
            weight: member.spec.weight.get(),
            disabled: member.spec.disabled,
            admin: if member.spec.drain { state.admin.max(AdminState::Drain) } else { state.admin },
            tracks: state.tracking.as_ref().map_or_else(String::new, |tracking| tracking.path.to_string()),
            host: member.spec.host.clone().unwrap_or_default(),
        },
        weight: state.weight.unwrap_or(member.spec.weight).get(),
        backup: member.spec.backup,
        maxconn: member.maxconn().unwrap_or(0).into(),
        throttle: member.throttle(now).map(u64::from),
        checks_failed: stats.checks.failed.value(),
        traffic: Traffic { sessions: server.sessions().into(), ..traffic(stats) },
        pace: pace(&stats.rate, stats.connects.value(), since_look),
        availability: Availability {
            downs: stats.downs.value(),
            changed_s: state.changed.map(|changed| now.saturating_duration_since(changed).as_secs()),
            downtime_s: state.downtime(now).as_secs(),
        },
        times: stats.times_if_any().map(times).unwrap_or_default(),
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
pub(super) fn unresolved(server: &config::Server, id: u32) -> ServerReport {
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
        check: CheckReport { status: "NOADDR".to_owned(), health: why, ..CheckReport::default() },
        settings: ServerSettings {
            id,
            weight: server.weight.get(),
            disabled: server.disabled,
            admin: AdminState::configured(server.disabled),
            ..ServerSettings::default()
        },
        weight: server.weight.get(),
        backup: server.backup,
        ..ServerReport::default()
    }
}

/// A server that is left out, since it is a frontend of this balancer and leads back to itself.
pub(super) fn circle(name: &str, id: u32, why: &str) -> ServerReport {
    ServerReport {
        name: name.to_owned(),
        status: ServerStatus::Down,
        check: CheckReport { status: "CIRCLE".to_owned(), health: why.to_owned(), ..CheckReport::default() },
        settings: ServerSettings { id, ..ServerSettings::default() },
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

/// A server that takes no new sessions and has some left.
pub(super) fn leaving_server(member: &Member, id: u32, since_look: Duration) -> Option<ServerReport> {
    let leaves = || ServerReport { status: ServerStatus::Leaving, ..server(member, id, since_look) };
    (member.server.sessions() > 0).then(leaves)
}
