//! A section with HAProxy's backend capability → [backend.NAME].

use super::check_table;
use super::document::TomlLine;
use super::fate::Fates;
use super::global_plan::GlobalPlan;
use super::log_target;
use super::proxy::{Proxy, ProxyKind, ServerLine};
use super::setting::{Setting, Settings, key};
use super::state_file;

/// The lines of its table. `default_log`: the lines about servers of sections that say nothing go somewhere.
pub(super) fn write(proxy: &Proxy, global: &GlobalPlan, default_log: bool, fates: &mut Fates) -> Vec<TomlLine> {
    // In a `listen`, the header line's comments stand above its frontend.
    let own = (proxy.kind == ProxyKind::Backend || proxy.binds.is_empty()).then_some(proxy.at);
    let mut toml = vec![TomlLine::new(format!("[backend.{}]", key(&proxy.name)), own.or(Some(proxy.at)))];
    let mut back = proxy.back.clone();
    let mut servers = proxy.servers.clone();
    back.fill("redispatch", "false", proxy.at);
    if back.get("timeout.server").is_none() {
        back.set("timeout.server", "\"0\"", proxy.at);
    }
    check_table::settle(proxy, &mut back, &mut servers, fates);
    if let Some(Setting { key, value, at }) = state_file::of(proxy, global, fates) {
        back.set(key, value, at);
    }
    for hoisted in HOISTED {
        hoist(hoisted, &mut back, &mut servers);
    }
    let log = log(proxy, global, default_log);
    back.fill("observe", "\"none\"", proxy.at);
    for setting in back.iter().filter(|setting| !setting.key.starts_with('-')) {
        let at = (setting.at != proxy.at).then_some(setting.at);
        let line = TomlLine::new(format!("{} = {}", setting.key, setting.value), at);
        // The comments of a server's line stay at the server.
        let is_servers = at.is_some_and(|at| servers.iter().any(|server| server.at.is_beside(at)));
        toml.push(if is_servers { line.without_comments() } else { line });
    }
    toml.extend(log);
    if servers.is_empty() {
        toml.push(TomlLine::new("servers = {}", None));
        return toml;
    }
    toml.push(TomlLine::new(format!("[backend.{}.servers]", key(&proxy.name)), None));
    toml.extend(servers.iter().map(server));
    toml
}

/// `log`: what differs from [global.log] for the lines about its servers.
fn log(proxy: &Proxy, global: &GlobalPlan, default_log: bool) -> Vec<TomlLine> {
    let shared = if proxy.log.global.is_some() { global.targets.as_slice() } else { &[] };
    if shared.is_empty() && proxy.log.targets.is_empty() {
        return if default_log { vec![TomlLine::new("log.changes = false", None)] } else { Vec::new() };
    }
    let mut toml = Vec::new();
    if !proxy.log.targets.is_empty() {
        let all = shared.iter().chain(&proxy.log.targets).cloned().collect::<Vec<_>>();
        toml = log_target::lines("log.target", &all);
    }
    let tag = proxy.log.settings.get("log.tag");
    toml.extend(tag.map(|Setting { key, value, at }| TomlLine::new(format!("{key} = {value}"), Some(*at))));
    toml
}

/// What all servers say alike is said once.
fn hoist(name: &'static str, back: &mut Settings, servers: &mut [ServerLine]) {
    let Some(first) = servers.first().and_then(|server| server.settings.get(name)).cloned() else {
        return;
    };
    if servers.iter().all(|server| server.settings.says(name, &first.value)) {
        back.set(name, first.value, first.at);
        servers.iter_mut().for_each(|server| drop(server.settings.remove(name)));
    }
}

fn server(server: &ServerLine) -> TomlLine {
    let mut parts = Vec::new();
    let mut tables: Vec<(&str, Vec<String>)> = Vec::new();
    let has_agent = server.settings.get("agent").is_some();
    for setting in server.settings.iter().filter(|setting| !setting.key.starts_with('-') && setting.key != "agent") {
        match setting.key.split_once('.') {
            Some(("agent", _)) if !has_agent => {}
            Some((table, name)) => {
                let part = format!("{name} = {}", setting.value);
                match tables.iter_mut().find(|(known, _)| *known == table) {
                    Some((_, parts)) => parts.push(part),
                    None => tables.push((table, vec![part])),
                }
            }
            None => parts.push(format!("{} = {}", setting.key, setting.value)),
        }
    }
    parts.extend(tables.into_iter().map(|(table, parts)| format!("{table} = {{ {} }}", parts.join(", "))));
    // `addr` comes first.
    parts.sort_by_key(|part| !part.starts_with("addr = "));
    let value = match parts.as_slice() {
        [only] => only.trim_start_matches("addr = ").to_owned(),
        several => format!("{{ {} }}", several.join(", ")),
    };
    TomlLine::new(format!("{} = {value}", key(&server.name)), Some(server.at))
}

/// Keys of a server that its backend has, too.
const HOISTED: [&str; 8] =
    ["send_proxy", "slowstart", "observe", "error_limit", "on_error", "on_marked_down", "on_marked_up", "source"];
