//! `tcp-check …`: the steps of a `script` check.

use super::known::hint;
use super::lines::Word;
use super::measure::integer;
use super::phrase::{Desk, Phrase};
use super::proxy::Proxy;
use super::setting::quoted;

pub(super) fn rule(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    proxy.check.begin();
    let step = match phrase.text(1) {
        "connect" => connect(proxy, phrase, desk),
        "send" | "send-lf" => send(phrase, "send", desk),
        "send-binary" => send(phrase, "send_hex", desk),
        "expect" => expect(proxy, phrase, desk),
        "comment" => None,
        "set-var" | "set-var-fmt" | "unset-var" | "send-binary-lf" => {
            let reason = format!("'tcp-check {}': checks of lb have no variables", phrase.text(1));
            proxy.refuse(phrase.at(), "tcp-check", reason, "write the value");
            None
        }
        other => {
            let words = ["connect", "send", "send-binary", "send-lf", "expect", "comment"];
            let what = "'tcp-check' only supports 'comment', 'connect', 'send', 'send-binary', 'expect'";
            desk.error(phrase.place(1), format!("{what} (got '{other}').{}", hint(other, words)));
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

fn send(phrase: &Phrase<'_>, key: &str, desk: &mut Desk<'_>) -> Option<String> {
    let data = phrase.text(2);
    if data.is_empty() {
        desk.error(phrase.at(), format!("'tcp-check {}' expects a string as argument.", phrase.text(1)));
        return None;
    }
    let comment = match (phrase.text(3), phrase.text(4)) {
        ("comment", text) if !text.is_empty() => format!(", comment = {}", quoted(text)),
        ("", _) => String::new(),
        (other, _) => {
            desk.error(phrase.place(3), format!("expects 'comment', but got '{other}' as argument."));
            return None;
        }
    };
    Some(format!("{{ {key} = {}{comment} }}", quoted(data)))
}

fn expect(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) -> Option<String> {
    let (negated, matcher, pattern) = expectation(phrase, desk)?;
    let key = match (matcher.text.as_str(), negated) {
        ("string", false) => "expect",
        ("string", true) => "expect_not",
        ("rstring", false) => "expect_regex",
        ("rstring", true) => "expect_not_regex",
        ("binary", false) => "expect_hex",
        ("binary", true) => "expect_not_hex",
        ("rbinary", false) => "expect_hex_regex",
        ("rbinary", true) => "expect_not_hex_regex",
        (other, _) => {
            let reason = format!("'tcp-check expect {other}' is not supported");
            proxy.refuse(matcher.at, "tcp-check", reason, "expect `string`, `rstring`, `binary` or `rbinary`");
            return None;
        }
    };
    let mut step = vec![format!("{key} = {}", quoted(&pattern.text))];
    let mut index = 2;
    while phrase.place(index) < matcher.at && index < phrase.words.len() {
        let (word, value) = (phrase.text(index), phrase.text(index + 1));
        match word {
            "comment" => step.push(format!("comment = {}", quoted(value))),
            "min-recv" => step.extend(integer(value).filter(|n| *n > 0).map(|number| format!("min_recv = {number}"))),
            "on-error" => step.push(format!("on_error = {}", quoted(value))),
            "on-success" => step.push(format!("on_success = {}", quoted(value))),
            _ => {}
        }
        index += 2;
    }
    Some(format!("{{ {} }}", step.join(", ")))
}

/// What `expect` of `tcp-check` and `http-check` has: whether it is negated, the kind of match and the pattern.
pub(super) fn expectation<'a>(phrase: &Phrase<'a>, desk: &mut Desk<'_>) -> Option<(bool, &'a Word, &'a Word)> {
    let mut index = 2;
    while OPTIONS.contains(&phrase.text(index)) {
        index += 2;
    }
    let negated = phrase.text(index) == "!";
    index += usize::from(negated);
    let (matcher, pattern) = (phrase.words.get(index), phrase.words.get(index + 1));
    let (Some(matcher), Some(pattern)) = (matcher, pattern) else {
        let reason = format!("'{} expect' expects a pattern to match.", phrase.text(0));
        desk.error(phrase.place(index), reason);
        return None;
    };
    Some((negated, matcher, pattern))
}

pub(super) const NO_PORT: &str = "expects a valid TCP port (from range 1 to 65535).";
pub(super) const CONNECT_REMEDY: &str =
    "`option ssl-hello-chk` asks for a TLS greeting, `check-send-proxy` sends the header";
const OPTIONS: [&str; 8] =
    ["min-recv", "comment", "ok-status", "error-status", "tout-status", "on-success", "on-error", "status-code"];
