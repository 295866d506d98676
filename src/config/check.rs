//! `check` of a backend.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::check_kind::CheckKind;
use super::proxy_version::ProxyVersion;
use super::section::{Section, Shape, set};
use super::value::RawValue;

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
    pub rise: Rise,
    /// Failures in a row that take a server DOWN. Default 3; at least 1.
    pub fall: Fall,
    /// For the whole check. Default: inter.
    pub timeout: Duration,
    /// For the connect alone. `None`: as the whole check.
    pub connect_timeout: Option<Duration>,
    /// Checked instead of the server's own port.
    pub port: Option<u16>,
    /// Checked instead of the server's own address.
    pub addr: Option<IpAddr>,
    pub init_state: InitState,
    /// The check begins with the PROXY header that sessions send. Default: as `send_proxy`, but none with `port` or
    /// `addr`.
    pub send_proxy: Option<ProxyVersion>,
    /// As that of sessions, without its port.
    pub source: Option<SocketAddr>,
}

/// Successes in a row that bring a server UP; at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rise(u32);

/// Failures in a row that take a server DOWN; at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fall(u32);

impl Rise {
    /// 0 counts as 1.
    pub fn new(successes: u32) -> Self {
        Self(successes.max(1))
    }

    pub fn get(self) -> u32 {
        self.0
    }
}

impl Fall {
    /// 0 counts as 1.
    pub fn new(failures: u32) -> Self {
        Self(failures.max(1))
    }

    pub fn get(self) -> u32 {
        self.0
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

impl Default for Check {
    fn default() -> Self {
        let inter = Duration::from_secs(2);
        Self {
            kind: CheckKind::Tcp,
            inter,
            fastinter: inter,
            downinter: inter,
            rise: Rise(2),
            fall: Fall(3),
            timeout: inter,
            connect_timeout: None,
            port: None,
            addr: None,
            init_state: InitState::Up,
            send_proxy: None,
            source: None,
        }
    }
}

/// What the rest of its backend means for a check.
#[derive(PartialEq)]
pub(super) struct CheckContext {
    /// `timeout.check`.
    pub(super) timeout: Option<Duration>,
    /// `send_proxy` of the server.
    pub(super) send_proxy: Option<ProxyVersion>,
    /// `source` of the server.
    pub(super) source: Option<SocketAddr>,
}

impl CheckContext {
    /// One port is enough for one connection at a time, which a session may have.
    fn source(&self) -> Option<SocketAddr> {
        self.source.map(|source| (source.ip(), 0).into())
    }
}

impl Check {
    /// The check of a backend without that key.
    pub(super) fn unsaid(context: &CheckContext) -> Self {
        let mut check = Self { send_proxy: context.send_proxy, source: context.source(), ..Self::default() };
        set(&mut check.timeout, context.timeout);
        check
    }

    /// `own` is what a server says, `above` what its backend says for all of them. `None`: no checks.
    pub(super) fn layered(
        own: Option<RawValue<'_>>,
        above: Option<RawValue<'_>>,
        path: &str,
        context: &CheckContext,
    ) -> Option<Self> {
        let (value, above) = match (own, above) {
            (Some(own), Some(above)) if own.plain_flag() == Some(true) && above.is_table() => (above, None),
            (Some(own), above) => (own, above.filter(RawValue::is_table)),
            (None, Some(above)) => (above, None),
            (None, None) => return Some(Self::unsaid(context)),
        };
        match value.plain_flag() {
            Some(false) => return None,
            Some(true) => return Some(Self::unsaid(context)),
            None => {}
        }
        let example = "check = { type = \"tcp\", inter = \"2s\" }` or `check = false";
        let section = value.section(path.to_owned(), &Self::SHAPE, example)?;
        let Some(above) = above.and_then(|above| above.names(String::new(), "")) else {
            return Some(Self::read(&section, context));
        };
        // The keys of one type say nothing about another one.
        let kind_of = |value: RawValue<'_>| value.plain_text().map(str::to_owned);
        let own = section.value("type");
        let same_kind = own.is_none_or(|own| above.value("type").map(kind_of) == Some(kind_of(own)));
        let table = section.over(&above, |key| same_kind || Self::OF_ALL_TYPES.contains(&key));
        Some(Self::read(&section.with(&table), context))
    }

    fn read(section: &Section<'_>, context: &CheckContext) -> Self {
        let mut check = Self { source: context.source(), ..Self::default() };
        set(&mut check.kind, CheckKind::read(section));
        set(&mut check.inter, section.duration("inter", "write a time such as \"2s\", or `check = false`"));
        let inter = check.inter;
        let duration = |key| section.duration(key, "leave it out, and `inter` holds");
        check.fastinter = duration("fastinter").unwrap_or(inter);
        check.downinter = duration("downinter").unwrap_or(inter);
        check.timeout = duration("timeout").or(context.timeout).unwrap_or(inter);
        check.connect_timeout = duration("connect_timeout");
        set(&mut check.rise, section.number("rise", 1..=MAX_ROW).map(Rise));
        set(&mut check.fall, section.number("fall", 1..=MAX_ROW).map(Fall));
        check.port = section.number("port", 1..=65535);
        check.addr = section.value("addr").and_then(|value| addr(&value));
        set(&mut check.init_state, section.word("init_state", &INIT_STATES));
        // As in HAProxy: what answers elsewhere need not speak the PROXY protocol.
        let elsewhere = check.port.is_some() || check.addr.is_some();
        let usual = if elsewhere { None } else { context.send_proxy };
        check.send_proxy = section.word("send_proxy", &ProxyVersion::WORDS).unwrap_or(usual);
        check
    }

    /// The keys that say the same for every type.
    pub(super) const OF_ALL_TYPES: [&str; 12] = [
        "type",
        "inter",
        "fastinter",
        "downinter",
        "rise",
        "fall",
        "timeout",
        "connect_timeout",
        "port",
        "addr",
        "init_state",
        "send_proxy",
    ];

    pub(super) const SHAPE: Shape = Shape {
        keys: &[
            "type",
            "inter",
            "fastinter",
            "downinter",
            "rise",
            "fall",
            "timeout",
            "connect_timeout",
            "port",
            "addr",
            "init_state",
            "send_proxy",
            "method",
            "path",
            "version",
            "host",
            "headers",
            "body",
            "status",
            "status_regex",
            "expect_string",
            "expect_not",
            "expect_regex",
            "expect_not_regex",
            "user",
            "hello",
            "command",
            "env_path",
            "steps",
        ],
        foreign: &[
            ("uri", "write `path`"),
            ("url", "write `path`"),
            ("interval", "write `inter`"),
            ("httpchk", "write `type = \"http\"`"),
            ("check_send_proxy", "write `send_proxy = \"v1\"`"),
            ("expect", "write `status = \"200-399\"`, or `type = \"script\"` and `steps = [{ expect = \"…\" }]`"),
            ("send", "write `type = \"script\"` and `steps = [{ send = \"…\" }]`"),
        ],
    };
}

fn addr(value: &RawValue<'_>) -> Option<IpAddr> {
    let addr = value.text("10.0.0.1")?.parse();
    addr.map_err(|_| value.wrong("is no IP address; write e.g. \"10.0.0.1\", and its port as `port = 8000`")).ok()
}

const INIT_STATES: [(&str, InitState); 4] = [
    ("up", InitState::Up),
    ("fully-up", InitState::FullyUp),
    ("down", InitState::Down),
    ("fully-down", InitState::FullyDown),
];

/// Successes or failures in a row: with more a server would hardly ever change.
const MAX_ROW: i64 = 1000;
