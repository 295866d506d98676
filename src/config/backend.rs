//! `[backend.NAME]`: a pool of servers and how it is used.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::balance::Balance;
use super::change_log::ChangeLog;
use super::check_kind::CheckKind;
use super::frontend::Frontend;
use super::global::MAX_CONN;
use super::log::Log;
use super::section::{Section, Shape, set};
use super::server::Server;
use super::server_options::{ServerOptions, UsualOptions};
use super::timeouts::Timeouts;
use super::value::RawValue;
use super::words::shown;

#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    pub name: String,
    pub balance: Balance,
    pub retry: Retry,
    /// Sessions that may wait for a usable server at once. Default 10,000.
    pub maxqueue: u32,
    /// Sessions at which each server has its whole `maxconn`; below, it has its share of them, and at least `minconn`.
    /// Default: a tenth of what its frontends let in.
    pub fullconn: Option<u32>,
    /// When no server but backups is usable: all of them, not just the first. Default false.
    pub allbackups: bool,
    pub timeout: Timeouts,
    /// Of discovered servers, and of others where they say nothing else.
    pub options: Arc<ServerOptions>,
    /// Of the connections on both sides. Default: 60 s each.
    pub liveness: Liveness,
    /// etcd prefix with servers as keys.
    pub discovery: Option<String>,
    /// HAProxy's file with the administration and weights of servers, read at the start.
    pub server_state_file: Option<PathBuf>,
    /// Where changes of its servers are logged; what it does not say is as in `[global.log]`.
    pub log: ChangeLog,
    /// Static servers, in the order of the file; names are unique; may be empty where that is said.
    pub servers: Vec<Server>,
}

/// What happens when a connect, or a server before its first byte, fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Attempts to connect are `retries + 1`. Default 3.
    pub retries: u32,
    /// A retry may go to another server. Default true.
    pub redispatch: bool,
    /// Client bytes kept until the server's first byte, to try them on another server. 0: off (default).
    pub replay: usize,
}

impl Default for Retry {
    fn default() -> Self {
        Self { retries: 3, redispatch: true, replay: 0 }
    }
}

/// How a connection is kept alive; both `None` is the kernel's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Liveness {
    /// TCP keepalive: idle time before the first probe. `None`: off.
    pub keepalive: Option<Duration>,
    /// TCP_USER_TIMEOUT: unacknowledged data for so long ends the session. `None`: off.
    pub user_timeout: Option<Duration>,
}

/// Default of both limits of [`Liveness`] in a backend.
const LIVENESS: Duration = Duration::from_secs(60);

/// Stands for the limit of a frontend that depends on the machine.
const UNKNOWN_MAXCONN: u32 = 10_000;

/// The most servers a backend can have: each has a slot in a table of counters (`backend::Loads`).
pub(crate) const MAX_SERVERS: usize = 4096;

impl Backend {
    /// A backend with every default and TCP checks.
    pub fn new(name: impl Into<String>, servers: Vec<Server>) -> Self {
        Self {
            name: name.into(),
            balance: Balance::RoundRobin,
            retry: Retry::default(),
            maxqueue: 10_000,
            fullconn: None,
            allbackups: false,
            timeout: Timeouts::default(),
            options: Arc::default(),
            liveness: Liveness { keepalive: Some(LIVENESS), user_timeout: Some(LIVENESS) },
            discovery: None,
            server_state_file: None,
            log: Log::default().changes,
            servers,
        }
    }
}

impl Backend {
    /// It has no servers and will have none.
    pub(crate) fn is_empty(&self) -> bool {
        self.servers.is_empty() && self.discovery.is_none()
    }

    /// As in HAProxy: a tenth of what its frontends let in, each of them `maxconn` sessions where it has no limit itself.
    pub(super) fn default_fullconn(&mut self, frontends: &[Frontend], maxconn: Option<u32>) {
        if self.fullconn.is_none() && self.servers.iter().any(|server| server.options.minconn.is_some()) {
            let leading = frontends.iter().filter(|frontend| frontend.backend == self.name);
            let limits = leading.map(|frontend| frontend.maxconn.or(maxconn).unwrap_or(UNKNOWN_MAXCONN));
            self.fullconn = Some((limits.fold(0, u32::saturating_add) / 10).max(1));
        }
    }

    /// Some check of it runs a program.
    pub(super) fn runs_programs(&self) -> bool {
        let all = [&self.options].into_iter().chain(self.servers.iter().map(|server| &server.options));
        all.filter_map(|options| options.check.as_ref()).any(|check| matches!(check.kind, CheckKind::External(_)))
    }

    /// `states`, `log`: the server state file and the log of `[global]`.
    pub(super) fn read(name: &str, section: &Section<'_>, states: Option<&Path>, log: &Log) -> Self {
        let mut backend = Self::new(name, Vec::new());
        backend.read_sessions(section);
        let timeout = section.section("timeout", &Timeouts::SHAPE, "timeout = { connect = \"5s\" }");
        let (timeouts, check_timeout) = timeout.as_ref().map(Timeouts::read).unwrap_or_default();
        backend.timeout = timeouts;
        backend.options = Arc::new(ServerOptions::of_backend(section, check_timeout));
        set(&mut backend.liveness.keepalive, section.value("keepalive").and_then(keepalive));
        set(&mut backend.liveness.user_timeout, section.limit("user_timeout"));
        backend.discovery = discovery(section);
        let states = states.map(Path::to_owned);
        backend.server_state_file = section.value("server_state_file").map_or(states, server_state_file);
        let own = section.section("log", &ChangeLog::SHAPE, "log = { changes = false }");
        let read = |own: &Section<'_>| ChangeLog::read(own, &log.settings.targets, &log.changes);
        backend.log = own.as_ref().map_or_else(|| log.changes.clone(), read);
        let usual = UsualOptions { backend: name, section, check_timeout, options: Arc::clone(&backend.options) };
        backend.servers = servers(section, &usual);
        // An empty header was probably meant to be filled; an empty table beside its key is an answer.
        if section.value("servers").is_none_or(|value| value.is_empty_table() && value.is_header())
            && section.value("discovery").is_none()
        {
            let name = section.name();
            let example = format!("add [{name}.servers] with e.g. `app1 = \"10.0.0.1:8000\"`");
            let what = format!("[{name}] has no servers; {example}, or write `servers = {{}}` to close its sessions");
            section.absent(what);
        }
        backend
    }

    fn read_sessions(&mut self, section: &Section<'_>) {
        set(&mut self.balance, Balance::read(section));
        set(&mut self.retry.retries, section.number("retries", 0..=MAX_RETRIES));
        set(&mut self.retry.redispatch, section.flag("redispatch"));
        set(&mut self.retry.replay, section.value("replay").and_then(|value| value.size(MAX_REPLAY)));
        set(&mut self.maxqueue, section.number("maxqueue", 0..=MAX_CONN));
        self.fullconn = section.number("fullconn", 1..=MAX_CONN);
        set(&mut self.allbackups, section.flag("allbackups"));
    }

    pub(super) const SHAPE: Shape = Shape {
        keys: &[
            "balance",
            "random_draws",
            "retries",
            "redispatch",
            "replay",
            "maxqueue",
            "fullconn",
            "allbackups",
            "timeout",
            "check",
            "observe",
            "on_marked_down",
            "error_limit",
            "on_error",
            "on_marked_up",
            "agent",
            "slowstart",
            "send_proxy",
            "source",
            "minconn",
            "resolvers",
            "resolve_prefer",
            "keepalive",
            "user_timeout",
            "discovery",
            "server_state_file",
            "log",
            "servers",
        ],
        foreign: &[
            ("server", "write `app1 = \"10.0.0.1:8000\"` in [backend.NAME.servers]"),
            ("server_template", "write each server in [backend.NAME.servers], or use `discovery`"),
            ("default_server", "write the keys in [backend.NAME], for all its servers"),
            ("mode", "leave it out: lb is always in TCP mode"),
            ("maxconn", "write it in each server, or in [frontend.NAME]"),
            ("weight", "write it in the server: `app1 = { addr = \"10.0.0.1:8000\", weight = 2 }`"),
            ("bind", "write it in [frontend.NAME]"),
            ("connect", "write `timeout = { connect = \"5s\" }`"),
            ("client", "write `timeout = { client = \"50s\" }`"),
            ("queue", "write `timeout = { queue = \"5s\" }`"),
            ("tunnel", "write `timeout = { tunnel = \"1h\" }`"),
            ("client_fin", "write `timeout = { client_fin = \"30s\" }`"),
            ("server_fin", "write `timeout = { server_fin = \"30s\" }`"),
            ("timeout_connect", "write `timeout = { connect = \"5s\" }`"),
            ("timeout_client", "write `timeout = { client = \"50s\" }`"),
            ("timeout_server", "write `timeout = { server = \"50s\" }`"),
            ("option", "write the option's own key, e.g. `redispatch = true`"),
            ("httpchk", "write `check = { type = \"http\" }`"),
            ("inter", "write `check = { inter = \"2s\" }`"),
            ("fastinter", "write `check = { fastinter = \"1s\" }`"),
            ("downinter", "write `check = { downinter = \"5s\" }`"),
            ("rise", "write `check = { rise = 2 }`"),
            ("fall", "write `check = { fall = 3 }`"),
            ("tcp_check", "write `check = { type = \"script\", steps = […] }`"),
            ("send_proxy_v2", "write `send_proxy = \"v2\"`"),
            ("cookie", "write `balance = \"source\"`: lb reads no cookies"),
            ("stick", "write `balance = \"source\"`"),
            ("hash_type", "leave it out: `balance = \"source\"` is consistent"),
            ("tcp_ut", "write `user_timeout`"),
            ("etcd", "write `discovery = { etcd = \"/app/servers/\" }`"),
        ],
    };

    pub(super) const DISCOVERY: Shape = Shape { keys: &["etcd"], foreign: &[("prefix", "write `etcd`")] };
}

fn servers(section: &Section<'_>, usual: &UsualOptions<'_>) -> Vec<Server> {
    let Some(names) = section.names("servers", "servers = { app1 = \"10.0.0.1:8000\" }") else {
        return Vec::new();
    };
    let entries = names.entries();
    if let Some((_, value)) = entries.get(MAX_SERVERS) {
        let count = entries.len();
        value.wrong_key(format!("is one too many: there are {count} servers; keep at most {MAX_SERVERS} a backend"));
    }
    let read = |(name, value): &(&str, RawValue<'_>)| {
        value.check_name();
        Server::read(name, value, names.path(name), usual)
    };
    entries.iter().filter_map(read).collect()
}

fn discovery(section: &Section<'_>) -> Option<String> {
    let example = "discovery = { etcd = \"/app/servers/\" }";
    let discovery = section.section("discovery", &Backend::DISCOVERY, example)?;
    let value = discovery.required("etcd", "\"/app/servers/\"")?;
    let prefix = value.filled_text("/app/servers/")?;
    if prefix.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        value.wrong(format!("would be followed at once by the name of a server; write \"{}/\"", shown(prefix)));
    }
    Some(prefix.to_owned())
}

/// `false`: not the one of `[global]` either.
pub(super) fn server_state_file(value: RawValue<'_>) -> Option<PathBuf> {
    if value.plain_flag() == Some(false) { None } else { value.path("/var/lib/haproxy/server-state") }
}

fn keepalive(value: RawValue<'_>) -> Option<Option<Duration>> {
    let idle = value.duration()?;
    if idle.is_zero() {
        return Some(None);
    }
    // TCP_KEEPIDLE counts seconds, up to MAX_TCP_KEEPIDLE (linux/include/net/tcp.h).
    if idle < Duration::from_secs(1) || idle > Duration::from_secs(32767) {
        value.wrong("is out of range; write a time from \"1s\" to \"9h\", or \"0\" to switch it off");
        return None;
    }
    Some(Some(idle))
}

const MAX_RETRIES: i64 = 100;

/// Kept for each session that waits for its server's first byte.
const MAX_REPLAY: usize = 1 << 20;
