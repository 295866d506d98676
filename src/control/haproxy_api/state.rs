//! `show servers state`, which scripts keep for the next start, `show servers conn` and `show backend`.

use std::fmt::Write as _;
use std::net::SocketAddr;

use super::check_words::CheckWord;
use super::standing::{ServerStanding, ServerStandings};
use super::stat::proxies;
use crate::config::AdminState;
use crate::control::admin::Status;
use crate::control::admin::status::{BackendReport, ServerReport, ServerStatus};

/// Of one backend, or of all.
pub(super) fn show_servers_state(status: &Status, backend: Option<&str>) -> String {
    let standings = ServerStandings::of(status);
    let header = format!("1\n# {STATE_FIELDS}\n");
    for_each_server(status, backend, header, |out, backend, server| {
        write_state(out, status, backend, standings.server(server));
    })
}

/// Connections to servers; lb keeps none without a session.
pub(super) fn show_servers_conn(status: &Status, backend: Option<&str>) -> String {
    let threads = status.threads as usize;
    for_each_server(status, backend, format!("# {CONN_FIELDS}[{threads}]\n"), |out, backend, server| {
        let (names, numbers) = ((&backend.name, &server.name), (backend.id, server.settings.id));
        let (ip, port) = place(server);
        let (now, most) = (server.traffic.sessions, server.traffic.sessions_max);
        let idle = " 0".repeat(threads);
        _ = writeln!(
            out,
            "{}/{} {}/{} {ip} {port} - {PURGE_DELAY} {now} {most} {most} 0 0 -1 0{idle}",
            names.0, names.1, numbers.0, numbers.1
        );
    })
}

pub(super) fn show_backend(status: &Status) -> String {
    let backends = proxies(status).into_values().filter_map(|proxy| proxy.backend);
    backends.fold("# name\n".to_owned(), |out, backend| out + &backend.name + "\n")
}

/// Those that have left the configuration are nothing to be kept.
fn for_each_server(
    status: &Status,
    wanted: Option<&str>,
    header: String,
    mut write: impl FnMut(&mut String, &BackendReport, &ServerReport),
) -> String {
    if wanted.is_some_and(|name| status.backends.iter().all(|backend| backend.name != name)) {
        return "Can't find backend.\n".to_owned();
    }
    let mut out = header;
    for backend in proxies(status).into_values().filter_map(|proxy| proxy.backend) {
        if wanted.is_none_or(|name| backend.name == name) {
            let stays = |server: &&ServerReport| server.status != ServerStatus::Leaving;
            backend.servers.iter().filter(stays).for_each(|server| write(&mut out, backend, server));
        }
    }
    out
}

fn write_state(out: &mut String, status: &Status, backend: &BackendReport, standing: ServerStanding<'_>) {
    let server = standing.server;
    let (name, check) = (&server.name, check(standing));
    let (ip, port) = place(server);
    let (op, admin) = (operation(standing), administration(standing));
    let age = server.availability.changed_s.unwrap_or(status.uptime_s);
    let agent_state = if server.agent.is_some() { ENABLED | AGENT } else { 0 };
    _ = write!(out, "{} {} {} {name} {ip} {op} {admin} ", backend.id, backend.name, server.settings.id);
    _ = write!(out, "{} {} {age} {check} {agent_state} 0 0 ", server.weight, server.settings.weight);
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    let text = |ip: Option<std::net::IpAddr>| or_none(ip.map(|ip| ip.to_string()));
    let (agent_addr, agent_port) = match &server.agent {
        Some(agent) => (agent.addr, Some(agent.port)),
        None => (server.check.addr, server.check.port),
    };
    let (check_addr, check_port) = (text(server.check.addr), server.check.port.unwrap_or(0));
    let (fqdn, agent_addr, agent_port) = (or_none(host(standing)), text(agent_addr), agent_port.unwrap_or(0));
    _ = writeln!(out, "{fqdn} {port} - 0 {check_port} {check_addr} {agent_addr} {agent_port}");
}

/// 0 stopped, 1 in its slow start, 2 running.
fn operation(standing: ServerStanding<'_>) -> u8 {
    match standing.server.throttle {
        _ if standing.is_maint() || !standing.is_up() => 0,
        Some(_) => 1,
        None => 2,
    }
}

/// As a bit set.
fn administration(standing: ServerStanding<'_>) -> u8 {
    let settings = &standing.server.settings;
    let own = match settings.admin {
        _ if standing.is_unresolved() => NO_ADDRESS,
        AdminState::Ready => 0,
        AdminState::Drain => FORCED_DRAIN,
        AdminState::Maint => FORCED_MAINT,
    };
    let configured = if settings.disabled { CONFIGURED_MAINT } else { 0 };
    let inherited = match () {
        () if standing.inherits(ServerStatus::Maint) => INHERITED_MAINT,
        () if standing.inherits(ServerStatus::Drain) => INHERITED_DRAIN,
        () => 0,
    };
    own | configured | inherited
}

/// Status, result, health and state of its checks. One that is not checked has HAProxy's defaults.
fn check(standing: ServerStanding<'_>) -> String {
    let (check, is_maint) = (&standing.server.check, standing.is_maint());
    let Some(position) = check.position else {
        let disabled = standing.server.settings.disabled;
        let (health, paused) = (if is_maint || disabled { 0 } else { USUAL_RISE }, if disabled { PAUSED } else { 0 });
        return format!("1 0 {health} {paused}");
    };
    let last = check.last.iter().find(|result| result.source == "check");
    let word = CheckWord::of(last.map_or("INI", |last| last.status.split('/').next().unwrap_or_default()));
    let (health, paused) = if is_maint { (0, PAUSED) } else { (position.level, 0) };
    format!("{} {} {health} {}", word.number, word.verdict(), ENABLED | paused)
}

/// Address and port. A unix socket has neither.
fn place(server: &ServerReport) -> (String, u16) {
    if let Ok(addr) = server.addr.parse::<SocketAddr>() {
        return (addr.ip().to_string(), addr.port());
    }
    let port = server.addr.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    ("-".to_owned(), port.filter(|_| !server.addr.starts_with(['/', '@'])).unwrap_or(0))
}

/// The name that its address comes from.
fn host(standing: ServerStanding<'_>) -> Option<String> {
    let server = standing.server;
    let own = Some(server.settings.host.as_str()).filter(|host| !host.is_empty());
    let unresolved = || server.addr.rsplit_once(':').filter(|_| standing.is_unresolved()).map(|(host, _)| host);
    own.or_else(unresolved).map(str::to_owned)
}

const FORCED_MAINT: u8 = 1;
const INHERITED_MAINT: u8 = 2;
const CONFIGURED_MAINT: u8 = 4;
const FORCED_DRAIN: u8 = 8;
const INHERITED_DRAIN: u8 = 16;
const NO_ADDRESS: u8 = 32;

/// Of checks: configured and enabled; paused in maint; and that it is the agent's.
const ENABLED: u8 = 6;
const PAUSED: u8 = 8;
const AGENT: u8 = 16;

const USUAL_RISE: u8 = 2;

/// In milliseconds: HAProxy's default.
const PURGE_DELAY: u32 = 5000;

const STATE_FIELDS: &str = "be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight \
    srv_iweight srv_time_since_last_change srv_check_status srv_check_result srv_check_health srv_check_state \
    srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn srv_port srvrecord srv_use_ssl srv_check_port \
    srv_check_addr srv_agent_addr srv_agent_port";

const CONN_FIELDS: &str = "bkname/svname bkid/svid addr port - purge_delay used_cur used_max need_est unsafe_nb \
    safe_nb idle_lim idle_cur idle_per_thr";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Weight;
    use crate::control::admin::status::{CheckPosition, CheckReport, ResultReport, ServerSettings};
    use crate::control::server_states::ServerStates;

    fn status() -> Status {
        let server = |id, name: &str, status, settings| ServerReport {
            name: name.into(),
            addr: format!("10.0.0.{id}:80"),
            status,
            weight: 10,
            settings: ServerSettings { id, weight: 10, ..settings },
            ..ServerReport::default()
        };
        let admin = |admin| ServerSettings { admin, ..ServerSettings::default() };
        let last = ResultReport { status: "L4CON".into(), source: "check".into(), ..ResultReport::default() };
        let position = Some(CheckPosition { level: 1, rise: 2, fall: 3 });
        let check = CheckReport { last: vec![last], position, port: Some(81), ..CheckReport::default() };
        let servers = vec![
            ServerReport { check, ..server(1, "down", ServerStatus::Down, admin(AdminState::Ready)) },
            ServerReport { weight: 3, ..server(2, "drain", ServerStatus::Drain, admin(AdminState::Drain)) },
            server(3, "maint", ServerStatus::Maint, admin(AdminState::Maint)),
            server(4, "off", ServerStatus::Maint, ServerSettings { disabled: true, ..admin(AdminState::Maint) }),
            server(5, "on", ServerStatus::Up, ServerSettings { disabled: true, ..admin(AdminState::Ready) }),
            server(6, "gone", ServerStatus::Leaving, admin(AdminState::Ready)),
        ];
        let app = BackendReport { id: 3, name: "app".into(), servers, ..BackendReport::default() };
        let first = BackendReport { id: 2, name: "zz".into(), ..BackendReport::default() };
        Status { backends: vec![app, first], threads: 2, uptime_s: 9, ..Status::default() }
    }

    #[test]
    fn a_file_made_of_the_answer_gives_the_same_states() {
        let text = show_servers_state(&status(), None);
        let lines: Vec<_> = text.lines().skip(2).collect();
        assert_eq!(lines[0], "3 app 1 down 10.0.0.1 0 0 10 10 9 8 2 1 6 0 0 0 - 80 - 0 81 - - 81");
        assert_eq!(lines[1], "3 app 2 drain 10.0.0.2 2 8 3 10 9 1 0 2 0 0 0 0 - 80 - 0 0 - - 0");
        assert!(text.starts_with("1\n# be_id be_name ") && text.lines().all(|line| !line.is_empty()), "{text}");
        let fields = lines.iter().map(|line| line.split(' ').count());
        assert_eq!(fields.collect::<Vec<_>>(), [25; 5]);
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("states");
        std::fs::write(&path, text).unwrap();
        let states = ServerStates::load(&path).unwrap();
        assert_eq!(states.broken, None);
        let configured = |server: &str| ["off", "on"].contains(&server);
        let read: Vec<_> = states.iter().map(|(_, name, line)| (name, line.admin(configured(name)))).collect();
        use AdminState::{Drain, Maint, Ready};
        assert_eq!(read, [("down", Ready), ("drain", Drain), ("maint", Maint), ("off", Maint), ("on", Ready)]);
        let weights: Vec<_> = states.iter().map(|(_, _, line)| line.weight(Weight::new(10).unwrap())).collect();
        assert_eq!(weights, [None, Weight::new(3), None, None, None]);
    }

    #[test]
    fn backends_are_named_in_the_order_of_the_file_and_one_can_be_asked_for() {
        assert_eq!(show_backend(&status()), "# name\nzz\napp\n");
        assert_eq!(show_servers_state(&status(), Some("nope")), "Can't find backend.\n");
        let conn = show_servers_conn(&status(), Some("app"));
        assert_eq!(conn.lines().nth(1), Some("app/down 3/1 10.0.0.1 80 - 5000 0 0 0 0 0 -1 0 0 0"));
        assert_eq!(show_servers_conn(&status(), Some("zz")).lines().count(), 1);
    }
}
