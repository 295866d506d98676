//! A line of a section → its row in the tables of words, and what that says of it.

use super::fate::Verdict;
use super::global_plan::GlobalPlan;
use super::known::{Half, KnownWord, Meaning, find, hint};
use super::phrase::{Desk, Phrase, Sign};
use super::proxy::{Doubt, Proxy, ProxyKind};
use super::recognise::SECTIONS;
use super::{check_words, global_words, http_words, log_words, proxy_words, routing_words, stats_words, timeout_words};

/// Whether the sign of a line stands before a word that has none.
fn wrong_sign(phrase: &Phrase<'_>, desk: &mut Desk<'_>) -> bool {
    let wrong = phrase.sign != Sign::Plain && !NEGATED.contains(&phrase.text(0));
    if wrong {
        let what = "negation/default currently supported only for options, log, busy-polling, set-dumpable, \
                    strict-limits, insecure-fork-wanted and numa-cpu-mapping.";
        desk.error(phrase.at(), what);
    }
    wrong
}

pub(super) fn global_line(global: &mut GlobalPlan, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let tables = [global_words::TABLE];
    let first = phrase.text(0);
    if wrong_sign(phrase, desk) {
        return;
    }
    let known = if first == "stats" {
        let two = format!("stats {}", phrase.text(1));
        let known = find(&tables, &two);
        if known.is_none() {
            let what = "'stats' only supports 'socket', 'maxconn', 'bind-process' and 'timeout'";
            desk.error(phrase.place(1), format!("{what} (got '{}')", phrase.text(1)));
            return;
        }
        known
    } else {
        find(&tables, first)
    };
    match known {
        Some(known) => apply(known, global, phrase, desk),
        None => {
            let near = hint(first, global_words::TABLE.iter().map(|known| known.name).chain(SECTIONS));
            desk.error(phrase.at(), format!("unknown keyword '{first}' in 'global' section{near}"));
        }
    }
}

fn apply(known: &'static KnownWord<GlobalPlan>, global: &mut GlobalPlan, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let reason = |reason: &str| format!("'{}': {reason}", known.name.trim_end_matches('*'));
    match known.meaning {
        Meaning::Does(act) => act(global, phrase, desk),
        Meaning::Same => {}
        Meaning::Notice(why, remedy) | Meaning::HttpNotice(why, remedy) => {
            desk.fates.notice(phrase.at(), reason(why), remedy);
        }
        Meaning::Ignored(why, remedy) | Meaning::HttpIgnored(why, remedy) => {
            desk.fates.ignored(phrase.at(), format!("'{}': {why}", phrase.text(0)), remedy);
        }
        Meaning::Refused(why, remedy) | Meaning::HttpRefused(why, remedy) => {
            desk.fates.refused(phrase.at(), reason(why), remedy);
        }
    }
}

/// The tables of words of a proxy.
pub(super) const PROXY_TABLES: [&[KnownWord<Proxy>]; 7] = [
    proxy_words::TABLE,
    timeout_words::TABLE,
    log_words::TABLE,
    check_words::TABLE,
    stats_words::TABLE,
    routing_words::TABLE,
    http_words::TABLE,
];

pub(super) fn proxy_line(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let first = phrase.text(0);
    if wrong_sign(phrase, desk) {
        return;
    }
    let Some(known) = known_word(proxy, phrase, desk) else {
        return;
    };
    if proxy.kind == ProxyKind::Defaults && NOT_IN_DEFAULTS.contains(&first) {
        desk.error(phrase.at(), format!("'{first}' not allowed in 'defaults' section."));
        return;
    }
    let missing = match known.half {
        Half::Front if !proxy.kind.is_front() => Some("frontend"),
        // The handler has its own words for these two.
        Half::Back if !proxy.kind.is_back() && !first.starts_with("server") => Some("backend"),
        _ => None,
    };
    if let Some(capability) = missing {
        let name = if first == "option" { phrase.text(1) } else { first };
        let reason = format!("'{name}' ignored because {} has no {capability} capability.", proxy.shown());
        let remedy = if first == "fullconn" { "maybe you want 'maxconn' instead" } else { "" };
        desk.fates.ignored(phrase.at(), reason, remedy);
        return;
    }
    judge(known, proxy, phrase, desk);
}

fn known_word(proxy: &Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) -> Option<&'static KnownWord<Proxy>> {
    let first = phrase.text(0);
    let names = || PROXY_TABLES.iter().flat_map(|table| table.iter()).map(|known| known.name);
    if first == "option" {
        let option = phrase.text(1);
        let known = find(&PROXY_TABLES, &format!("option {option}"));
        if option.is_empty() {
            desk.error(phrase.at(), "'option' expects an option name.");
        } else if known.is_none() {
            let near = hint(option, names().filter_map(|name| name.strip_prefix("option ")));
            desk.error(phrase.place(1), format!("unknown option '{option}'{near}."));
        }
        return known;
    }
    let known = find(&PROXY_TABLES, first);
    if known.is_none() {
        let near = hint(first, names().filter(|name| !name.contains(' ')).chain(SECTIONS).chain(["option"]));
        let section = proxy.kind.word();
        desk.error(phrase.at(), format!("unknown keyword '{first}' in '{section}' section{near}"));
    }
    known
}

/// Words without a handler are judged when the whole section is known: HAProxy ignores those about HTTP in mode tcp.
fn judge(known: &'static KnownWord<Proxy>, proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let (verdict, why, remedy, http) = match known.meaning {
        Meaning::Does(act) => return act(proxy, phrase, desk),
        Meaning::Same => return,
        Meaning::Notice(why, remedy) => (Verdict::Notice, why, remedy, false),
        Meaning::Ignored(why, remedy) => (Verdict::Ignored, why, remedy, false),
        Meaning::Refused(why, remedy) => (Verdict::Refused, why, remedy, false),
        Meaning::HttpNotice(why, remedy) => (Verdict::Notice, why, remedy, true),
        Meaning::HttpIgnored(why, remedy) => (Verdict::Ignored, why, remedy, true),
        Meaning::HttpRefused(why, remedy) => (Verdict::Refused, why, remedy, true),
    };
    if phrase.sign != Sign::Plain {
        proxy.doubts.retain(|doubt| doubt.word != known.name);
        return;
    }
    let shown =
        if phrase.text(0) == "option" { format!("option {}", phrase.text(1)) } else { phrase.text(0).to_owned() };
    let doubt = Doubt {
        at: phrase.at(),
        word: known.name,
        http,
        verdict,
        reason: format!("'{shown}': {why}"),
        remedy: remedy.to_owned(),
    };
    proxy.doubts.push(doubt);
}

const NEGATED: [&str; 7] =
    ["option", "log", "busy-polling", "set-dumpable", "strict-limits", "insecure-fork-wanted", "numa-cpu-mapping"];
const NOT_IN_DEFAULTS: [&str; 10] = [
    "bind",
    "acl",
    "use_backend",
    "use-server",
    "stick",
    "stick-table",
    "server",
    "server-template",
    "dispatch",
    "filter",
];
