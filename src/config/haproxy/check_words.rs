//! What a check asks: the options that choose its kind, `http-check` and `external-check`.

use super::fate::Verdict;
use super::known::{Half, KnownWord, Meaning, hint};
use super::measure::integer;
use super::phrase::{Desk, Phrase, Sign};
use super::proxy::Proxy;
use super::setting::quoted;
use super::spot::Spot;
use super::tcp_check;

pub(super) const TABLE: &[KnownWord<Proxy>] = &[
    row("option httpchk", Meaning::Does(httpchk)),
    row("option tcp-check", Meaning::Does(kind)),
    row("option mysql-check", Meaning::Does(kind)),
    row("option pgsql-check", Meaning::Does(kind)),
    row("option redis-check", Meaning::Does(kind)),
    row("option smtpchk", Meaning::Does(kind)),
    row("option ldap-check", Meaning::Does(kind)),
    row("option ssl-hello-chk", Meaning::Does(kind)),
    row("option external-check", Meaning::Does(kind)),
    row("option spop-check", Meaning::Notice("servers are checked by a connect: lb speaks no SPOP", "")),
    row("tcp-check", Meaning::Does(tcp_check::rule)),
    row("http-check", Meaning::Does(http_check)),
    row("external-check", Meaning::Does(external)),
];

const fn row(name: &'static str, meaning: Meaning<Proxy>) -> KnownWord<Proxy> {
    KnownWord::new(name, Half::Back, meaning)
}

/// The option, and the `type` of a check in TOML.
const KINDS: [(&str, &str); 8] = [
    ("tcp-check", "script"),
    ("mysql-check", "mysql"),
    ("pgsql-check", "pgsql"),
    ("redis-check", "redis"),
    ("smtpchk", "smtp"),
    ("ldap-check", "ldap"),
    ("ssl-hello-chk", "ssl-hello"),
    ("external-check", "external"),
];

/// Begins another kind of check. `false`: the option is switched off.
fn choose(proxy: &mut Proxy, phrase: &Phrase<'_>, kind: &'static str) -> bool {
    let chosen = proxy.check.kind.is_some_and(|(chosen, _)| chosen == kind);
    if phrase.sign != Sign::Plain {
        if chosen {
            proxy.check.kind = None;
        }
        return false;
    }
    proxy.check.kind = Some((kind, phrase.at()));
    true
}

fn kind(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let Some((_, kind)) = KINDS.iter().find(|(word, _)| *word == phrase.text(1)) else {
        return;
    };
    if !choose(proxy, phrase, kind) {
        return;
    }
    let (at, settings) = (phrase.at(), &mut proxy.check.settings);
    match *kind {
        "mysql" | "pgsql" => match (phrase.text(2), phrase.text(3)) {
            ("", _) if *kind == "mysql" => drop(settings.remove("check.user")),
            ("user", user) if !user.is_empty() => settings.set("check.user", quoted(user), at),
            ("user", _) => desk.error(phrase.place(2), format!("'{}' expects a username as argument.", phrase.text(1))),
            (other, _) => desk.error(
                phrase.place(2),
                format!("'{}' only supports optional values: 'user' (got '{other}').", phrase.text(1)),
            ),
        },
        "smtp" if !phrase.text(2).is_empty() => {
            let hello = match (phrase.text(2), phrase.text(3)) {
                (word @ ("HELO" | "EHLO"), domain) if !domain.is_empty() => format!("{word} {domain}"),
                _ => "HELO localhost".to_owned(),
            };
            settings.set("check.hello", quoted(&hello), at);
        }
        "smtp" => drop(settings.remove("check.hello")),
        _ => desk.at_most(phrase, 2),
    }
}

/// `option httpchk [METHOD] [URI [VERSION]]`. The version may carry headers, as before HAProxy 2.2.
fn httpchk(proxy: &mut Proxy, phrase: &Phrase<'_>, _: &mut Desk<'_>) {
    if !choose(proxy, phrase, "http") {
        return;
    }
    let at = phrase.at();
    proxy.check.begin();
    proxy.check.settings.retain(|setting| !REQUEST.contains(&setting.key));
    let (method, path) = match (phrase.text(2), phrase.text(3)) {
        ("", _) => ("OPTIONS", "/"),
        (path, "") => ("OPTIONS", path),
        (method, path) => (method, path),
    };
    proxy.check.settings.set("check.method", quoted(method), at);
    proxy.check.settings.set("check.path", quoted(path), at);
    let rest = phrase.joined(4);
    let mut lines = rest.split("\r\n");
    version(proxy, lines.next().unwrap_or_default(), at);
    let headers: Vec<_> =
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name.trim(), value.trim())).collect();
    put_headers(proxy, &headers, at);
}

/// HAProxy asks in HTTP/1.0 unless the line says otherwise.
fn version(proxy: &mut Proxy, text: &str, at: Spot) {
    let number = if text == "HTTP/1.0" || text.is_empty() { "1.0" } else { "1.1" };
    proxy.check.settings.set("check.version", quoted(number), at);
}

fn put_headers(proxy: &mut Proxy, headers: &[(&str, &str)], at: Spot) {
    let host = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host"));
    if let Some((_, host)) = host.filter(|(_, host)| !host.is_empty()) {
        proxy.check.settings.set("check.host", quoted(host), at);
    }
    let mut others: Vec<&(&str, &str)> = Vec::new();
    for header in headers {
        let own = ["host", "connection", "content-length"].iter().any(|own| header.0.eq_ignore_ascii_case(own));
        if !own && !others.iter().any(|(name, _)| *name == header.0) {
            others.push(header);
        }
    }
    if !others.is_empty() {
        let pairs: Vec<_> =
            others.iter().map(|(name, value)| format!("{} = {}", super::setting::key(name), quoted(value))).collect();
        proxy.check.settings.set("check.headers", format!("{{ {} }}", pairs.join(", ")), at);
    }
}

fn http_check(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match phrase.text(1) {
        "send" => send(proxy, phrase, desk),
        "expect" => expect(proxy, phrase, desk),
        "comment" | "send-state" => {}
        "connect" => connect(proxy, phrase, desk),
        "disable-on-404" => {
            let reason = "'http-check disable-on-404': a server that answers 404 is DOWN, it does not drain";
            proxy.doubt(Verdict::Notice, phrase.at(), "http-check", reason, "`lb server drain` drains it");
        }
        "set-var" | "set-var-fmt" | "unset-var" => {
            proxy.refuse(phrase.at(), "http-check", "checks of lb have no variables", "write the value");
        }
        other => {
            let words = ["send", "expect", "connect", "comment", "disable-on-404", "send-state"];
            let near = hint(other, words);
            let what = "'connect', 'comment', 'disable-on-404', 'expect', 'send', 'send-state'";
            desk.error(phrase.place(1), format!("'http-check' only supports {what} (got '{other}').{near}"));
        }
    }
}

/// `http-check connect [port N] …`.
fn connect(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    proxy.check.begin();
    let mut index = 2;
    while index < phrase.words.len() {
        match phrase.text(index) {
            "port" => {
                match integer(phrase.text(index + 1)) {
                    Some(port @ 1..=65535) => proxy.check.settings.set("check.port", port.to_string(), phrase.at()),
                    _ => desk.error(phrase.place(index + 1), tcp_check::NO_PORT),
                }
                index += 1;
            }
            "comment" | "alpn" | "sni" | "proto" => index += 1,
            "default" | "linger" => {}
            word @ ("ssl" | "send-proxy" | "via-socks4" | "addr") => {
                let reason = format!("'http-check connect {word}' is not supported");
                proxy.refuse(phrase.place(index), "http-check", reason, tcp_check::CONNECT_REMEDY);
                index += usize::from(word == "addr");
            }
            other => desk.error(phrase.place(index), format!("'http-check connect' : unknown argument '{other}'.")),
        }
        index += 1;
    }
}

/// `http-check send meth M uri U ver V hdr NAME VALUE body B`.
fn send(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let (mut index, at) = (2, phrase.at());
    if proxy.check.begin() {
        proxy.check.settings.retain(|setting| !REQUEST.contains(&setting.key));
    }
    let mut headers = Vec::new();
    while index < phrase.words.len() {
        let value = phrase.text(index + 1);
        match phrase.text(index) {
            "meth" => proxy.check.settings.set("check.method", quoted(value), at),
            "uri" | "uri-lf" => proxy.check.settings.set("check.path", quoted(value), at),
            "ver" => version(proxy, value, at),
            "body" | "body-lf" => proxy.check.settings.set("check.body", quoted(value), at),
            "hdr" => {
                headers.push((value, phrase.text(index + 2)));
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

/// `http-check expect [OPTIONS] [!] MATCH PATTERN`.
fn expect(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let Some((negated, matcher, pattern)) = tcp_check::expectation(phrase, desk) else {
        return;
    };
    proxy.check.begin();
    let settings = &mut proxy.check.settings;
    let key = match (matcher.text.as_str(), negated) {
        ("status", false) => "check.status",
        ("status", true) => {
            let codes: Vec<_> = pattern.text.split(',').map(|code| format!("!{code}")).collect();
            settings.remove("check.status_regex");
            settings.set("check.status", quoted(&codes.join(",")), phrase.at());
            return;
        }
        ("rstatus", false) => "check.status_regex",
        ("string", false) => "check.expect_string",
        ("string", true) => "check.expect_not",
        ("rstring", false) => "check.expect_regex",
        ("rstring", true) => "check.expect_not_regex",
        (other, _) => {
            let reason = format!("'http-check expect {}{other}' is not supported", if negated { "! " } else { "" });
            let remedy = "expect `status`, `rstatus`, `string` or `rstring`";
            proxy.refuse(matcher.at, "http-check", reason, remedy);
            return;
        }
    };
    // A status stands in one of two keys.
    if let Some(other) = [("check.status", "check.status_regex"), ("check.status_regex", "check.status")]
        .into_iter()
        .find_map(|(one, other)| (key == one).then_some(other))
    {
        settings.remove(other);
    }
    settings.set(key, quoted(&pattern.text), phrase.at());
}

fn external(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match (phrase.text(1), phrase.text(2)) {
        ("command", path) if !path.is_empty() => {
            proxy.check.settings.set("check.command", quoted(path), phrase.at());
        }
        ("path", path) if !path.is_empty() => proxy.check.settings.set("check.env_path", quoted(path), phrase.at()),
        _ => desk.error(phrase.place(1), "'external-check' expects 'command' or 'path' and a value."),
    }
}

/// The keys that say what is asked.
const REQUEST: [&str; 6] = ["check.method", "check.path", "check.version", "check.host", "check.headers", "check.body"];
