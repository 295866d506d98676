//! Servers whose state is that of another one: the links between them, and what changes when the other one does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::backend::health::Transition;
use crate::backend::{Backend, Member, Tracking};
use crate::config::AdminState;

/// A server that has another state than before, and whether it went UP or DOWN.
pub(super) struct TrackedChange {
    pub(super) backend: Arc<Backend>,
    pub(super) member: Arc<Member>,
    pub(super) transition: Option<Transition>,
    /// Its administrative state until then.
    pub(super) before: AdminState,
}

/// Links every server that tracks another one to that one, as it is now. Returns those whose state has changed.
pub(super) fn follow(backends: &BTreeMap<String, Arc<Backend>>) -> Vec<TrackedChange> {
    let tracks = |member: &Arc<Member>| member.spec.options.track.is_some() || member.server.state().tracking.is_some();
    let of = |backend: &Arc<Backend>| -> Vec<(Arc<Backend>, Arc<Member>)> {
        let members = backend.snapshot_full();
        members.members.iter().filter(|one| tracks(one)).map(|one| (Arc::clone(backend), Arc::clone(one))).collect()
    };
    let trackers: Vec<_> = backends.values().flat_map(of).collect();
    // Links of two configurations could make a circle: all are cut before the first is made.
    let cut = |(_, member): &(Arc<Backend>, Arc<Member>)| {
        member.server.state().tracking.take().map_or((true, AdminState::Ready), |tracking| tracking.seen)
    };
    let before: Vec<_> = trackers.iter().map(cut).collect();
    for (_, member) in &trackers {
        let Some(tracked) = &member.spec.options.track else { continue };
        let server = backends.get(&tracked.backend).and_then(|backend| backend.member(&tracked.server));
        let server = server.map(|member| Arc::clone(&member.server));
        member.server.state().tracking = Some(Tracking::new(tracked.to_string().into(), server));
    }
    let now = Instant::now();
    let mut changes = Vec::new();
    for ((backend, member), before) in trackers.into_iter().zip(before) {
        let change = member.server.state().look_at_tracked(before, now);
        let before = before.1.max(member.server.state().admin);
        changes.extend(change.map(|transition| TrackedChange { backend, member, transition, before }));
    }
    changes
}
