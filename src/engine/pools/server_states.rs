//! The states of servers from the files that HAProxy, or a script, has left behind. They count at the start only: an
//! engine that takes over from another one knows better.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{LastAddresses, Pools};
use crate::backend::{Backend, Member};
use crate::config::{AdminState, Balance, Config};
use crate::control::server_states::{ServerStates, StateLine};

/// Each file that some backend names and that could be read.
#[derive(Debug, Default)]
pub(in crate::engine) struct StateFiles(BTreeMap<PathBuf, ServerStates>);

impl StateFiles {
    /// What cannot be read is said, and its servers begin as the configuration says.
    pub(in crate::engine) fn load(config: &Config) -> Self {
        let mut files = BTreeMap::new();
        for path in config.backends.iter().filter_map(|backend| backend.server_state_file.as_deref()) {
            files.entry(path.to_owned()).or_insert_with(|| load(path));
        }
        Self(files)
    }
}

impl Pools {
    /// Where servers were whose names cannot be looked up now.
    pub(in crate::engine) fn resume_places(&mut self, files: &StateFiles, config: &Config) {
        for settings in &config.backends {
            let Some(states) = settings.server_state_file.as_ref().and_then(|path| files.0.get(path)) else {
                continue;
            };
            let places: Vec<_> = states
                .iter()
                .filter(|(backend, ..)| *backend == settings.name)
                .filter_map(|(backend, server, state)| Some((backend, server, state.addr?.to_string())))
                .collect();
            let known: LastAddresses<'_> =
                places.iter().map(|(backend, server, addr)| ((*backend, *server), addr.as_str())).collect();
            self.resume_addresses(config, &known);
        }
    }

    /// Gives servers the administration and the weight that they had. They must be there already.
    pub(in crate::engine) fn take_states(&self, files: &StateFiles) {
        for (path, states) in &files.0 {
            let (mut taken, mut unknown) = (Vec::new(), Vec::new());
            for (backend, server, state) in states.iter() {
                let found = self.get(backend);
                if found.is_some_and(|found| !names(found, path)) {
                    continue;
                }
                match found.and_then(|found| Some((found, found.member(server)?))) {
                    Some((found, member)) => taken.extend(take(found, &member, state)),
                    None => unknown.push(format!("{backend}/{server}")),
                }
            }
            let path = path.display();
            if !taken.is_empty() {
                tracing::info!("server_state_file {path}: {}", few(&taken));
            }
            if !unknown.is_empty() {
                tracing::info!("server_state_file {path}: not here and left out: {}", few(&unknown));
            }
        }
        self.publish_all();
    }
}

fn load(path: &Path) -> ServerStates {
    let file = path.display();
    match ServerStates::load(path) {
        Ok(states) => {
            if let Some(line) = states.broken {
                tracing::warn!(
                    "server_state_file {file}:{line}: this and perhaps other lines are no server's and left out"
                );
            }
            states
        }
        Err(error) => {
            tracing::warn!("server_state_file {file}: {error}; its servers begin as configured");
            ServerStates::default()
        }
    }
}

fn names(backend: &Backend, path: &Path) -> bool {
    backend.snapshot().settings.server_state_file.as_deref() == Some(path)
}

/// Returns what is not as configured, for people.
fn take(backend: &Backend, member: &Member, line: &StateLine) -> Option<String> {
    let (spec, is_static) = (&member.spec, backend.snapshot().settings.balance == Balance::StaticRr);
    let admin = line.admin(spec.disabled);
    // Fixed weights can be switched off, and nothing else.
    let weight = line.weight(spec.weight).filter(|weight| !is_static || weight.get() == 0);
    {
        let mut state = member.server.state();
        // Not as the operator's word at run time: nothing starts slowly at the start.
        state.admin = admin;
        state.weight = weight;
    }
    let admin = match admin {
        _ if admin == AdminState::configured(spec.disabled) => None,
        AdminState::Ready => Some("ready".to_owned()),
        AdminState::Drain => Some("drain".to_owned()),
        AdminState::Maint => Some("maint".to_owned()),
    };
    let said: Vec<_> = admin.into_iter().chain(weight.map(|weight| format!("weight {weight}"))).collect();
    (!said.is_empty()).then(|| format!("{}/{} {}", backend.name, spec.name, said.join(" ")))
}

/// The first ones, and how many more there are.
fn few(what: &[String]) -> String {
    let shown = what.iter().take(MOST_SHOWN).cloned().collect::<Vec<_>>().join(", ");
    let more = what.len().saturating_sub(MOST_SHOWN);
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

const MOST_SHOWN: usize = 8;
