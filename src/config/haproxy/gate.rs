//! Which of the keys of TOML are there: what a word asks for and no key can say yet is a notice.

use super::super::{Backend, BindEntry, Check, Config, Frontend, Server};
use super::fate::Fates;
use super::proxy::BindLine;
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
