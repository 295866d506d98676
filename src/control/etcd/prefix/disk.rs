//! Disk: what a followed prefix keeps for a start without etcd, and for the next process.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tracing::{info, warn};

use super::FollowedPrefix;
use crate::config::counted;
use crate::control::etcd::status::AppliedFrom;
use crate::control::last_known_good::Saved;
use crate::control::state_file::SaveError;

impl FollowedPrefix {
    /// Applies what was last known: `handed` by an earlier follower, or the file.
    pub(in crate::control::etcd) fn resume(&self, handed: Option<Saved>) {
        let from_file = handed.is_none();
        let Some(saved) = handed.or_else(|| self.load()) else {
            return;
        };
        if saved.prefix != self.prefix {
            let (backend, other) = (self.backend(), &saved.prefix);
            warn!("backend {backend}: the last known servers are those of {other} and are not used");
            return;
        }
        let servers = match saved.servers() {
            Ok(servers) => servers,
            Err(why) => {
                warn!("backend {}: the last known servers are not used: {why}", self.backend());
                return;
            }
        };
        let mut state = self.state.borrow_mut();
        state.discovery.resume(saved.cluster_id, saved.revision, &servers);
        state.source = if from_file { AppliedFrom::File } else { AppliedFrom::Etcd };
        state.heard = Some(Instant::now());
        state.file_age_s = now_s().saturating_sub(saved.saved_at);
        let (count, revision) = (servers.len(), saved.revision);
        info!("backend {}: {} as last known at revision {revision}", self.backend(), counted(count as u64, "server"));
        self.send(&state);
    }

    pub(in crate::control::etcd) fn saved(&self) -> Option<Saved> {
        let state = self.state.borrow();
        let view = state.discovery.view();
        let cluster_id = view.cluster_id()?;
        Some(Saved::new(&self.prefix, cluster_id, view.revision(), now_s(), state.discovery.saved()))
    }

    /// Waits for a change that is not on the disk yet. Cancel safety: the change is not forgotten.
    pub(in crate::control::etcd) async fn unsaved(&self) {
        self.unsaved.notified().await;
    }

    /// The write of what is applied, for a thread that may block on the disk. A failure costs nothing else.
    pub(in crate::control::etcd) fn save(&self) -> Option<impl FnOnce() -> Result<(), SaveError> + Send + use<>> {
        let (dir, saved) = (self.state_dir.clone()?, self.saved()?);
        let backend = Arc::clone(&self.backend.name);
        Some(move || saved.save(&dir, &backend))
    }

    fn load(&self) -> Option<Saved> {
        let dir = self.state_dir.as_deref()?;
        Saved::load(dir, self.backend()).unwrap_or_else(|error| {
            warn!("backend {}: last known servers: {error}", self.backend());
            None
        })
    }
}

/// For show only: no timer depends on it.
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
