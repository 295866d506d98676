//! What a check asks: the options that choose its kind, `http-check` and `external-check`.

use super::fate::Verdict;
use super::http_check;
use super::known::{Half, KnownWord, Meaning};
use super::phrase::{Desk, Phrase, Sign};
use super::proxy::Proxy;
use super::setting::quoted;
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
    row("http-check", Meaning::Does(http_check::rule)),
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
            ("user", user) if !user.is_empty() => {
                settings.set("check.user", quoted(user), at);
                if *kind == "mysql" { mysql_version(proxy, phrase, desk) } else { desk.at_most(phrase, 4) }
            }
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

/// `option mysql-check user NAME [pre-41|post-41]`
fn mysql_version(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match phrase.text(4) {
        "" | "post-41" => {}
        "pre-41" => {
            let reason = "'option mysql-check … pre-41': lb logs in as clients of MySQL 4.1 and later do";
            proxy.doubt(Verdict::Notice, phrase.place(4), "option mysql-check", reason, "");
        }
        other => {
            let what = format!("keyword 'user' only supports 'post-41' and 'pre-41' (got '{other}').");
            desk.error(phrase.place(4), what);
        }
    }
    desk.at_most(phrase, 5);
}

/// `option httpchk [METHOD] [URI [VERSION]]`. The version may carry headers, as before HAProxy 2.2.
fn httpchk(proxy: &mut Proxy, phrase: &Phrase<'_>, _: &mut Desk<'_>) {
    if !choose(proxy, phrase, "http") {
        return;
    }
    let at = phrase.at();
    proxy.check.begin();
    proxy.check.settings.retain(|setting| !http_check::REQUEST.contains(&setting.key));
    let (method, path) = match (phrase.text(2), phrase.text(3)) {
        ("", _) => ("OPTIONS", "/"),
        (path, "") => ("OPTIONS", path),
        (method, path) => (method, path),
    };
    proxy.check.settings.set("check.method", quoted(method), at);
    proxy.check.settings.set("check.path", quoted(path), at);
    let rest = phrase.joined(4);
    let mut lines = rest.split("\r\n");
    http_check::version(proxy, lines.next().unwrap_or_default(), at);
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers: Vec<_> = headers.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect();
    http_check::put_headers(proxy, &headers, at);
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
