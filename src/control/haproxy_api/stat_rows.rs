//! The rows of `show stat`: what a status has, in HAProxy's columns.

use super::check_words::CheckWord;
use super::column::Column;
use super::row::{Row, RowKind};
use super::row_flags::RowFlags;
use super::standing::{ServerStanding, ServerStandings};
use crate::control::admin::Status;
use crate::control::admin::status::{
    AgentReport, BackendReport, FrontendReport, Pace, ResultReport, ServerReport, ServerTimes, Traffic,
};

pub(super) fn frontend_row(frontend: &FrontendReport, iid: u32) -> Row {
    use Column as C;
    let mut row = Row::new(RowKind::Frontend, (iid, &frontend.name), (0, "FRONTEND"));
    row.number(C::Scur, frontend.sessions);
    row.number(C::Smax, frontend.sessions_max);
    row.number(C::Slim, frontend.maxconn);
    // Those whose PROXY header was wrong are connections, and no sessions.
    row.total(C::Stot, frontend.sessions_total.saturating_sub(frontend.request_errors));
    row.total(C::Bin, frontend.bytes_in);
    row.total(C::Bout, frontend.bytes_out);
    row.text(C::Status, "OPEN");
    row.number(C::Rate, frontend.pace.rate);
    row.number(C::RateLim, frontend.rate_limit.unwrap_or(0));
    row.number(C::RateMax, frontend.pace.rate_max);
    row.number(C::ConnRate, frontend.pace.rate);
    row.number(C::ConnRateMax, frontend.pace.rate_max);
    row.total(C::ConnTot, frontend.sessions_total);
    [C::ReqRate, C::ReqRateMax].into_iter().for_each(|column| row.number(column, 0));
    row.zero(&[C::Dreq, C::Dresp, C::Ereq, C::ReqTot, C::CompIn, C::CompOut, C::CompByp, C::CompRsp]);
    row.zero(&[C::Dcon, C::Dses, C::Wrew, C::Eint]);
    row
}

pub(super) fn server_row(
    status: &Status,
    backend: &BackendReport,
    standing: ServerStanding<'_>,
    flags: RowFlags,
) -> Row {
    use Column as C;
    let server = standing.server;
    let mut row = Row::new(RowKind::Server, (backend.id, &backend.name), (server.settings.id, &server.name));
    // Sessions wait for the backend, and not for one of its servers.
    [C::Qcur, C::Qmax].into_iter().for_each(|column| row.number(column, 0));
    row.number(C::Scur, server.traffic.sessions);
    row.number(C::Smax, server.traffic.sessions_max);
    if server.maxconn > 0 {
        row.number(C::Slim, server.maxconn);
    }
    row.total(C::Stot, server.traffic.connects);
    row.text(C::Status, standing.text());
    row.number(C::Weight, effective_weight(server));
    row.number(C::Act, u64::from(!server.backup));
    row.number(C::Bck, u64::from(server.backup));
    if let Some(throttle) = server.throttle {
        row.number(C::Throttle, throttle);
    }
    if !server.settings.tracks.is_empty() {
        row.text(C::Tracked, &*server.settings.tracks);
    }
    row.number(C::Lastchg, server.availability.changed_s.unwrap_or(status.uptime_s));
    traffic(&mut row, &server.traffic);
    pace(&mut row, &server.pace);
    times(&mut row, &server.times);
    check(&mut row, server, standing.is_maint());
    server.agent.iter().for_each(|report| agent(&mut row, report));
    if flags.addresses && !standing.is_unresolved() {
        row.text(C::Addr, if server.addr.starts_with(['/', '@']) { "unix" } else { &server.addr });
    }
    row.number(C::SrvIcur, 0);
    [C::IdleConnCur, C::SafeConnCur].into_iter().for_each(|column| row.number(column, 0));
    row.number(C::UsedConnCur, server.traffic.sessions);
    row.number(C::NeedConnEst, server.traffic.sessions_max);
    row.number(C::Uweight, server.weight.into());
    row
}

pub(super) fn backend_row(
    status: &Status,
    backend: &BackendReport,
    standings: &ServerStandings<'_>,
    flags: RowFlags,
) -> Row {
    use Column as C;
    let mut row = Row::new(RowKind::Backend, (backend.id, &backend.name), (0, "BACKEND"));
    let sums = ServerSums::of(backend, standings);
    row.number(C::Qcur, backend.queue);
    row.number(C::Qmax, backend.queue_max);
    row.number(C::Scur, backend.traffic.sessions + backend.queue);
    row.number(C::Smax, backend.traffic.sessions_max);
    row.number(C::Slim, backend.fullconn.unwrap_or_else(|| default_fullconn(status, backend)));
    row.total(C::Stot, backend.arrivals);
    row.text(C::Status, sums.text(backend, flags));
    row.number(C::Weight, sums.weight);
    row.number(C::Act, sums.active);
    row.number(C::Bck, sums.backups);
    row.total(C::Chkdown, backend.availability.downs);
    row.number(C::Lastchg, backend.availability.changed_s.unwrap_or(status.uptime_s));
    if !backend.servers.is_empty() {
        row.number(C::Downtime, backend.availability.downtime_s);
    }
    traffic(&mut row, &backend.traffic);
    pace(&mut row, &backend.pace);
    if backend.traffic.connects == 0 {
        row.signed(C::Lastsess, -1);
    }
    times(&mut row, &backend.times);
    row.zero(&[C::Dreq, C::CompIn, C::CompOut, C::CompByp, C::CompRsp]);
    row.text(C::Algo, &*backend.balance);
    row.number(C::Uweight, sums.user_weight);
    [C::AggServerStatus, C::AggServerCheckStatus, C::AggCheckStatus].into_iter().for_each(|c| row.number(c, 0));
    row
}

/// What the servers of a backend are together.
#[derive(Default)]
struct ServerSums {
    up: usize,
    active: u64,
    backups: u64,
    /// Of those that are in use: effective, and as set.
    weight: u64,
    user_weight: u64,
}

impl ServerSums {
    fn of(backend: &BackendReport, standings: &ServerStandings<'_>) -> Self {
        let mut sums = Self::default();
        let servers = || backend.servers.iter().map(|server| standings.server(server));
        let usable = |backup: bool| servers().filter(move |one| one.is_usable() && one.server.backup == backup);
        sums.up = servers().filter(|one| one.is_up() && !one.is_maint()).count();
        (sums.active, sums.backups) = (usable(false).count() as u64, usable(true).count() as u64);
        let on_backup = sums.active == 0;
        let in_use = if on_backup && !backend.allbackups { 1 } else { usize::MAX };
        sums.weight = usable(on_backup).take(in_use).map(|one| effective_weight(one.server)).sum();
        sums.user_weight = usable(on_backup).map(|one| u64::from(one.server.weight)).sum();
        sums
    }

    fn text(&self, backend: &BackendReport, flags: RowFlags) -> String {
        let servers = backend.servers.len();
        let word = if self.weight > 0 || servers == 0 { "UP" } else { "DOWN" };
        if flags.counts_servers() { format!("{word} ({}/{servers})", self.up) } else { word.to_owned() }
    }
}

fn traffic(row: &mut Row, traffic: &Traffic) {
    use Column as C;
    row.total(C::Bin, traffic.bytes_in);
    row.total(C::Bout, traffic.bytes_out);
    row.total(C::Econ, traffic.failed);
    row.total(C::Eresp, traffic.response_errors);
    row.total(C::Wretr, traffic.retries);
    row.total(C::Wredis, traffic.redispatches);
    row.total(C::Lbtot, traffic.picks);
    row.total(C::CliAbrt, traffic.client_aborts);
    row.total(C::SrvAbrt, traffic.server_aborts);
    row.total(C::Connect, traffic.connects);
    row.total(C::Eint, traffic.internal_errors);
    row.zero(&[C::Dresp, C::Wrew, C::Reuse]);
}

fn pace(row: &mut Row, pace: &Pace) {
    row.number(Column::Rate, pace.rate);
    row.number(Column::RateMax, pace.rate_max);
    let last = pace.last_session_s.map_or(-1, |ago| i64::try_from(ago).unwrap_or(i64::MAX));
    row.signed(Column::Lastsess, last);
}

/// In TCP there is no time of an answer.
fn times(row: &mut Row, times: &ServerTimes) {
    use Column as C;
    row.number(C::Qtime, whole(times.queue_ms.mean));
    row.number(C::Ctime, whole(times.connect_ms.mean));
    row.number(C::Rtime, 0);
    row.number(C::Ttime, whole(times.session_ms.mean));
    row.number(C::QtimeMax, whole(times.queue_ms.max));
    row.number(C::CtimeMax, whole(times.connect_ms.max));
    row.number(C::RtimeMax, 0);
    row.number(C::TtimeMax, whole(times.session_ms.max));
}

fn check(row: &mut Row, server: &ServerReport, is_maint: bool) {
    use Column as C;
    let Some(position) = server.check.position else { return };
    row.total(C::Chkfail, server.check.failed_while_up);
    row.total(C::Chkdown, server.availability.downs);
    row.number(C::Downtime, server.availability.downtime_s);
    if is_maint {
        return;
    }
    let last = server.check.last.iter().find(|result| result.source == "check");
    result(row, last, [C::CheckStatus, C::CheckCode, C::CheckDuration, C::CheckDesc, C::LastChk]);
    row.number(C::CheckRise, position.rise.into());
    row.number(C::CheckFall, position.fall.into());
    row.number(C::CheckHealth, position.level.into());
}

fn agent(row: &mut Row, agent: &AgentReport) {
    use Column as C;
    let columns = [C::AgentStatus, C::AgentCode, C::AgentDuration, C::AgentDesc, C::LastAgt];
    result(row, agent.last.as_ref(), columns);
    // One answer counts.
    row.number(C::AgentRise, 1);
    row.number(C::AgentFall, 1);
    row.number(C::AgentHealth, u64::from(agent.up));
}

/// Columns: status, code, duration, what the status means, and what was seen.
fn result(row: &mut Row, last: Option<&ResultReport>, [status, code, duration, meaning, seen]: [Column; 5]) {
    let (name, number) = last.map_or(("INI", None), |last| match last.status.split_once('/') {
        Some((name, number)) => (name, number.parse().ok()),
        None => (last.status.as_str(), None),
    });
    let word = CheckWord::of(name);
    row.text(status, name);
    row.text(meaning, word.meaning);
    row.text(seen, last.map_or_else(String::new, |last| capital(&last.cause)));
    if word.has_code() {
        row.number(code, number.unwrap_or(0));
    }
    if let Some(last) = last.filter(|_| word.is_result()) {
        row.total(duration, whole(last.duration_ms));
    }
}

/// As the C library writes its reasons.
fn capital(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().filter(|_| !text.starts_with("via agent"));
    first.map_or_else(|| text.to_owned(), |first| first.to_uppercase().chain(chars).collect())
}

/// As in its slow start.
fn effective_weight(server: &ServerReport) -> u64 {
    let weight = u64::from(server.weight);
    server.throttle.map_or(weight, |percent| (weight * percent).div_ceil(100))
}

/// As HAProxy has it where none is configured: a tenth of what its frontends let in.
fn default_fullconn(status: &Status, backend: &BackendReport) -> u64 {
    let leading = status.frontends.iter().filter(|frontend| frontend.backend == backend.name);
    leading.map(|frontend| frontend.maxconn).sum::<u64>().div_ceil(10).max(1)
}

/// Whole milliseconds; never negative, and far below 2^53.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(millis: f64) -> u64 {
    millis as u64
}
