//! `[backend.NAME.servers]`: the static members of a backend.

use std::sync::Arc;

use super::address::{self, Address};
use super::global::MAX_CONN;
use super::section::{Shape, set};
use super::server_options::{ServerOptions, UsualOptions};
use super::value::RawValue;
use super::weight::Weight;
use super::words::shown;

#[derive(Debug, Clone, PartialEq)]
pub struct Server {
    pub name: String,
    /// Its port is 0 where `port_shift` says which one it is.
    pub addr: Address,
    /// Its port is the one that the client came to, and this added.
    pub port_shift: Option<i32>,
    pub weight: Weight,
    /// Sessions at once; more wait in the backend's queue. `None`: no limit.
    pub maxconn: Option<u32>,
    /// Used only when no other server is usable.
    pub backup: bool,
    /// Starts in MAINT.
    pub disabled: bool,
    pub options: Arc<ServerOptions>,
    /// Said by a discovered server that is about to leave; the file has no word for it.
    pub drain: bool,
}

impl Server {
    /// A server with every default.
    pub fn new(name: impl Into<String>, addr: Address) -> Self {
        Self {
            name: name.into(),
            addr,
            port_shift: None,
            weight: Weight::default(),
            maxconn: None,
            backup: false,
            disabled: false,
            options: Arc::default(),
            drain: false,
        }
    }
}

impl Server {
    /// `path`: as it would stand in a header, `backend.app.servers.app1`.
    pub(super) fn read(name: &str, value: &RawValue<'_>, path: String, usual: &UsualOptions<'_>) -> Option<Self> {
        if value.plain_text().is_some() {
            return Self::at(name, value, Arc::clone(&usual.options));
        }
        let section = value.section(path, &Self::SHAPE, &format!("{} = \"10.0.0.1:8000\"", shown(name)))?;
        let weight = section.number("weight", 0..=i64::from(Weight::MAX)).and_then(Weight::new);
        let maxconn = section.number("maxconn", 1..=MAX_CONN);
        let (backup, disabled) = (section.flag("backup"), section.flag("disabled"));
        let options = ServerOptions::of_server(&section, usual);
        let addr = section.required("addr", "\"10.0.0.1:8000\"");
        let mut server = Self::at(name, &addr?, options)?;
        set(&mut server.weight, weight);
        // As in HAProxy: alone, or where it is larger, it is the limit.
        server.maxconn = maxconn.max(server.options.minconn);
        set(&mut server.backup, backup);
        set(&mut server.disabled, disabled);
        Some(server)
    }

    fn at(name: &str, value: &RawValue<'_>, options: Arc<ServerOptions>) -> Option<Self> {
        let text = value.text("10.0.0.1:8000")?;
        let parsed = address::parse_shifted(text);
        let parsed = parsed.map_err(|error| value.wrong(format!("is no address of a server: {error}")));
        let (addr, port_shift) = parsed.ok()?;
        if port_shift.is_some() && options.check.as_ref().is_some_and(|check| check.port.is_none()) {
            let plain = shown(text.rsplit_once(":+").or_else(|| text.rsplit_once(":-")).map_or(text, |(host, _)| host));
            value.wrong(format!(
                "has no port for its checks; write it as `{plain}:PORT`, or, to use the port that the client came to, \
                 `check = {{ port = 8000 }}` or `check = false` beside it"
            ));
        }
        Some(Self { port_shift, options, ..Self::new(name, addr) })
    }

    pub(super) const SHAPE: Shape = Shape {
        keys: &[
            "addr",
            "weight",
            "maxconn",
            "backup",
            "disabled",
            "check",
            "observe",
            "on_marked_down",
            "error_limit",
            "on_error",
            "on_marked_up",
            "agent",
            "track",
            "slowstart",
            "send_proxy",
            "source",
            "minconn",
            "resolvers",
            "resolve_prefer",
        ],
        foreign: &[
            ("address", "write `addr`"),
            ("host", "write `addr = \"HOST:PORT\"`"),
            ("port", "write `addr = \"HOST:PORT\"`"),
            ("inter", "write `check = { inter = \"2s\" }`"),
            ("fastinter", "write `check = { fastinter = \"1s\" }`"),
            ("downinter", "write `check = { downinter = \"5s\" }`"),
            ("rise", "write `check = { rise = 2 }`"),
            ("fall", "write `check = { fall = 3 }`"),
            ("no_check", "write `check = false`"),
            ("send_proxy_v2", "write `send_proxy = \"v2\"`"),
            ("maxqueue", "write it in [backend.NAME], whose servers share one queue"),
            ("ssl", "leave it out: lb passes TLS through"),
        ],
    };
}
