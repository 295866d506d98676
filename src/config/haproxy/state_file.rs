//! `load-server-state-from-file`: the file that a backend's servers take their states from.

use super::fate::Fates;
use super::global_plan::GlobalPlan;
use super::proxy::Proxy;
use super::setting::{Setting, quoted};

/// The key of [backend.NAME]. `None`: nothing is loaded.
pub(super) fn of(proxy: &Proxy, global: &GlobalPlan, fates: &mut Fates) -> Option<Setting> {
    let loads = proxy.back.get(LOADS_STATE)?;
    let file = if loads.value == LOCAL {
        let named = proxy.back.get(STATE_FILE_NAME).map(|name| name.value.as_str()).filter(|name| !name.is_empty());
        named.unwrap_or(&proxy.name).to_owned()
    } else if let Some((path, _)) = &global.state_file {
        path.clone()
    } else {
        let remedy = "write `server-state-file` in global";
        fates.notice(loads.at, "no file is named in global, and no server state is loaded", remedy);
        return None;
    };
    let base = global.state_base.as_deref().filter(|_| !file.starts_with('/'));
    let path = base.map_or_else(|| file.clone(), |base| format!("{}/{file}", base.trim_end_matches('/')));
    Some(Setting { key: "server_state_file", value: quoted(&path), at: loads.at })
}

/// Marks a section that takes HAProxy's server state file; no key of TOML.
pub(super) const LOADS_STATE: &str = "-loads-state";
/// Its value for a file of the section's own.
pub(super) const LOCAL: &str = "local";
/// Holds the name of that file; empty: the section's.
pub(super) const STATE_FILE_NAME: &str = "-state-file-name";
