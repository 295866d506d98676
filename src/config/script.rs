//! `steps` of a `script` check.

use super::expectation::{self, Expectation, Pattern};
use super::section::{Section, Shape};
use super::value::RawValue;
use super::words::listed;

/// One step of a `script` check.
#[derive(Debug, Clone, PartialEq)]
pub struct ScriptStep {
    pub action: ScriptAction,
    /// Shown when the check fails here.
    pub comment: Option<String>,
}

/// Expectations look at everything received since the last send.
#[derive(Debug, Clone, PartialEq)]
pub enum ScriptAction {
    /// Connect (implied when the script does not begin with it); to this port instead of that of the check.
    Connect(Option<u16>),
    Send(Vec<u8>),
    /// Wait until a pattern appears, or for some answer that lacks it.
    Expect(Box<ExpectedAnswer>),
}

#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedAnswer {
    pub expectation: Expectation,
    /// So many bytes are awaited before the pattern is looked for. Default 0.
    pub min_recv: usize,
    /// Said instead of what is missing.
    pub on_error: Option<String>,
    /// Said of a check that ends with this step and has passed.
    pub on_success: Option<String>,
}

impl From<ScriptAction> for ScriptStep {
    fn from(action: ScriptAction) -> Self {
        Self { action, comment: None }
    }
}

impl From<Expectation> for ScriptStep {
    fn from(expectation: Expectation) -> Self {
        let answer = ExpectedAnswer { expectation, min_recv: 0, on_error: None, on_success: None };
        ScriptAction::Expect(Box::new(answer)).into()
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
    keys: &[
        "connect",
        "send",
        "send_hex",
        "expect",
        "expect_not",
        "expect_regex",
        "expect_not_regex",
        "expect_hex",
        "expect_not_hex",
        "expect_hex_regex",
        "expect_not_hex_regex",
        "port",
        "min_recv",
        "comment",
        "on_error",
        "on_success",
    ],
    foreign: &[
        ("send_binary", "write `send_hex`"),
        ("string", "write `expect`"),
        ("rstring", "write `expect_regex`"),
        ("binary", "write `expect_hex`"),
        ("rbinary", "write `expect_hex_regex`"),
    ],
};

/// The keys above that are a step by themselves.
const ACTIONS: usize = 11;

fn step(value: &RawValue<'_>, path: &str) -> Option<ScriptStep> {
    let section = value.section(path.to_owned(), &SHAPE, "{ expect = \"+PONG\" }")?;
    let mut entries = section.entries();
    let has_unknown = entries.iter().any(|(key, _)| !SHAPE.keys.contains(key));
    entries.retain(|(key, _)| SHAPE.keys[..ACTIONS].contains(key));
    let [(key, value)] = entries.as_slice() else {
        if has_unknown && entries.is_empty() {
            // Reported already.
            return None;
        }
        let actions = listed(SHAPE.keys[..ACTIONS].iter().copied(), "or");
        value.wrong(format!("is not one step; write one of {actions} in each"));
        return None;
    };
    let comment = section.filled_text("comment", "is it alive").map(str::to_owned);
    let action = match *key {
        "connect" => connect(value).map(|()| ScriptAction::Connect(section.number("port", 1..=65535))),
        "send" => Some(ScriptAction::Send(expectation::bytes(value)?)),
        "send_hex" => Some(ScriptAction::Send(expectation::hex(value)?)),
        key => expect(key, value, &section),
    }?;
    let belong: &[&str] = match action {
        ScriptAction::Connect(_) => &["port"],
        ScriptAction::Send(_) => &[],
        ScriptAction::Expect(_) => &["min_recv", "on_error", "on_success"],
    };
    for key in ["port", "min_recv", "on_error", "on_success"].iter().filter(|key| !belong.contains(key)) {
        if let Some(value) = section.value(key) {
            value.wrong_key("belongs to another kind of step; leave it out");
        }
    }
    Some(ScriptStep { action, comment })
}

fn connect(value: &RawValue<'_>) -> Option<()> {
    if !value.flag()? {
        value.wrong("is no step; write `connect = true` or leave it out");
        return None;
    }
    Some(())
}

fn expect(key: &str, value: &RawValue<'_>, section: &Section<'_>) -> Option<ScriptAction> {
    let kind = key.trim_start_matches("expect").trim_start_matches("_not").trim_start_matches('_');
    let pattern = match kind {
        "" => Pattern::Bytes(expectation::bytes(value)?),
        "hex" => Pattern::Bytes(expectation::hex(value)?),
        "regex" => Pattern::Regex(expectation::expression(value)?),
        _ => Pattern::HexRegex(expectation::expression(value)?),
    };
    let text = |key| section.filled_text(key, "no primary").map(str::to_owned);
    Some(ScriptAction::Expect(Box::new(ExpectedAnswer {
        expectation: Expectation { pattern, unwanted: key.starts_with("expect_not") },
        min_recv: section.number("min_recv", 0..=MAX_MIN_RECV).unwrap_or(0),
        on_error: text("on_error"),
        on_success: text("on_success"),
    })))
}

const MAX_STEPS: usize = 64;
/// Of the 64 KiB of an answer that are kept.
const MAX_MIN_RECV: i64 = 32 << 10;
