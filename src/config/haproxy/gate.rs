//! Which of the keys of TOML are there: what a word asks for and no key can say yet is a notice.

use super::super::{Backend, BindEntry, Check, Config, Frontend, Server};
use super::document::TomlLine;
use super::fate::Fates;
use super::log_target;
use super::proxy::{BindLine, Proxy, ProxyKind};
use super::sections::Sections;
use super::setting::Setting;

fn top(key: &str) -> &str {
    key.split('.').next().unwrap_or_default()
}

fn gate(known: bool, setting: &Setting, fates: &mut Fates) -> bool {
    if !known {
        fates.notice(setting.at, format!("`{}` is not supported yet", setting.key), "");
    }
    known
}

/// Frontends have a log of their own, and targets are tables.
pub(super) fn has_log() -> bool {
    Frontend::SHAPE.keys.contains(&"log")
}

pub(super) fn front(setting: &Setting, fates: &mut Fates) -> bool {
    gate(Frontend::SHAPE.keys.contains(&top(setting.key)), setting, fates)
}

fn check(setting: &Setting) -> bool {
    setting.key.strip_prefix("check.").is_none_or(|key| Check::SHAPE.keys.contains(&key))
}

pub(super) fn back(setting: &Setting, fates: &mut Fates) -> bool {
    gate(check(setting) && Backend::SHAPE.keys.contains(&top(setting.key)), setting, fates)
}

pub(super) fn resolvers() -> bool {
    Config::SHAPE.keys.contains(&"resolvers")
}

pub(super) fn server(setting: &Setting, fates: &mut Fates) -> bool {
    if setting.key == "resolvers" && !resolvers() {
        return false;
    }
    gate(check(setting) && Server::SHAPE.keys.contains(&top(setting.key)), setting, fates)
}

pub(super) fn binds(binds: &[BindLine], fates: &mut Fates) -> Vec<BindLine> {
    let mut binds = binds.to_vec();
    for bind in &mut binds {
        let known = |setting: &Setting| BindEntry::SHAPE.keys.contains(&setting.key);
        for setting in bind.settings.iter() {
            gate(known(setting), setting, fates);
        }
        bind.settings.retain(known);
    }
    binds
}

pub(super) fn global(setting: &Setting, fates: &mut Fates) -> bool {
    gate(super::super::Global::SHAPE.keys.contains(&top(setting.key)), setting, fates)
}

pub(super) fn log_targets(sections: &Sections, running: &[&Proxy], fates: &mut Fates) -> Vec<TomlLine> {
    let mut toml = Vec::new();
    if has_log() {
        let wanted = running.iter().any(|proxy| proxy.kind != ProxyKind::Backend && proxy.log.global.is_some());
        let targets = &sections.global.targets;
        if wanted && !targets.is_empty() {
            toml.extend(log_target::lines("target", targets));
            let tag = sections.global.tag.iter().map(|(tag, at)| TomlLine::new(format!("tag = {tag}"), Some(*at)));
            toml.extend(tag);
        }
        return toml;
    }
    for (index, (target, at)) in sections.global.targets.iter().enumerate() {
        let to = target.split('"').nth(1).unwrap_or_default();
        let known = to == "stdout" || to.starts_with('/') || to.parse::<std::net::SocketAddr>().is_ok();
        if index == 0 && known {
            toml.push(TomlLine::new(format!("target = \"{to}\""), Some(*at)));
        } else {
            fates.notice(*at, "this target is not supported yet", "");
        }
    }
    if !running.is_empty() && running.iter().all(|proxy| proxy.log.settings.get("log.dontlognull").is_some()) {
        toml.push(TomlLine::new("dontlognull = true", None));
    }
    toml
}
