//! `[defaults.frontend]` and `[defaults.backend]`: keys that each section takes unless it has them itself.
//!
//! They are put into the tables of the sections before those are read, with the places where they stand, so that a
//! reader knows nothing of them and a problem is reported where it was written.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::agent::Agent;
use super::backend::Backend;
use super::change_log::ChangeLog;
use super::check::Check;
use super::frontend::Frontend;
use super::log::LogSettings;
use super::report::ProblemReport;
use super::section::Shape;
use super::timeouts::{FrontendTimeouts, Timeouts};
use super::value::RawValue;

/// Puts the defaults of this file into its sections.
pub(super) fn spread(root: &mut Spanned<DeTable<'_>>, report: &ProblemReport<'_>) {
    let Some(defaults) = root.get_ref().get("defaults").cloned() else {
        return;
    };
    for (kind, shape, own) in KINDS {
        let Some(defaults) = known(&defaults, kind, shape, own, report) else {
            continue;
        };
        let sections = root.get_mut().get_mut(kind).and_then(|kind| table_mut(kind.get_mut()));
        for (_, section) in sections.into_iter().flat_map(|sections| sections.iter_mut()) {
            if let Some(section) = table_mut(section.get_mut()) {
                merge(section, &defaults);
            }
        }
    }
}

/// The keys of `[defaults.KIND]` that sections can take; the others are reported, once.
fn known<'t>(
    defaults: &Spanned<DeValue<'t>>,
    kind: &str,
    shape: &Shape,
    own: &[&str],
    report: &ProblemReport<'_>,
) -> Option<DeTable<'t>> {
    let mut known = {
        let root = RawValue::new(Some("defaults"), defaults.span().start, defaults, report);
        let root = root.section("defaults".to_owned(), &SHAPE, "[defaults.backend]")?;
        let section = root.section(kind, shape, &format!("[defaults.{kind}]"))?;
        for (_, value) in section.entries().iter().filter(|(key, _)| own.contains(key)) {
            value.wrong_key(format!("is no default; write it in each [{kind}.NAME]"));
        }
        for (_, key, inner) in INNER.iter().filter(|(of, ..)| *of == kind) {
            if section.value(key).is_some_and(|value| value.is_table()) {
                section.section(key, inner, "");
            }
        }
        defaults.get_ref().get(kind)?.get_ref().as_table()?.clone()
    };
    retain(&mut known, |key| shape.keys.contains(&key) && !own.contains(&key));
    for (_, key, inner) in INNER.iter().filter(|(of, ..)| *of == kind) {
        if let Some(table) = known.get_mut(*key).and_then(|value| table_mut(value.get_mut())) {
            retain(table, |key| inner.keys.contains(&key));
        }
    }
    Some(known)
}

/// A table is merged key by key. The keys of one type of check say nothing about another one.
fn merge<'t>(section: &mut DeTable<'t>, defaults: &DeTable<'t>) {
    for (key, default) in defaults {
        let Some(own) = section.get_mut(key.get_ref().as_ref()) else {
            section.insert(key.clone(), default.clone());
            continue;
        };
        let Some(default_table) = default.get_ref().as_table() else {
            continue;
        };
        let is_check = key.get_ref() == "check";
        if is_check && own.get_ref().as_bool() == Some(true) {
            *own = default.clone();
        } else if let Some(table) = table_mut(own.get_mut()) {
            let kind =
                |table: &DeTable<'_>| table.get("type").and_then(|kind| kind.get_ref().as_str().map(str::to_owned));
            let is_other = is_check && table.contains_key("type") && kind(table) != kind(default_table);
            for (key, value) in default_table {
                let fits = !is_other || Check::OF_ALL_TYPES.contains(&key.get_ref().as_ref());
                if fits && !table.contains_key(key.get_ref().as_ref()) {
                    table.insert(key.clone(), value.clone());
                }
            }
        }
    }
}

fn retain(table: &mut DeTable<'_>, keeps: impl Fn(&str) -> bool) {
    let dropped: Vec<_> = table.keys().map(|key| key.get_ref().to_string()).filter(|key| !keeps(key)).collect();
    for key in dropped {
        table.remove(key.as_str());
    }
}

fn table_mut<'a, 't>(value: &'a mut DeValue<'t>) -> Option<&'a mut DeTable<'t>> {
    match value {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

pub(super) const SHAPE: Shape = Shape {
    keys: &["frontend", "backend"],
    foreign: &[
        ("timeout", "write it in [defaults.backend]"),
        ("retries", "write it in [defaults.backend]"),
        ("maxconn", "write it in [defaults.frontend]"),
        ("mode", "leave it out: lb is always in TCP mode"),
        ("log", "write [global.log]"),
        ("server", "write it in [defaults.backend]"),
    ],
};

/// Each kind of section, its keys, and those that cannot be shared.
const KINDS: [(&str, &Shape, &[&str]); 2] =
    [("frontend", &Frontend::SHAPE, &["bind"]), ("backend", &Backend::SHAPE, &["servers", "discovery"])];

/// The tables within each kind of section.
const INNER: [(&str, &str, &Shape); 6] = [
    ("frontend", "timeout", &FrontendTimeouts::SHAPE),
    ("frontend", "log", &LogSettings::SHAPE),
    ("backend", "timeout", &Timeouts::SHAPE),
    ("backend", "check", &Check::SHAPE),
    ("backend", "agent", &Agent::SHAPE),
    ("backend", "log", &ChangeLog::SHAPE),
];
