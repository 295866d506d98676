//! A section with HAProxy's frontend capability → [frontend.NAME].

use super::document::TomlLine;
use super::global_plan::GlobalPlan;
use super::log_target;
use super::proxy::{BindLine, Proxy, ProxyKind};
use super::setting::{key, quoted};

/// The lines of its table. `default_log`: the session lines of sections that say nothing go somewhere.
pub(super) fn write(proxy: &Proxy, global: &GlobalPlan, default_log: bool) -> Vec<TomlLine> {
    let mut toml = vec![TomlLine::new(format!("[frontend.{}]", key(&proxy.name)), Some(proxy.at))];
    toml.extend(binds(proxy));
    let own_servers = proxy.kind == ProxyKind::Listen && proxy.front.get("backend").is_none();
    if own_servers {
        toml.push(TomlLine::new(format!("backend = {}", quoted(&proxy.name)), Some(proxy.at)));
    }
    for setting in proxy.front.iter() {
        toml.push(TomlLine::new(format!("{} = {}", setting.key, setting.value), Some(setting.at)));
    }
    if proxy.front.get("timeout.client").is_none() {
        toml.push(TomlLine::new("timeout.client = \"0\"", None));
    }
    toml.extend(log(proxy, global, default_log));
    toml
}

fn binds(proxy: &Proxy) -> Vec<TomlLine> {
    let value = |bind: &BindLine| {
        let addr = quoted(&bind.addr);
        if bind.settings.iter().next().is_none() {
            return addr;
        }
        let parts: Vec<_> =
            bind.settings.iter().map(|setting| format!("{} = {}", setting.key, setting.value)).collect();
        format!("{{ addr = {addr}, {} }}", parts.join(", "))
    };
    match proxy.binds.as_slice() {
        [only] => vec![TomlLine::new(format!("bind = {}", value(only)), Some(only.at))],
        several => {
            let mut toml = vec![TomlLine::new("bind = [", None)];
            toml.extend(several.iter().map(|bind| TomlLine::new(format!("  {},", value(bind)), Some(bind.at))));
            toml.push(TomlLine::new("]", None));
            toml
        }
    }
}

/// `log`: what differs from [global.log].
fn log(proxy: &Proxy, global: &GlobalPlan, default_log: bool) -> Vec<TomlLine> {
    let mut toml = Vec::new();
    let shared = if proxy.log.global.is_some() { global.targets.as_slice() } else { &[] };
    if shared.is_empty() && proxy.log.targets.is_empty() {
        if default_log {
            toml.push(TomlLine::new("log.sessions = false", None));
        }
        return toml;
    }
    if !proxy.log.targets.is_empty() {
        let all = shared.iter().chain(&proxy.log.targets).cloned().collect::<Vec<_>>();
        toml.extend(log_target::lines("log.target", &all));
    }
    for setting in proxy.log.settings.iter() {
        toml.push(TomlLine::new(format!("{} = {}", setting.key, setting.value), Some(setting.at)));
    }
    toml
}
