//! `http-check …`: the one request of an `http` check, and what its answer is to be.

use super::check_plan::EXPECTED;
use super::expect_rule::ExpectRule;
use super::fate::Verdict;
use super::known::hint;
use super::measure::integer;
use super::phrase::{Desk, Phrase};
use super::proxy::Proxy;
use super::setting::{key, quoted};
use super::spot::Spot;
use super::tcp_check::{CONNECT_REMEDY, NO_PORT, VARIABLES, constant};

pub(super) fn rule(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match phrase.text(1).split('(').next().unwrap_or_default() {
        "send" => send(proxy, phrase, desk),
        "expect" => expect(proxy, phrase, desk),
        "comment" | "send-state" => {}
        "connect" => connect(proxy, phrase, desk),
        "disable-on-404" => {
            let reason = "'http-check disable-on-404': a server that answers 404 is DOWN, it does not drain";
            proxy.doubt(Verdict::Notice, phrase.at(), "http-check", reason, "`lb server drain` drains it");
        }
        "set-var" | "set-var-fmt" | "unset-var" => {
            proxy.check.rules.push(("http-check", "set-var", phrase.at()));
            let reason = format!("'http-check {}': {}", phrase.text(1), VARIABLES.0);
            proxy.refuse(phrase.at(), "http-check", reason, VARIABLES.1);
        }
        _ => {
            let other = phrase.text(1);
            let words = ["send", "expect", "connect", "comment", "disable-on-404", "send-state"];
            let near = hint(other, words);
            let what = "'connect', 'comment', 'disable-on-404', 'expect', 'send', 'send-state'";
            desk.error(phrase.place(1), format!("'http-check' only supports {what} (got '{other}'){near}"));
        }
    }
}

/// A rule of the one sequence. `false`: it begins another one, and the section is refused.
fn begin(proxy: &mut Proxy, phrase: &Phrase<'_>, action: &'static str, follows: &[&str]) -> bool {
    if proxy.check.begin() && action == "send" {
        proxy.check.settings.retain(|setting| !REQUEST.contains(&setting.key));
    }
    let rules = &mut proxy.check.rules;
    let again = rules.iter().any(|(word, before, _)| *word == "http-check" && !follows.contains(before));
    rules.push(("http-check", action, phrase.at()));
    if again {
        let reason = format!("'http-check {action}' begins a second request, and a check of lb has one");
        proxy.refuse(phrase.at(), "http-check", reason, "ask once, or let `option external-check` ask all of it");
    }
    !again
}

/// `http-check connect [port N] …`.
fn connect(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    if !begin(proxy, phrase, "connect", &["set-var"]) {
        return;
    }
    let mut index = 2;
    while index < phrase.words.len() {
        match phrase.text(index) {
            "port" => {
                match integer(phrase.text(index + 1)) {
                    Some(port @ 1..=65535) => proxy.check.settings.set("check.port", port.to_string(), phrase.at()),
                    _ => desk.error(phrase.place(index + 1), NO_PORT),
                }
                index += 1;
            }
            "comment" | "alpn" | "sni" | "proto" => index += 1,
            "default" | "linger" => {}
            word @ ("ssl" | "send-proxy" | "via-socks4" | "addr") => {
                let reason = format!("'http-check connect {word}' is not supported");
                proxy.refuse(phrase.place(index), "http-check", reason, CONNECT_REMEDY);
                index += usize::from(word == "addr");
            }
            other => desk.error(phrase.place(index), format!("'http-check connect' : unknown argument '{other}'.")),
        }
        index += 1;
    }
}

/// `http-check send meth M uri U ver V hdr NAME VALUE body B`.
fn send(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    if !begin(proxy, phrase, "send", &["set-var", "connect", "expect"]) {
        return;
    }
    let (mut index, at) = (2, phrase.at());
    let mut headers = Vec::new();
    while index < phrase.words.len() {
        let (word, value) = (phrase.text(index), phrase.text(index + 1));
        let format = match word {
            "uri-lf" | "body-lf" => constant(value),
            "hdr" => constant(phrase.text(index + 2)),
            _ => Some(value.to_owned()),
        };
        let Some(format) = format else {
            let reason = format!("'http-check send {word}': {}", VARIABLES.0);
            proxy.refuse(phrase.place(index), "http-check", reason, VARIABLES.1);
            return;
        };
        match word {
            "meth" => proxy.check.settings.set("check.method", quoted(value), at),
            "uri" | "uri-lf" => proxy.check.settings.set("check.path", quoted(&format), at),
            "ver" => version(proxy, value, at),
            "body" | "body-lf" => proxy.check.settings.set("check.body", quoted(&format), at),
            "hdr" if format.is_empty() => {
                let what = "'http-check send' : 'hdr' expects <name> and <value> as arguments.";
                desk.error(phrase.place(index), what);
            }
            "hdr" => {
                headers.push((value.to_owned(), format));
                index += 1;
            }
            "comment" => {}
            other => {
                desk.error(phrase.place(index), format!("'http-check send' : unknown argument '{other}'."));
                return;
            }
        }
        index += 2;
    }
    put_headers(proxy, &headers, at);
}

/// HAProxy asks in HTTP/1.0 unless the line says otherwise.
pub(super) fn version(proxy: &mut Proxy, text: &str, at: Spot) {
    let number = if text == "HTTP/1.0" || text.is_empty() { "1.0" } else { "1.1" };
    proxy.check.settings.set("check.version", quoted(number), at);
}

/// Each with its value; a name may stand several times.
pub(super) fn put_headers(proxy: &mut Proxy, headers: &[(String, String)], at: Spot) {
    let host = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    if let Some((_, host)) = host.filter(|(_, host)| !host.is_empty()) {
        proxy.check.settings.set("check.host", quoted(host), at);
    }
    let mut others: Vec<(&str, Vec<String>)> = Vec::new();
    for (name, value) in headers {
        if ["host", "connection", "content-length"].iter().any(|own| name.eq_ignore_ascii_case(own)) {
            continue;
        }
        match others.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(quoted(value)),
            None => others.push((name, vec![quoted(value)])),
        }
    }
    if !others.is_empty() {
        let pair = |(name, values): &(&str, Vec<String>)| match values.as_slice() {
            [only] => format!("{} = {only}", key(name)),
            several => format!("{} = [{}]", key(name), several.join(", ")),
        };
        let pairs: Vec<_> = others.iter().map(pair).collect();
        proxy.check.settings.set("check.headers", format!("{{ {} }}", pairs.join(", ")), at);
    }
}

/// `http-check expect [!] MATCH PATTERN` with options.
fn expect(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    begin(proxy, phrase, "expect", &["set-var", "connect", "send", "expect"]);
    let Some(rule) = ExpectRule::read(proxy, phrase, desk) else {
        return;
    };
    let (kind, pattern) = (rule.matcher.text.as_str(), &rule.pattern.text);
    let (key, value) = match (kind, rule.negated) {
        ("status", false) => ("check.status", pattern.clone()),
        ("status", true) => {
            let codes: Vec<_> = pattern.split(',').map(|code| format!("!{code}")).collect();
            ("check.status", codes.join(","))
        }
        ("rstatus", false) => ("check.status_regex", pattern.clone()),
        ("string", false) => ("check.expect_string", pattern.clone()),
        ("string", true) => ("check.expect_not", pattern.clone()),
        ("rstring", false) => ("check.expect_regex", pattern.clone()),
        ("rstring", true) => ("check.expect_not_regex", pattern.clone()),
        (other, _) => {
            let reason = format!("'http-check expect ! {other}' is not supported");
            proxy.refuse(rule.matcher.at, "http-check", reason, "expect `! status`");
            return;
        }
    };
    // The status stands in one of two keys.
    let same = |other: &str| other == key || (key.starts_with("check.status") && other.starts_with("check.status"));
    if EXPECTED.iter().any(|other| same(other) && proxy.check.settings.get(other).is_some()) {
        let reason = format!("'http-check expect {kind}' stands twice, and a check of lb has one");
        proxy.refuse(rule.matcher.at, "http-check", reason, "write one pattern for all of it, as with `rstring`");
        return;
    }
    proxy.check.settings.set(key, quoted(&value), phrase.at());
}

/// The keys that say what is asked.
pub(super) const REQUEST: [&str; 6] =
    ["check.method", "check.path", "check.version", "check.host", "check.headers", "check.body"];
