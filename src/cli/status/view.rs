//! `lb status` for people: three tables, the widest facts last. Pure: a status in, text out.

mod discovery;

use std::fmt::Write;
use std::time::Duration;

use crate::cli::output::harmless;
use crate::cli::table::{Cell, Colour, Table};
use crate::cli::units::{bytes, duration_ms};
use crate::config::counted;
use crate::control::admin::Status;
use crate::control::admin::status::{BackendReport, EtcdSummary, Percentiles, ServerReport, ServerStatus};

/// Everything on one page.
pub(super) fn page(status: &Status, colour: bool) -> String {
    let mut page = head(status);
    for table in [frontend_table(status), backend_table(status), server_table(&status.backends)] {
        page.push('\n');
        page.push_str(&table.render(colour));
    }
    page
}

/// One row a server, named as the other commands expect it.
pub(in crate::cli) fn server_table(backends: &[BackendReport]) -> Table {
    let mut table = Table::new(&[
        "SERVER",
        "ADDR",
        "STATUS",
        "HEALTH",
        ">WEIGHT",
        ">SESSIONS",
        ">TOTAL",
        ">IN",
        ">OUT",
        ">ERRORS",
        ">CONNECT p50/p99",
        "LAST CHECK",
    ]);
    for backend in backends {
        for server in &backend.servers {
            table.row(server_row(backend, server));
        }
    }
    table
}

fn server_row(backend: &BackendReport, server: &ServerReport) -> Vec<Cell> {
    let backup = if server.backup { " (backup)" } else { "" };
    vec![
        Cell::left(format!("{}/{}{backup}", backend.name, server.name)),
        Cell::left(&server.addr),
        status_cell(server.status),
        Cell::left(&server.check.health),
        Cell::number(server.weight.into()),
        of_limit(server.traffic.sessions, server.maxconn),
        Cell::number(server.traffic.sessions_total),
        bytes(server.traffic.bytes_in),
        bytes(server.traffic.bytes_out),
        errors(server.traffic.connect_errors),
        quantiles(server.times.connect_ms),
        last_check(server),
    ]
}

fn head(status: &Status) -> String {
    let up = humantime::format_duration(Duration::from_secs(status.uptime_s));
    let mut head = format!(
        "lb {}  pid {}  generation {}  up {up}  sessions {}/{}  total {}\n",
        harmless(&status.version),
        status.pid,
        status.generation,
        status.sessions,
        status.maxconn,
        status.sessions_total,
    );
    // Writing to a String does not fail.
    if let Some(upgrade) = &status.upgrade {
        writeln!(head, "upgrade: {} for {}", upgrade.phase, duration_ms(upgrade.elapsed_ms as f64)).ok();
    }
    if let Some(etcd) = &status.etcd {
        writeln!(head, "etcd: {}", etcd_facts(etcd)).ok();
    }
    if status.losses.log_lines_dropped > 0 {
        writeln!(head, "log: {} dropped", counted(status.losses.log_lines_dropped, "line")).ok();
    }
    if status.losses.message_lines_lost > 0 {
        writeln!(head, "stderr: {} of messages lost", counted(status.losses.message_lines_lost, "line")).ok();
    }
    head
}

fn frontend_table(status: &Status) -> Table {
    let mut table = Table::new(&["FRONTEND", "BIND", "BACKEND", ">SESSIONS", ">TOTAL", ">IN", ">OUT"]);
    for frontend in &status.frontends {
        table.row(vec![
            Cell::left(&frontend.name),
            Cell::left(frontend.bind.join(" ")),
            Cell::left(&frontend.backend),
            of_limit(frontend.sessions, frontend.maxconn),
            Cell::number(frontend.sessions_total),
            bytes(frontend.bytes_in),
            bytes(frontend.bytes_out),
        ]);
    }
    table
}

fn backend_table(status: &Status) -> Table {
    let mut table = Table::new(&["BACKEND", "BALANCE", ">UP", ">QUEUE", ">SESSIONS", ">TOTAL", "DISCOVERY"]);
    for backend in &status.backends {
        let up = backend.servers.iter().filter(|server| server.status == ServerStatus::Up).count();
        let colour = if up == 0 { Some(Colour::Red) } else { None };
        let members = backend.servers.iter().filter(|server| server.status != ServerStatus::Leaving).count();
        let up = Cell::right(format!("{up}/{members}"));
        table.row(vec![
            Cell::left(&backend.name),
            Cell::left(&backend.balance),
            colour.map_or_else(|| up.clone(), |colour| up.clone().coloured(colour)),
            Cell::number(backend.queue),
            Cell::number(backend.traffic.sessions),
            Cell::number(backend.traffic.sessions_total),
            discovery::cell(backend.discovery.as_ref()),
        ]);
    }
    table
}

fn status_cell(status: ServerStatus) -> Cell {
    let cell = Cell::left(status.word());
    match status {
        ServerStatus::Up => cell.coloured(Colour::Green),
        ServerStatus::Down => cell.coloured(Colour::Red),
        ServerStatus::Drain | ServerStatus::Maint | ServerStatus::Leaving => cell.coloured(Colour::Yellow),
        ServerStatus::Unknown => cell,
    }
}

/// `now`, or `now/limit` where there is one.
fn of_limit(now: u64, limit: u64) -> Cell {
    if limit == 0 { Cell::number(now) } else { Cell::right(format!("{now}/{limit}")) }
}

fn errors(count: u64) -> Cell {
    if count == 0 { Cell::number(0) } else { Cell::number(count).coloured(Colour::Yellow) }
}

fn quantiles(times: Percentiles) -> Cell {
    if times.max == 0.0 {
        Cell::right("")
    } else {
        Cell::right(format!("{}/{}", duration_ms(times.p50), duration_ms(times.p99)))
    }
}

fn last_check(server: &ServerReport) -> Cell {
    let Some(last) = server.check.last.first() else {
        return Cell::left(&server.check.status);
    };
    let cause = if last.cause.is_empty() { String::new() } else { format!(" {}", last.cause) };
    let text =
        format!("{}{cause} in {}, {} ago", last.status, duration_ms(last.duration_ms), duration_ms(last.age_ms as f64));
    if last.ok { Cell::left(text) } else { Cell::left(text).coloured(Colour::Red) }
}

/// `connected true, last_error no answer, revision 7`.
fn etcd_facts(etcd: &EtcdSummary) -> String {
    let error = etcd.last_error.as_ref().map_or_else(String::new, |error| format!(", last_error {error}"));
    harmless(&format!("connected {}{error}, revision {}", etcd.connected, etcd.revision))
}

#[cfg(test)]
mod tests;
