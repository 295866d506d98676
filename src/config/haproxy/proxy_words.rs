//! Words of `defaults`, `frontend`, `backend` and `listen` that are about neither HTTP, logs, checks nor rules.

use super::bind_words;
use super::fate::Verdict;
use super::known::{Half, KnownWord, Meaning};
use super::measure::{integer, seconds};
use super::phrase::{Desk, Phrase, Sign};
use super::proxy::{Proxy, ProxyMode};
use super::server_words;
use super::setting::{duration, quoted};
use super::source_address::{self, ANY_PORT, SourceAddress};
use super::state_file::{LOADS_STATE, LOCAL, STATE_FILE_NAME};

pub(super) const TABLE: &[KnownWord<Proxy>] = &[
    both("mode", Meaning::Does(mode)),
    both("disabled", Meaning::Does(disabled)),
    both("enabled", Meaning::Does(enabled)),
    both("id", Meaning::Same),
    both("guid", Meaning::Same),
    both("description", Meaning::Same),
    both("bind-process", Meaning::Ignored("one process runs all sections", "")),
    front("bind", Meaning::Does(bind_words::bind)),
    front("maxconn", Meaning::Does(maxconn)),
    front("backlog", Meaning::Does(backlog)),
    front("default_backend", Meaning::Does(default_backend)),
    front("rate-limit", Meaning::Does(rate_limit)),
    front("monitor-net", Meaning::Notice("connections from this network are balanced as all others", "")),
    front("grace", Meaning::Ignored("a stop closes the listeners at once", "")),
    back("server", Meaning::Does(server_words::server)),
    back("default-server", Meaning::Does(server_words::default_server)),
    back("server-template", Meaning::Does(server_words::template)),
    back("balance", Meaning::Does(balance)),
    back("hash-type", Meaning::Does(hash_type)),
    back("hash-balance-factor", Meaning::Notice("servers have no bounded load", "`maxconn` of a server bounds it")),
    back("hash-preserve-affinity", Meaning::Ignored("a full server is passed over", "")),
    back("retries", Meaning::Does(retries)),
    back("redispatch", Meaning::Does(redispatch)),
    back("fullconn", Meaning::Does(fullconn)),
    back("source", Meaning::Does(source)),
    back("dispatch", Meaning::Refused("HAProxy 3.5 drops it, and lb never had it", "write `server NAME ADDR:PORT`")),
    back("transparent", Meaning::Refused(CLIENTS_ADDRESS, "write the servers")),
    back("option transparent", Meaning::Refused(CLIENTS_ADDRESS, "write the servers")),
    back("option http_proxy", Meaning::Refused(CLIENTS_ADDRESS, "write the servers")),
    back("option redispatch", Meaning::Does(redispatch)),
    back("option allbackups", Meaning::Does(allbackups)),
    back("option persist", Meaning::Ignored("no session is bound to a server that is DOWN", "")),
    back("option abortonclose", Meaning::Ignored("a session that waits ends with its client anyway", "")),
    back("option prefer-last-server", Meaning::Ignored(NO_REUSE, "")),
    back("option srvtcpka", Meaning::Same),
    front("option clitcpka", Meaning::Same),
    both("option tcpka", Meaning::Same),
    both("option nolinger", Meaning::Ignored("connections close with FIN, and a reset is passed on as a reset", "")),
    both("option splice-auto", Meaning::Same),
    both("option splice-request", Meaning::Same),
    both("option splice-response", Meaning::Same),
    both("option independent-streams", Meaning::Notice(BOTH_WAYS, "")),
    front("option tcp-smart-accept", Meaning::Same),
    back("option tcp-smart-connect", Meaning::Same),
    front("option contstats", Meaning::Same),
    front("option socket-stats", Meaning::Ignored("addresses have no counters of their own", "")),
    front("clitcpka-cnt", Meaning::Ignored(PROBES, "")),
    front("clitcpka-idle", Meaning::Does(keepalive)),
    front("clitcpka-intvl", Meaning::Ignored(PROBES, "")),
    back("srvtcpka-cnt", Meaning::Ignored(PROBES, "")),
    back("srvtcpka-idle", Meaning::Does(keepalive)),
    back("srvtcpka-intvl", Meaning::Ignored(PROBES, "")),
    back("load-server-state-from-file", Meaning::Does(load_state)),
    back("server-state-file-name", Meaning::Does(state_file_name)),
    both("email-alert", Meaning::Does(email_alert)),
];

const fn both(name: &'static str, meaning: Meaning<Proxy>) -> KnownWord<Proxy> {
    KnownWord::new(name, Half::Both, meaning)
}

const fn front(name: &'static str, meaning: Meaning<Proxy>) -> KnownWord<Proxy> {
    KnownWord::new(name, Half::Front, meaning)
}

const fn back(name: &'static str, meaning: Meaning<Proxy>) -> KnownWord<Proxy> {
    KnownWord::new(name, Half::Back, meaning)
}

fn mode(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match phrase.text(1) {
        "tcp" => proxy.mode = ProxyMode::Tcp,
        "http" => proxy.mode = ProxyMode::Http(phrase.at()),
        mode @ ("health" | "log" | "spop") => {
            let remedy = "keep this section in HAProxy";
            proxy.refuse(phrase.place(1), "mode", format!("mode {mode} is no relay of TCP connections"), remedy);
        }
        other => desk.error(phrase.place(1), format!("unknown proxy mode '{other}'.")),
    }
    desk.at_most(phrase, 2);
}

fn disabled(proxy: &mut Proxy, phrase: &Phrase<'_>, _: &mut Desk<'_>) {
    proxy.disabled = Some(phrase.at());
}

fn enabled(proxy: &mut Proxy, _: &Phrase<'_>, _: &mut Desk<'_>) {
    proxy.disabled = None;
}

/// The number behind a word; 0 stands for none, and so does what is below it.
fn number(phrase: &Phrase<'_>, desk: &mut Desk<'_>) -> Option<i64> {
    let (word, text) = (phrase.text(0), phrase.text(1));
    desk.at_most(phrase, 2);
    if text.is_empty() {
        desk.error(phrase.place(1), format!("'{word}' expects an integer argument."));
        return None;
    }
    Some(desk.number(phrase.place(1), word, text).max(0))
}

fn maxconn(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match number(phrase, desk) {
        Some(0) => drop(proxy.front.remove("maxconn")),
        Some(number) => proxy.front.set("maxconn", number.to_string(), phrase.at()),
        None => {}
    }
}

fn backlog(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match number(phrase, desk) {
        Some(0) => drop(proxy.front.remove("backlog")),
        Some(number) => proxy.front.set("backlog", number.to_string(), phrase.at()),
        None => {}
    }
}

fn default_backend(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match phrase.text(1) {
        "" => desk.error(phrase.at(), "'default_backend' expects a backend name."),
        name => proxy.front.set("backend", quoted(name), phrase.at()),
    }
    desk.at_most(phrase, 2);
}

fn rate_limit(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let text = phrase.text(2);
    match (phrase.text(1), integer(text)) {
        ("sessions", Some(0)) => drop(proxy.front.remove("rate_limit")),
        ("sessions", Some(number)) if number > 0 => proxy.front.set("rate_limit", number.to_string(), phrase.at()),
        ("sessions", _) if text.is_empty() => {
            desk.error(phrase.at(), "'rate-limit sessions' expects an integer value (in sessions per second)");
        }
        ("sessions", _) => {
            let c = text.chars().find(|c| !c.is_ascii_digit()).unwrap_or('-');
            let reason = format!("'rate-limit sessions' : unexpected character '{c}' in integer value '{text}'");
            desk.error(phrase.place(2), reason);
        }
        (other, _) => desk.error(phrase.place(1), format!("'rate-limit' only supports 'sessions' (got '{other}')")),
    }
}

fn balance(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let (word, at) = (phrase.text(1), phrase.at());
    proxy.back.remove("random_draws");
    proxy.doubts.retain(|doubt| doubt.word != "balance");
    match word.split_once('(').unwrap_or((word, "")) {
        ("", _) => proxy.back.set("balance", quoted("roundrobin"), at),
        ("roundrobin" | "static-rr" | "leastconn" | "source" | "first", "") => {
            proxy.back.set("balance", quoted(word), at);
        }
        ("random", draws) => {
            let draws = draws.strip_suffix(')').unwrap_or(draws);
            match integer(draws) {
                _ if draws.is_empty() => {}
                Some(number) if number > 0 => proxy.back.set("random_draws", number.to_string(), at),
                _ => {
                    let c = draws.chars().find(|c| !c.is_ascii_digit()).unwrap_or('0');
                    desk.error(phrase.place(1), format!("balance random : unexpected character '{c}' after argument."));
                }
            }
            proxy.back.set("balance", quoted("random"), at);
        }
        ("hash", "") if phrase.text(2) == "src" => proxy.back.set("balance", quoted("source"), at),
        ("hash" | "rdp-cookie" | "sticky" | "log-hash", _) => {
            let reason = format!("'balance {word}' chooses by what the connection carries");
            proxy.refuse(phrase.place(1), "balance", reason, BY_ADDRESS);
        }
        ("uri" | "url_param" | "hdr", _) => {
            let reason = format!("'balance {word}' chooses by what an HTTP request says");
            proxy.back.set("balance", quoted("roundrobin"), at);
            proxy.refuse(phrase.place(1), "balance", reason, BY_ADDRESS);
            // HAProxy falls back to roundrobin in mode tcp.
            if let Some(doubt) = proxy.doubts.last_mut() {
                doubt.http = true;
            }
        }
        _ => {
            let reason = "balance only supports 'roundrobin', 'static-rr', 'leastconn', 'source', 'uri', 'url_param', \
                          'hdr(name)' and 'rdp-cookie(name)' options";
            let words = ["roundrobin", "static-rr", "leastconn", "source", "first", "random"];
            desk.error(phrase.place(1), format!("{reason}{}", super::known::hint(word, words)));
        }
    }
}

fn hash_type(_: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match phrase.text(1) {
        "consistent" => {}
        "map-based" => {
            let reason = "lb's hash is always consistent: when a server comes or goes, fewer clients change theirs";
            desk.fates.ignored(phrase.at(), reason, "");
        }
        _ => desk.error(phrase.place(1), "'hash-type' only supports 'consistent' and 'map-based'."),
    }
}

fn retries(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match integer(phrase.text(1)).filter(|number| *number >= 0) {
        Some(number) => proxy.back.set("retries", number.min(MOST_RETRIES).to_string(), phrase.at()),
        None => desk.error(phrase.place(1), "'retries' expects an integer argument (dispatch counts for one)."),
    }
    desk.at_most(phrase, 2);
}

/// `option redispatch [n]`, and `redispatch` as HAProxy 1.4 had it.
fn redispatch(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let old = phrase.text(0) == "redispatch";
    match phrase.sign {
        Sign::Plain => proxy.back.set("redispatch", "true", phrase.at()),
        Sign::No | Sign::Default => drop(proxy.back.remove("redispatch")),
    }
    if old {
        let reason = "keyword 'redispatch' directive is not supported anymore since HAProxy 2.1";
        desk.fates.notice(phrase.at(), reason, "write `option redispatch`");
    }
    let text = phrase.text(2);
    if old || text.is_empty() || phrase.sign != Sign::Plain {
        return;
    }
    match desk.number(phrase.place(2), "option redispatch", text) {
        0 => drop(proxy.back.remove("redispatch")),
        1 => {}
        _ => {
            let reason = format!("'option redispatch {text}': every retry may go to another server");
            desk.fates.notice(phrase.place(2), reason, "");
        }
    }
}

fn allbackups(proxy: &mut Proxy, phrase: &Phrase<'_>, _: &mut Desk<'_>) {
    match phrase.sign {
        Sign::Plain => proxy.back.set("allbackups", "true", phrase.at()),
        Sign::No | Sign::Default => drop(proxy.back.remove("allbackups")),
    }
}

fn fullconn(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match number(phrase, desk) {
        Some(0) => drop(proxy.back.remove("fullconn")),
        Some(number) => proxy.back.set("fullconn", number.to_string(), phrase.at()),
        None => {}
    }
}

fn source(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let text = desk.environment.in_address(phrase.text(1));
    match source_address::read(&text) {
        Ok(SourceAddress { ip, port: None }) => proxy.back.set("source", quoted(&ip), phrase.at()),
        Ok(SourceAddress { port: Some(port), .. }) if port.contains(['-', '+']) => {
            let what = if port.starts_with(['-', '+']) { "offset" } else { "range" };
            desk.error(phrase.place(1), format!("'source {text}' : port {what} not permitted here in '{text}'"));
        }
        Ok(_) => proxy.refuse(phrase.place(1), "source", format!("'source {text}': {ANY_PORT}"), "leave the port out"),
        Err(reason) => desk.error(phrase.place(1), format!("'source' : {reason}")),
    }
    match phrase.text(2) {
        "" => {}
        "usesrc" => {
            let remedy = "`send-proxy` tells the server the client's address";
            proxy.refuse(phrase.place(2), "source", "lb connects with its own addresses", remedy);
        }
        "interface" => {
            proxy.refuse(phrase.place(2), "source", "connects are not bound to an interface", "write its address");
        }
        other => desk.error(phrase.place(2), format!("'source' cannot handle unexpected argument '{other}'.")),
    }
}

fn keepalive(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match seconds(phrase.text(1)) {
        Ok(ms @ 1_000..=32_767_000) => proxy.back.set("keepalive", duration(ms), phrase.at()),
        Ok(_) => desk.error(phrase.place(1), format!("'{}' expects a time from 1s to 9h.", phrase.text(0))),
        Err(error) => desk.error(phrase.place(1), format!("{error} in '{}'.", phrase.text(0))),
    }
}

fn email_alert(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let (verdict, remedy) = match phrase.text(1) {
        "mailers" => (Verdict::Notice, "changes of state are logged"),
        "from" | "to" | "level" | "myhostname" => (Verdict::Ignored, ""),
        other => {
            desk.error(phrase.place(1), format!("email-alert: unknown argument '{other}'."));
            return;
        }
    };
    let reason = format!("'email-alert {}': lb sends no mail", phrase.text(1));
    proxy.doubt(verdict, phrase.at(), "email-alert", reason, remedy);
}

fn load_state(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match phrase.text(1) {
        loads @ ("global" | LOCAL) => proxy.back.set(LOADS_STATE, loads, phrase.at()),
        "none" => drop(proxy.back.remove(LOADS_STATE)),
        other => {
            let what = "'load-server-state-from-file' expects 'global', 'local' or 'none'";
            desk.error(phrase.place(1), format!("{what} (got '{other}')."));
        }
    }
}

fn state_file_name(proxy: &mut Proxy, phrase: &Phrase<'_>, _: &mut Desk<'_>) {
    let name = Some(phrase.text(1)).filter(|name| *name != "use-backend-name");
    proxy.back.set(STATE_FILE_NAME, name.unwrap_or_default(), phrase.at());
}

const MOST_RETRIES: i64 = 100;
const CLIENTS_ADDRESS: &str = "lb does not connect to the address that the client called";
const BOTH_WAYS: &str = "data in either direction keeps a session alive";
const NO_REUSE: &str = "each session has its own connection to the server";
const PROBES: &str = "the kernel's number and interval of probes hold";
const BY_ADDRESS: &str = "`balance source` chooses by the client's address";
