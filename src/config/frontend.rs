//! `[frontend.NAME]`: where clients come in.

use std::sync::Arc;

use super::bind::Bind;
use super::bind_entry::{BindEntry, Binds};
use super::global::MAX_CONN;
use super::log::LogSettings;
use super::section::{Section, Shape, set};
use super::timeouts::FrontendTimeouts;
use super::words::{listed, nearest};

#[derive(Debug, Clone, PartialEq)]
pub struct Frontend {
    pub name: String,
    /// At least one.
    pub bind: Vec<BindEntry>,
    /// Name of an existing backend.
    pub backend: String,
    /// Sessions of this frontend; at the limit accepting stops. `None`: only the global limit.
    pub maxconn: Option<u32>,
    /// Sessions that begin in a second; what is beyond waits in the kernel's queue. `None`: no limit.
    pub rate_limit: Option<u32>,
    pub timeout: FrontendTimeouts,
    /// Its session lines; what it does not say is as in `[global.log]`.
    pub log: Arc<LogSettings>,
    /// Another process may listen on the same addresses, and the kernel spreads connections among both. Default false:
    /// an address where another process listens is refused.
    pub reuse_port: bool,
}

impl Frontend {
    /// A frontend with every default.
    pub fn new(name: impl Into<String>, bind: Vec<Bind>, backend: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            bind: numbered(bind.into_iter().map(BindEntry::new)),
            backend: backend.into(),
            maxconn: None,
            rate_limit: None,
            timeout: FrontendTimeouts::default(),
            log: Arc::default(),
            reuse_port: false,
        }
    }
}

impl Frontend {
    /// `backends`: the names that `backend` may refer to.
    /// `log`: of those that say nothing else.
    pub(super) fn read(
        name: &str,
        section: &Section<'_>,
        backends: &[&str],
        log: &Arc<LogSettings>,
        binds: &mut Binds,
    ) -> Self {
        let mut frontend = Self::new(name, Vec::new(), "");
        let mut common = BindEntry::new(Bind::Inherited(String::new()));
        common.read_common(section);
        if let Some(bind) = section.required("bind", "[\"0.0.0.0:80\"]") {
            let list = bind.list();
            if list.is_empty() {
                bind.wrong("names no address; write e.g. `bind = [\"0.0.0.0:80\"]`");
            }
            frontend.bind = numbered(list.iter().flat_map(|value| binds.read(value, name, &common)));
        }
        if let Some(value) = section.required("backend", "\"NAME\"")
            && let Some(backend) = value.text("app")
        {
            frontend.backend = backend.to_owned();
            if !backends.contains(&backend) {
                value.refers_to_nothing(unknown(backend, backends));
            }
        }
        frontend.maxconn = section.number("maxconn", 1..=MAX_CONN);
        frontend.rate_limit = section.number("rate_limit", 1..=MAX_RATE);
        let timeout = section.section("timeout", &FrontendTimeouts::SHAPE, "timeout = { client = \"50s\" }");
        set(&mut frontend.timeout, timeout.as_ref().map(FrontendTimeouts::read));
        let own = section.section("log", &LogSettings::SHAPE, "log = { sessions = false }");
        frontend.log = own.map_or_else(|| Arc::clone(log), |own| Arc::new(log.overlaid(&own)));
        set(&mut frontend.reuse_port, section.flag("reuse_port"));
        frontend
    }

    pub(super) const SHAPE: Shape = Shape {
        keys: &[
            "bind",
            "backend",
            "maxconn",
            "rate_limit",
            "timeout",
            "log",
            "accept_proxy",
            "defer_accept",
            "backlog",
            "v4v6",
            "reuse_port",
        ],
        foreign: &[
            ("default_backend", "write `backend = \"NAME\"`"),
            ("use_backend", "write `backend = \"NAME\"`: a frontend has one backend"),
            ("mode", "leave it out: lb is always in TCP mode"),
            ("listen", "write `bind = [\"0.0.0.0:80\"]`"),
            ("noreuseport", "leave it out: that is the default"),
            ("option", "write the option's own key; options about logs are in `log = { … }`"),
            ("log_format", "write `log = { format = \"%ci:%cp …\" }`"),
            ("balance", "write it in [backend.NAME]"),
            ("server", "write it in [backend.NAME.servers]"),
            ("servers", "write it in [backend.NAME.servers]"),
        ],
    };
}

/// More than any host accepts.
const MAX_RATE: i64 = 10_000_000;

fn numbered(entries: impl Iterator<Item = BindEntry>) -> Vec<BindEntry> {
    (1..=u16::MAX)
        .chain(std::iter::repeat(u16::MAX))
        .zip(entries)
        .map(|(number, entry)| BindEntry { number, ..entry })
        .collect()
}

fn unknown(backend: &str, backends: &[&str]) -> String {
    if let Some(near) = nearest(backend, backends.iter().copied()) {
        return format!("is no backend, did you mean \"{near}\"?");
    }
    match backends {
        [] => "is no backend; add one as [backend.NAME]".to_owned(),
        few if few.len() <= 8 => format!("is no backend; there is {}", listed(few.iter().copied(), "and")),
        _ => "is no backend; write the name of one".to_owned(),
    }
}
