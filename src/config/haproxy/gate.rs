//! Which of the keys of TOML are there: what a word asks for and no key can say yet is a notice.

use super::super::check_kind::CheckKind;
use super::super::{Backend, BindEntry, Check, Config, Frontend, Server};
use super::document::TomlLine;
use super::fate::Fates;
use super::proxy::{BindLine, Proxy};
use super::sections::Sections;
use super::setting::Setting;
use super::spot::Spot;

fn top(key: &str) -> &str {
    key.split('.').next().unwrap_or_default()
}

fn gate(known: bool, setting: &Setting, fates: &mut Fates) -> bool {
    if !known {
        fates.notice(setting.at, format!("`{}` is not supported yet", setting.key), "");
    }
    known
}

pub(super) const FRONT_TIMEOUT: bool = false;

pub(super) fn front(setting: &Setting, fates: &mut Fates) -> bool {
    if setting.key == "timeout.client" && !FRONT_TIMEOUT {
        return false;
    }
    gate(Frontend::SHAPE.keys.contains(&top(setting.key)), setting, fates)
}

fn check(setting: &Setting) -> bool {
    setting.key.strip_prefix("check.").is_none_or(|key| Check::SHAPE.keys.contains(&key))
}

pub(super) fn back(setting: &Setting, fates: &mut Fates) -> bool {
    gate(check(setting) && Backend::SHAPE.keys.contains(&top(setting.key)), setting, fates)
}

pub(super) fn external_checks() -> bool {
    super::super::Global::SHAPE.keys.contains(&"external_checks")
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

pub(super) fn check_kind(kind: &str, at: Spot, fates: &mut Fates) -> bool {
    let known = CheckKind::has(kind);
    if !known {
        fates.notice(
            at,
            format!("checks of type `{kind}` are not supported yet: servers are checked by a connect"),
            "",
        );
    }
    known
}

pub(super) fn global(setting: &Setting, fates: &mut Fates) -> bool {
    gate(super::super::Global::SHAPE.keys.contains(&top(setting.key)), setting, fates)
}

/// The client timeout of a frontend, until that has it.
pub(super) fn client_timeout(backend: &Proxy, proxies: &[Proxy]) -> Setting {
    let uses = |proxy: &&Proxy| {
        proxy.kind.is_front()
            && (proxy.front.says("backend", &super::setting::quoted(&backend.name)) || proxy.at == backend.at)
    };
    let found = proxies.iter().find(uses).and_then(|proxy| proxy.front.get("timeout.client")).cloned();
    found.unwrap_or_else(|| Setting { key: "timeout.client", value: "\"0\"".to_owned(), at: backend.at })
}

pub(super) fn log_targets(sections: &Sections, running: &[&Proxy], fates: &mut Fates) -> Vec<TomlLine> {
    let mut toml = Vec::new();
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
