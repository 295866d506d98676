//! `server`, `default-server` and `server-template`.

use super::argument;
use super::measure::integer;
use super::phrase::{Desk, Phrase};
use super::proxy::{Proxy, ProxyKind, ServerLine};
use super::server_address::{self, UnusableAddress};
use super::server_arguments::{ARGUMENTS, NO_PORT, SOURCE_PORT};
use super::setting::quoted;
use super::source_address::ANY_PORT;

pub(super) fn default_server(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    if phrase.text(1).is_empty() {
        desk.error(phrase.at(), "'default-server' expects arguments.");
    }
    let mut settings = std::mem::take(&mut proxy.server);
    let place = format!("'default-server {}' :", proxy.name);
    let refusals = argument::read(ARGUMENTS, phrase, 1, &place, &mut settings, desk);
    proxy.server = settings;
    refuse(proxy, refusals);
}

pub(super) fn server(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    if !may_stand(proxy, "server", phrase, desk) {
        return;
    }
    let (name, addr) = (phrase.text(1), phrase.text(2));
    if addr.is_empty() {
        desk.error(phrase.at(), "'server' expects <name> and <addr>[:<port>] as arguments.");
        return;
    }
    if let Some(c) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !"-_.:".contains(*c)) {
        desk.error(phrase.place(1), format!("character '{c}' is not permitted in server name '{name}'."));
        return;
    }
    let name = name.to_owned();
    read_server(proxy, phrase, 2, vec![name], desk);
}

/// `server-template PREFIX COUNT|FIRST-LAST ADDRESS …`: as many servers, numbered.
pub(super) fn template(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    if !may_stand(proxy, "server-template", phrase, desk) {
        return;
    }
    if phrase.text(3).is_empty() {
        let what = "'server-template' expects <prefix> <nb | range> <addr>[:<port>] as arguments.";
        desk.error(phrase.at(), what);
        return;
    }
    let text = phrase.text(2);
    let (first, last) = text.split_once('-').unwrap_or(("1", text));
    match (integer(first), integer(last)) {
        (Some(first), Some(last)) if 0 <= first && first <= last && last - first < MOST_SERVERS => {
            let names = (first..=last).map(|number| format!("{}{number}", phrase.text(1))).collect();
            read_server(proxy, phrase, 3, names, desk);
        }
        _ => desk.error(phrase.place(2), format!("wrong number or range '{text}' in server-template; at most 4096")),
    }
}

/// Servers that share what their line says.
fn read_server(proxy: &mut Proxy, phrase: &Phrase<'_>, index: usize, names: Vec<String>, desk: &mut Desk<'_>) {
    let mut settings = proxy.server.clone();
    let place = format!("'server {}/{}' :", proxy.name, names[0]);
    let at = phrase.place(index);
    let mut beyond = None;
    match server_address::read(&desk.environment.in_address(phrase.text(index))) {
        Ok(address) => {
            settings.set("addr", quoted(&address.addr), phrase.at());
            if let Some(family) = address.prefer {
                settings.set("resolve_prefer", quoted(family), at);
            }
            if !address.port {
                settings.set(NO_PORT, "true", at);
            }
        }
        Err(UnusableAddress::Unknown(reason)) => desk.error(at, format!("{place} {reason}")),
        Err(UnusableAddress::Beyond(reason, remedy)) => beyond = Some((reason, remedy)),
    }
    let refusals = argument::read(ARGUMENTS, phrase, index + 1, &place, &mut settings, desk);
    refuse(proxy, refusals);
    if let Some((reason, remedy)) = beyond {
        let text = phrase.text(index);
        if server_address::is_unspecified(&desk.environment.in_address(text)) && settings.get("disabled").is_some() {
            let reason =
                format!("'{text}' keeps a place for a server, which lb has no command to fill: it is left out");
            desk.fates.notice(at, reason, "add the server when it has an address, and reload");
            return;
        }
        proxy.refuse(at, "server", format!("'{text}': {reason}"), remedy);
    }
    if let Some(mark) = settings.get(SOURCE_PORT) {
        proxy.refuse(mark.at, "source", format!("'source': {ANY_PORT}"), "leave the port out");
    }
    if settings.get("agent").is_some() && settings.get("agent.port").is_none() {
        let reason = format!("server {} does not have agent port. Agent check has been disabled", names[0]);
        desk.error(phrase.at(), format!("{place} {reason}"));
    }
    // HAProxy takes a server without its section for one of the same.
    if let Some(tracked) = settings.remove("track") {
        let own = !tracked.value.contains('/');
        let value = if own { tracked.value.replacen('"', &format!("\"{}/", proxy.name), 1) } else { tracked.value };
        settings.set("track", value, tracked.at);
    }
    let line = |name| ServerLine { name, settings: settings.clone(), at: phrase.at() };
    proxy.servers.extend(names.into_iter().map(line));
}

fn may_stand(proxy: &Proxy, word: &str, phrase: &Phrase<'_>, desk: &mut Desk<'_>) -> bool {
    let reason = match proxy.kind {
        ProxyKind::Defaults => format!("'{word}' not allowed in 'defaults' section."),
        ProxyKind::Frontend => format!("'{word}' not allowed because {} has no backend capability.", proxy.shown()),
        ProxyKind::Backend | ProxyKind::Listen => return true,
    };
    desk.error(phrase.at(), reason);
    false
}

fn refuse(proxy: &mut Proxy, refusals: Vec<argument::ArgumentRefusal>) {
    for (at, name, reason, remedy) in refusals {
        proxy.refuse(at, name, format!("'server … {name}': {reason}"), remedy);
    }
}

/// As `MAX_SERVERS`.
const MOST_SERVERS: i64 = 4096;
