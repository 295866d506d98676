//! A value as it was written: taken as the type that the reader asks for, or reported with its text and the fix.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::DeValue;

use super::report::ProblemReport;
use super::words::{is_name, nearest, shown};

/// A value, and what it was called.
#[derive(Clone, Copy)]
pub(super) struct RawValue<'a> {
    /// `None` for an element of an array.
    key: Option<&'a str>,
    /// Where the key stands, or the element.
    pub(super) key_at: usize,
    pub(super) start: usize,
    end: usize,
    pub(super) raw: &'a DeValue<'a>,
    pub(super) report: &'a ProblemReport<'a>,
}

impl<'a> RawValue<'a> {
    pub(super) fn new(
        key: Option<&'a str>,
        key_at: usize,
        value: &'a Spanned<DeValue<'a>>,
        report: &'a ProblemReport<'a>,
    ) -> Self {
        let span = value.span();
        Self { key, key_at, start: span.start, end: span.end, raw: value.get_ref(), report }
    }

    pub(super) fn flag(&self) -> Option<bool> {
        let flag = self.raw.as_bool();
        if flag.is_none() {
            let meant = if self.denies() { "false" } else { "true" };
            self.mistyped(&format!("write `{}`", self.with_key(meant)));
        }
        flag
    }

    pub(super) fn number<T: TryFrom<i64>>(&self, range: RangeInclusive<i64>) -> Option<T> {
        let (least, most) = (*range.start(), *range.end());
        let DeValue::Integer(raw) = self.raw else {
            self.no_number(least, most);
            return None;
        };
        let number = i64::from_str_radix(raw.as_str(), raw.radix()).ok();
        let number = number.filter(|number| range.contains(number)).and_then(|number| T::try_from(number).ok());
        if number.is_none() {
            self.wrong(format!("is out of range; write a number from {least} to {most}"));
        }
        number
    }

    /// As a number, or a word for it.
    fn denies(&self) -> bool {
        match self.raw {
            DeValue::String(text) => DENIALS.contains(&text.trim().to_ascii_lowercase().as_str()),
            DeValue::Integer(number) => number.as_str() == "0",
            _ => false,
        }
    }

    /// Reports what stands in the place of a number; one in quotes can be written without them.
    fn no_number(&self, least: i64, most: i64) {
        let text = self.plain_text().unwrap_or_default().trim();
        let quoted = text.parse::<i64>().ok().filter(|number| (least..=most).contains(number));
        match quoted {
            Some(number) => self.mistyped(&format!("write `{}`", self.with_key(&number.to_string()))),
            None if text.ends_with('%') => {
                self.wrong(format!("is a percentage; write a whole number from {least} to {most}"));
            }
            None => {
                let example = self.with_key(&least.max(1).to_string());
                self.mistyped(&format!("write a whole number from {least} to {most}, e.g. `{example}`"));
            }
        }
    }

    pub(super) fn text(&self, example: &str) -> Option<&'a str> {
        let text = self.plain_text();
        if text.is_none() {
            self.mistyped(&format!("write a string, e.g. `{}`", self.with_key(&format!("\"{example}\""))));
        }
        text
    }

    /// As `text`, and not empty.
    pub(super) fn filled_text(&self, example: &str) -> Option<&'a str> {
        let text = self.text(example)?;
        if text.is_empty() {
            self.wrong(format!("is empty; write e.g. `{}`", self.with_key(&format!("\"{example}\""))));
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

    /// The elements of an array; one value may stand without its brackets.
    pub(super) fn list(&self) -> Vec<Self> {
        let DeValue::Array(array) = self.raw else {
            return vec![*self];
        };
        let element = |value: &'a Spanned<_>| Self::new(None, value.span().start, value, self.report);
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

    /// Reports this value: `what` continues its text.
    pub(super) fn wrong(&self, what: impl Display) {
        self.report.wrong(self.start, format!("`{}` {what}", self.written()));
    }

    /// As `wrong`; what it refers to may be missing only because its line could not be read.
    pub(super) fn refers_to_nothing(&self, what: impl Display) {
        self.report.absent(self.start, format!("`{}` {what}", self.written()));
    }

    /// Reports the key of this value: `what` continues its name.
    pub(super) fn wrong_key(&self, what: impl Display) {
        let key = self.key.map_or_else(|| self.source(), shown);
        self.report.wrong(self.key_at, format!("`{key}` {what}"));
    }

    /// Reports a value of the wrong type; `fix`: what to write.
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

    pub(super) fn with_key(&self, value: &str) -> String {
        match self.key {
            Some(key) => format!("{} = {value}", shown(key)),
            None => value.to_owned(),
        }
    }

    /// A table under a header has no `key = ` before it.
    pub(super) fn is_header(&self) -> bool {
        let text = self.report.text();
        let start = text.floor_char_boundary(self.start);
        let line = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        self.key.is_some() && text[start..].starts_with('[') && text[line..start].trim().is_empty()
    }

    /// As it stands in the file.
    fn written(&self) -> String {
        if self.is_header() { self.source() } else { self.with_key(&self.source()) }
    }

    pub(super) fn source(&self) -> String {
        let text = self.report.text();
        let (start, end) = (text.floor_char_boundary(self.start), text.floor_char_boundary(self.end));
        let source = text.get(start..end).unwrap_or("").trim();
        match source.split_once('\n') {
            Some((first, _)) => format!("{} …", shown(first.trim_end())),
            None => shown(source),
        }
    }
}

/// Words for `false`.
const DENIALS: [&str; 7] = ["", "0", "false", "no", "off", "none", "disabled"];
