//! A `defaults`, `frontend`, `backend` or `listen` section as it is read.

use super::check_plan::CheckPlan;
use super::fate::Verdict;
use super::log_plan::LogPlan;
use super::setting::Settings;
use super::spot::Spot;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyKind {
    Defaults,
    Frontend,
    Backend,
    Listen,
}

impl ProxyKind {
    /// The word that begins the section.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Defaults => "defaults",
            Self::Frontend => "frontend",
            Self::Backend => "backend",
            Self::Listen => "listen",
        }
    }

    /// Has HAProxy's frontend capability.
    pub(super) fn is_front(self) -> bool {
        self != Self::Backend
    }

    /// Has HAProxy's backend capability.
    pub(super) fn is_back(self) -> bool {
        self != Self::Frontend
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProxyMode {
    Tcp,
    /// Where it says so.
    Http(Spot),
}

/// What is to be said of a line once the whole section is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Doubt {
    pub(super) at: Spot,
    /// As in the table of words: `option forwardfor`.
    pub(super) word: &'static str,
    /// HAProxy itself ignores the word in mode tcp.
    pub(super) http: bool,
    pub(super) verdict: Verdict,
    pub(super) reason: String,
    pub(super) remedy: String,
}

/// An address to listen on, with what its line says about it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BindLine {
    pub(super) addr: String,
    pub(super) settings: Settings,
    pub(super) at: Spot,
}

/// A server: what it says and what `default-server` said before it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ServerLine {
    pub(super) name: String,
    pub(super) settings: Settings,
    pub(super) at: Spot,
}

/// What the lines of a section say so far; it begins as a copy of its defaults.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Proxy {
    pub(super) kind: ProxyKind,
    pub(super) name: String,
    /// Of its first line.
    pub(super) at: Spot,
    pub(super) mode: ProxyMode,
    pub(super) disabled: Option<Spot>,
    /// Keys of [frontend.NAME].
    pub(super) front: Settings,
    /// Keys of [backend.NAME].
    pub(super) back: Settings,
    /// Keys of its servers, from `default-server`.
    pub(super) server: Settings,
    pub(super) binds: Vec<BindLine>,
    pub(super) servers: Vec<ServerLine>,
    pub(super) check: CheckPlan,
    pub(super) log: LogPlan,
    /// Backends that it names, the default one last.
    pub(super) targets: Vec<(String, Spot)>,
    /// It serves a page of HAProxy's own.
    pub(super) page: Option<Spot>,
    pub(super) doubts: Vec<Doubt>,
}

impl Proxy {
    pub(super) fn new(kind: ProxyKind, name: String, at: Spot) -> Self {
        Self {
            kind,
            name,
            at,
            mode: ProxyMode::Tcp,
            disabled: None,
            front: Settings::default(),
            back: Settings::default(),
            server: Settings::default(),
            binds: Vec::new(),
            servers: Vec::new(),
            check: CheckPlan::default(),
            log: LogPlan::default(),
            targets: Vec::new(),
            page: None,
            doubts: Vec::new(),
        }
    }

    /// A section with everything that its defaults say.
    pub(super) fn inherit(kind: ProxyKind, name: String, at: Spot, defaults: Option<&Self>) -> Self {
        let Some(defaults) = defaults else {
            return Self::new(kind, name, at);
        };
        let mut proxy = Self { kind, name, at, ..defaults.clone() };
        proxy.check.inherited();
        proxy.log.inherited();
        proxy
    }

    /// HAProxy's words for it in a sentence: `frontend 'web'`.
    pub(super) fn shown(&self) -> String {
        format!("{} '{}'", self.kind.word(), self.name)
    }

    pub(super) fn doubt(
        &mut self,
        verdict: Verdict,
        at: Spot,
        word: &'static str,
        reason: impl Into<String>,
        remedy: &str,
    ) {
        self.doubts.push(Doubt { at, word, http: false, verdict, reason: reason.into(), remedy: remedy.to_owned() });
    }

    pub(super) fn refuse(&mut self, at: Spot, word: &'static str, reason: impl Into<String>, remedy: &str) {
        self.doubt(Verdict::Refused, at, word, reason, remedy);
    }
}
