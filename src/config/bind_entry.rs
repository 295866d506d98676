//! An element of `bind`: a place to listen at, with its options; and what is bound already.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use super::bind::{self, Bind, UnusableBind};
use super::global::MAX_CONN;
use super::section::{Section, Shape, set};
use super::socket_access::SocketAccess;
use super::value::RawValue;

/// A place to listen at. What the element does not say is as in its frontend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BindEntry {
    pub bind: Bind,
    /// Only connections that come in through this interface. Default: through any.
    pub interface: Option<String>,
    /// For people.
    pub name: Option<String>,
    /// Connections begin with a PROXY protocol header (v1 or v2) that names the real client.
    pub accept_proxy: bool,
    /// TCP_DEFER_ACCEPT: a connection is accepted once its first bytes have come. Default false.
    pub defer_accept: bool,
    /// An IPv6 bind takes IPv4 clients too. Default false, so that `0.0.0.0` and `[::]` can stand side by side.
    pub v4v6: bool,
    /// Length of the kernel's accept queue. Default 4096 (the kernel caps it at `net.core.somaxconn`).
    pub backlog: u32,
    /// Sessions that came in here; at the limit accepting stops. `None`: the limits of frontend and process alone.
    pub maxconn: Option<u32>,
    /// TCP Fast Open: a client that was here before may send its first bytes with its SYN. Default false.
    pub tfo: bool,
    /// TCP_USER_TIMEOUT of the client's side. `None`: as the backend's.
    pub user_timeout: Option<Duration>,
    /// Of a unix socket.
    pub access: SocketAccess,
    /// Which one of its frontend's, from 1: HAProxy's id of the listener, which stands for a client without an address.
    pub number: u16,
}

impl BindEntry {
    /// With every default.
    pub fn new(bind: Bind) -> Self {
        Self {
            bind,
            interface: None,
            name: None,
            accept_proxy: false,
            defer_accept: false,
            v4v6: false,
            backlog: 4096,
            maxconn: None,
            tfo: false,
            user_timeout: None,
            access: SocketAccess::default(),
            number: 1,
        }
    }

    /// Whether it is a unix socket, with a path or without.
    pub(crate) fn is_unix(&self) -> bool {
        matches!(self.bind, Bind::Unix(_) | Bind::Abstract(_))
    }

    pub(crate) fn unix_path(&self) -> Option<&Path> {
        match &self.bind {
            Bind::Unix(path) => Some(path),
            Bind::Address(_) | Bind::Inherited(_) | Bind::Abstract(_) => None,
        }
    }

    /// Whether both listen at the same place, so that one can go on where the other was.
    pub(crate) fn is_at(&self, other: &Self) -> bool {
        self.bind == other.bind && self.interface == other.interface
    }

    /// The options that frontends have, too.
    pub(super) fn read_common(&mut self, section: &Section<'_>) {
        set(&mut self.accept_proxy, section.flag("accept_proxy"));
        set(&mut self.defer_accept, section.flag("defer_accept"));
        set(&mut self.v4v6, section.flag("v4v6"));
        set(&mut self.backlog, section.number("backlog", 1..=MAX_BACKLOG));
    }

    fn read_own(&mut self, section: &Section<'_>) {
        self.read_common(section);
        self.name = section.filled_text("name", "public").map(str::to_owned);
        self.interface = section.value("interface").and_then(interface);
        self.maxconn = section.number("maxconn", 1..=MAX_CONN);
        set(&mut self.tfo, section.flag("tfo"));
        self.access = SocketAccess::read(section);
        self.user_timeout = section.duration("user_timeout", "leave it out, and the backend's holds");
    }

    pub(super) const SHAPE: Shape = Shape {
        keys: &[
            "addr",
            "name",
            "accept_proxy",
            "defer_accept",
            "v4v6",
            "interface",
            "backlog",
            "maxconn",
            "tfo",
            "user_timeout",
            "mode",
            "user",
            "group",
        ],
        foreign: &[
            ("v6only", "leave it out: that is the default; `v4v6 = true` is the opposite"),
            ("tcp_ut", "write `user_timeout = \"30s\"`"),
            ("ssl", "leave it out: lb passes TLS through to the servers"),
            ("crt", "leave it out: lb passes TLS through to the servers"),
            ("transparent", "leave it out: lb binds addresses of this host alone"),
        ],
    };
}

/// As in the announcement of its sockets, by which the next engine finds them.
impl fmt::Display for BindEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bind.fmt(f)?;
        self.interface.as_ref().map_or(Ok(()), |name| write!(f, " interface {name}"))
    }
}

/// What is bound so far.
#[derive(Default)]
pub(super) struct Binds {
    /// By which frontend, and where that stands.
    taken: HashMap<(Bind, Option<String>), (String, usize)>,
}

impl Binds {
    /// Reads one element of `bind` of this frontend: a text, or a table with options beyond those of `common`.
    pub(super) fn read(&mut self, value: &RawValue<'_>, frontend: &str, common: &BindEntry) -> Vec<BindEntry> {
        let mut options = common.clone();
        let mut addr = Some(*value);
        if value.is_table() {
            let example = "{ addr = \"0.0.0.0:80\" }";
            let Some(section) = value.section(format!("frontend.{frontend}.bind"), &BindEntry::SHAPE, example) else {
                return Vec::new();
            };
            options.read_own(&section);
            addr = section.required("addr", "\"0.0.0.0:80\"");
        }
        addr.map(|addr| self.places(&addr, frontend, &options)).unwrap_or_default()
    }

    fn places(&mut self, value: &RawValue<'_>, frontend: &str, options: &BindEntry) -> Vec<BindEntry> {
        let Some(text) = value.text("0.0.0.0:80") else {
            return Vec::new();
        };
        let binds = match bind::parse(text) {
            Ok(binds) => binds,
            Err(error) => {
                value.wrong(error);
                return Vec::new();
            }
        };
        if let Some(plain) = binds.iter().find_map(bind::mapped).filter(|_| !options.v4v6) {
            value.wrong(UnusableBind::Mapped(plain));
            return Vec::new();
        }
        let mut entries = Vec::new();
        for bind in binds {
            let entry = BindEntry { bind, ..options.clone() };
            if let Some((owner, at)) = self.take(&entry, frontend, value.key_at) {
                let line = value.report.line_of(at);
                value.wrong(format!("is bound already by [frontend.{owner}] in line {line}; keep one of them"));
                return entries;
            }
            entries.push(entry);
        }
        entries
    }

    fn take(&mut self, entry: &BindEntry, frontend: &str, at: usize) -> Option<(String, usize)> {
        let v4 = match entry.bind {
            // With port 0 the kernel finds a free one each time.
            Bind::Address(addr) if addr.port() == 0 => return None,
            Bind::Address(addr) if entry.v4v6 && addr.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
                Some(Bind::Address((Ipv4Addr::UNSPECIFIED, addr.port()).into()))
            }
            Bind::Address(_) | Bind::Inherited(_) | Bind::Unix(_) | Bind::Abstract(_) => None,
        };
        for bind in [Some(entry.bind.clone()), v4].into_iter().flatten() {
            let place = (bind, entry.interface.clone());
            if let Some(owner) = self.taken.get(&place) {
                return Some(owner.clone());
            }
            self.taken.insert(place, (frontend.to_owned(), at));
        }
        None
    }
}

/// The kernel looks for it when it binds.
fn interface(value: RawValue<'_>) -> Option<String> {
    let name = value.filled_text("eth0")?;
    // IFNAMSIZ is 16 with the terminating NUL.
    if name.len() > 15 || name.contains(['/', '\0']) || name.contains(char::is_whitespace) {
        value.wrong("is no name of an interface; write e.g. \"eth0\"");
        return None;
    }
    Some(name.to_owned())
}

/// The kernel's own limit is far below.
const MAX_BACKLOG: i64 = 1_000_000;
