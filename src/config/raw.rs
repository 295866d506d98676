//! What was written: tables and values with their positions, read one key at a time.
//!
//! A reader asks a `Section` for each key by name and type. What is not there is `None`, what is wrong is `None` too
//! and a problem in the report, so that reading always goes on to the end and every mistake is told at once.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::Report;
use super::units;
use super::words::{listed, nearest, shown};

/// The keys that a kind of section knows, and what to say to words that HAProxy has for them.
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
    report: &'a Report<'a>,
}

/// A value, and what it was called.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    /// `None` for an element of an array.
    key: Option<&'a str>,
    /// Where the key stands, or the element.
    pub(super) key_at: usize,
    start: usize,
    end: usize,
    raw: &'a DeValue<'a>,
    pub(super) report: &'a Report<'a>,
}

/// Puts what was given into its place; what was not given leaves the default there.
pub(super) fn set<T>(place: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *place = given;
    }
}

/// Names of frontends, backends and servers, as in HAProxy.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"_.:-".contains(&b);
    (1..=128).contains(&name.len()) && name.bytes().all(fits)
}

impl<'a> Section<'a> {
    /// The whole file.
    pub(super) fn root(table: &'a DeTable<'a>, report: &'a Report<'a>, shape: &Shape) -> Self {
        let root = Self {
            name: String::new(),
            at: 0,
            table,
            report,
        };
        root.report_unknown(shape);
        root
    }

    /// As in its header: `backend.app`.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// All keys and values in the order of the file.
    pub(super) fn entries(&self) -> Vec<(&'a str, Value<'a>)> {
        let mut entries: Vec<_> = self
            .table
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), self.named(key, value)))
            .collect();
        entries.sort_by_key(|(_, value)| value.key_at);
        entries
    }

    pub(super) fn value(&self, key: &str) -> Option<Value<'a>> {
        let (key, value) = self.table.get_key_value(key)?;
        Some(self.named(key, value))
    }

    /// As `value`; that it is not there is a problem.
    pub(super) fn required(&self, key: &str, example: &str) -> Option<Value<'a>> {
        let value = self.value(key);
        if value.is_none() {
            self.absent(format!(
                "[{}] has no `{key}`; write `{key} = {example}`",
                shown(&self.name)
            ));
        }
        value
    }

    pub(super) fn flag(&self, key: &str) -> Option<bool> {
        self.value(key)?.flag()
    }

    pub(super) fn number<T: TryFrom<i64>>(
        &self,
        key: &str,
        range: RangeInclusive<i64>,
    ) -> Option<T> {
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

    /// As `section` for a table whose keys are names that the operator chose.
    pub(super) fn names(&self, key: &str, example: &str) -> Option<Self> {
        self.value(key)?.names(self.path(key), example)
    }

    pub(super) fn absent(&self, message: String) {
        self.report.absent(self.at, message);
    }

    pub(super) fn path(&self, key: &str) -> String {
        if self.name.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.name)
        }
    }

    fn named(
        &self,
        key: &'a Spanned<toml::de::DeString<'a>>,
        value: &'a Spanned<DeValue<'a>>,
    ) -> Value<'a> {
        let key_at = key.span().start;
        let key = Some(key.get_ref().as_ref());
        let span = value.span();
        Value {
            key,
            key_at,
            start: span.start,
            end: span.end,
            raw: value.get_ref(),
            report: self.report,
        }
    }

    fn report_unknown(&self, shape: &Shape) {
        for (key, value) in self.entries() {
            if !shape.keys.contains(&key) {
                self.report.wrong(value.key_at, self.unknown(key, shape));
            }
        }
    }

    fn unknown(&self, key: &str, shape: &Shape) -> String {
        let place = if self.name.is_empty() {
            String::new()
        } else {
            format!(" in [{}]", shown(&self.name))
        };
        let what = format!("unknown key `{}`{place}", shown(key));
        let plain = key.to_ascii_lowercase().replace('-', "_");
        if let Some((_, ours)) = shape.foreign.iter().find(|(word, _)| *word == plain) {
            format!("{what}; {ours}")
        } else if let Some(near) = nearest(key, shape.keys.iter().copied()) {
            format!("{what}, did you mean `{near}`?")
        } else {
            format!("{what}; write {}", listed(shape.keys.iter().copied(), "or"))
        }
    }
}

impl<'a> Value<'a> {
    pub(super) fn flag(&self) -> Option<bool> {
        let flag = self.raw.as_bool();
        if flag.is_none() {
            self.mistyped(&format!("write `{}`", self.with_key("true")));
        }
        flag
    }

    pub(super) fn number<T: TryFrom<i64>>(&self, range: RangeInclusive<i64>) -> Option<T> {
        let (least, most) = (*range.start(), *range.end());
        let DeValue::Integer(raw) = self.raw else {
            let example = self.with_key(&least.max(1).to_string());
            self.mistyped(&format!(
                "write a whole number from {least} to {most}, e.g. `{example}`"
            ));
            return None;
        };
        let number = i64::from_str_radix(raw.as_str(), raw.radix()).ok();
        let number = number
            .filter(|number| range.contains(number))
            .and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            self.wrong(format!(
                "is out of range; write a number from {least} to {most}"
            ));
        }
        number
    }

    pub(super) fn text(&self, example: &str) -> Option<&'a str> {
        let text = self.plain_text();
        if text.is_none() {
            self.mistyped(&format!(
                "write a string, e.g. `{}`",
                self.with_key(&format!("\"{example}\""))
            ));
        }
        text
    }

    /// As `text`, and not empty.
    pub(super) fn filled_text(&self, example: &str) -> Option<&'a str> {
        let text = self.text(example)?;
        if text.is_empty() {
            self.wrong(format!(
                "is empty; write e.g. `{}`",
                self.with_key(&format!("\"{example}\""))
            ));
            return None;
        }
        Some(text)
    }

    pub(super) fn path(&self, example: &str) -> Option<PathBuf> {
        let text = self.filled_text(example)?;
        if text.contains('\0') {
            self.wrong(format!("is no path; write e.g. \"{example}\""));
            return None;
        }
        Some(text.into())
    }

    /// The key of this value names a frontend, backend or server.
    pub(super) fn check_name(&self) {
        if self.key.is_some_and(|name| !is_name(name)) {
            self.wrong_key("is no name; write 1 to 128 letters, digits and `_` `.` `:` `-`");
        }
    }

    /// A string, if it is one.
    pub(super) fn plain_text(&self) -> Option<&'a str> {
        match self.raw {
            DeValue::String(text) => Some(text),
            _ => None,
        }
    }

    /// One of a few words, each with what it means.
    pub(super) fn word<T: Copy>(&self, words: &[(&str, T)]) -> Option<T> {
        let written = self.text(words.first().map_or("", |(word, _)| word))?;
        let found = words.iter().find(|(word, _)| *word == written);
        if found.is_none() {
            let known = || words.iter().map(|(word, _)| *word);
            match nearest(written, known()) {
                Some(near) => self.wrong(format!("is unknown, did you mean \"{near}\"?")),
                None => {
                    let all: Vec<_> = known().map(|word| format!("\"{word}\"")).collect();
                    self.wrong(format!("is unknown; write {}", all.join(" or ")));
                }
            }
        }
        found.map(|(_, meaning)| *meaning)
    }

    pub(super) fn duration(&self) -> Option<Duration> {
        match self.raw {
            DeValue::String(text) => units::duration(text)
                .map_err(|error| self.wrong(error))
                .ok(),
            DeValue::Integer(number) if number.as_str().trim_matches('0').is_empty() => {
                self.wrong("has no unit; write \"0\"");
                None
            }
            DeValue::Integer(number) if number.radix() == 10 => {
                self.wrong(units::DurationError::NoUnit(shown(number.as_str())));
                None
            }
            _ => {
                self.mistyped(&format!(
                    "write a duration, e.g. `{}`",
                    self.with_key("\"5s\"")
                ));
                None
            }
        }
    }

    pub(super) fn duration_above_zero(&self, zero: &str) -> Option<Duration> {
        let duration = self.duration()?;
        if duration.is_zero() {
            self.wrong(format!("cannot be zero; {zero}"));
            return None;
        }
        Some(duration)
    }

    /// Bytes.
    pub(super) fn size(&self, most: usize) -> Option<usize> {
        let size = match self.raw {
            DeValue::String(text) => units::size(text, most),
            DeValue::Integer(_) => Err(units::SizeError::NotText(self.source())),
            _ => {
                self.mistyped(&format!(
                    "write a size, e.g. `{}`",
                    self.with_key("\"16k\"")
                ));
                return None;
            }
        };
        size.map_err(|error| self.wrong(error)).ok()
    }

    /// The elements of an array; one value may stand without its brackets.
    pub(super) fn list(&self) -> Vec<Self> {
        let DeValue::Array(array) = self.raw else {
            return vec![*self];
        };
        let element = |value: &'a Spanned<DeValue<'a>>| {
            let span = value.span();
            let (key_at, start, end) = (span.start, span.start, span.end);
            Value {
                key: None,
                key_at,
                start,
                end,
                raw: value.get_ref(),
                report: self.report,
            }
        };
        array.iter().map(element).collect()
    }

    pub(super) fn is_array(&self) -> bool {
        self.raw.is_array()
    }

    pub(super) fn is_table(&self) -> bool {
        self.raw.is_table()
    }

    /// The keys of a table.
    pub(super) fn keys(&self) -> Option<Vec<&'a str>> {
        let keys = self.raw.as_table()?.keys();
        Some(keys.map(|key| key.get_ref().as_ref()).collect())
    }

    pub(super) fn is_empty_table(&self) -> bool {
        self.raw.as_table().is_some_and(|table| table.is_empty())
    }

    /// An integer, if it is one.
    pub(super) fn is_number(&self) -> bool {
        self.raw.is_integer()
    }

    /// A boolean, if it is one.
    pub(super) fn plain_flag(&self) -> Option<bool> {
        self.raw.as_bool()
    }

    pub(super) fn section(
        &self,
        name: String,
        shape: &Shape,
        example: &str,
    ) -> Option<Section<'a>> {
        let section = self.names(name, example)?;
        section.report_unknown(shape);
        Some(section)
    }

    pub(super) fn names(&self, name: String, example: &str) -> Option<Section<'a>> {
        let DeValue::Table(table) = self.raw else {
            self.mistyped(&format!("write `{example}`"));
            return None;
        };
        Some(Section {
            name,
            at: self.start,
            table,
            report: self.report,
        })
    }

    /// Reports this value: `what` goes on after its text.
    pub(super) fn wrong(&self, what: impl Display) {
        self.report
            .wrong(self.start, format!("`{}` {what}", self.written()));
    }

    /// As `wrong`; what it refers to may be missing only because its line could not be read.
    pub(super) fn refers_to_nothing(&self, what: impl Display) {
        self.report
            .absent(self.start, format!("`{}` {what}", self.written()));
    }

    /// Reports the key of this value: `what` goes on after its name.
    pub(super) fn wrong_key(&self, what: impl Display) {
        let key = self.key.map_or_else(|| self.source(), shown);
        self.report.wrong(self.key_at, format!("`{key}` {what}"));
    }

    /// Reports a value of the wrong type; `fix` says what to write.
    pub(super) fn mistyped(&self, fix: &str) {
        let found = match self.raw {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "a whole number",
            DeValue::Float(_) => "a number with a fraction",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        self.wrong(format!("is {found}; {fix}"));
    }

    fn with_key(&self, value: &str) -> String {
        match self.key {
            Some(key) => format!("{} = {value}", shown(key)),
            None => value.to_owned(),
        }
    }

    /// As it stands in the file. A table under a header has no `key = ` before it.
    fn written(&self) -> String {
        let text = self.report.text();
        let start = text.floor_char_boundary(self.start);
        let line = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let is_header = text[start..].starts_with('[') && text[line..start].trim().is_empty();
        if is_header {
            self.source()
        } else {
            self.with_key(&self.source())
        }
    }

    fn source(&self) -> String {
        let text = self.report.text();
        let (start, end) = (
            text.floor_char_boundary(self.start),
            text.floor_char_boundary(self.end),
        );
        let source = text.get(start..end).unwrap_or("").trim();
        match source.split_once('\n') {
            Some((first, _)) => format!("{} …", shown(first.trim_end())),
            None => shown(source),
        }
    }
}
