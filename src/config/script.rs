//! `steps` of a `script` check.

use regex::bytes::{Regex, RegexBuilder};

use super::section::Shape;
use super::value::RawValue;
use super::words::listed;

/// One step of a `script` check. Expectations look at everything received since the last send.
#[derive(Debug, Clone)]
pub enum ScriptStep {
    /// Connect (implied when the script does not begin with it).
    Connect,
    Send(Vec<u8>),
    /// Wait until these bytes appear.
    Expect(Vec<u8>),
    /// Wait for some answer; fail if these bytes are in it.
    ExpectNot(Vec<u8>),
    /// Wait until this expression matches.
    ExpectRegex(Regex),
}

impl PartialEq for ScriptStep {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Connect, Self::Connect) => true,
            (Self::Send(a), Self::Send(b))
            | (Self::Expect(a), Self::Expect(b))
            | (Self::ExpectNot(a), Self::ExpectNot(b)) => a == b,
            (Self::ExpectRegex(a), Self::ExpectRegex(b)) => a.as_str() == b.as_str(),
            _ => false,
        }
    }
}

/// Reads the steps of a script; what is wrong is left out and reported.
pub(super) fn read(value: &RawValue<'_>, path: &str) -> Vec<ScriptStep> {
    if !value.is_array() {
        value.mistyped("write e.g. `steps = [{ send = \"PING\\r\\n\" }, { expect = \"+PONG\" }]`");
        return Vec::new();
    }
    let list = value.list();
    if list.is_empty() {
        value.wrong("has no step; write e.g. `steps = [{ expect = \"220 \" }]`");
    }
    if list.len() > MAX_STEPS {
        value.wrong_key(format!("has {} steps; write at most {MAX_STEPS}", list.len()));
    }
    list.iter().filter_map(|value| step(value, path)).collect()
}

pub(super) const SHAPE: Shape = Shape {
    keys: &["connect", "send", "send_hex", "expect", "expect_not", "expect_regex"],
    foreign: &[("send_binary", "write `send_hex`"), ("rstring", "write `expect_regex`"), ("string", "write `expect`")],
};

fn step(value: &RawValue<'_>, path: &str) -> Option<ScriptStep> {
    let section = value.section(path.to_owned(), &SHAPE, "{ expect = \"+PONG\" }")?;
    let entries = section.entries();
    let [(key, value)] = entries.as_slice() else {
        value.wrong(format!("is not one step; write one of {} in each", listed(SHAPE.keys.iter().copied(), "or")));
        return None;
    };
    match *key {
        "connect" => connect(value),
        "send" => Some(ScriptStep::Send(bytes(value)?)),
        "send_hex" => Some(ScriptStep::Send(hex(value)?)),
        "expect" => Some(ScriptStep::Expect(bytes(value)?)),
        "expect_not" => Some(ScriptStep::ExpectNot(bytes(value)?)),
        "expect_regex" => Some(ScriptStep::ExpectRegex(expression(value)?)),
        // Reported as unknown already.
        _ => None,
    }
}

fn connect(value: &RawValue<'_>) -> Option<ScriptStep> {
    if !value.flag()? {
        value.wrong("is no step; write `connect = true` or leave it out");
        return None;
    }
    Some(ScriptStep::Connect)
}

fn bytes(value: &RawValue<'_>) -> Option<Vec<u8>> {
    value.filled_text("+PONG").map(|text| text.as_bytes().to_vec())
}

fn hex(value: &RawValue<'_>) -> Option<Vec<u8>> {
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

/// Bytes, not characters: `.` is any byte but a newline, and an answer need not be UTF-8.
fn expression(value: &RawValue<'_>) -> Option<Regex> {
    let built = RegexBuilder::new(value.filled_text("role:master")?).unicode(false).size_limit(MAX_REGEX).build();
    let error = match built {
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

const MAX_STEPS: usize = 64;
const MAX_REGEX: usize = 1 << 20;
