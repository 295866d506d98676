//! Lines → sections: which section a line belongs to, and who reads its words.

use std::collections::HashMap;
use std::ops::Range;

use super::bind_words;
use super::environment::Environment;
use super::fate::{Fates, Verdict};
use super::global_plan::GlobalPlan;
use super::judgement::{global_line, proxy_line};
use super::lines::Line;
use super::phrase::{Desk, Phrase, Sign};
use super::proxy::{Proxy, ProxyKind};
use super::resolver::{self, Resolver};
use super::spot::Spot;

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
