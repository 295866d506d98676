//! What is wrong with a configuration: every problem at once, each with its place and its remedy.

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
    /// A line that cannot be read, and a mark below the place; mostly empty.
    pub excerpt: String,
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
    /// A line of 0: it has no place in a text.
    pub(super) fn one(file: &str, line: usize, column: usize, message: String) -> Self {
        let file = file.to_owned();
        Self(vec![Problem { file, line, column, message, excerpt: String::new() }])
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
