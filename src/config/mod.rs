//! Configuration: text → tables with positions → typed. Pure: nothing here opens a socket or resolves a name; only the
//! interfaces of the machine are looked at, for the scope of a link-local address.
//!
//! Only the typed form leaves this module, and it holds no contradiction: every name that is referred to exists,
//! every default is filled in, every number is within its range. Each section has a file with its type, its
//! defaults and its reader; `section` and `value` read single values, `report` collects what is wrong.
//! The text form is TOML; `systemd/lb.toml` has every key with its default.

mod address;
mod admin_state;
mod agent;
mod backend;
mod balance;
mod bind;
mod bind_entry;
mod change_log;
mod check;
mod check_kind;
mod circle;
mod defaults;
mod etcd;
mod expectation;
mod external_check;
mod file;
mod flags;
mod foreign;
mod frontend;
mod global;
mod haproxy;
mod haproxy_socket;
mod http_check;
pub(crate) mod interface;
mod loading;
mod log;
mod log_format;
mod log_target;
mod problem;
mod protocol_check;
mod proxy_version;
mod report;
mod resolve;
mod resolvers;
mod scope;
mod script;
mod section;
mod server;
mod server_options;
mod socket_access;
mod status;
mod syntax;
#[cfg(test)]
mod tests;
mod timeouts;
mod track;
mod tracks;
mod unitless;
mod units;
mod value;
mod weight;
mod words;

use std::io;
use std::path::Path;
use std::sync::Arc;

pub(crate) use address::{Address, AddressError, shifted};
pub use admin_state::AdminState;
pub(crate) use agent::Agent;
pub use backend::Backend;
pub(crate) use backend::{Liveness, MAX_SERVERS};
pub use balance::Balance;
pub(crate) use bind::Bind;
pub use bind_entry::BindEntry;
pub(crate) use change_log::ChangeLog;
pub use check::{Check, Fall, InitState, Rise};
pub(crate) use check_kind::CheckKind;
pub(crate) use circle::{Entrance, Target, circles};
pub use etcd::Etcd;
pub(crate) use expectation::{Expectation, Pattern};
pub(crate) use external_check::ExternalCheck;
pub(crate) use file::SlowFile;
pub(crate) use flags::from_flags;
pub use frontend::Frontend;
pub(crate) use global::{Global, SocketPlace};
pub(crate) use haproxy::{Fate, HAPROXY_VERSION, HaproxyReading, ProcessWords, Verdict};
pub(crate) use haproxy_socket::{HaproxySocket, SocketLevel};
pub(crate) use http_check::HttpCheck;
pub use loading::load;
pub(crate) use loading::{
    Loaded, Spelling, condition_holds, load_bytes, load_files, read_bytes, read_files, shown_paths,
};
pub use log::{Log, LogSettings};
pub(crate) use log_format::{FieldStyle, FormatPiece, LogFetch, LogField};
pub(crate) use log_target::{LogForm, LogPlace, LogTarget};
pub(crate) use problem::{Problem, Problems};
pub(crate) use proxy_version::ProxyVersion;
pub(crate) use resolve::{Family, Resolve};
pub(crate) use resolvers::Resolvers;
pub(crate) use script::{ExpectedAnswer, ScriptAction, ScriptStep};
pub use server::Server;
pub(crate) use server_options::OnError;
pub use server_options::ServerOptions;
pub(crate) use socket_access::SocketAccess;
pub(crate) use status::StatusRule;
pub(crate) use timeouts::Timeouts;
pub(crate) use unitless::unitless;
pub use weight::Weight;
pub(crate) use words::counted;

use bind_entry::Binds;
use foreign::Form;
use report::ProblemReport;
use section::{Section, Shape};
use value::RawValue;
use words::shown;

/// A whole configuration, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    pub global: Global,
    /// Present when some backend uses `discovery`; `endpoints` is never empty.
    pub etcd: Option<Etcd>,
    /// In the order of the file; names are unique.
    pub resolvers: Vec<Resolvers>,
    /// In the order of the file; names are unique; at least one.
    pub frontends: Vec<Frontend>,
    /// In the order of the file; names are unique.
    pub backends: Vec<Backend>,
    /// All of both, in the order of the file; empty where there is no file.
    pub(crate) order: Vec<ProxyPlace>,
}

/// A frontend or a backend, by its place among those of its kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProxyPlace {
    Frontend(usize),
    Backend(usize),
}

/// The bytes of a file.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Problems> {
    match SlowFile::open(path).and_then(|file| file.read(MAX_FILE)) {
        Ok(bytes) => Ok(bytes),
        Err(error) => {
            let file = path.display().to_string();
            let remedy = match error.kind() {
                io::ErrorKind::NotFound => "name the right file with `-f FILE`",
                io::ErrorKind::TimedOut => "write to it, or name a regular file with `-f FILE`",
                io::ErrorKind::PermissionDenied => "let this user read it, e.g. with chmod",
                _ => "name a readable text file with `-f FILE`",
            };
            Err(Problems::one(&file, 0, 0, format!("cannot be read: {}; {remedy}", reason(&error))))
        }
    }
}

/// Reads a text in TOML; `file` is what problems call it.
///
/// # Errors
/// Every problem of the text at once.
pub fn parse(file: &str, text: &str) -> Result<Config, Problems> {
    let report = ProblemReport::new(text);
    if let Form::Foreign(at, message) = Form::of(text) {
        return Err(report.only(file, at, message));
    }
    let mended = syntax::mend(&report);
    let mut tables = syntax::tables(&mended, &report);
    defaults::spread(&mut tables, &report);
    let config = Config::read(&Section::root(tables.get_ref(), &report, &Config::SHAPE));
    report.finish(file)?;
    Ok(config)
}

impl Config {
    /// All places that lines may go to.
    pub(crate) fn log_places(&self) -> Vec<LogPlace> {
        let targets = self.frontends.iter().flat_map(|frontend| &frontend.log.targets);
        let mut places = Vec::new();
        let changes = self.backends.iter().flat_map(|backend| &backend.log.targets);
        for target in targets.chain(changes).chain(&self.global.log.settings.targets) {
            if !places.contains(&target.to) {
                places.push(target.to.clone());
            }
        }
        places
    }

    fn read(root: &Section<'_>) -> Self {
        let global = root.section("global", &Global::SHAPE, "[global]");
        let etcd = root.section("etcd", &Etcd::SHAPE, "[etcd]");
        let etcd = etcd.as_ref().map(Etcd::read);
        let states = global.as_ref().and_then(|global| global.value("server_state_file"));
        let states = states.and_then(backend::server_state_file);
        let global = global.as_ref().map(Global::read).unwrap_or_default();
        let mut backends = Self::read_backends(root, etcd.is_some(), states.as_deref(), &global.log);
        let frontends = Self::read_frontends(root, &global.log.settings);
        for backend in &mut backends {
            backend.default_fullconn(&frontends, global.maxconn);
            backend.log.is_listen = frontends.iter().any(|one| one.name == backend.name && one.backend == backend.name);
        }
        Self::refuse_shared_sockets(root, &global, &frontends);
        Self::refuse_circles(root, &frontends, &backends);
        if let Some(backend) =
            backends.iter().find(|backend| backend.runs_programs()).filter(|_| !global.external_checks)
        {
            let what = format!("checks of [backend.{}] run a program", shown(&backend.name));
            root.absent(format!("{what}; allow that by `external_checks = true` in [global]"));
        }
        tracks::refuse(&backends, |backend, server| Self::key_of(root, backend, server, "track"));
        let discovers = backends.iter().any(|backend| backend.discovery.is_some());
        let resolvers = named_sections(root, "resolvers", &Resolvers::SHAPE);
        let resolvers: Vec<_> = resolvers.iter().map(|(name, section)| Resolvers::read(name, section)).collect();
        Self::refuse_unknown_resolvers(root, &resolvers, &backends);
        let order = Self::read_order(root);
        Self { global, etcd: etcd.filter(|_| discovers), resolvers, frontends, backends, order }
    }

    fn read_order(root: &Section<'_>) -> Vec<ProxyPlace> {
        let places = |kind: &str, place: fn(usize) -> ProxyPlace| {
            let names = root.names(kind, "").map(|names| names.entries()).unwrap_or_default();
            names.into_iter().enumerate().map(move |(index, (_, value))| (value.key_at, place(index)))
        };
        let frontends = places("frontend", ProxyPlace::Frontend);
        let mut places: Vec<_> = frontends.chain(places("backend", ProxyPlace::Backend)).collect();
        places.sort_by_key(|(at, _)| *at);
        places.into_iter().map(|(_, place)| place).collect()
    }

    /// `states`, `log`: of those that name none.
    fn read_backends(root: &Section<'_>, has_etcd: bool, states: Option<&Path>, log: &Log) -> Vec<Backend> {
        let mut backends = Vec::new();
        for (name, section) in named_sections(root, "backend", &Backend::SHAPE) {
            backends.push(Backend::read(name, &section, states, log));
            if let Some(value) = section.value("discovery").filter(|_| !has_etcd) {
                value.refers_to_nothing("needs etcd; add [etcd] with e.g. `endpoints = [\"http://127.0.0.1:2379\"]`");
            }
        }
        backends
    }

    fn read_frontends(root: &Section<'_>, log: &Arc<LogSettings>) -> Vec<Frontend> {
        let backends = root.value("backend").and_then(|value| value.keys()).unwrap_or_default();
        let sections = named_sections(root, "frontend", &Frontend::SHAPE);
        if root.value("frontend").is_none_or(|value| value.is_empty_table()) {
            root.absent("there is no frontend; add [frontend.NAME] with `bind` and `backend`".to_owned());
        }
        let mut binds = Binds::default();
        let read = |(name, section): &(&str, Section<'_>)| Frontend::read(name, section, &backends, log, &mut binds);
        sections.iter().map(read).collect()
    }

    /// Sockets for HAProxy's commands where a frontend listens, or the admin socket.
    fn refuse_shared_sockets(root: &Section<'_>, global: &Global, frontends: &[Frontend]) {
        let Some(value) = root.names("global", "[global]").and_then(|section| section.value("haproxy_socket")) else {
            return;
        };
        for socket in &global.haproxy_sockets {
            let is_at = |frontend: &&Frontend| frontend.bind.iter().any(|entry| entry.bind == socket.bind);
            if let Some(frontend) = frontends.iter().find(is_at).filter(|_| !socket.takes_any_port()) {
                value.wrong(format!("has {}, which [frontend.{}] binds; choose another", socket.bind, frontend.name));
            }
            if let (SocketPlace::Path(admin), Bind::Unix(path)) = (&global.socket, &socket.bind)
                && admin == path
            {
                value.wrong("has the path of `socket`, where `lb` asks; choose another");
            }
        }
    }

    /// Servers that are frontends of this file and lead back to themselves.
    fn refuse_circles(root: &Section<'_>, frontends: &[Frontend], backends: &[Backend]) {
        for (target, entrance) in circle::written_circles(&Entrance::all(frontends), backends) {
            if let Some(server) = Self::server_value(root, target.backend, target.server) {
                let addr = Self::key_of(root, target.backend, target.server, "addr");
                addr.unwrap_or(server).wrong(entrance.reason());
            }
        }
    }

    /// Names are looked up by sections that are there.
    fn refuse_unknown_resolvers(root: &Section<'_>, resolvers: &[Resolvers], backends: &[Backend]) {
        let unknown = |value: &RawValue<'_>| {
            value.plain_text().is_some_and(|name| resolvers.iter().all(|resolvers| resolvers.name != name))
        };
        for backend in backends {
            let section = root.names("backend", "").and_then(|all| all.value(&backend.name)?.names(String::new(), ""));
            let own =
                backend.servers.iter().filter_map(|one| Self::key_of(root, &backend.name, &one.name, "resolvers"));
            let values = section.and_then(|section| section.value("resolvers")).into_iter().chain(own);
            for value in values.filter(unknown) {
                value.refers_to_nothing(
                    "is no section; add [resolvers.NAME] with e.g. `nameservers = [\"127.0.0.11:53\"]`",
                );
            }
        }
    }

    /// What is written of a server.
    fn server_value<'a>(root: &Section<'a>, backend: &str, server: &str) -> Option<RawValue<'a>> {
        let backend = root.names("backend", "")?.value(backend)?.names(String::new(), "")?;
        backend.value("servers")?.names(String::new(), "")?.value(server)
    }

    /// A key of a server that has a table.
    fn key_of<'a>(root: &Section<'a>, backend: &str, server: &str, key: &str) -> Option<RawValue<'a>> {
        let table = Self::server_value(root, backend, server).filter(RawValue::is_table)?;
        table.names(String::new(), "")?.value(key)
    }

    const SHAPE: Shape = Shape {
        keys: &["global", "etcd", "resolvers", "defaults", "frontend", "backend"],
        foreign: &[
            ("listen", "write [frontend.NAME] and [backend.NAME]"),
            ("server", "write it in [backend.NAME.servers]"),
            ("servers", "write it in [backend.NAME.servers]"),
            ("log", "write [global.log]"),
        ],
    };
}

/// The tables `[kind.NAME]`.
fn named_sections<'a>(root: &Section<'a>, kind: &str, shape: &Shape) -> Vec<(&'a str, Section<'a>)> {
    let Some(names) = root.names(kind, &format!("[{kind}.NAME]")) else {
        return Vec::new();
    };
    let mut sections = Vec::new();
    for (name, value) in names.entries() {
        if value.is_header() && !value.is_table() {
            value.wrong(format!("has double brackets; write `[{kind}.{}]`", shown(name)));
            continue;
        }
        if !value.is_table() {
            value.wrong(format!("stands in [{kind}], which holds only tables; write it in [{kind}.NAME]"));
            continue;
        }
        value.check_name();
        sections.extend(value.section(names.path(name), shape, "").map(|section| (name, section)));
    }
    sections
}

/// As `parse`, of what may not be text.
pub(crate) fn parse_bytes(file: &str, bytes: &[u8]) -> Result<Config, Problems> {
    match std::str::from_utf8(bytes) {
        Ok(text) => parse(file, text),
        Err(_) if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") => {
            let what = "this is UTF-16; save the file as UTF-8 text, e.g. with `iconv -f UTF-16 -t UTF-8`".to_owned();
            Err(ProblemReport::new("").only(file, 0, what))
        }
        Err(error) => {
            // Everything before this place is UTF-8.
            let good = String::from_utf8_lossy(&bytes[..error.valid_up_to()]);
            let what = "this is not UTF-8; save the file as UTF-8 text".to_owned();
            Err(ProblemReport::new(&good).only(file, good.len(), what))
        }
    }
}

/// The words of the system without its number, as the middle of a sentence.
fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).collect()
}

/// So that a device or a log given by mistake does not fill the memory.
const MAX_FILE: u64 = 16 << 20;
