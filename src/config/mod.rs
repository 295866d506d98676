//! Configuration: text → raw (with positions) → typed. Pure: nothing here opens a socket or resolves a name.
//!
//! Only the typed form below leaves this module, and it holds no contradiction: every name that is
//! referred to exists, every default is filled in, every number is within its range.
//! The text form is TOML; README has the reference of its keys.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A whole configuration, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub global: Global,
    /// Present when some backend uses `discovery`; `endpoints` is never empty.
    pub etcd: Option<Etcd>,
    /// In the order of the file; names are unique; at least one.
    pub frontends: Vec<Frontend>,
    /// In the order of the file; names are unique.
    pub backends: Vec<Backend>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Global {
    /// Sessions in the whole process; at the limit accepting stops. `None`: derived from RLIMIT_NOFILE at start.
    pub maxconn: Option<u32>,
    /// Worker threads. `None`: one for each available core.
    pub threads: Option<usize>,
    /// Admin socket. `None`: the default of the command line.
    pub socket: Option<PathBuf>,
    /// Where the last known good servers are kept. `None`: nothing is written.
    pub state_dir: Option<PathBuf>,
    /// How long TERM lets open sessions go on. Default 30 s.
    pub hard_stop_after: Duration,
    pub log: Log,
}

/// Where words go and how many.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    pub target: LogTarget,
    /// One line a session. Default true.
    pub sessions: bool,
    /// Leave out sessions that carried no byte. Default false.
    pub dontlognull: bool,
    /// Session lines a second, process-wide; the rest is counted and announced. 0: no limit. Default 10,000.
    pub rate: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub enum LogTarget {
    Stdout,
    /// A datagram socket: RFC 3164 lines, e.g. `/dev/log`.
    SyslogUnix(PathBuf),
    /// Syslog over UDP, e.g. `127.0.0.1:514`.
    SyslogUdp(SocketAddr),
}

#[derive(Debug, Clone, PartialEq)]
pub struct Etcd {
    pub endpoints: Vec<String>,
    pub username: Option<String>,
    pub password_file: Option<PathBuf>,
    pub ca: Option<PathBuf>,
    pub cert: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// How long a change that would take away most servers is held back. 0: never. Default 30 s.
    pub guard_delay: Duration,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Frontend {
    pub name: String,
    /// At least one; a port of 0 asks the kernel for a free one.
    pub bind: Vec<SocketAddr>,
    /// Name of an existing backend.
    pub backend: String,
    /// Sessions of this frontend; at the limit accepting stops. `None`: only the global limit.
    pub maxconn: Option<u32>,
    /// Connections begin with a PROXY protocol header (v1 or v2) that names the real client.
    pub accept_proxy: bool,
    /// TCP_DEFER_ACCEPT: a connection is accepted once its first bytes have come. Default false.
    pub defer_accept: bool,
    /// Length of the kernel's accept queue. Default 4096 (the kernel caps it at `net.core.somaxconn`).
    pub backlog: u32,
    /// An IPv6 bind takes IPv4 clients too. Default false, so that `0.0.0.0` and `[::]` can stand side by side.
    pub v4v6: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Backend {
    pub name: String,
    pub balance: Balance,
    /// Attempts to connect are `retries + 1`. Default 3.
    pub retries: u32,
    /// A retry may go to another server. Default true.
    pub redispatch: bool,
    /// Client bytes kept until the server's first byte, to try them on another server. 0: off (default).
    pub replay: usize,
    /// Sessions that may wait for a usable server at once. Default 10,000.
    pub maxqueue: u32,
    /// When no server but backups is usable: all of them, not just the first. Default false.
    pub allbackups: bool,
    pub timeout: Timeouts,
    /// `None`: no checks; servers are then always UP.
    pub check: Option<Check>,
    /// Live connects that fail count as failed checks. Default true (`observe = "layer4"`).
    pub observe: bool,
    /// Sessions of a server that goes DOWN are cut. Default false.
    pub shutdown_sessions_when_down: bool,
    /// Weight and maxconn of a server that comes back grow over this time. 0: at once (default).
    pub slowstart: Duration,
    /// PROXY protocol header towards the servers.
    pub send_proxy: Option<ProxyVersion>,
    /// TCP keepalive (idle time before the first probe) on both sides. `None`: off. Default 60 s.
    pub keepalive: Option<Duration>,
    /// TCP_USER_TIMEOUT on both sides: unacknowledged data for so long ends the session. `None`: off. Default 60 s.
    pub user_timeout: Option<Duration>,
    /// etcd prefix whose keys are servers.
    pub discovery: Option<String>,
    /// Static servers, in the order of the file; names are unique; may be empty only with `discovery`.
    pub servers: Vec<Server>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Balance {
    RoundRobin,
    LeastConn,
    /// Power of two choices.
    Random,
    /// Consistent hash of the client's address.
    Source,
    /// The first server that is not full.
    First,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyVersion {
    V1,
    V2,
}

/// `None` is "no limit", which is written `"0"`. Connect and queue always have a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// Default 5 s.
    pub connect: Duration,
    /// Default 50 s.
    pub client: Option<Duration>,
    /// Default 50 s.
    pub server: Option<Duration>,
    /// Default: as connect.
    pub queue: Duration,
    /// Replaces client and server once both sides are established. Default: unset, they stay.
    pub tunnel: Option<Duration>,
    /// Replaces client (or tunnel) once the client has sent its FIN. Default: unset.
    pub client_fin: Option<Duration>,
    pub server_fin: Option<Duration>,
}

/// How a server is asked whether it is well.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    pub kind: CheckKind,
    /// Default 2 s.
    pub inter: Duration,
    /// While the state is changing. Default: inter.
    pub fastinter: Duration,
    /// While fully DOWN. Default: inter.
    pub downinter: Duration,
    /// Successes in a row that bring a server UP. Default 2; at least 1.
    pub rise: u32,
    /// Failures in a row that take a server DOWN. Default 3; at least 1.
    pub fall: u32,
    /// For the whole check. Default: inter.
    pub timeout: Duration,
    /// Checked instead of the server's own port.
    pub port: Option<u16>,
    /// Checked instead of the server's own address.
    pub addr: Option<IpAddr>,
    pub init_state: InitState,
    /// The check begins with the PROXY header that sessions send. Default: as `send_proxy`.
    pub send_proxy: Option<ProxyVersion>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum CheckKind {
    Tcp,
    Http {
        /// Default `GET`.
        method: String,
        /// Default `/`.
        path: String,
        /// Host header. `None`: the server's address.
        host: Option<String>,
        /// Expected status codes, inclusive ranges. Default 200–399, as HAProxy.
        status: Vec<(u16, u16)>,
    },
    Script(Vec<Step>),
}

/// One step of a `script` check. Expectations look at everything received since the last send.
#[derive(Debug, Clone)]
pub enum Step {
    /// Connect (implied when the script does not begin with it).
    Connect,
    Send(Vec<u8>),
    /// Wait until these bytes appear.
    Expect(Vec<u8>),
    /// Wait for some answer; fail if these bytes are in it.
    ExpectNot(Vec<u8>),
    /// Wait until this expression matches.
    ExpectRegex(regex::bytes::Regex),
}

impl PartialEq for Step {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Connect, Self::Connect) => true,
            (Self::Send(a), Self::Send(b))
            | (Self::Expect(a), Self::Expect(b))
            | (Self::ExpectNot(a), Self::ExpectNot(b)) => a == b,
            (Self::ExpectRegex(a), Self::ExpectRegex(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

/// The state a server begins with, in HAProxy's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitState {
    /// UP, one failure from DOWN (the default).
    Up,
    /// UP with full health.
    FullyUp,
    /// DOWN, one success from UP.
    Down,
    /// DOWN, `rise` successes from UP.
    FullyDown,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    pub name: String,
    pub addr: Address,
    /// 0–256; 0: no new sessions. Default 1.
    pub weight: u16,
    /// Sessions at once; more wait in the backend's queue. `None`: no limit.
    pub maxconn: Option<u32>,
    /// Used only when no other server is usable.
    pub backup: bool,
    /// Starts in MAINT.
    pub disabled: bool,
}

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    Ip(SocketAddr),
    /// Resolved at start and followed afterwards.
    Host(String, u16),
    /// A unix stream socket, written `unix@/path`.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(addr) => write!(f, "{addr}"),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix@{}", path.display()),
        }
    }
}

/// Why a text is no server address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("has no port; write it as `{0}:PORT`")]
    NoPort(String),
    #[error("port `{0}` is not a number from 1 to 65535")]
    BadPort(String),
    #[error("`{0}` is neither an IP address nor a host name")]
    BadHost(String),
    #[error("the path after `unix@` must be absolute and shorter than 108 bytes")]
    BadPath,
}

impl FromStr for Address {
    type Err = AddressError;

    /// `1.2.3.4:80`, `[::1]:80`, `name.example:80` or `unix@/path`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix@") {
            // sun_path holds 108 bytes with its terminating NUL (unix(7)).
            if !path.starts_with('/') || path.len() > 107 || path.contains('\0') {
                return Err(AddressError::BadPath);
            }
            return Ok(Self::Unix(path.into()));
        }
        if text.parse::<IpAddr>().is_ok() {
            let shown = if text.contains(':') {
                format!("[{text}]")
            } else {
                text.to_owned()
            };
            return Err(AddressError::NoPort(shown));
        }
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(AddressError::NoPort(text.to_owned()));
        };
        let number = match port.parse::<u16>() {
            Ok(number) if number > 0 && port.bytes().all(|b| b.is_ascii_digit()) => number,
            _ => return Err(AddressError::BadPort(port.to_owned())),
        };
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return Ok(Self::Ip(addr));
        }
        if is_host_name(host) {
            return Ok(Self::Host(host.to_owned(), number));
        }
        Err(AddressError::BadHost(host.to_owned()))
    }
}

/// RFC 1123 names, and `_`, which container networks use. A name whose last label is all digits would be an
/// IPv4 address with a mistake in it.
fn is_host_name(host: &str) -> bool {
    let bare = host.strip_suffix('.').unwrap_or(host);
    let labels = || bare.split('.');
    !bare.is_empty()
        && bare.len() <= 253
        && labels().all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
        && !labels()
            .next_back()
            .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
}

/// The most servers a backend can have: each has a slot in a table of counters (`backend::Loads`).
pub const MAX_SERVERS: usize = 4096;

/// The largest `weight`, as in HAProxy.
pub const MAX_WEIGHT: u16 = 256;

impl Default for Global {
    fn default() -> Self {
        Self {
            maxconn: None,
            threads: None,
            socket: None,
            state_dir: None,
            hard_stop_after: Duration::from_secs(30),
            log: Log::default(),
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            target: LogTarget::Stdout,
            sessions: true,
            dontlognull: false,
            rate: 10_000,
        }
    }
}

impl Frontend {
    /// A frontend with every default.
    pub fn new(name: impl Into<String>, bind: Vec<SocketAddr>, backend: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            bind,
            backend: backend.into(),
            maxconn: None,
            accept_proxy: false,
            defer_accept: false,
            backlog: 4096,
            v4v6: false,
        }
    }
}

impl Backend {
    /// A backend with every default and TCP checks.
    pub fn new(name: impl Into<String>, servers: Vec<Server>) -> Self {
        Self {
            name: name.into(),
            balance: Balance::RoundRobin,
            retries: 3,
            redispatch: true,
            replay: 0,
            maxqueue: 10_000,
            allbackups: false,
            timeout: Timeouts::default(),
            check: Some(Check::default()),
            observe: true,
            shutdown_sessions_when_down: false,
            slowstart: Duration::ZERO,
            send_proxy: None,
            keepalive: Some(Duration::from_secs(60)),
            user_timeout: Some(Duration::from_secs(60)),
            discovery: None,
            servers,
        }
    }
}

impl Server {
    /// A server with every default.
    pub fn new(name: impl Into<String>, addr: Address) -> Self {
        Self {
            name: name.into(),
            addr,
            weight: 1,
            maxconn: None,
            backup: false,
            disabled: false,
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        let connect = Duration::from_secs(5);
        let idle = Some(Duration::from_secs(50));
        Self {
            connect,
            client: idle,
            server: idle,
            queue: connect,
            tunnel: None,
            client_fin: None,
            server_fin: None,
        }
    }
}

impl Default for Check {
    fn default() -> Self {
        let inter = Duration::from_secs(2);
        Self {
            kind: CheckKind::Tcp,
            inter,
            fastinter: inter,
            downinter: inter,
            rise: 2,
            fall: 3,
            timeout: inter,
            port: None,
            addr: None,
            init_state: InitState::Up,
            send_proxy: None,
        }
    }
}

impl fmt::Display for Balance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RoundRobin => "roundrobin",
            Self::LeastConn => "leastconn",
            Self::Random => "random",
            Self::Source => "source",
            Self::First => "first",
        })
    }
}
// STUB
/// x
#[derive(Debug)]
pub struct Problems(Vec<String>);
impl Problems {
    /// x
    pub fn iter(&self) -> std::slice::Iter<'_, String> {
        self.0.iter()
    }
}
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.join("\n"))
    }
}
/// x
pub fn load(_p: &std::path::Path) -> Result<Config, Problems> {
    Err(Problems(vec![]))
}
/// x
pub fn from_flags(b: &[String], s: &[String]) -> Result<Config, Problems> {
    Ok(Config {
        global: Global::default(),
        etcd: None,
        frontends: vec![Frontend::new(
            "lb",
            b.iter().map(|x| x.parse().unwrap()).collect(),
            "lb",
        )],
        backends: vec![Backend::new(
            "lb",
            s.iter()
                .map(|x| {
                    let (n, a) = x.split_once('=').unwrap();
                    Server::new(n, a.parse().unwrap())
                })
                .collect(),
        )],
    })
}
