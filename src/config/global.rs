//! `[global]`: what holds for the whole process.

use std::path::PathBuf;
use std::time::Duration;

use super::haproxy_socket::HaproxySocket;
use super::log::Log;
use super::section::{Section, Shape, set};
use super::value::RawValue;

#[derive(Debug, Clone, PartialEq)]
pub struct Global {
    /// Sessions in the whole process; at the limit accepting stops. `None`: derived from RLIMIT_NOFILE at start.
    pub maxconn: Option<u32>,
    /// Worker threads. `None`: one for each available core.
    pub threads: Option<usize>,
    pub socket: SocketPlace,
    /// Where the last known good servers are kept. `None`: nothing is written.
    pub state_dir: Option<PathBuf>,
    /// How long a stop lets open sessions continue. `None`: 30 s after TERM, to their end after USR1 and QUIT.
    pub hard_stop_after: Option<Duration>,
    /// An engine that is silent for so long is replaced. Default 10 s; zero: never.
    pub watchdog: Duration,
    /// Checks may run programs. Default false, as in HAProxy without `insecure-fork-wanted`.
    pub external_checks: bool,
    /// Where tools made for HAProxy ask.
    pub haproxy_sockets: Vec<HaproxySocket>,
    /// How long a client of theirs may be silent, or not read. Default 10 s, as in HAProxy.
    pub haproxy_socket_timeout: Duration,
    pub log: Log,
}

/// The admin socket.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum SocketPlace {
    /// The default of the command line.
    #[default]
    Usual,
    Path(PathBuf),
    /// `false`: there is none.
    Nowhere,
}

impl Default for Global {
    fn default() -> Self {
        Self {
            maxconn: None,
            threads: None,
            socket: SocketPlace::Usual,
            state_dir: None,
            hard_stop_after: None,
            watchdog: Duration::from_secs(10),
            external_checks: false,
            haproxy_sockets: Vec::new(),
            haproxy_socket_timeout: Duration::from_secs(10),
            log: Log::default(),
        }
    }
}

impl Global {
    pub(super) fn read(section: &Section<'_>) -> Self {
        let zero = "write \"1ms\" to cut open sessions at once";
        let mut global = Self {
            maxconn: section.number("maxconn", 1..=MAX_CONN),
            threads: section.number("threads", 1..=MAX_THREADS),
            socket: section.value("socket").and_then(socket_place).unwrap_or_default(),
            state_dir: section.value("state_dir").and_then(|value| value.path("/var/lib/lb")),
            hard_stop_after: section.duration("hard_stop_after", zero),
            haproxy_sockets: HaproxySocket::read_all(section),
            ..Self::default()
        };
        set(&mut global.watchdog, section.delay("watchdog"));
        set(&mut global.external_checks, section.flag("external_checks"));
        let silent = section.duration("haproxy_socket_timeout", "write a long one, such as \"24h\"");
        set(&mut global.haproxy_socket_timeout, silent);
        let log = section.section("log", &Log::SHAPE, "log = { target = \"stdout\" }");
        set(&mut global.log, log.as_ref().map(Log::read));
        global
    }

    pub(super) const SHAPE: Shape = Shape {
        keys: &[
            "maxconn",
            "threads",
            "socket",
            "state_dir",
            "hard_stop_after",
            "watchdog",
            "server_state_file",
            "external_checks",
            "haproxy_socket",
            "haproxy_socket_timeout",
            "log",
        ],
        foreign: &[
            ("nbthread", "write `threads`"),
            ("nbproc", "write `threads`: there is one process"),
            ("stats", "write `haproxy_socket = [{ path = \"/run/lb/haproxy.sock\" }]`"),
            ("daemon", "leave it out: `lb run` stays in the foreground"),
            ("user", "leave it out: systemd sets the user"),
            ("group", "leave it out: systemd sets the group"),
            ("chroot", "leave it out: systemd confines the process"),
            ("pidfile", "leave it out: the pid of `lb run` never changes"),
            ("ulimit_n", "leave it out: systemd sets `LimitNOFILE`"),
            ("timeout", "write `timeout = { … }` in [backend.NAME]"),
        ],
    };
}

fn socket_place(value: RawValue<'_>) -> Option<SocketPlace> {
    if value.plain_flag() == Some(false) {
        return Some(SocketPlace::Nowhere);
    }
    let path = value.path("/run/lb/lb.sock")?;
    // sun_path holds 108 bytes with its terminating NUL (unix(7)).
    if path.as_os_str().len() > 107 {
        value.wrong("is longer than the 107 bytes that a socket's path can have; write a shorter one");
        return None;
    }
    Some(SocketPlace::Path(path))
}

/// More sessions than any host has descriptors for.
pub(super) const MAX_CONN: i64 = 10_000_000;

const MAX_THREADS: i64 = 256;
