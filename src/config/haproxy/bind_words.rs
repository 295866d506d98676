//! `bind ADDRESS[,…] [arguments]`.

use super::argument::{self, ArgumentMeaning, KnownArgument};
use super::bind_address;
use super::phrase::{Desk, Phrase};
use super::proxy::{BindLine, Proxy};
use super::setting::{Settings, quoted};
use super::spot::Spot;

pub(super) fn bind(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    if phrase.text(1).is_empty() {
        let what = "'bind' expects {<path>|[addr1]:port1[-end1]}{,[addr]:port[-end]}... as arguments.";
        desk.error(phrase.at(), what);
        return;
    }
    listen(proxy, phrase, 1, desk);
    let mut settings = Settings::default();
    let place = format!("'bind {}' in section '{}':", phrase.text(1), proxy.kind.word());
    let refusals = argument::read(ARGUMENTS, phrase, 2, &place, &mut settings, desk);
    for (at, name, reason, remedy) in refusals {
        proxy.refuse(at, name, format!("'bind … {name}': {reason}"), remedy);
    }
    let at = phrase.at();
    proxy.binds.iter_mut().filter(|bind| bind.at == at).for_each(|bind| bind.settings = settings.clone());
}

/// Takes the addresses of a word; also those behind `listen NAME`, as HAProxy 1.4 had them.
pub(super) fn listen(proxy: &mut Proxy, phrase: &Phrase<'_>, index: usize, desk: &mut Desk<'_>) {
    let text = desk.environment.in_address(phrase.text(index));
    for one in text.split(',') {
        match bind_address::read(one) {
            Ok(addr) if bound(proxy, &addr).is_some() => {
                let line = bound(proxy, &addr).map_or(0, |at| at.line);
                let reason = format!("'{one}' is bound by line {line} already, and once is enough");
                desk.fates.notice(phrase.place(index), reason, "leave it out");
            }
            Ok(addr) => proxy.binds.push(BindLine { addr, settings: Settings::default(), at: phrase.at() }),
            Err(bind_address::WrongAddress::Unknown(reason)) => {
                desk.error(phrase.place(index), format!("'bind' : {reason}"));
            }
            Err(bind_address::WrongAddress::Beyond(reason, remedy)) => {
                proxy.refuse(phrase.place(index), "bind", format!("'bind {one}': {reason}"), remedy);
            }
        }
    }
}

/// Where the section binds this address already. Port 0 is another one each time.
fn bound(proxy: &Proxy, addr: &str) -> Option<Spot> {
    proxy.binds.iter().find(|bind| bind.addr == addr && !addr.ends_with(":0")).map(|bind| bind.at)
}

pub(super) const ARGUMENTS: &[KnownArgument] = &[
    arg("name", 1, ArgumentMeaning::Text("name")),
    arg("accept-proxy", 0, ArgumentMeaning::Flag("accept_proxy")),
    arg("defer-accept", 0, ArgumentMeaning::Flag("defer_accept")),
    arg("v4v6", 0, ArgumentMeaning::Flag("v4v6")),
    arg("v6only", 0, ArgumentMeaning::Unset(&["v4v6"])),
    arg("interface", 1, ArgumentMeaning::Text("interface")),
    arg("backlog", 1, ArgumentMeaning::Lifted("backlog")),
    arg("maxconn", 1, ArgumentMeaning::Lifted("maxconn")),
    arg("mode", 1, ArgumentMeaning::Does(mode)),
    arg("user", 1, ArgumentMeaning::Text("user")),
    arg("uid", 1, ArgumentMeaning::Text("user")),
    arg("group", 1, ArgumentMeaning::Text("group")),
    arg("gid", 1, ArgumentMeaning::Text("group")),
    arg("tfo", 0, ArgumentMeaning::Flag("tfo")),
    arg("tcp-ut", 1, ArgumentMeaning::Time("user_timeout")),
    arg("id", 1, ArgumentMeaning::Same),
    arg("guid-prefix", 1, ArgumentMeaning::Same),
    arg("nice", 1, ArgumentMeaning::Ignored("sessions have no priorities", "")),
    arg("process", 1, ArgumentMeaning::Ignored(ALL_THREADS, "")),
    arg("thread", 1, ArgumentMeaning::Ignored(ALL_THREADS, "")),
    arg("shards", 1, ArgumentMeaning::Ignored("each thread has a socket of its own for each address", "")),
    arg("mss", 1, ArgumentMeaning::Ignored("the kernel finds the segment size", "")),
    arg("level", 1, ArgumentMeaning::Ignored(RUNTIME, "")),
    arg("expose-fd", 1, ArgumentMeaning::Ignored(RUNTIME, "")),
    arg("severity-output", 1, ArgumentMeaning::Ignored(RUNTIME, "")),
    arg("proto", 1, ArgumentMeaning::Ignored("lb relays any protocol over TCP", "")),
    arg("quic-socket", 1, ArgumentMeaning::Same),
    arg("cc", 1, ArgumentMeaning::Ignored("the kernel chooses", "sysctl net.ipv4.tcp_congestion_control")),
    arg("namespace", 1, ArgumentMeaning::Refused("lb listens in its own network namespace", "run an lb there")),
    arg("transparent", 0, ArgumentMeaning::Refused("lb binds no foreign addresses", "bind an address of this host")),
    arg(
        "accept-netscaler-cip",
        1,
        ArgumentMeaning::Refused("lb does not read this header, and its bytes would reach the servers", "accept-proxy"),
    ),
    arg("ssl", 0, ArgumentMeaning::Refused("TLS would end here, and lb ends none", TLS)),
    arg("crt", 1, ArgumentMeaning::Same),
    arg("crt-list", 1, ArgumentMeaning::Same),
    arg("alpn", 1, ArgumentMeaning::Same),
    arg("npn", 1, ArgumentMeaning::Same),
    arg("ca-file", 1, ArgumentMeaning::Same),
    arg("ca-verify-file", 1, ArgumentMeaning::Same),
    arg("ca-ignore-err", 1, ArgumentMeaning::Same),
    arg("ca-sign-file", 1, ArgumentMeaning::Same),
    arg("ca-sign-pass", 1, ArgumentMeaning::Same),
    arg("ciphers", 1, ArgumentMeaning::Same),
    arg("ciphersuites", 1, ArgumentMeaning::Same),
    arg("sigalgs", 1, ArgumentMeaning::Same),
    arg("client-sigalgs", 1, ArgumentMeaning::Same),
    arg("crl-file", 1, ArgumentMeaning::Same),
    arg("crt-ignore-err", 1, ArgumentMeaning::Same),
    arg("curves", 1, ArgumentMeaning::Same),
    arg("ecdhe", 1, ArgumentMeaning::Same),
    arg("ssl-min-ver", 1, ArgumentMeaning::Same),
    arg("ssl-max-ver", 1, ArgumentMeaning::Same),
    arg("tls-ticket-keys", 1, ArgumentMeaning::Same),
    arg("verify", 1, ArgumentMeaning::Same),
    arg("ocsp-update", 1, ArgumentMeaning::Same),
    arg("allow-0rtt", 0, ArgumentMeaning::Same),
    arg("force-sslv3", 0, ArgumentMeaning::Same),
    arg("force-tlsv10", 0, ArgumentMeaning::Same),
    arg("force-tlsv11", 0, ArgumentMeaning::Same),
    arg("force-tlsv12", 0, ArgumentMeaning::Same),
    arg("force-tlsv13", 0, ArgumentMeaning::Same),
    arg("generate-certificates", 0, ArgumentMeaning::Same),
    arg("no-ca-names", 0, ArgumentMeaning::Same),
    arg("no-alpn", 0, ArgumentMeaning::Same),
    arg("no-sslv3", 0, ArgumentMeaning::Same),
    arg("no-tls-tickets", 0, ArgumentMeaning::Same),
    arg("no-tlsv10", 0, ArgumentMeaning::Same),
    arg("no-tlsv11", 0, ArgumentMeaning::Same),
    arg("no-tlsv12", 0, ArgumentMeaning::Same),
    arg("no-tlsv13", 0, ArgumentMeaning::Same),
    arg("prefer-client-ciphers", 0, ArgumentMeaning::Same),
    arg("strict-sni", 0, ArgumentMeaning::Same),
];

const fn arg(name: &'static str, takes: usize, meaning: ArgumentMeaning) -> KnownArgument {
    KnownArgument::new(name, takes, meaning)
}

/// An octal number; TOML has it as a string.
pub(super) fn mode(settings: &mut Settings, phrase: &Phrase<'_>, index: usize, desk: &mut Desk<'_>) {
    let text = phrase.text(index + 1);
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o7777 => settings.set("mode", quoted(&format!("{mode:04o}")), phrase.place(index)),
        _ => desk.error(phrase.place(index + 1), "'bind' : 'mode' expects an octal argument."),
    }
}

const ALL_THREADS: &str = "every thread accepts from every address";
const RUNTIME: &str = "it belongs to `stats socket`";
const TLS: &str = "let the servers end TLS, which passes through lb, or keep this section in HAProxy";
