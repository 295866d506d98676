//! `global` and the `log` lines of all sections → `[global]` and `[global.log]`.

use super::document::TomlLine;
use super::fate::Fates;
use super::global_plan::GlobalPlan;
use super::log_target;
use super::proxy::Proxy;
use super::sections::Sections;

/// The lines of both tables. `running`: the sections that run; `logs`: some session lines are written.
pub(super) fn write(sections: &Sections, running: &[&Proxy], logs: bool, fates: &mut Fates) -> Vec<TomlLine> {
    let (global, at) = (&sections.global, sections.global_at);
    let mut toml: Vec<_> = global
        .settings
        .iter()
        .map(|setting| TomlLine::new(format!("{} = {}", setting.key, setting.value), Some(setting.at)))
        .collect();
    if !global.sockets.is_empty() {
        toml.push(TomlLine::new("haproxy_socket = [", global.sockets.first().map(|socket| socket.at)));
        toml.extend(global.sockets.iter().map(|one| TomlLine::new(format!("    {},", one.toml()), Some(one.at))));
        toml.push(TomlLine::new("]", None));
    }
    let external = |proxy: &&Proxy| proxy.check.kind.is_some_and(|(kind, _)| kind == "external");
    if let Some((_, at)) = running.iter().find(|proxy| external(proxy)).and_then(|proxy| proxy.check.kind) {
        if !global.forks {
            let reason = "'option external-check' : insecure-fork-wanted not enabled in the global section";
            fates.error(at, reason, "add `insecure-fork-wanted` to it");
        }
        toml.push(TomlLine::new("external_checks = true", Some(at)));
    }
    if !toml.is_empty() {
        toml.insert(0, TomlLine::new("[global]", at));
    }
    let mut log = targets(global, running);
    if !logs {
        log.push(TomlLine::new("sessions = false", None));
    }
    if !log.is_empty() {
        toml.push(TomlLine::new("[global.log]", at.filter(|_| toml.is_empty())));
        toml.append(&mut log);
    }
    toml
}

/// Where the lines of sections go that say `log global`, also those about servers, and the tag of all lines: without
/// `log-tag` HAProxy's name.
fn targets(global: &GlobalPlan, running: &[&Proxy]) -> Vec<TomlLine> {
    let by_global = !global.targets.is_empty() && running.iter().any(|proxy| proxy.log.global.is_some());
    let mut toml = if by_global { log_target::lines("target", &global.targets) } else { Vec::new() };
    if by_global || running.iter().any(|proxy| proxy.log.goes_somewhere(&global.targets)) {
        toml.push(match &global.tag {
            Some((tag, at)) => TomlLine::new(format!("tag = {tag}"), Some(*at)),
            None => TomlLine::new("tag = \"haproxy\"", None),
        });
        toml.push(TomlLine::new("changes = true", None));
    }
    toml
}
