//! The TOML that is written: tables with the place each line comes from, the comments of the sources where they were,
//! and a remark for each line that could not be carried over whole.

use std::collections::HashMap;
use std::ops::Range;

use super::fate::Fates;
use super::lines::Line;
use super::spot::Spot;

/// A line of TOML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TomlLine {
    pub(super) text: String,
    /// The word that it comes from; `None`: it follows from none.
    pub(super) at: Option<Spot>,
    /// The comments of the line that it comes from stand here, and not at a later line that comes from it, too.
    has_comments: bool,
}

impl TomlLine {
    pub(super) fn new(text: impl Into<String>, at: Option<Spot>) -> Self {
        Self { text: text.into(), at, has_comments: true }
    }

    pub(super) fn without_comments(self) -> Self {
        Self { has_comments: false, ..self }
    }

    fn comments_at(&self) -> Option<Spot> {
        self.at.filter(|_| self.has_comments)
    }
}

/// What a section becomes: its lines in the sources, and the lines of TOML for them.
#[derive(Debug, Clone, Default)]
pub(super) struct Block {
    pub(super) lines: Range<usize>,
    /// Said above it, e.g. that it is left out.
    pub(super) note: Option<String>,
    /// Headers are lines, too.
    pub(super) toml: Vec<TomlLine>,
}

/// A text and the place each of its lines comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) toml: String,
    origins: Vec<Option<Spot>>,
}

impl Document {
    /// `lines`: all of the sources.
    pub(super) fn write(blocks: &[Block], lines: &[Line], fates: &Fates) -> Self {
        let mut document = Self::default();
        let mut remarks: HashMap<(usize, usize), Vec<String>> = HashMap::new();
        for fate in fates.iter() {
            let remedy = if fate.remedy.is_empty() { String::new() } else { format!("; {}", fate.remedy) };
            let remark = format!("{}: {}{remedy}", fate.verdict, fate.reason);
            let of_line = remarks.entry((fate.at.file, fate.at.line)).or_default();
            if !of_line.contains(&remark) {
                of_line.push(remark);
            }
        }
        for block in blocks {
            document.write_block(block, lines, &mut remarks);
        }
        document
    }

    /// The place that a line of the text comes from; the nearest one above it, if itself it comes from none.
    pub(super) fn origin(&self, line: usize) -> Option<Spot> {
        let above = self.origins.get(..line.min(self.origins.len()))?;
        above.iter().rev().find_map(|at| *at)
    }

    fn write_block(&mut self, block: &Block, lines: &[Line], remarks: &mut HashMap<(usize, usize), Vec<String>>) {
        let lines = &lines[block.lines.clone()];
        let mut comments = Comments::of(lines, block, remarks);
        if !self.toml.is_empty() && (!block.toml.is_empty() || block.note.is_some() || !comments.is_empty()) {
            self.push("", None);
        }
        if let Some(note) = &block.note {
            self.comment(&format!(" {note}"));
        }
        for line in &block.toml {
            let (before, behind) = line.comments_at().map(|at| comments.take(at)).unwrap_or_default();
            // A header and what is before it stand apart from the table above.
            if line.text.starts_with('[')
                && !line.text.ends_with(".servers]")
                && !self.toml.is_empty()
                && !self.toml.ends_with("\n\n")
            {
                self.push("", None);
            }
            before.iter().for_each(|comment| self.comment(comment));
            match behind {
                Some(behind) => self.push(&format!("{} #{}", line.text, harmless(&behind)), line.at),
                None => self.push(&line.text, line.at),
            }
        }
        comments.rest.iter().for_each(|comment| self.comment(comment));
    }

    fn comment(&mut self, text: &str) {
        self.push(&format!("#{}", harmless(text)), None);
    }

    fn push(&mut self, line: &str, at: Option<Spot>) {
        self.toml.push_str(line);
        self.toml.push('\n');
        self.origins.push(at);
    }
}

/// The comments and remarks of a block, each at the line of TOML that it belongs to.
#[derive(Debug, Default)]
struct Comments {
    /// By file and line: what stands above, and behind it.
    placed: HashMap<(usize, usize), (Vec<String>, Option<String>)>,
    /// What stands below the last line.
    rest: Vec<String>,
}

impl Comments {
    fn of(lines: &[Line], block: &Block, remarks: &mut HashMap<(usize, usize), Vec<String>>) -> Self {
        let place = |at: Spot| (at.file, at.line);
        let mut found = Self::default();
        for at in block.toml.iter().filter_map(TomlLine::comments_at) {
            found.placed.entry(place(at)).or_default();
        }
        let mut waiting = Vec::new();
        for line in lines {
            let own = remarks.remove(&place(line.at)).unwrap_or_default();
            waiting.extend(own.into_iter().map(|remark| format!(" line {}: {remark}", line.at.line)));
            match found.placed.get_mut(&place(line.at)).filter(|_| !line.words.is_empty()) {
                Some((above, behind)) => {
                    above.append(&mut waiting);
                    behind.clone_from(&line.comment);
                }
                None => waiting.extend(line.comment.clone()),
            }
        }
        found.rest = waiting;
        found
    }

    fn is_empty(&self) -> bool {
        self.rest.is_empty() && self.placed.values().all(|(above, behind)| above.is_empty() && behind.is_none())
    }

    /// Those of a line, once.
    fn take(&mut self, at: Spot) -> (Vec<String>, Option<String>) {
        self.placed.remove(&(at.file, at.line)).unwrap_or_default()
    }
}

/// TOML has no control characters in comments.
fn harmless(text: &str) -> String {
    text.trim_end().chars().map(|c| if c.is_control() && c != '\t' { '\u{fffd}' } else { c }).collect()
}
