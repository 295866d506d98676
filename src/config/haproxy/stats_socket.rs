//! `stats socket` and `stats timeout` of `global`: where HAProxy's commands are answered.

use super::argument::{self, ArgumentMeaning, KnownArgument};
use super::bind_address::{self, WrongAddress};
use super::bind_words::mode;
use super::global_plan::{GlobalPlan, StatsSocket};
use super::measure::time;
use super::phrase::{Desk, Phrase};
use super::setting::{Settings, duration, quoted};

pub(super) fn socket(global: &mut GlobalPlan, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    if phrase.text(2).is_empty() {
        let what = "'stats socket' in global section expects an address or a path to a UNIX socket";
        desk.error(phrase.at(), what);
        return;
    }
    let mut settings = Settings::default();
    let refusals = argument::read(ARGUMENTS, phrase, 3, "'stats socket' :", &mut settings, desk);
    for (at, name, reason, _) in &refusals {
        desk.fates.notice(*at, format!("'stats socket … {name}': {reason}; this socket is not served"), "");
    }
    let text = desk.environment.in_address(phrase.text(2));
    for one in text.split(',') {
        match bind_address::read(one) {
            Ok(_) if !refusals.is_empty() => {}
            Ok(addr) => {
                // As with HAProxy the last one has the path.
                global.sockets.retain(|other| other.addr != addr);
                global.sockets.push(StatsSocket { addr, settings: settings.clone(), at: phrase.at() });
            }
            Err(WrongAddress::Unknown(reason)) => {
                desk.error(phrase.place(2), format!("'stats socket' : {reason}"));
            }
            Err(WrongAddress::Beyond(reason, remedy)) => {
                desk.fates.notice(phrase.place(2), format!("'stats socket {one}': {reason}"), remedy);
            }
        }
    }
}

pub(super) fn timeout(global: &mut GlobalPlan, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    match time(phrase.text(2)) {
        Ok(0) => desk.error(phrase.place(2), "'stats timeout' expects a positive value"),
        Ok(ms) => global.settings.set("haproxy_socket_timeout", duration(ms), phrase.at()),
        Err(error) => desk.error(phrase.place(2), format!("'stats timeout' : {error}")),
    }
}

/// What may follow the address. Other words of a `bind` are about traffic.
pub(super) const ARGUMENTS: &[KnownArgument] = &[
    arg("level", 1, ArgumentMeaning::Does(level)),
    arg("mode", 1, ArgumentMeaning::Does(mode)),
    arg("user", 1, ArgumentMeaning::Text("user")),
    arg("uid", 1, ArgumentMeaning::Text("user")),
    arg("group", 1, ArgumentMeaning::Text("group")),
    arg("gid", 1, ArgumentMeaning::Text("group")),
    arg("expose-fd", 1, ArgumentMeaning::Ignored("lb hands its sockets over by itself", "")),
    arg("process", 1, ArgumentMeaning::Ignored(ONE, "")),
    arg("thread", 1, ArgumentMeaning::Ignored(ONE, "")),
    arg("shards", 1, ArgumentMeaning::Ignored(ONE, "")),
    arg("severity-output", 1, ArgumentMeaning::Ignored("answers have no severity in front", "")),
    arg("name", 1, ArgumentMeaning::Same),
    arg("id", 1, ArgumentMeaning::Same),
    arg("nice", 1, ArgumentMeaning::Ignored("sessions have no priorities", "")),
    arg("backlog", 1, ArgumentMeaning::Ignored(PLAIN, "")),
    arg("maxconn", 1, ArgumentMeaning::Ignored(PLAIN, "")),
    arg("tfo", 0, ArgumentMeaning::Ignored(PLAIN, "")),
    arg("v6only", 0, ArgumentMeaning::Same),
    arg("v4v6", 0, ArgumentMeaning::Notice("IPv6 clients alone reach it", "add a `stats socket` for IPv4")),
    arg("interface", 1, ArgumentMeaning::Refused("a socket for commands is bound to no interface", "bind an address")),
    arg("accept-proxy", 0, ArgumentMeaning::Refused("commands have no PROXY header", "leave it out")),
    arg("ssl", 0, ArgumentMeaning::Refused("lb ends no TLS", "bind a path or a loopback address")),
    arg("crt", 1, ArgumentMeaning::Same),
    arg("ca-file", 1, ArgumentMeaning::Same),
    arg("verify", 1, ArgumentMeaning::Same),
];

const fn arg(name: &'static str, takes: usize, meaning: ArgumentMeaning) -> KnownArgument {
    KnownArgument::new(name, takes, meaning)
}

fn level(settings: &mut Settings, phrase: &Phrase<'_>, index: usize, desk: &mut Desk<'_>) {
    match phrase.text(index + 1) {
        level @ ("user" | "operator" | "admin") => settings.set("level", quoted(level), phrase.place(index)),
        other => {
            let what =
                format!("'stats socket' : 'level' only supports 'user', 'operator', and 'admin' (got '{other}')");
            desk.error(phrase.place(index + 1), what);
        }
    }
}

const ONE: &str = "there is one process, and one thread answers";
const PLAIN: &str = "sockets for commands have limits of their own";
