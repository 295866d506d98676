//! How a server is used and watched. What a backend says holds for each of its servers that says nothing else.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::agent::Agent;
use super::check::{Check, CheckContext};
use super::global::MAX_CONN;
use super::proxy_version::ProxyVersion;
use super::resolve::{Family, Resolve};
use super::section::{Section, set};
use super::track::Tracked;
use super::value::RawValue;

#[derive(Debug, Clone, PartialEq)]
pub struct ServerOptions {
    /// `None`: no checks; the server is then always UP.
    pub check: Option<Check>,
    pub agent: Option<Agent>,
    /// Its state is that of this server; it then has no checks of its own.
    pub track: Option<Tracked>,
    /// Live connects that fail are looked at. Default true (`observe = "layer4"`).
    pub observe: bool,
    /// So many of them in a row, without one that succeeds, bring about `on_error`. Default 1.
    pub error_limit: u32,
    /// Default: they count as a failed check.
    pub on_error: OnError,
    /// Its sessions are cut when it goes DOWN. Default false.
    pub shutdown_sessions_when_down: bool,
    /// The sessions of the backups are cut when it comes UP. Default false.
    pub shutdown_backups_when_up: bool,
    /// Weight and maxconn grow over this time when it comes back. 0: at once (default).
    pub slowstart: Duration,
    /// PROXY protocol header towards it.
    pub send_proxy: Option<ProxyVersion>,
    /// Connections to it come from this address; port 0: any.
    pub source: Option<SocketAddr>,
    /// Sessions at once that it has in any case, while its backend has few; they grow up to `maxconn`.
    pub minconn: Option<u32>,
    pub resolve: Resolve,
}

/// What too many failed connects bring about, beside a check at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    FastInter,
    /// They count as a failed check.
    FailCheck,
    /// The same, and the next failed check takes the server DOWN.
    SuddenDeath,
    MarkDown,
}

impl Default for ServerOptions {
    /// With TCP checks.
    fn default() -> Self {
        Self {
            check: Some(Check::default()),
            agent: None,
            track: None,
            observe: true,
            error_limit: 1,
            on_error: OnError::FailCheck,
            shutdown_sessions_when_down: false,
            shutdown_backups_when_up: false,
            slowstart: Duration::ZERO,
            send_proxy: None,
            source: None,
            minconn: None,
            resolve: Resolve::default(),
        }
    }
}

/// A backend, as far as its servers inherit from it.
pub(super) struct UsualOptions<'s> {
    pub(super) backend: &'s str,
    pub(super) section: &'s Section<'s>,
    /// `timeout.check`.
    pub(super) check_timeout: Option<Duration>,
    pub(super) options: Arc<ServerOptions>,
}

impl ServerOptions {
    /// Those that [backend.NAME] has for its servers.
    pub(super) fn of_backend(section: &Section<'_>, check_timeout: Option<Duration>) -> Self {
        let mut options = Self::default();
        options.read(section);
        let context = options.context(check_timeout);
        options.check = Check::layered(None, section.value("check"), &section.path("check"), &context);
        options.agent = Agent::layered(None, section.value("agent"), &section.path("agent"));
        options
    }

    /// Those of a server with a table of its own.
    pub(super) fn of_server(section: &Section<'_>, usual: &UsualOptions<'_>) -> Arc<Self> {
        let mut options = Self::clone(&usual.options);
        options.read(section);
        let (own, above) = (section.value("check"), usual.section.value("check"));
        let context = options.context(usual.check_timeout);
        if own.is_some() || context != usual.options.context(usual.check_timeout) {
            options.check = Check::layered(own, above, &section.path("check"), &context);
        }
        if let Some(own) = section.value("agent") {
            options.agent = Agent::layered(Some(own), usual.section.value("agent"), &section.path("agent"));
        }
        options.track = Tracked::read(section, usual.backend);
        if options.track.is_some() {
            if let Some(own) = own.filter(|own| own.plain_flag() != Some(false)) {
                own.wrong_key("belongs to a server that is checked itself; leave it out, or `track`");
            }
            options.check = None;
        }
        if options == *usual.options { Arc::clone(&usual.options) } else { Arc::new(options) }
    }

    fn context(&self, timeout: Option<Duration>) -> CheckContext {
        CheckContext { timeout, send_proxy: self.send_proxy, source: self.source }
    }

    fn read(&mut self, section: &Section<'_>) {
        set(&mut self.send_proxy, section.word("send_proxy", &ProxyVersion::WORDS));
        set(&mut self.observe, section.word("observe", &OBSERVE));
        set(&mut self.shutdown_sessions_when_down, section.word("on_marked_down", &ON_MARKED_DOWN));
        set(&mut self.error_limit, section.number("error_limit", 1..=MAX_ERRORS));
        set(&mut self.on_error, section.word("on_error", &ON_ERROR));
        set(&mut self.shutdown_backups_when_up, section.word("on_marked_up", &ON_MARKED_UP));
        set(&mut self.slowstart, section.delay("slowstart"));
        set(&mut self.source, section.value("source").and_then(|value| source(&value)).map(Some));
        set(&mut self.resolve.resolvers, section.filled_text("resolvers", "docker").map(|name| Some(name.to_owned())));
        set(&mut self.resolve.prefer, section.word("resolve_prefer", &Family::WORDS).map(Some));
        set(&mut self.minconn, section.number("minconn", 1..=MAX_CONN).map(Some));
    }
}

fn source(value: &RawValue<'_>) -> Option<SocketAddr> {
    let text = value.text("10.0.0.1")?;
    let ip = text.trim_start_matches('[').trim_end_matches(']').parse().map(|ip: IpAddr| (ip, 0).into());
    let source = ip.or_else(|_| text.parse()).ok();
    if source.is_none() {
        value.wrong("is no address of this machine; write e.g. \"10.0.0.1\", or \"10.0.0.1:7000\" for one port");
    }
    source
}

const OBSERVE: [(&str, bool); 2] = [("layer4", true), ("none", false)];
const ON_ERROR: [(&str, OnError); 4] = [
    ("fastinter", OnError::FastInter),
    ("fail-check", OnError::FailCheck),
    ("sudden-death", OnError::SuddenDeath),
    ("mark-down", OnError::MarkDown),
];
const ON_MARKED_UP: [(&str, bool); 2] = [("shutdown-backup-sessions", true), ("none", false)];
const MAX_ERRORS: i64 = 1_000_000;
const ON_MARKED_DOWN: [(&str, bool); 2] = [("shutdown-sessions", true), ("none", false)];
