//! A line as its handler sees it, and where that handler reports.

use super::environment::Environment;
use super::fate::Fates;
use super::lines::Word;
use super::measure::{TimeError, behind_unit, leading, time};
use super::spot::Spot;

/// `no option x` and `default option x`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    Plain,
    No,
    Default,
}

/// The words of a line behind `no` and `default`; at least one, which is the sign itself where nothing follows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Phrase<'a> {
    pub(super) sign: Sign,
    pub(super) words: &'a [Word],
}

impl<'a> Phrase<'a> {
    pub(super) fn new(words: &'a [Word]) -> Self {
        match words {
            [first, rest @ ..] if first.text == "no" && !rest.is_empty() => Self { sign: Sign::No, words: rest },
            [first, rest @ ..] if first.text == "default" && !rest.is_empty() => {
                Self { sign: Sign::Default, words: rest }
            }
            _ => Self { sign: Sign::Plain, words },
        }
    }

    /// Of its first word.
    pub(super) fn at(&self) -> Spot {
        self.words.first().map(|word| word.at).unwrap_or_default()
    }

    /// A word by its place; empty beyond the end, as HAProxy has it.
    pub(super) fn text(&self, index: usize) -> &'a str {
        self.words.get(index).map_or("", |word| &word.text)
    }

    /// Where this word stands, or the last one.
    pub(super) fn place(&self, index: usize) -> Spot {
        self.words.get(index).or_else(|| self.words.last()).map(|word| word.at).unwrap_or_default()
    }

    /// The words from here on.
    pub(super) fn from(&self, index: usize) -> &'a [Word] {
        self.words.get(index..).unwrap_or_default()
    }

    /// The text of all words from here on, with single blanks.
    pub(super) fn joined(&self, index: usize) -> String {
        self.from(index).iter().map(|word| word.text.as_str()).collect::<Vec<_>>().join(" ")
    }
}

/// What a handler may use besides its section.
pub(super) struct Desk<'a> {
    pub(super) fates: &'a mut Fates,
    pub(super) environment: &'a Environment,
}

impl Desk<'_> {
    pub(super) fn error(&mut self, at: Spot, reason: impl Into<String>) {
        self.fates.error(at, reason.into().trim_end_matches('.'), "");
    }

    /// A number as HAProxy reads it, with a notice if it is not what stands there.
    pub(super) fn number(&mut self, at: Spot, word: &str, text: &str) -> i64 {
        let (number, is_whole) = leading(text);
        if !is_whole {
            self.fates.notice(at, format!("'{word} {text}' is read as {number}"), "write a whole number");
        }
        number
    }

    /// Milliseconds, with a notice of what HAProxy warns of.
    pub(super) fn time(&mut self, at: Spot, text: &str) -> Result<u64, TimeError> {
        let ms = time(text)?;
        if let Some(c) = behind_unit(text) {
            let reason = format!("unexpected character '{c}' after the timer value '{text}', which is not read");
            self.fates.notice(at, reason, "write one number with one unit");
        }
        Ok(ms)
    }

    /// An error if there are more words than the first `most`.
    pub(super) fn at_most(&mut self, phrase: &Phrase<'_>, most: usize) {
        if let Some(word) = phrase.words.get(most) {
            let keyword = phrase.text(0);
            self.error(word.at, format!("'{keyword}' cannot handle unexpected argument '{}'.", word.text));
        }
    }
}
