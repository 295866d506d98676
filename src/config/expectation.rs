//! What an answer to a check is to hold, or not.

use regex::bytes::{Regex, RegexBuilder};

use super::value::RawValue;

/// What is looked for in an answer.
#[derive(Debug, Clone)]
pub enum Pattern {
    Bytes(Vec<u8>),
    /// Over bytes: `.` is any of them but a newline.
    Regex(Regex),
    /// Over the answer in hexadecimal digits, two upper-case ones a byte, as `rbinary` of HAProxy.
    HexRegex(Regex),
}

/// A pattern that an answer is to hold, or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Expectation {
    pub pattern: Pattern,
    /// The answer must not hold it.
    pub unwanted: bool,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Regex(a), Self::Regex(b)) | (Self::HexRegex(a), Self::HexRegex(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

impl Expectation {
    pub fn wanted(pattern: Pattern) -> Self {
        Self { pattern, unwanted: false }
    }

    pub fn unwanted(pattern: Pattern) -> Self {
        Self { pattern, unwanted: true }
    }
}

/// The text of a string that is not empty.
pub(super) fn bytes(value: &RawValue<'_>) -> Option<Vec<u8>> {
    value.filled_text("+PONG").map(|text| text.as_bytes().to_vec())
}

pub(super) fn hex(value: &RawValue<'_>) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = value.filled_text("50494e47")?.chars().map(|c| c.to_digit(16)).collect();
    let bytes = digits.filter(|digits| digits.len().is_multiple_of(2)).map(|digits| {
        // Two digits below 16 make a number below 256.
        digits.chunks(2).map(|pair| (pair[0] << 4 | pair[1]) as u8).collect()
    });
    if bytes.is_none() {
        value.wrong("is not made of pairs of hexadecimal digits; write e.g. \"50494e47\"");
    }
    bytes
}

/// Bytes, not characters: an answer need not be UTF-8.
pub(super) fn expression(value: &RawValue<'_>) -> Option<Regex> {
    let error = match compile(value.filled_text("role:master")?) {
        Ok(regex) => return Some(regex),
        Err(regex::Error::CompiledTooBig(_)) => "it is too large".to_owned(),
        // The message draws a picture; its last line names what is wrong.
        Err(error) => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.strip_prefix("error: ").unwrap_or(last).to_owned()
        }
    };
    value.wrong(format!("is no regular expression: {error}; write e.g. \"role:master\""));
    None
}

/// # Errors
/// Why the text is no expression over bytes.
pub(super) fn compile(text: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(text).unicode(false).size_limit(MAX_REGEX).build()
}

const MAX_REGEX: usize = 1 << 20;
