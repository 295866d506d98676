//! Which sections do not run, and why.

use std::collections::{HashMap, HashSet};

use super::fate::{Fates, Verdict};
use super::proxy::{Doubt, Proxy, ProxyKind, ProxyMode};
use super::setting::key;
use super::spot::Spot;

/// Why a section does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Absence {
    Disabled,
    /// It only serves HAProxy's own page.
    Page,
    /// A frontend that listens nowhere.
    Deaf,
    Refused,
    /// Only sections that are refused use it.
    Unused,
    /// It cannot run here, and no frontend uses it.
    Idle,
}

pub(super) fn is_frontend(proxy: &Proxy) -> bool {
    proxy.kind == ProxyKind::Frontend || (proxy.kind == ProxyKind::Listen && !proxy.binds.is_empty())
}

/// The backend that a frontend sends its sessions to.
fn target(proxy: &Proxy) -> Option<(String, Spot)> {
    if !is_frontend(proxy) {
        return None;
    }
    match proxy.front.get("backend") {
        Some(setting) => Some((setting.value.trim_matches('"').to_owned(), setting.at)),
        None if proxy.kind == ProxyKind::Listen => Some((proxy.name.clone(), proxy.at)),
        None => None,
    }
}

/// A refusal that counts in the mode of the section.
fn refusals(proxy: &Proxy) -> impl Iterator<Item = &Doubt> {
    proxy.doubts.iter().filter(|doubt| verdict(proxy, doubt) == Verdict::Refused)
}

pub(super) fn verdict(proxy: &Proxy, doubt: &Doubt) -> Verdict {
    let of_mode = !doubt.http || matches!(proxy.mode, ProxyMode::Http(_));
    // With one server there is no choice that could go wrong.
    let chooses = ["cookie", "appsession", "stick", "persist", "balance", "use-server"].contains(&doubt.word);
    let unused = ["tcp-check", "http-check"].contains(&doubt.word) && !proxy.check.follows(doubt.word);
    if !of_mode || unused || (chooses && proxy.servers.len() == 1) { Verdict::Ignored } else { doubt.verdict }
}

pub(super) fn absences(proxies: &[Proxy], fates: &mut Fates) -> Vec<Option<Absence>> {
    let own = |proxy: &Proxy| {
        let serves = !proxy.servers.is_empty() || proxy.front.get("backend").is_some();
        let http = matches!(proxy.mode, ProxyMode::Http(_));
        if proxy.disabled.is_some() {
            Some(Absence::Disabled)
        } else if http && proxy.page.is_some() && !serves && proxy.kind != ProxyKind::Backend {
            Some(Absence::Page)
        } else if proxy.kind == ProxyKind::Frontend && proxy.binds.is_empty() && refusals(proxy).next().is_none() {
            Some(Absence::Deaf)
        } else if refusals(proxy).next().is_some() {
            Some(Absence::Refused)
        } else {
            None
        }
    };
    let mut absences: Vec<_> = proxies.iter().map(own).collect();
    let backends: HashMap<&str, usize> = proxies
        .iter()
        .enumerate()
        .filter(|(_, proxy)| proxy.kind.is_back())
        .map(|(index, proxy)| (proxy.name.as_str(), index))
        .collect();
    for index in 0..proxies.len() {
        let proxy = &proxies[index];
        let target = target(proxy);
        if let Some((name, at)) = &target
            && !backends.contains_key(name.as_str())
            && absences[index] != Some(Absence::Disabled)
        {
            let reason = format!("Proxy '{}': unable to find required default_backend: '{name}'", proxy.name);
            fates.error(*at, reason, "");
            continue;
        }
        if absences[index].is_some() || !is_frontend(proxy) {
            continue;
        }
        let Some((name, at)) = target else {
            let reason = format!("{} has no `default_backend`: HAProxy closes its connections", proxy.shown());
            fates.refused(proxy.at, reason, "add `default_backend NAME`, or leave the section out");
            absences[index] = Some(Absence::Refused);
            continue;
        };
        match backends.get(name.as_str()).map(|found| (*found, &absences[*found])) {
            Some((found, Some(absence))) if found != index => {
                let why = if *absence == Absence::Disabled { "disabled" } else { "refused" };
                let line = proxies[found].at.line;
                let reason = format!("{} needs backend '{name}' (line {line}), which is {why}", proxy.shown());
                fates.refused(at, reason, "see what is said of that section");
                absences[index] = Some(Absence::Refused);
            }
            _ => {}
        }
    }
    leave_unused(proxies, &mut absences);
    absences
}

/// A backend that only refused frontends use is left out with them.
fn leave_unused(proxies: &[Proxy], absences: &mut [Option<Absence>]) {
    let (mut wanted, mut orphaned) = (HashSet::new(), HashSet::new());
    for (proxy, absence) in proxies.iter().zip(absences.iter()) {
        let names = proxy.targets.iter().map(|(name, _)| name.clone()).chain(target(proxy).map(|(name, _)| name));
        if *absence == Some(Absence::Refused) {
            orphaned.extend(names);
        } else if absence.is_none() {
            wanted.extend(names);
        }
    }
    for (proxy, absence) in proxies.iter().zip(absences.iter_mut()) {
        if proxy.kind == ProxyKind::Backend
            && *absence == Some(Absence::Refused)
            && !orphaned.contains(&proxy.name)
            && !wanted.contains(&proxy.name)
        {
            *absence = Some(Absence::Idle);
        }
        let is_orphan = orphaned.contains(&proxy.name) && !wanted.contains(&proxy.name);
        if proxy.kind == ProxyKind::Backend && absence.is_none() && is_orphan {
            *absence = Some(Absence::Unused);
        }
    }
}

pub(super) fn absent(proxy: &Proxy, absence: &Absence) -> String {
    let why = match absence {
        Absence::Disabled => "it is disabled",
        Absence::Page => "it serves HAProxy's statistics page",
        Absence::Deaf => "it listens nowhere",
        Absence::Refused => "it is refused",
        Absence::Unused => "only refused sections use it",
        Absence::Idle => "no frontend uses it, and it cannot run here",
    };
    format!("{} {} is left out: {why}", proxy.kind.word(), key(&proxy.name))
}
