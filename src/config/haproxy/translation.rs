//! Sections → TOML: which of them run, what is said of their lines, and the tables of those that run.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::document::{Block, Document, TomlLine};
use super::environment::Environment;
use super::fate::{Fates, Verdict};
use super::global_plan::ProcessWords;
use super::lines::{self, Line};
use super::proxy::{Doubt, Proxy, ProxyKind, ProxyMode};
use super::resolver::Resolver;
use super::sections::{SectionKind, Sections};
use super::setting::key;
use super::shared::share;
use super::sources::Source;
use super::spot::Spot;
use super::{backend_table, frontend_table, global_table};

/// An haproxy.cfg as TOML, and what became of each of its lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct Translation {
    pub(crate) document: Document,
    pub(crate) fates: Fates,
    pub(crate) process: ProcessWords,
    /// Frontends that run.
    pub(crate) frontends: usize,
}

/// Why a section does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Absence {
    Disabled,
    /// It only serves HAProxy's own page.
    Page,
    /// A frontend that listens nowhere.
    Deaf,
    Refused,
    /// Only sections that are refused use it.
    Unused,
    /// It cannot run here, and no frontend uses it.
    Idle,
}

/// `beyond`: what lb cannot do, by the place of its word; it refuses the section there.
pub(crate) fn translate(sources: &[Source], environment: Environment, beyond: &[(Spot, String)]) -> Translation {
    let mut environment = environment;
    let mut fates = Fates::new(sources.iter().map(|source| source.name.as_str()));
    let lines = lines::lines(sources, &mut environment, &mut fates);
    let mut sections = Sections::read(&lines, &environment, &mut fates);
    for (at, reason) in beyond {
        match sections.proxy_at(*at, &lines) {
            Some(proxy) => proxy.refuse(*at, "", reason.clone(), ""),
            None => fates.error(*at, reason.clone(), ""),
        }
    }
    let absences = absences(&sections.proxies, &mut fates);
    duplicates(&sections.proxies, &mut fates);
    say_doubts(&sections, &absences, &mut fates);
    let blocks = blocks(&sections, &absences, &mut fates);
    count_fine(&lines, &sections, &mut fates);
    let frontends = sections.proxies.iter().zip(&absences);
    let frontends = frontends.filter(|(proxy, absence)| absence.is_none() && is_frontend(proxy)).count();
    Translation {
        document: Document::write(&blocks, &lines, &fates),
        fates,
        process: sections.global.process,
        frontends,
    }
}

fn is_frontend(proxy: &Proxy) -> bool {
    proxy.kind == ProxyKind::Frontend || (proxy.kind == ProxyKind::Listen && !proxy.binds.is_empty())
}

/// The backend that a frontend sends its sessions to.
fn target(proxy: &Proxy) -> Option<(String, Spot)> {
    if !is_frontend(proxy) {
        return None;
    }
    match proxy.front.get("backend") {
        Some(setting) => Some((setting.value.trim_matches('"').to_owned(), setting.at)),
        None if proxy.kind == ProxyKind::Listen => Some((proxy.name.clone(), proxy.at)),
        None => None,
    }
}

/// A refusal that counts in the mode of the section.
fn refusals(proxy: &Proxy) -> impl Iterator<Item = &Doubt> {
    proxy.doubts.iter().filter(|doubt| verdict(proxy, doubt) == Verdict::Refused)
}

fn verdict(proxy: &Proxy, doubt: &Doubt) -> Verdict {
    let of_mode = !doubt.http || matches!(proxy.mode, ProxyMode::Http(_));
    // With one server there is no choice that could go wrong.
    let chooses = ["cookie", "appsession", "stick", "persist", "balance", "use-server"].contains(&doubt.word);
    let unused = ["tcp-check", "http-check"].contains(&doubt.word) && !proxy.check.follows(doubt.word);
    if !of_mode || unused || (chooses && proxy.servers.len() == 1) { Verdict::Ignored } else { doubt.verdict }
}

fn absences(proxies: &[Proxy], fates: &mut Fates) -> Vec<Option<Absence>> {
    let own = |proxy: &Proxy| {
        let serves = !proxy.servers.is_empty() || proxy.front.get("backend").is_some();
        let http = matches!(proxy.mode, ProxyMode::Http(_));
        if proxy.disabled.is_some() {
            Some(Absence::Disabled)
        } else if http && proxy.page.is_some() && !serves && proxy.kind != ProxyKind::Backend {
            Some(Absence::Page)
        } else if proxy.kind == ProxyKind::Frontend && proxy.binds.is_empty() && refusals(proxy).next().is_none() {
            Some(Absence::Deaf)
        } else if refusals(proxy).next().is_some() {
            Some(Absence::Refused)
        } else {
            None
        }
    };
    let mut absences: Vec<_> = proxies.iter().map(own).collect();
    let backends: HashMap<&str, usize> = proxies
        .iter()
        .enumerate()
        .filter(|(_, proxy)| proxy.kind.is_back())
        .map(|(index, proxy)| (proxy.name.as_str(), index))
        .collect();
    for index in 0..proxies.len() {
        let proxy = &proxies[index];
        let target = target(proxy);
        if let Some((name, at)) = &target
            && !backends.contains_key(name.as_str())
            && absences[index] != Some(Absence::Disabled)
        {
            let reason = format!("Proxy '{}': unable to find required default_backend: '{name}'", proxy.name);
            fates.error(*at, reason, "");
            continue;
        }
        if absences[index].is_some() || !is_frontend(proxy) {
            continue;
        }
        let Some((name, at)) = target else {
            let reason = format!("{} has no `default_backend`: HAProxy closes its connections", proxy.shown());
            fates.refused(proxy.at, reason, "add `default_backend NAME`, or leave the section out");
            absences[index] = Some(Absence::Refused);
            continue;
        };
        match backends.get(name.as_str()).map(|found| (*found, &absences[*found])) {
            Some((found, Some(absence))) if found != index => {
                let why = if *absence == Absence::Disabled { "disabled" } else { "refused" };
                let line = proxies[found].at.line;
                let reason = format!("{} needs backend '{name}' (line {line}), which is {why}", proxy.shown());
                fates.refused(at, reason, "see what is said of that section");
                absences[index] = Some(Absence::Refused);
            }
            _ => {}
        }
    }
    leave_unused(proxies, &mut absences);
    absences
}

/// A backend that only refused frontends use is left out with them.
fn leave_unused(proxies: &[Proxy], absences: &mut [Option<Absence>]) {
    let (mut wanted, mut orphaned) = (HashSet::new(), HashSet::new());
    for (proxy, absence) in proxies.iter().zip(absences.iter()) {
        let names = proxy.targets.iter().map(|(name, _)| name.clone()).chain(target(proxy).map(|(name, _)| name));
        if *absence == Some(Absence::Refused) {
            orphaned.extend(names);
        } else if absence.is_none() {
            wanted.extend(names);
        }
    }
    for (proxy, absence) in proxies.iter().zip(absences.iter_mut()) {
        if proxy.kind == ProxyKind::Backend
            && *absence == Some(Absence::Refused)
            && !orphaned.contains(&proxy.name)
            && !wanted.contains(&proxy.name)
        {
            *absence = Some(Absence::Idle);
        }
        let is_orphan = orphaned.contains(&proxy.name) && !wanted.contains(&proxy.name);
        if proxy.kind == ProxyKind::Backend && absence.is_none() && is_orphan {
            *absence = Some(Absence::Unused);
        }
    }
}

fn duplicates(proxies: &[Proxy], fates: &mut Fates) {
    for proxy in proxies {
        let mut seen: HashMap<&str, Spot> = HashMap::new();
        for server in &proxy.servers {
            if let Some(first) = seen.insert(&server.name, server.at) {
                let other =
                    format!("another server named '{}' was already defined at line {}", server.name, first.line);
                fates.error(server.at, format!("{}, {other}, please use distinct names.", proxy.shown()), "");
            }
        }
    }
}

/// Says what waits for the whole file: of each line the worst that it means in any section.
fn say_doubts(sections: &Sections, absences: &[Option<Absence>], fates: &mut Fates) {
    let mut said: BTreeMap<(Spot, &str), (Verdict, String, String)> = BTreeMap::new();
    let mut say = |at: Spot, word: &'static str, verdict: Verdict, reason: String, remedy: String| {
        let known = said.get(&(at, word)).map_or(Verdict::Ok, |(verdict, ..)| *verdict);
        if verdict > known {
            said.insert((at, word), (verdict, reason, remedy));
        }
    };
    // What is not there may be missing only because its line is wrong.
    let wrong = fates.worst() == Verdict::Error;
    let running = sections.proxies.iter().zip(absences);
    let unused = sections.defaults.iter().map(|defaults| (defaults, Some(Absence::Disabled)));
    for (proxy, absence) in running.map(|(proxy, absence)| (proxy, absence.clone())).chain(unused) {
        let http = matches!(proxy.mode, ProxyMode::Http(_));
        let runs = matches!(absence, None | Some(Absence::Refused));
        for doubt in &proxy.doubts {
            if doubt.http && !http {
                let reason =
                    format!("{}: HAProxy ignores it in mode tcp, too", doubt.reason.split(':').next().unwrap_or(""));
                say(doubt.at, doubt.word, Verdict::Ignored, reason, String::new());
            } else {
                let verdict = match (&absence, verdict(proxy, doubt)) {
                    (None | Some(Absence::Refused), verdict) => verdict,
                    (Some(Absence::Idle), Verdict::Refused) => Verdict::Notice,
                    (Some(_), _) => Verdict::Ignored,
                };
                say(doubt.at, doubt.word, verdict, doubt.reason.clone(), doubt.remedy.clone());
            }
        }
        if !runs {
            continue;
        }
        if let (ProxyMode::Http(at), None) = (proxy.mode, &absence) {
            let reason = "mode http: connections are balanced, not requests; nothing of HTTP is read".to_owned();
            say(at, "mode", Verdict::Notice, reason, String::new());
        }
        if let Some(at) = proxy.page {
            let (verdict, reason) = if http {
                (Verdict::Notice, "the statistics page is not served yet; requests for it go to the servers")
            } else {
                (Verdict::Ignored, "HAProxy serves no statistics page in mode tcp, too")
            };
            say(at, "stats", verdict, reason.to_owned(), String::new());
        }
        for word in ["tcp-check", "http-check"].into_iter().filter(|word| !proxy.check.follows(word)) {
            if let Some((_, _, at)) = proxy.check.rules.iter().find(|(rule, ..)| *rule == word) {
                let option = if word == "tcp-check" { "tcp-check" } else { "httpchk" };
                let what = format!("uses {word} rules without 'option {option}', so the rules are ignored");
                say(*at, "rules", Verdict::Notice, format!("{} {what}", proxy.shown()), String::new());
            }
        }
        missing_timeouts(proxy, absence.is_none() && !wrong, &mut say);
    }
    for (proxy, absence) in sections.proxies.iter().zip(absences) {
        let (at, word, verdict, reason) = match absence {
            Some(Absence::Disabled) => {
                (proxy.at, "disabled", Verdict::Ignored, format!("{} is disabled", proxy.shown()))
            }
            Some(Absence::Page) => {
                let reason = format!("the statistics page is not served yet: {} is left out", proxy.shown());
                (proxy.page.unwrap_or(proxy.at), "stats", Verdict::Notice, reason)
            }
            Some(Absence::Deaf) if wrong => continue,
            Some(Absence::Deaf) => {
                let what = "has no 'bind' directive. Please declare it as a backend if this was intended.";
                (proxy.at, "bind", Verdict::Notice, format!("{} {what}", proxy.shown()))
            }
            Some(Absence::Idle) => {
                let reason = format!("{} cannot run here, and no frontend uses it: it is left out", proxy.shown());
                (proxy.at, "unused", Verdict::Notice, reason)
            }
            Some(Absence::Unused) => {
                let reason = format!("{} is used by refused sections only, and left out with them", proxy.shown());
                (proxy.at, "unused", Verdict::Ignored, reason)
            }
            Some(Absence::Refused) | None => continue,
        };
        say(at, word, verdict, reason, String::new());
    }
    for ((at, _), (verdict, reason, remedy)) in said {
        match verdict {
            Verdict::Notice => fates.notice(at, reason, remedy),
            Verdict::Refused => fates.refused(at, reason, remedy),
            _ => fates.ignored(at, reason, remedy),
        }
    }
}

fn missing_timeouts(proxy: &Proxy, runs: bool, say: &mut impl FnMut(Spot, &'static str, Verdict, String, String)) {
    if !runs {
        return;
    }
    let mut missing = Vec::new();
    if is_frontend(proxy) && proxy.front.get("timeout.client").is_none() {
        missing.push("client");
    }
    if proxy.kind.is_back() {
        missing.extend(
            ["connect", "server"]
                .into_iter()
                .filter(|name| proxy.back.iter().all(|setting| setting.key.strip_prefix("timeout.") != Some(name))),
        );
    }
    if !missing.is_empty() {
        let mut effects = Vec::new();
        if missing.contains(&"connect") {
            effects.push("a connect takes at most 5 s");
        }
        if missing.iter().any(|name| *name != "connect") {
            effects.push("an idle session stays");
        }
        let (shown, missing, effects) = (proxy.shown(), missing.join("', '"), effects.join(", "));
        let reason = format!("missing timeouts for {shown}: '{missing}'; {effects}");
        say(proxy.at, "timeout", Verdict::Notice, reason, "set them to a non-zero value".to_owned());
    }
}

fn blocks(sections: &Sections, absences: &[Option<Absence>], fates: &mut Fates) -> Vec<Block> {
    let runs = |index: usize| absences[index].is_none();
    let running: Vec<_> =
        sections.proxies.iter().enumerate().filter(|(index, _)| runs(*index)).map(|(_, proxy)| proxy).collect();
    let logs = |proxy: &Proxy| proxy.log.goes_somewhere(&sections.global.targets);
    let logs = LoggedParts {
        sessions: running.iter().any(|proxy| is_frontend(proxy) && logs(proxy)),
        changes: running.iter().any(|proxy| logs(proxy)),
    };
    let mut global = global_table::write(sections, &running, logs.sessions, fates);
    let (mut blocks, mut written) = (Vec::new(), HashSet::new());
    for (kind, range) in &sections.parts {
        let mut block = Block { lines: range.clone(), ..Block::default() };
        match kind {
            SectionKind::Global => block.toml.append(&mut global),
            SectionKind::Proxy(index) => {
                let proxy = &sections.proxies[*index];
                match &absences[*index] {
                    None => block.toml = tables(proxy, sections, logs, &mut written, fates),
                    // Of these it is said at their line.
                    Some(Absence::Page | Absence::Idle | Absence::Unused) => {}
                    Some(absence) => block.note = Some(absent(proxy, absence)),
                }
            }
            SectionKind::Resolvers(index) => block.toml = resolver(&sections.resolvers[*index]),
            _ => {}
        }
        blocks.push(block);
    }
    share(sections, &mut blocks);
    if !global.is_empty() {
        let first = blocks.iter().position(|block| !block.toml.is_empty()).unwrap_or(0);
        blocks.insert(first, Block { toml: global, ..Block::default() });
    }
    blocks
}

fn resolver(resolver: &Resolver) -> Vec<TomlLine> {
    let mut toml = vec![TomlLine::new(format!("[resolvers.{}]", key(&resolver.name)), Some(resolver.at))];
    if !resolver.nameservers.is_empty() {
        toml.push(TomlLine::new("nameservers = [", None));
        toml.extend(resolver.nameservers.iter().map(|(addr, at)| TomlLine::new(format!("  {addr},"), Some(*at))));
        toml.push(TomlLine::new("]", None));
    }
    let line = |setting: &super::setting::Setting| {
        TomlLine::new(format!("{} = {}", setting.key, setting.value), Some(setting.at))
    };
    toml.extend(resolver.settings.iter().map(line));
    toml
}

fn absent(proxy: &Proxy, absence: &Absence) -> String {
    let why = match absence {
        Absence::Disabled => "it is disabled",
        Absence::Page => "it serves HAProxy's statistics page",
        Absence::Deaf => "it listens nowhere",
        Absence::Refused => "it is refused",
        Absence::Unused => "only refused sections use it",
        Absence::Idle => "no frontend uses it, and it cannot run here",
    };
    format!("{} {} is left out: {why}", proxy.kind.word(), key(&proxy.name))
}

/// Which lines of sections that say nothing go somewhere.
#[derive(Debug, Clone, Copy)]
struct LoggedParts {
    sessions: bool,
    changes: bool,
}

/// `written`: the tables so far, of frontends (true) and backends. Of one that comes twice an error was told.
fn tables<'s>(
    proxy: &'s Proxy,
    sections: &Sections,
    logs: LoggedParts,
    written: &mut HashSet<(bool, &'s str)>,
    fates: &mut Fates,
) -> Vec<TomlLine> {
    let mut toml = Vec::new();
    if is_frontend(proxy) && written.insert((true, &proxy.name)) {
        toml = frontend_table::write(proxy, &sections.global, logs.sessions);
    }
    if proxy.kind.is_back() && written.insert((false, &proxy.name)) {
        toml.extend(backend_table::write(proxy, &sections.global, logs.changes, fates));
    }
    toml
}

/// Lines of which nothing is said; those of sections without effect are not counted.
fn count_fine(lines: &[Line], sections: &Sections, fates: &mut Fates) {
    let told: HashSet<_> = fates.iter().map(|fate| (fate.at.file, fate.at.line)).collect();
    for (kind, range) in &sections.parts {
        if *kind == SectionKind::Aside {
            continue;
        }
        for line in lines[range.clone()].iter().filter(|line| !line.words.is_empty()) {
            if !told.contains(&(line.at.file, line.at.line)) {
                fates.ok();
            }
        }
    }
}
