//! What the sections take from the one `defaults` of a file is written once, as [defaults.frontend] and
//! [defaults.backend]. With several of them each section is written whole.

use super::document::{Block, TomlLine};
use super::proxy::Proxy;
use super::sections::{SectionKind, Sections};
use super::spot::Spot;

/// Moves the lines that all sections of a kind have from their defaults into the block of those.
pub(super) fn share(sections: &Sections, blocks: &mut [Block]) {
    let is_home = |(kind, _): &(SectionKind, _)| *kind == SectionKind::Defaults(0);
    let ([defaults], Some(home)) = (sections.defaults.as_slice(), sections.parts.iter().position(is_home)) else {
        return;
    };
    // A section above them has none.
    if sections.parts[..home].iter().any(|(kind, _)| matches!(kind, SectionKind::Proxy(_))) {
        return;
    }
    for kind in ["frontend", "backend"] {
        let shared = moved(kind, defaults, blocks);
        let range = &sections.parts[home].1;
        if let Some(block) = blocks.iter_mut().find(|block| block.lines == *range && !shared.is_empty()) {
            let at = block.toml.is_empty().then_some(defaults.at);
            block.toml.push(TomlLine::new(format!("[defaults.{kind}]"), at));
            block.toml.extend(shared);
        }
    }
}

fn moved(kind: &str, defaults: &Proxy, blocks: &mut [Block]) -> Vec<TomlLine> {
    let header = format!("[{kind}.");
    let mut tables: Vec<_> = blocks.iter_mut().map(|block| &mut block.toml).collect();
    tables.retain(|table| table.iter().any(|line| line.text.starts_with(&header)));
    let Some(first) = tables.first() else {
        return Vec::new();
    };
    let candidates: Vec<_> = first[keys(&header, first)].to_vec();
    let mut shared = Vec::new();
    for line in candidates {
        // Without a place it follows from what defaults leave out.
        let is_theirs = line.at.map_or(tables.len() > 1, |at| says(defaults, at));
        let has_key =
            |table: &&mut Vec<TomlLine>| table[keys(&header, table)].iter().any(|other| key(other) == key(&line));
        if !is_theirs || !line.text.contains(" = ") || OWN.contains(&key(&line)) || !tables.iter().all(has_key) {
            continue;
        }
        for table in &mut tables {
            let range = keys(&header, table);
            if let Some(index) = table[range.clone()].iter().position(|other| other.text == line.text) {
                table.remove(range.start + index);
            }
        }
        shared.push(line);
    }
    shared
}

/// The lines of a table behind its header, without its servers.
fn keys(header: &str, table: &[TomlLine]) -> std::ops::Range<usize> {
    let start = table.iter().position(|line| line.text.starts_with(header)).map_or(table.len(), |index| index + 1);
    let length = table[start..].iter().position(|line| line.text.starts_with('[')).unwrap_or(table.len() - start);
    start..start + length
}

fn key(line: &TomlLine) -> &str {
    line.text.split(" = ").next().unwrap_or_default()
}

/// Whether the defaults have a setting from this place.
fn says(defaults: &Proxy, at: Spot) -> bool {
    let all = [&defaults.front, &defaults.back, &defaults.server, &defaults.log.settings, &defaults.check.settings];
    all.into_iter().any(|settings| settings.iter().any(|setting| setting.at == at))
}

/// No defaults in TOML.
const OWN: [&str; 3] = ["bind", "backend", "servers"];
