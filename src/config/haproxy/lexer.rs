//! Text → lines of words.

use super::environment::Environment;
use super::fate::Fates;
use super::sources::Source;
use super::spot::Spot;

/// A word with its quotes and escapes undone and its variables replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) at: Spot,
    /// A part of it at least stood in quotes.
    pub(crate) quoted: bool,
}

/// What stands on a line. Without words it is blank, or a comment alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) words: Vec<Word>,
    /// What follows `#`, as it stands there.
    pub(crate) comment: Option<String>,
    /// Of its first word, or of its comment.
    pub(crate) at: Spot,
}

/// All lines but those that conditions exclude.
pub(crate) fn lines(sources: &[Source], _environment: &mut Environment, _fates: &mut Fates) -> Vec<Line> {
    let mut lines = Vec::new();
    for (file, source) in sources.iter().enumerate() {
        for (line, text) in (1..).zip(source.text.lines()) {
            let (code, comment) = text.split_once('#').map_or((text, None), |(code, rest)| (code, Some(rest)));
            let mut words = Vec::new();
            for word in code.split_whitespace() {
                let column = word.as_ptr() as usize - text.as_ptr() as usize + 1;
                words.push(Word { text: word.to_owned(), at: Spot { file, line, column }, quoted: false });
            }
            let at = words.first().map_or(Spot { file, line, column: 1 }, |word| word.at);
            lines.push(Line { words, comment: comment.map(str::to_owned), at });
        }
    }
    lines
}
