//! Collects problems while a text is read, and puts them in order.
//!
//! A text that is not even TOML is read as far as it can be; what is only fallout of such a mistake (a name that is
//! missing because its line is broken) is left out here.

use std::cell::{OnceCell, RefCell};
use std::collections::HashSet;

use super::problem::{Problem, Problems};

/// What was found so far. Shared by all readers of a text, hence the `RefCell`.
pub(super) struct ProblemReport<'t> {
    text: &'t str,
    found: RefCell<Vec<FoundProblem>>,
    /// Where the lines end, once it was asked for.
    newlines: OnceCell<Vec<usize>>,
}

struct FoundProblem {
    at: usize,
    kind: ProblemKind,
    message: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum ProblemKind {
    /// The text is not TOML here.
    Syntax,
    /// As `Syntax`, and nothing can be known of what follows.
    Swallows,
    /// Something that is written is wrong.
    Wrong,
    /// Something is not there; perhaps because its line could not be read.
    Absent,
}

impl<'t> ProblemReport<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Self { text, found: RefCell::default(), newlines: OnceCell::new() }
    }

    pub(super) fn text(&self) -> &'t str {
        self.text
    }

    pub(super) fn syntax(&self, at: usize, message: String) {
        self.add(at, ProblemKind::Syntax, message);
    }

    /// From here on the text is in doubt: an array or inline table was not closed.
    pub(super) fn swallows(&self, at: usize, message: String) {
        self.add(at, ProblemKind::Swallows, message);
    }

    pub(super) fn wrong(&self, at: usize, message: String) {
        self.add(at, ProblemKind::Wrong, message);
    }

    pub(super) fn absent(&self, at: usize, message: String) {
        self.add(at, ProblemKind::Absent, message);
    }

    /// The line that holds this offset, from 1.
    pub(super) fn line_of(&self, at: usize) -> usize {
        let newlines = self.newlines.get_or_init(|| self.text.match_indices('\n').map(|(at, _)| at).collect());
        newlines.partition_point(|newline| *newline < at) + 1
    }

    /// `Err` when anything was found.
    pub(super) fn finish(self, file: &str) -> Result<(), Problems> {
        let mut places = LineIndex::new(self.text);
        let mut found = self.found.into_inner();
        found.sort_by_key(|found| found.at);
        // What servers inherit is read for each of them.
        found.dedup_by(|a, b| a.at == b.at && a.message == b.message);
        let placed: Vec<_> = found.into_iter().map(|found| (places.of(found.at), found)).collect();
        let is_syntax = |found: &FoundProblem| matches!(found.kind, ProblemKind::Syntax | ProblemKind::Swallows);
        let broken = placed.iter().any(|(_, found)| is_syntax(found));
        let doubtful_from = placed
            .iter()
            .find(|(_, found)| found.kind == ProblemKind::Swallows)
            .map_or(usize::MAX, |(_, found)| found.at);
        // One syntax error a line: what the parser reports after the first one there is fallout.
        let mut broken_lines = HashSet::new();
        let mut kept = vec![false; placed.len()];
        for (keep, ((line, _), found)) in kept.iter_mut().zip(&placed) {
            *keep = is_syntax(found) && found.at <= doubtful_from && broken_lines.insert(*line);
        }
        for (keep, ((line, _), found)) in kept.iter_mut().zip(&placed) {
            *keep |= match found.kind {
                ProblemKind::Syntax | ProblemKind::Swallows => false,
                ProblemKind::Wrong => found.at < doubtful_from && !broken_lines.contains(line),
                ProblemKind::Absent => !broken,
            };
        }
        let list = placed
            .into_iter()
            .zip(kept)
            .filter(|(_, keep)| *keep)
            .map(|(((line, column), found), _)| {
                let file = file.to_owned();
                Problem { file, line, column, message: found.message, excerpt: String::new() }
            })
            .collect();
        Problems::from_list(list).map_or(Ok(()), Err)
    }

    /// This problem and no other.
    pub(super) fn only(&self, file: &str, at: usize, message: String) -> Problems {
        let (line, column) = LineIndex::new(self.text).of(at);
        Problems::one(file, line, column, message)
    }

    fn add(&self, at: usize, kind: ProblemKind, message: String) {
        let message = one_line(message);
        self.found.borrow_mut().push(FoundProblem { at, kind, message });
    }
}

/// Names and texts of the file may hold what a terminal obeys, and a problem is one line.
pub(super) fn one_line(message: String) -> String {
    if !message.contains(char::is_control) {
        return message;
    }
    let escaped = |c: char| {
        if c.is_control() { c.escape_default().to_string() } else { c.to_string() }
    };
    message.chars().map(escaped).collect()
}

/// Turns ascending offsets into lines and columns, walking the text once.
struct LineIndex<'t> {
    text: &'t str,
    at: usize,
    line: usize,
    column: usize,
}

impl<'t> LineIndex<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, at: 0, line: 1, column: 1 }
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
