//! Lines → sections: which section a line belongs to, and who reads its words.

use std::collections::HashMap;
use std::ops::Range;

use super::environment::Environment;
use super::fate::{Fates, Verdict};
use super::global_plan::GlobalPlan;
use super::known::{Half, KnownWord, Meaning, find, hint};
use super::lines::Line;
use super::phrase::{Desk, Phrase, Sign};
use super::proxy::{Doubt, Proxy, ProxyKind};
use super::recognise::SECTIONS;
use super::resolver::{self, Resolver};
use super::spot::Spot;
use super::{
    bind_words, check_words, global_words, http_words, log_words, proxy_words, routing_words, stats_words,
    timeout_words,
};

/// Which section some lines are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SectionKind {
    /// Before the first section, or one whose header is wrong.
    Nothing,
    Global,
    /// Index into `defaults`.
    Defaults(usize),
    /// Index into `proxies`.
    Proxy(usize),
    /// Index into `resolvers`.
    Resolvers(usize),
    /// One that has no effect.
    Aside,
}

/// What the sources say, section by section.
#[derive(Debug, Default)]
pub(super) struct Sections {
    pub(super) global: GlobalPlan,
    /// Of the first `global`.
    pub(super) global_at: Option<Spot>,
    pub(super) defaults: Vec<Proxy>,
    pub(super) proxies: Vec<Proxy>,
    pub(super) resolvers: Vec<Resolver>,
    /// The proxies of each name.
    names: HashMap<String, Vec<usize>>,
    /// In the order of the sources; the ranges are of lines.
    pub(super) parts: Vec<(SectionKind, Range<usize>)>,
}

impl Sections {
    pub(super) fn read(lines: &[Line], environment: &Environment, fates: &mut Fates) -> Self {
        let mut sections = Self::default();
        let mut desk = Desk { fates, environment };
        let mut file = 0;
        for (index, line) in lines.iter().enumerate() {
            let begins_file = std::mem::replace(&mut file, line.at.file) != line.at.file;
            if index == 0 || begins_file {
                sections.begin(SectionKind::Nothing, index, lines);
            }
            if line.words.is_empty() {
                sections.extend(index);
                continue;
            }
            let phrase = Phrase::new(&line.words);
            if let Some(kind) = sections.header(&phrase, &mut desk) {
                sections.begin(kind, index, lines);
                continue;
            }
            sections.extend(index);
            sections.line(&phrase, &mut desk);
        }
        sections
    }

    /// A section begins with the comments right above its header.
    fn begin(&mut self, kind: SectionKind, index: usize, lines: &[Line]) {
        let mut start = index;
        if let Some((_, before)) = self.parts.last_mut() {
            let above =
                |line: &Line| line.words.is_empty() && line.comment.is_some() && line.at.file == lines[index].at.file;
            while start > before.start && above(&lines[start - 1]) {
                start -= 1;
            }
            before.end = start;
        }
        self.parts.push((kind, start..index + 1));
    }

    /// The proxy whose section a place is in.
    pub(super) fn proxy_at(&mut self, at: Spot, lines: &[Line]) -> Option<&mut Proxy> {
        let has = |range: &Range<usize>| lines[range.clone()].iter().any(|line| line.at.is_beside(at));
        match self.parts.iter().find(|(_, range)| has(range))? {
            (SectionKind::Proxy(index), _) => self.proxies.get_mut(*index),
            _ => None,
        }
    }

    fn extend(&mut self, index: usize) {
        if let Some((_, range)) = self.parts.last_mut() {
            range.end = index + 1;
        }
    }

    /// The section that a line begins, if it does.
    fn header(&mut self, phrase: &Phrase<'_>, desk: &mut Desk<'_>) -> Option<SectionKind> {
        let at = phrase.at();
        Some(match phrase.text(0) {
            _ if phrase.sign != Sign::Plain => return None,
            "global" => {
                desk.at_most(phrase, 1);
                self.global_at.get_or_insert(at);
                SectionKind::Global
            }
            "defaults" => self.begin_defaults(phrase, desk),
            "frontend" => self.begin_proxy(ProxyKind::Frontend, phrase, desk),
            "backend" => self.begin_proxy(ProxyKind::Backend, phrase, desk),
            "listen" => self.begin_proxy(ProxyKind::Listen, phrase, desk),
            "resolvers" => {
                let name = phrase.text(1);
                if let Some(first) = self.resolvers.iter().find(|resolver| resolver.name == name) {
                    let line = first.at.line;
                    desk.error(
                        at,
                        format!("resolvers '{name}' has same name as another resolvers (declared at line {line})."),
                    );
                }
                self.resolvers.push(Resolver::new(name, at));
                SectionKind::Resolvers(self.resolvers.len() - 1)
            }
            word => {
                let (_, verdict, reason) = ASIDE.iter().find(|(section, ..)| *section == word)?;
                let reason = format!("section '{word}': {reason}");
                match verdict {
                    Verdict::Notice => desk.fates.notice(at, reason, ""),
                    _ => desk.fates.ignored(at, reason, ""),
                }
                SectionKind::Aside
            }
        })
    }

    fn begin_defaults(&mut self, phrase: &Phrase<'_>, desk: &mut Desk<'_>) -> SectionKind {
        let named = !phrase.text(1).is_empty() && phrase.text(1) != "from";
        let name = if named { phrase.text(1) } else { "" };
        let base = self.base(phrase, 1 + usize::from(named), "defaults", name, false, desk);
        let defaults = Proxy::inherit(ProxyKind::Defaults, name.to_owned(), phrase.at(), base.as_ref());
        self.defaults.push(defaults);
        SectionKind::Defaults(self.defaults.len() - 1)
    }

    fn begin_proxy(&mut self, kind: ProxyKind, phrase: &Phrase<'_>, desk: &mut Desk<'_>) -> SectionKind {
        let (word, name, at) = (kind.word(), phrase.text(1), phrase.at());
        let odd = name.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_.:".contains(*c));
        if name.is_empty() {
            desk.error(at, format!("'{word}' expects an <id> argument"));
            return SectionKind::Nothing;
        }
        if let Some(c) = odd {
            desk.error(phrase.place(1), format!("character '{c}' is not permitted in '{word}' name '{name}'."));
            return SectionKind::Nothing;
        }
        let clash = |other: &&Proxy| other.kind == kind || [kind, other.kind].contains(&ProxyKind::Listen);
        let namesakes = self.names.entry(name.to_owned()).or_default();
        let other = namesakes.iter().map(|index| &self.proxies[*index]).find(clash);
        namesakes.push(self.proxies.len());
        if let Some(other) = other {
            let declared = format!("{} declared in line {}", other.shown(), other.at.line);
            desk.error(phrase.place(1), format!("{word} '{name}' has the same name as {declared}."));
        }
        let addressed = !phrase.text(2).is_empty() && phrase.text(2) != "from";
        let base = self.base(phrase, 2 + usize::from(addressed), word, name, true, desk);
        let mut proxy = Proxy::inherit(kind, name.to_owned(), at, base.as_ref());
        if addressed {
            Self::old_address(&mut proxy, phrase, desk);
        }
        self.proxies.push(proxy);
        SectionKind::Proxy(self.proxies.len() - 1)
    }

    /// `listen NAME ADDRESS:PORT`, as HAProxy 1.4 had it.
    fn old_address(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
        let text = phrase.text(2);
        if !proxy.kind.is_front() || !text.contains(':') {
            let word = phrase.text(0);
            desk.error(phrase.place(2), format!("'{word}' cannot handle unexpected argument '{text}'."));
            return;
        }
        bind_words::listen(proxy, phrase, 2, desk);
        let reason = "please use the 'bind' keyword for listening addresses";
        desk.fates.notice(phrase.place(2), reason, format!("write `bind {text}` in the section"));
    }

    /// The defaults that a section begins with: those it names, or the last ones.
    fn base(
        &self,
        phrase: &Phrase<'_>,
        index: usize,
        word: &str,
        name: &str,
        last: bool,
        desk: &mut Desk<'_>,
    ) -> Option<Proxy> {
        if phrase.text(index) != "from" {
            if let Some(word) = phrase.words.get(index) {
                let keyword = phrase.text(0);
                desk.error(word.at, format!("'{keyword}' cannot handle unexpected argument '{}'.", word.text));
            }
            return self.defaults.last().filter(|_| last).cloned();
        }
        let wanted = phrase.text(index + 1);
        let mut found = self.defaults.iter().filter(|defaults| !wanted.is_empty() && defaults.name == wanted);
        let base = found.next_back();
        match (base, found.next_back()) {
            (None, _) => {
                let reason = format!("defaults section '{wanted}' not found for {word} '{name}'.");
                desk.error(phrase.place(index + 1), reason);
            }
            (Some(second), Some(first)) => {
                let lines = format!("line {} and line {}", first.at.line, second.at.line);
                let what = format!("ambiguous defaults section name '{wanted}' referenced by {word} '{name}'");
                desk.error(phrase.place(index + 1), format!("{what} exists at least at {lines}."));
            }
            (Some(_), None) => {}
        }
        base.cloned()
    }

    fn line(&mut self, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
        match self.parts.last().map(|(kind, _)| *kind) {
            Some(SectionKind::Global) => global_line(&mut self.global, phrase, desk),
            Some(SectionKind::Defaults(index)) => proxy_line(&mut self.defaults[index], phrase, desk),
            Some(SectionKind::Proxy(index)) => proxy_line(&mut self.proxies[index], phrase, desk),
            Some(SectionKind::Resolvers(index)) => resolver::line(&mut self.resolvers[index], phrase, desk),
            // A wrong header is reported, and not what follows it.
            Some(SectionKind::Aside | SectionKind::Nothing) | None => {}
        }
    }
}

/// Whether the sign of a line stands before a word that has none.
fn wrong_sign(phrase: &Phrase<'_>, desk: &mut Desk<'_>) -> bool {
    let wrong = phrase.sign != Sign::Plain && !NEGATED.contains(&phrase.text(0));
    if wrong {
        let what = "negation/default currently supported only for options, log, busy-polling, set-dumpable, \
                    strict-limits, insecure-fork-wanted and numa-cpu-mapping.";
        desk.error(phrase.at(), what);
    }
    wrong
}

fn global_line(global: &mut GlobalPlan, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let tables = [global_words::TABLE];
    let first = phrase.text(0);
    if wrong_sign(phrase, desk) {
        return;
    }
    let known = if first == "stats" {
        let two = format!("stats {}", phrase.text(1));
        let known = find(&tables, &two);
        if known.is_none() {
            let what = "'stats' only supports 'socket', 'maxconn', 'bind-process' and 'timeout'";
            desk.error(phrase.place(1), format!("{what} (got '{}')", phrase.text(1)));
            return;
        }
        known
    } else {
        find(&tables, first)
    };
    match known {
        Some(known) => apply(known, global, phrase, desk),
        None => {
            let near = hint(first, global_words::TABLE.iter().map(|known| known.name).chain(SECTIONS));
            desk.error(phrase.at(), format!("unknown keyword '{first}' in 'global' section{near}"));
        }
    }
}

fn apply(known: &'static KnownWord<GlobalPlan>, global: &mut GlobalPlan, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let reason = |reason: &str| format!("'{}': {reason}", known.name.trim_end_matches('*'));
    match known.meaning {
        Meaning::Does(act) => act(global, phrase, desk),
        Meaning::Same => {}
        Meaning::Notice(why, remedy) | Meaning::HttpNotice(why, remedy) => {
            desk.fates.notice(phrase.at(), reason(why), remedy);
        }
        Meaning::Ignored(why, remedy) | Meaning::HttpIgnored(why, remedy) => {
            desk.fates.ignored(phrase.at(), format!("'{}': {why}", phrase.text(0)), remedy);
        }
        Meaning::Refused(why, remedy) | Meaning::HttpRefused(why, remedy) => {
            desk.fates.refused(phrase.at(), reason(why), remedy);
        }
    }
}

/// The tables of words of a proxy.
pub(super) const PROXY_TABLES: [&[KnownWord<Proxy>]; 7] = [
    proxy_words::TABLE,
    timeout_words::TABLE,
    log_words::TABLE,
    check_words::TABLE,
    stats_words::TABLE,
    routing_words::TABLE,
    http_words::TABLE,
];

fn proxy_line(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let first = phrase.text(0);
    if wrong_sign(phrase, desk) {
        return;
    }
    let Some(known) = known_word(proxy, phrase, desk) else {
        return;
    };
    if proxy.kind == ProxyKind::Defaults && NOT_IN_DEFAULTS.contains(&first) {
        desk.error(phrase.at(), format!("'{first}' not allowed in 'defaults' section."));
        return;
    }
    let missing = match known.half {
        Half::Front if !proxy.kind.is_front() => Some("frontend"),
        // The handler has its own words for these two.
        Half::Back if !proxy.kind.is_back() && !first.starts_with("server") => Some("backend"),
        _ => None,
    };
    if let Some(capability) = missing {
        let name = if first == "option" { phrase.text(1) } else { first };
        let reason = format!("'{name}' ignored because {} has no {capability} capability.", proxy.shown());
        let remedy = if first == "fullconn" { "maybe you want 'maxconn' instead" } else { "" };
        desk.fates.ignored(phrase.at(), reason, remedy);
        return;
    }
    judge(known, proxy, phrase, desk);
}

fn known_word(proxy: &Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) -> Option<&'static KnownWord<Proxy>> {
    let first = phrase.text(0);
    let names = || PROXY_TABLES.iter().flat_map(|table| table.iter()).map(|known| known.name);
    if first == "option" {
        let option = phrase.text(1);
        let known = find(&PROXY_TABLES, &format!("option {option}"));
        if option.is_empty() {
            desk.error(phrase.at(), "'option' expects an option name.");
        } else if known.is_none() {
            let near = hint(option, names().filter_map(|name| name.strip_prefix("option ")));
            desk.error(phrase.place(1), format!("unknown option '{option}'{near}."));
        }
        return known;
    }
    let known = find(&PROXY_TABLES, first);
    if known.is_none() {
        let near = hint(first, names().filter(|name| !name.contains(' ')).chain(SECTIONS).chain(["option"]));
        let section = proxy.kind.word();
        desk.error(phrase.at(), format!("unknown keyword '{first}' in '{section}' section{near}"));
    }
    known
}

/// Words without a handler are judged when the whole section is known: HAProxy ignores those about HTTP in mode tcp.
fn judge(known: &'static KnownWord<Proxy>, proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let (verdict, why, remedy, http) = match known.meaning {
        Meaning::Does(act) => return act(proxy, phrase, desk),
        Meaning::Same => return,
        Meaning::Notice(why, remedy) => (Verdict::Notice, why, remedy, false),
        Meaning::Ignored(why, remedy) => (Verdict::Ignored, why, remedy, false),
        Meaning::Refused(why, remedy) => (Verdict::Refused, why, remedy, false),
        Meaning::HttpNotice(why, remedy) => (Verdict::Notice, why, remedy, true),
        Meaning::HttpIgnored(why, remedy) => (Verdict::Ignored, why, remedy, true),
        Meaning::HttpRefused(why, remedy) => (Verdict::Refused, why, remedy, true),
    };
    if phrase.sign != Sign::Plain {
        proxy.doubts.retain(|doubt| doubt.word != known.name);
        return;
    }
    let shown =
        if phrase.text(0) == "option" { format!("option {}", phrase.text(1)) } else { phrase.text(0).to_owned() };
    let doubt = Doubt {
        at: phrase.at(),
        word: known.name,
        http,
        verdict,
        reason: format!("'{shown}': {why}"),
        remedy: remedy.to_owned(),
    };
    proxy.doubts.push(doubt);
}

/// Sections that have no effect here.
pub(super) const ASIDE: &[(&str, Verdict, &str)] = &[
    ("peers", Verdict::Ignored, "lb has no stick tables that peers could share"),
    ("mailers", Verdict::Notice, "lb sends no mail"),
    ("userlist", Verdict::Ignored, "lb reads no HTTP authentication"),
    ("cache", Verdict::Ignored, "lb caches nothing"),
    ("program", Verdict::Notice, "lb starts no programs; let systemd start it"),
    ("ring", Verdict::Notice, "lb has no rings for log lines"),
    ("log-forward", Verdict::Notice, "lb forwards no log lines"),
    ("log-profile", Verdict::Ignored, "lb's lines have the form of tcplog"),
    ("http-errors", Verdict::Ignored, "a failure is a closed connection, without a page"),
    ("fcgi-app", Verdict::Ignored, "lb speaks no FastCGI"),
    ("crt-store", Verdict::Ignored, "TLS passes through lb unread"),
    ("acme", Verdict::Ignored, "TLS passes through lb unread"),
    ("traces", Verdict::Ignored, "LB_LOG=trace shows lb's own messages"),
];

const NEGATED: [&str; 7] =
    ["option", "log", "busy-polling", "set-dumpable", "strict-limits", "insecure-fork-wanted", "numa-cpu-mapping"];
const NOT_IN_DEFAULTS: [&str; 10] = [
    "bind",
    "acl",
    "use_backend",
    "use-server",
    "stick",
    "stick-table",
    "server",
    "server-template",
    "dispatch",
    "filter",
];
