//! `[frontend.NAME]`: where clients come in.

use super::bind::{Bind, Binds};
use super::global::MAX_CONN;
use super::section::{Section, Shape, set};
use super::words::{listed, nearest};

#[derive(Debug, Clone, PartialEq)]
pub struct Frontend {
    pub name: String,
    /// At least one.
    pub bind: Vec<Bind>,
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
    /// Another process may listen on the same addresses, and the kernel spreads connections among both. Default false:
    /// an address where another process listens is refused.
    pub reuse_port: bool,
}

impl Frontend {
    /// A frontend with every default.
    pub fn new(name: impl Into<String>, bind: Vec<Bind>, backend: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            bind,
            backend: backend.into(),
            maxconn: None,
            accept_proxy: false,
            defer_accept: false,
            backlog: 4096,
            v4v6: false,
            reuse_port: false,
        }
    }
}

impl Frontend {
    /// `backends`: the names that `backend` may refer to.
    pub(super) fn read(name: &str, section: &Section<'_>, backends: &[&str], binds: &mut Binds) -> Self {
        let mut frontend = Self::new(name, Vec::new(), "");
        set(&mut frontend.v4v6, section.flag("v4v6"));
        if let Some(bind) = section.required("bind", "[\"0.0.0.0:80\"]") {
            let list = bind.list();
            if list.is_empty() {
                bind.wrong("names no address; write e.g. `bind = [\"0.0.0.0:80\"]`");
            }
            let read = |value| binds.read(value, name, frontend.v4v6);
            frontend.bind = list.iter().filter_map(read).collect();
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
        set(&mut frontend.accept_proxy, section.flag("accept_proxy"));
        set(&mut frontend.defer_accept, section.flag("defer_accept"));
        set(&mut frontend.reuse_port, section.flag("reuse_port"));
        set(&mut frontend.backlog, section.number("backlog", 1..=MAX_BACKLOG));
        frontend
    }

    pub(super) const SHAPE: Shape = Shape {
        keys: &["bind", "backend", "maxconn", "accept_proxy", "defer_accept", "backlog", "v4v6", "reuse_port"],
        foreign: &[
            ("default_backend", "write `backend = \"NAME\"`"),
            ("use_backend", "write `backend = \"NAME\"`: a frontend has one backend"),
            ("mode", "leave it out: lb is always in TCP mode"),
            ("listen", "write `bind = [\"0.0.0.0:80\"]`"),
            ("noreuseport", "leave it out: that is the default"),
            ("timeout", "write `timeout = { client = \"50s\" }` in [backend.NAME]"),
            ("option", "write the option's own key; options about logs are in [global.log]"),
            ("log", "write it in [global.log]"),
            ("balance", "write it in [backend.NAME]"),
            ("server", "write it in [backend.NAME.servers]"),
            ("servers", "write it in [backend.NAME.servers]"),
        ],
    };
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

/// The kernel's own limit is far below.
const MAX_BACKLOG: i64 = 1_000_000;
