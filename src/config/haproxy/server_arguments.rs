//! The words behind the address of a `server`, and of a `default-server`.

use super::argument::{ArgumentMeaning, KnownArgument};
use super::phrase::{Desk, Phrase};
use super::setting::{Settings, duration, quoted};
use super::source_address::{self, SourceAddress};

/// Marks a server that has no port of its own; no key of TOML.
pub(super) const NO_PORT: &str = "-no-port";

/// Marks a server whose checks begin with TLS; no key of TOML.
pub(super) const CHECK_TLS: &str = "-check-tls";

/// Marks a server whose checks begin with the PROXY header whatever their port; no key of TOML.
pub(super) const CHECK_PROXY: &str = "-check-proxy";

/// Marks a server whose connects are to come from a port; no key of TOML.
pub(super) const SOURCE_PORT: &str = "-source-port";

pub(super) const ARGUMENTS: &[KnownArgument] = &[
    arg("check", 0, ArgumentMeaning::Flag("check")),
    arg("no-check", 0, ArgumentMeaning::Unset(&["check"])),
    arg("inter", 1, ArgumentMeaning::Time("check.inter")),
    arg("fastinter", 1, ArgumentMeaning::Time("check.fastinter")),
    arg("downinter", 1, ArgumentMeaning::Time("check.downinter")),
    arg("rise", 1, ArgumentMeaning::Number("check.rise", 1, 1000)),
    arg("fall", 1, ArgumentMeaning::Number("check.fall", 1, 1000)),
    arg("port", 1, ArgumentMeaning::Port("check.port")),
    arg("addr", 1, ArgumentMeaning::Does(check_addr)),
    arg("init-state", 1, ArgumentMeaning::Does(init_state)),
    arg("check-send-proxy", 0, ArgumentMeaning::Flag(CHECK_PROXY)),
    arg("no-check-send-proxy", 0, ArgumentMeaning::Unset(&[CHECK_PROXY])),
    arg("check-ssl", 0, ArgumentMeaning::Does(check_tls)),
    arg("no-check-ssl", 0, ArgumentMeaning::Unset(&[CHECK_TLS])),
    arg("weight", 1, ArgumentMeaning::Number("weight", 0, 256)),
    arg("maxconn", 1, ArgumentMeaning::Does(limit)),
    arg("minconn", 1, ArgumentMeaning::Does(limit)),
    arg("maxqueue", 1, ArgumentMeaning::Notice("the servers of a backend share one queue, which is bounded", "")),
    arg("backup", 0, ArgumentMeaning::Flag("backup")),
    arg("no-backup", 0, ArgumentMeaning::Unset(&["backup"])),
    arg("disabled", 0, ArgumentMeaning::Flag("disabled")),
    arg("enabled", 0, ArgumentMeaning::Unset(&["disabled"])),
    arg("slowstart", 1, ArgumentMeaning::Does(slowstart)),
    arg("observe", 1, ArgumentMeaning::Does(observe)),
    arg("error-limit", 1, ArgumentMeaning::Number("error_limit", 1, 1_000_000)),
    arg("on-error", 1, ArgumentMeaning::Does(on_error)),
    arg("on-marked-down", 1, ArgumentMeaning::Does(on_marked_down)),
    arg("on-marked-up", 1, ArgumentMeaning::Does(on_marked_up)),
    arg("track", 1, ArgumentMeaning::Text("track")),
    arg("agent-check", 0, ArgumentMeaning::Flag("agent")),
    arg("no-agent-check", 0, ArgumentMeaning::Unset(&["agent"])),
    arg("agent-port", 1, ArgumentMeaning::Port("agent.port")),
    arg("agent-addr", 1, ArgumentMeaning::Text("agent.addr")),
    arg("agent-inter", 1, ArgumentMeaning::Time("agent.inter")),
    arg("agent-send", 1, ArgumentMeaning::Text("agent.send")),
    arg("send-proxy", 0, ArgumentMeaning::Does(send_proxy)),
    arg("send-proxy-v2", 0, ArgumentMeaning::Does(send_proxy)),
    arg("send-proxy-v2-ssl", 0, ArgumentMeaning::Does(send_proxy)),
    arg("send-proxy-v2-ssl-cn", 0, ArgumentMeaning::Does(send_proxy)),
    arg("no-send-proxy", 0, ArgumentMeaning::Unset(&["send_proxy"])),
    arg("no-send-proxy-v2", 0, ArgumentMeaning::Unset(&["send_proxy"])),
    arg("no-send-proxy-v2-ssl", 0, ArgumentMeaning::Unset(&["send_proxy"])),
    arg("no-send-proxy-v2-ssl-cn", 0, ArgumentMeaning::Unset(&["send_proxy"])),
    arg("proxy-v2-options", 1, ArgumentMeaning::Notice("the header carries the addresses only", "")),
    arg("set-proxy-v2-tlv-fmt", 1, ArgumentMeaning::Notice("the header carries the addresses only", "")),
    arg("source", 1, ArgumentMeaning::Does(source)),
    arg("usesrc", 1, ArgumentMeaning::Refused(AS_CLIENT, "`send-proxy` tells the server the client's address")),
    arg("interface", 1, ArgumentMeaning::Refused("connects are not bound to an interface", "`source ADDRESS`")),
    arg("init-addr", 1, ArgumentMeaning::Does(init_addr)),
    arg("resolvers", 1, ArgumentMeaning::Text("resolvers")),
    arg("resolve-prefer", 1, ArgumentMeaning::Does(prefer)),
    arg("resolve-opts", 1, ArgumentMeaning::Ignored("an address stays as long as the name has it", "")),
    arg("resolve-net", 1, ArgumentMeaning::Ignored("any address of the name is taken", "")),
    arg("id", 1, ArgumentMeaning::Same),
    arg("guid", 1, ArgumentMeaning::Same),
    arg("cookie", 1, ArgumentMeaning::Ignored(COOKIE, "")),
    arg("tfo", 0, ArgumentMeaning::Ignored(FAST_OPEN, "")),
    arg("no-tfo", 0, ArgumentMeaning::Same),
    arg("tcp-ut", 1, ArgumentMeaning::Ignored("unacknowledged data ends a session after `user_timeout`, 60 s", "")),
    arg("non-stick", 0, ArgumentMeaning::Same),
    arg("stick", 0, ArgumentMeaning::Same),
    arg("shard", 1, ArgumentMeaning::Same),
    arg("log-proto", 1, ArgumentMeaning::Same),
    arg("log-bufsize", 1, ArgumentMeaning::Same),
    arg("hash-key", 1, ArgumentMeaning::Ignored("the hash is of the server's address", "")),
    arg("redir", 1, ArgumentMeaning::Refused("it redirects HTTP requests", "keep this section in HAProxy")),
    arg("proto", 1, ArgumentMeaning::Ignored(ANY_PROTOCOL, "")),
    arg("ws", 1, ArgumentMeaning::Ignored(ANY_PROTOCOL, "")),
    arg("check-proto", 1, ArgumentMeaning::Ignored("checks speak the protocol of their type", "")),
    arg("pool-low-conn", 1, ArgumentMeaning::Ignored(NO_REUSE, "")),
    arg("pool-max-conn", 1, ArgumentMeaning::Ignored(NO_REUSE, "")),
    arg("pool-purge-delay", 1, ArgumentMeaning::Ignored(NO_REUSE, "")),
    arg("max-reuse", 1, ArgumentMeaning::Ignored(NO_REUSE, "")),
    arg("idle-ping", 1, ArgumentMeaning::Ignored(NO_REUSE, "")),
    arg("namespace", 1, ArgumentMeaning::Refused("lb connects from its own network namespace", "run an lb there")),
    arg("socks4", 1, ArgumentMeaning::Refused("lb connects directly, through no SOCKS proxy", "")),
    arg("check-via-socks4", 0, ArgumentMeaning::Refused("lb connects directly, through no SOCKS proxy", "")),
    arg("ssl", 0, ArgumentMeaning::Refused("TLS would begin here, and lb begins none", "let the clients speak TLS")),
    arg("no-ssl", 0, ArgumentMeaning::Same),
    arg("ssl-reuse", 0, ArgumentMeaning::Same),
    arg("no-ssl-reuse", 0, ArgumentMeaning::Same),
    arg("renegotiate", 0, ArgumentMeaning::Same),
    arg("no-renegotiate", 0, ArgumentMeaning::Same),
    arg("verify", 1, ArgumentMeaning::Same),
    arg("verifyhost", 1, ArgumentMeaning::Same),
    arg("sni", 1, ArgumentMeaning::Same),
    arg("check-sni", 1, ArgumentMeaning::Same),
    arg("alpn", 1, ArgumentMeaning::Same),
    arg("npn", 1, ArgumentMeaning::Same),
    arg("check-alpn", 1, ArgumentMeaning::Same),
    arg("ca-file", 1, ArgumentMeaning::Same),
    arg("crl-file", 1, ArgumentMeaning::Same),
    arg("crt", 1, ArgumentMeaning::Same),
    arg("ciphers", 1, ArgumentMeaning::Same),
    arg("ciphersuites", 1, ArgumentMeaning::Same),
    arg("sigalgs", 1, ArgumentMeaning::Same),
    arg("client-sigalgs", 1, ArgumentMeaning::Same),
    arg("curves", 1, ArgumentMeaning::Same),
    arg("ssl-min-ver", 1, ArgumentMeaning::Same),
    arg("ssl-max-ver", 1, ArgumentMeaning::Same),
    arg("force-sslv3", 0, ArgumentMeaning::Same),
    arg("force-tlsv10", 0, ArgumentMeaning::Same),
    arg("force-tlsv11", 0, ArgumentMeaning::Same),
    arg("force-tlsv12", 0, ArgumentMeaning::Same),
    arg("force-tlsv13", 0, ArgumentMeaning::Same),
    arg("no-sslv3", 0, ArgumentMeaning::Same),
    arg("no-tlsv10", 0, ArgumentMeaning::Same),
    arg("no-tlsv11", 0, ArgumentMeaning::Same),
    arg("no-tlsv12", 0, ArgumentMeaning::Same),
    arg("no-tlsv13", 0, ArgumentMeaning::Same),
    arg("tls-tickets", 0, ArgumentMeaning::Same),
    arg("no-tls-tickets", 0, ArgumentMeaning::Same),
    arg("allow-0rtt", 0, ArgumentMeaning::Same),
];

const fn arg(name: &'static str, takes: usize, meaning: ArgumentMeaning) -> KnownArgument {
    KnownArgument::new(name, takes, meaning)
}

/// What is below 0 is no limit either: HAProxy compares without a sign.
fn limit(settings: &mut Settings, phrase: &Phrase<'_>, index: usize, desk: &mut Desk<'_>) {
    let key = if phrase.text(index) == "maxconn" { "maxconn" } else { "minconn" };
    match desk.number(phrase.place(index + 1), key, phrase.text(index + 1)) {
        number if number > 0 => settings.set(key, number.to_string(), phrase.place(index)),
        _ => drop(settings.remove(key)),
    }
}

fn init_addr(_: &mut Settings, phrase: &Phrase<'_>, index: usize, desk: &mut Desk<'_>) {
    for method in phrase.text(index + 1).split(',').filter(|method| !["last", "libc", "none"].contains(method)) {
        if method.parse::<std::net::IpAddr>().is_ok() {
            let reason = format!("'init-addr': a name without an address is looked up again, and {method} is not used");
            desk.fates.notice(phrase.place(index), reason, "write that address instead of the name");
        } else {
            let what = "supported methods are 'libc', 'last', 'none'";
            let reason = format!("'init-addr' : unknown init-addr method '{method}', {what}.");
            desk.error(phrase.place(index + 1), reason);
        }
    }
}

fn check_addr(settings: &mut Settings, phrase: &Phrase<'_>, index: usize, desk: &mut Desk<'_>) {
    let text = desk.environment.in_address(phrase.text(index + 1));
    let bare = text.trim_start_matches("ipv4@").trim_start_matches("ipv6@").trim_matches(['[', ']']);
    match bare.parse::<std::net::IpAddr>() {
        Ok(ip) => settings.set("check.addr", quoted(&ip.to_string()), phrase.place(index)),
        Err(_) => desk.error(phrase.place(index + 1), format!("'addr' expects an IP address (got '{text}').")),
    }
}

fn init_state(settings: &mut Settings, phrase: &Phrase<'_>, index: usize, desk: &mut Desk<'_>) {
    let words =
        [("up", "up"), ("fully-up", "fully-up"), ("down", "down"), ("fully-down", "fully-down"), ("none", "up")];
    one_of(settings, "check.init_state", &words, phrase, index, desk);
}

fn check_tls(settings: &mut Settings, phrase: &Phrase<'_>, index: usize, _: &mut Desk<'_>) {
    settings.set(CHECK_TLS, "true", phrase.place(index));
}

fn slowstart(settings: &mut Settings, phrase: &Phrase<'_>, index: usize, desk: &mut Desk<'_>) {
    match desk.time(phrase.place(index + 1), phrase.text(index + 1)) {
        Ok(0) => drop(settings.remove("slowstart")),
        Ok(ms) => settings.set("slowstart", duration(ms), phrase.place(index)),
        Err(error) => desk.error(phrase.place(index + 1), format!("{error} in 'slowstart' argument.")),
    }
}

fn observe(settings: &mut Settings, phrase: &Phrase<'_>, index: usize, desk: &mut Desk<'_>) {
    let words = [("none", "none"), ("layer4", "layer4"), ("layer7", "layer4")];
    one_of(settings, "observe", &words, phrase, index, desk);
    if phrase.text(index + 1) == "layer7" {
        let reason = "'observe layer7' is taken as `observe layer4`: lb reads no answers";
        desk.fates.notice(phrase.place(index), reason, "");
    }
}

fn on_error(settings: &mut Settings, phrase: &Phrase<'_>, index: usize, desk: &mut Desk<'_>) {
    let words = ["fastinter", "fail-check", "sudden-death", "mark-down"].map(|word| (word, word));
    one_of(settings, "on_error", &words, phrase, index, desk);
}

fn on_marked_down(settings: &mut Settings, phrase: &Phrase<'_>, index: usize, desk: &mut Desk<'_>) {
    let words = [("shutdown-sessions", "shutdown-sessions")];
    one_of(settings, "on_marked_down", &words, phrase, index, desk);
}

fn on_marked_up(settings: &mut Settings, phrase: &Phrase<'_>, index: usize, desk: &mut Desk<'_>) {
    let words = [("shutdown-backup-sessions", "shutdown-backup-sessions")];
    one_of(settings, "on_marked_up", &words, phrase, index, desk);
}

fn prefer(settings: &mut Settings, phrase: &Phrase<'_>, index: usize, desk: &mut Desk<'_>) {
    one_of(settings, "resolve_prefer", &[("ipv4", "ipv4"), ("ipv6", "ipv6")], phrase, index, desk);
}

/// A key with one of a few words; each is HAProxy's and ours.
fn one_of(
    settings: &mut Settings,
    key: &'static str,
    words: &[(&str, &str)],
    phrase: &Phrase<'_>,
    index: usize,
    desk: &mut Desk<'_>,
) {
    let text = phrase.text(index + 1);
    match words.iter().find(|(word, _)| *word == text) {
        Some((_, ours)) => settings.set(key, quoted(ours), phrase.place(index)),
        None => {
            let known: Vec<_> = words.iter().map(|(word, _)| format!("'{word}'")).collect();
            let expected = if known.len() == 1 { known.join("") } else { format!("one of {}", known.join(", ")) };
            let reason = format!("'{}' expects {expected} but got '{text}'.", phrase.text(index));
            desk.error(phrase.place(index + 1), reason);
        }
    }
}

fn send_proxy(settings: &mut Settings, phrase: &Phrase<'_>, index: usize, desk: &mut Desk<'_>) {
    let word = phrase.text(index);
    let version = if word == "send-proxy" { "v1" } else { "v2" };
    settings.set("send_proxy", quoted(version), phrase.place(index));
    if word.starts_with("send-proxy-v2-ssl") {
        desk.fates.notice(
            phrase.place(index),
            format!("'{word}': the header says nothing of TLS, which lb does not end"),
            "",
        );
    }
}

fn source(settings: &mut Settings, phrase: &Phrase<'_>, index: usize, desk: &mut Desk<'_>) {
    match source_address::read(&desk.environment.in_address(phrase.text(index + 1))) {
        Ok(SourceAddress { ip, port }) => {
            settings.set("source", quoted(&ip), phrase.place(index));
            settings.remove(SOURCE_PORT);
            if let Some(port) = port {
                settings.set(SOURCE_PORT, port, phrase.place(index));
            }
        }
        Err(reason) => desk.error(phrase.place(index + 1), format!("'source' : {reason}")),
    }
}

const AS_CLIENT: &str = "lb connects with its own addresses";
const COOKIE: &str = "lb reads no cookies";
const FAST_OPEN: &str = "lb connects without TCP fast open";
const ANY_PROTOCOL: &str = "lb relays any protocol over TCP";
const NO_REUSE: &str = "each session has its own connection to the server";
