//! What is wrong with a configuration: every problem at once, each with its place and its remedy.
//!
//! `Report` collects while the text is read. A text that is not even TOML is read as far as it can be, and what
//! is only fallout of such a mistake (a name that is missing because its line is broken) is left out.

use std::cell::RefCell;
use std::collections::HashSet;
use std::fmt;

/// One mistake of the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file as it was named, or the flag (`--bind`).
    pub file: String,
    /// From 1; 0 where there is no text (a flag, a file that cannot be read).
    pub line: usize,
    /// In characters, from 1; 0 where there is no text.
    pub column: usize,
    /// The offending text and the fix, in one sentence.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}", self.message)
    }
}

/// Everything that is wrong, in the order of the file; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// A problem that has no place in a text.
    pub(super) fn without_place(file: &str, message: String) -> Self {
        let file = file.to_owned();
        Self(vec![Problem {
            file,
            line: 0,
            column: 0,
            message,
        }])
    }

    /// `None` when there is nothing wrong.
    pub(super) fn from_list(list: Vec<Problem>) -> Option<Self> {
        (!list.is_empty()).then_some(Self(list))
    }

    /// In the order of the file.
    pub fn iter(&self) -> std::slice::Iter<'_, Problem> {
        self.0.iter()
    }
}

impl<'a> IntoIterator for &'a Problems {
    type Item = &'a Problem;
    type IntoIter = std::slice::Iter<'a, Problem>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// One problem a line, without a newline at the end.
impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Collects problems while a text is read. Shared by all readers of that text, hence the `RefCell`.
pub(super) struct Report<'t> {
    text: &'t str,
    found: RefCell<Vec<Found>>,
}

struct Found {
    at: usize,
    kind: Kind,
    message: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The text is not TOML here.
    Syntax,
    /// As `Syntax`, and nothing can be known of what follows.
    Swallows,
    /// Something that is written is wrong.
    Wrong,
    /// Something is not there; perhaps because its line could not be read.
    Absent,
}

impl<'t> Report<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self {
            text,
            found: RefCell::default(),
        }
    }

    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    pub(super) fn syntax(&self, at: usize, message: String) {
        self.add(at, Kind::Syntax, message);
    }

    /// From here on the text is in doubt: an array or inline table was not closed.
    pub(super) fn swallows(&self, at: usize, message: String) {
        self.add(at, Kind::Swallows, message);
    }

    pub(super) fn wrong(&self, at: usize, message: String) {
        self.add(at, Kind::Wrong, message);
    }

    pub(super) fn absent(&self, at: usize, message: String) {
        self.add(at, Kind::Absent, message);
    }

    /// The line that holds this offset, from 1.
    pub(super) fn line_of(&self, at: usize) -> usize {
        let at = self.text.floor_char_boundary(at);
        self.text[..at].matches('\n').count() + 1
    }

    /// `Err` when anything was found.
    pub(super) fn finish(self, file: &str) -> Result<(), Problems> {
        let mut places = Places::new(self.text);
        let mut found = self.found.into_inner();
        found.sort_by_key(|found| found.at);
        let placed: Vec<_> = found
            .into_iter()
            .map(|found| (places.of(found.at), found))
            .collect();
        let is_syntax = |found: &Found| matches!(found.kind, Kind::Syntax | Kind::Swallows);
        let broken = placed.iter().any(|(_, found)| is_syntax(found));
        let doubtful_from = placed
            .iter()
            .find(|(_, found)| found.kind == Kind::Swallows)
            .map_or(usize::MAX, |(_, found)| found.at);
        // One syntax error a line: what the parser says after the first one there is fallout.
        let mut broken_lines = HashSet::new();
        let mut kept = vec![false; placed.len()];
        for (keep, ((line, _), found)) in kept.iter_mut().zip(&placed) {
            *keep = is_syntax(found) && found.at <= doubtful_from && broken_lines.insert(*line);
        }
        for (keep, ((line, _), found)) in kept.iter_mut().zip(&placed) {
            *keep |= match found.kind {
                Kind::Syntax | Kind::Swallows => false,
                Kind::Wrong => found.at < doubtful_from && !broken_lines.contains(line),
                Kind::Absent => !broken,
            };
        }
        let list = placed
            .into_iter()
            .zip(kept)
            .filter(|(_, keep)| *keep)
            .map(|(((line, column), found), _)| {
                let file = file.to_owned();
                Problem {
                    file,
                    line,
                    column,
                    message: found.message,
                }
            })
            .collect();
        Problems::from_list(list).map_or(Ok(()), Err)
    }

    fn add(&self, at: usize, kind: Kind, message: String) {
        self.found.borrow_mut().push(Found { at, kind, message });
    }
}

/// Turns ascending offsets into lines and columns, walking the text once.
struct Places<'t> {
    text: &'t str,
    at: usize,
    line: usize,
    column: usize,
}

impl<'t> Places<'t> {
    fn new(text: &'t str) -> Self {
        Self {
            text,
            at: 0,
            line: 1,
            column: 1,
        }
    }

    fn of(&mut self, at: usize) -> (usize, usize) {
        let at = self.text.floor_char_boundary(at).max(self.at);
        for c in self.text[self.at..at].chars() {
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.at = at;
        (self.line, self.column)
    }
}
