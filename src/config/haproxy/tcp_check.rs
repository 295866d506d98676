//! `tcp-check …`: the steps of a `script` check.

use super::expect_rule::ExpectRule;
use super::known::hint;
use super::measure::integer;
use super::phrase::{Desk, Phrase};
use super::proxy::Proxy;
use super::setting::quoted;

pub(super) fn rule(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    proxy.check.begin();
    proxy.check.rules.push(("tcp-check", "", phrase.at()));
    let step = match phrase.text(1).split('(').next().unwrap_or_default() {
        "connect" => connect(proxy, phrase, desk),
        "send" | "send-lf" => send(proxy, phrase, "send", desk),
        "send-binary" => send(proxy, phrase, "send_hex", desk),
        "expect" => expect(proxy, phrase, desk),
        "comment" => None,
        "set-var" | "set-var-fmt" | "unset-var" | "send-binary-lf" => {
            let reason = format!("'tcp-check {}': {}", phrase.text(1), VARIABLES.0);
            proxy.refuse(phrase.at(), "tcp-check", reason, VARIABLES.1);
            None
        }
        _ => {
            let other = phrase.text(1);
            let words = ["connect", "send", "send-binary", "send-lf", "expect", "comment"];
            let what = "'tcp-check' only supports 'comment', 'connect', 'send', 'send-binary', 'expect'";
            desk.error(phrase.place(1), format!("{what} (got '{other}'){}", hint(other, words)));
            None
        }
    };
    proxy.check.steps.extend(step.map(|step| (step, phrase.at())));
}

fn connect(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) -> Option<String> {
    let mut step = vec!["connect = true".to_owned()];
    let mut index = 2;
    while index < phrase.words.len() {
        match phrase.text(index) {
            "port" => {
                match integer(phrase.text(index + 1)) {
                    Some(port @ 1..=65535) => step.push(format!("port = {port}")),
                    _ => desk.error(phrase.place(index + 1), NO_PORT),
                }
                index += 1;
            }
            "comment" => {
                step.push(format!("comment = {}", quoted(phrase.text(index + 1))));
                index += 1;
            }
            "default" | "linger" => {}
            "alpn" | "sni" | "proto" => index += 1,
            word @ ("ssl" | "send-proxy" | "via-socks4" | "addr") => {
                let reason = format!("'tcp-check connect {word}' is not supported");
                proxy.refuse(phrase.place(index), "tcp-check", reason, CONNECT_REMEDY);
                index += usize::from(word == "addr");
            }
            other => desk.error(phrase.place(index), format!("'tcp-check connect' : unknown argument '{other}'.")),
        }
        index += 1;
    }
    Some(format!("{{ {} }}", step.join(", ")))
}

fn send(proxy: &mut Proxy, phrase: &Phrase<'_>, key: &str, desk: &mut Desk<'_>) -> Option<String> {
    let data = phrase.text(2);
    if data.is_empty() {
        desk.error(phrase.at(), format!("'tcp-check {}' expects a string as argument.", phrase.text(1)));
        return None;
    }
    let word = phrase.text(1);
    if let Some(wrong) = wrong_digits(data).filter(|_| word == "send-binary") {
        desk.error(phrase.place(2), format!("'tcp-check send-binary' : '{data}' invalid binary string ({wrong})."));
        return None;
    }
    let data = match constant(data) {
        Some(data) if word == "send-lf" => data,
        None if word == "send-lf" => {
            proxy.refuse(phrase.place(2), "tcp-check", format!("'tcp-check send-lf': {}", VARIABLES.0), VARIABLES.1);
            return None;
        }
        _ => data.to_owned(),
    };
    let comment = match (phrase.text(3), phrase.text(4)) {
        ("comment", text) if !text.is_empty() => format!(", comment = {}", quoted(text)),
        ("", _) => String::new(),
        (other, _) => {
            let what = format!("'tcp-check {word}' : expects 'comment' but got '{other}' as argument.");
            desk.error(phrase.place(3), what);
            return None;
        }
    };
    Some(format!("{{ {key} = {}{comment} }}", quoted(&data)))
}

fn expect(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) -> Option<String> {
    let rule = ExpectRule::read(proxy, phrase, desk)?;
    let (pattern, kind) = (&rule.pattern.text, rule.matcher.text.as_str());
    if let Some(wrong) = wrong_digits(pattern).filter(|_| kind == "binary") {
        desk.error(rule.pattern.at, format!("'tcp-check expect' : invalid binary string ({wrong})."));
        return None;
    }
    let key = match (kind, rule.negated) {
        ("string", false) => "expect",
        ("string", true) => "expect_not",
        ("rstring", false) => "expect_regex",
        ("rstring", true) => "expect_not_regex",
        ("binary", false) => "expect_hex",
        ("binary", true) => "expect_not_hex",
        (_, false) => "expect_hex_regex",
        (_, true) => "expect_not_hex_regex",
    };
    let mut step = vec![format!("{key} = {}", quoted(pattern))];
    for (option, value) in &rule.options {
        match option.text.as_str() {
            "comment" => step.push(format!("comment = {}", quoted(value))),
            "min-recv" => step.extend(integer(value).filter(|n| *n > 0).map(|number| format!("min_recv = {number}"))),
            "on-error" => step.push(format!("on_error = {}", quoted(value))),
            "on-success" => step.push(format!("on_success = {}", quoted(value))),
            _ => {}
        }
    }
    Some(format!("{{ {} }}", step.join(", ")))
}

/// What is wrong with hexadecimal digits, in HAProxy's words.
fn wrong_digits(text: &str) -> Option<String> {
    match text.chars().find(|c| !c.is_ascii_hexdigit()) {
        Some(c) => Some(format!("an hex digit is expected (found '{c}')")),
        None if !text.len().is_multiple_of(2) => Some("an even number of hex digit is expected".to_owned()),
        None => None,
    }
}

/// A log-format of a check that says the same of every server; `None`: it holds variables.
pub(super) fn constant(format: &str) -> Option<String> {
    let plain = format.replace("%%", "");
    (!plain.contains('%')).then(|| format.replace("%%", "%"))
}

/// Why a log-format with variables is refused, and what to do.
pub(super) const VARIABLES: (&str, &str) = ("checks of lb have no variables", "write the value");
pub(super) const NO_PORT: &str = "expects a valid TCP port (from range 1 to 65535).";
pub(super) const CONNECT_REMEDY: &str =
    "`option ssl-hello-chk` asks for a TLS greeting, `check-send-proxy` sends the header";
