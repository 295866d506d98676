//! A table as it was written, read one key at a time.
//!
//! A reader asks a `Section` for each key by name and type. What is not there is `None`, what is wrong is `None` too
//! and a problem in the report, so that reading always continues to the end and every mistake is reported at once.

use std::ops::RangeInclusive;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeString, DeTable, DeValue};

use super::report::ProblemReport;
use super::value::RawValue;
use super::words::{listed, nearest, shown};

/// The keys of a kind of section, and the answers to words that HAProxy has for them.
pub(super) struct Shape {
    pub(super) keys: &'static [&'static str],
    pub(super) foreign: &'static [(&'static str, &'static str)],
}

/// A table. Its unknown keys have been reported.
pub(super) struct Section<'a> {
    /// As in its header: `backend.app`.
    name: String,
    at: usize,
    table: &'a DeTable<'a>,
    report: &'a ProblemReport<'a>,
}

impl<'a> Section<'a> {
    /// A table with names as keys; see `report_unknown` for any other.
    pub(super) fn new(name: String, at: usize, table: &'a DeTable<'a>, report: &'a ProblemReport<'a>) -> Self {
        Self { name, at, table, report }
    }

    /// The whole file.
    pub(super) fn root(table: &'a DeTable<'a>, report: &'a ProblemReport<'a>, shape: &Shape) -> Self {
        let root = Self { name: String::new(), at: 0, table, report };
        root.report_unknown(shape);
        root
    }

    /// As in its header: `backend.app`.
    pub(super) fn name(&self) -> String {
        shown(&self.name)
    }

    /// All keys and values in the order of the file.
    pub(super) fn entries(&self) -> Vec<(&'a str, RawValue<'a>)> {
        let mut entries: Vec<_> =
            self.table.iter().map(|(key, value)| (key.get_ref().as_ref(), self.named(key, value))).collect();
        entries.sort_by_key(|(_, value)| value.key_at);
        entries
    }

    pub(super) fn value(&self, key: &str) -> Option<RawValue<'a>> {
        let (key, value) = self.table.get_key_value(key)?;
        Some(self.named(key, value))
    }

    /// As `value`; that it is not there is a problem.
    pub(super) fn required(&self, key: &str, example: &str) -> Option<RawValue<'a>> {
        let value = self.value(key);
        if value.is_none() {
            self.absent(format!("[{}] has no `{key}`; write `{key} = {example}`", shown(&self.name)));
        }
        value
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.value(key)?.flag()
    }

    pub(super) fn number<T: TryFrom<i64>>(&self, key: &str, range: RangeInclusive<i64>) -> Option<T> {
        self.value(key)?.number(range)
    }

    /// As `text`, and not empty.
    pub(super) fn filled_text(&self, key: &str, example: &str) -> Option<&'a str> {
        self.value(key)?.filled_text(example)
    }

    pub(super) fn word<T: Copy>(&self, key: &str, words: &[(&str, T)]) -> Option<T> {
        self.value(key)?.word(words)
    }

    /// A duration; "0" is one too.
    pub(super) fn delay(&self, key: &str) -> Option<Duration> {
        self.value(key)?.duration()
    }

    /// A duration that cannot be "0"; `zero` is what to write instead.
    pub(super) fn duration(&self, key: &str, zero: &str) -> Option<Duration> {
        self.value(key)?.duration_above_zero(zero)
    }

    /// A limit in time: `Some(None)` when "0" switches it off.
    pub(super) fn limit(&self, key: &str) -> Option<Option<Duration>> {
        let duration = self.delay(key)?;
        Some((!duration.is_zero()).then_some(duration))
    }

    pub(super) fn section(&self, key: &str, shape: &Shape, example: &str) -> Option<Self> {
        self.value(key)?.section(self.path(key), shape, example)
    }

    /// As `section` for a table with names as keys that the operator chose.
    pub(super) fn names(&self, key: &str, example: &str) -> Option<Self> {
        self.value(key)?.names(self.path(key), example)
    }

    /// Its table, and beneath it what `above` has for keys that it does not have itself, as far as `inherits` lets them.
    pub(super) fn over(&self, above: &Self, inherits: impl Fn(&str) -> bool) -> DeTable<'a> {
        let mut table = self.table.clone();
        for (key, value) in above.table.iter().filter(|(key, _)| inherits(key.get_ref())) {
            if !table.contains_key(key.get_ref().as_ref()) {
                table.insert(key.clone(), value.clone());
            }
        }
        table
    }

    /// The same section with the keys of `table`.
    pub(super) fn with<'t>(&'t self, table: &'t DeTable<'t>) -> Section<'t> {
        Section::new(self.name.clone(), self.at, table, self.report)
    }

    pub(super) fn absent(&self, message: String) {
        self.report.absent(self.at, message);
    }

    pub(super) fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn named(&self, key: &'a Spanned<DeString<'a>>, value: &'a Spanned<DeValue<'a>>) -> RawValue<'a> {
        RawValue::new(Some(key.get_ref().as_ref()), key.span().start, value, self.report)
    }

    pub(super) fn report_unknown(&self, shape: &Shape) {
        for (key, value) in self.entries() {
            if !shape.keys.contains(&key) {
                self.report.wrong(value.key_at, self.unknown(key, shape));
            }
        }
    }

    fn unknown(&self, key: &str, shape: &Shape) -> String {
        let place = if self.name.is_empty() { String::new() } else { format!(" in [{}]", shown(&self.name)) };
        let what = format!("unknown key `{}`{place}", shown(key));
        let plain = key.to_ascii_lowercase().replace('-', "_");
        if let Some((_, ours)) = shape.foreign.iter().find(|(word, _)| *word == plain) {
            // Within [backend.app] its own name can stand in the advice.
            let is_backend = self.name.starts_with("backend.") && shape.keys.contains(&"servers");
            let ours = if is_backend { ours.replace("backend.NAME", &self.name()) } else { (*ours).to_owned() };
            format!("{what}; {ours}")
        } else if let Some(near) = nearest(key, shape.keys.iter().copied()) {
            format!("{what}, did you mean `{near}`?")
        } else {
            format!("{what}; known are {}", listed(shape.keys.iter().copied(), "and"))
        }
    }
}

impl<'a> RawValue<'a> {
    pub(super) fn section(&self, name: String, shape: &Shape, example: &str) -> Option<Section<'a>> {
        let section = self.names(name, example)?;
        section.report_unknown(shape);
        Some(section)
    }

    pub(super) fn names(&self, name: String, example: &str) -> Option<Section<'a>> {
        let DeValue::Table(table) = self.raw else {
            self.mistyped(&format!("write `{example}`"));
            return None;
        };
        Some(Section::new(name, self.start, table, self.report))
    }
}

/// Puts what was given into its place; what was not given leaves the default there.
pub(super) fn set<T>(place: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *place = given;
    }
}
