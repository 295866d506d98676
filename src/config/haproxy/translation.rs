//! Sections → TOML: the tables of those that run.

use std::collections::{HashMap, HashSet};

use super::absence::{Absence, absences, absent, is_frontend};
use super::document::{Block, Document, TomlLine};
use super::doubts::say_doubts;
use super::environment::Environment;
use super::fate::Fates;
use super::global_plan::ProcessWords;
use super::lines::{self, Line};
use super::proxy::Proxy;
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
                    Some(Absence::Disabled | Absence::Page | Absence::Idle | Absence::Unused) => {}
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
