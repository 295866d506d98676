//! Places within limits (`maxconn`), which hold for both engines of an upgrade together. The old engine says how many it
//! has and takes no more than these; the new one leaves them alone until the sessions come that they belong to.
//!
//! Rule: before the new engine accepts, the free places are divided; from PARK on the old one only gives places away.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use crate::backend::Member;
use crate::engine::listeners::{Listeners, Served};
use crate::engine::pools::Pools;
use crate::handoff::peer::{HeldPlace, HeldPlaces, PeerMessage};
use crate::proxy::limit::Limit;

/// Old engine: the places that it has kept.
#[derive(Debug, Default)]
pub(super) struct Lending {
    said: HashMap<LimitName, u32>,
    /// `None`: this engine accepts from all its listeners. Else the free places that it keeps for those which the new
    /// engine does not serve.
    pub(super) parked: Option<u32>,
}

/// Which limit: of a frontend, of a server of a backend, or of the whole process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum LimitName {
    Process,
    Frontend(String),
    Server(String, String),
}

impl Lending {
    /// Gives away what this engine does not need. Returns what has changed, for the other one.
    pub(super) fn update(&mut self, listeners: &Listeners, pools: &Pools) -> Vec<PeerMessage> {
        let mut now = vec![(LimitName::Process, self.lend(LimitName::Process, listeners.limit()))];
        for (name, served) in listeners.iter() {
            let limit = LimitName::Frontend(name.clone());
            now.push((limit.clone(), self.lend(limit, &served.frontend.limit)));
        }
        for (name, backend) in pools.iter() {
            let members = &backend.snapshot_full().members;
            let kept: Vec<_> = members.iter().map(|member| self.keep(name, member)).collect();
            if members.iter().zip(&kept).filter(|(member, kept)| lend_of_server(member, **kept)).count() > 0 {
                backend.refresh(Instant::now());
            }
            // Counted once more: a session may have come before the limit was in force.
            let names = members.iter().map(|member| LimitName::Server(name.clone(), member.server.name.to_string()));
            now.extend(names.zip(members.iter().zip(kept).map(|(member, kept)| kept.max(member.server.sessions()))));
        }
        now.retain(|(limit, places)| *places != self.said.get(limit).copied().unwrap_or(0));
        self.said.extend(now.iter().cloned());
        messages(now)
    }

    /// No new session takes a place on a server: each that freezes frees one here, which it still has.
    pub(super) fn close_servers(pools: &Pools) {
        lend_servers(pools, u32::MAX);
    }

    fn lend(&self, name: LimitName, limit: &Limit) -> u32 {
        let kept = self.kept(&name, limit.max(), limit.used());
        limit.lend(limit.max().saturating_sub(kept));
        kept.max(limit.used())
    }

    fn keep(&self, backend: &str, member: &Member) -> u32 {
        let sessions = member.server.sessions();
        let name = LimitName::Server(backend.to_owned(), member.server.name.to_string());
        member.maxconn().map_or(sessions, |max| self.kept(&name, max, sessions))
    }

    fn kept(&self, name: &LimitName, max: u32, used: u32) -> u32 {
        let before = self.said.get(name).copied();
        match (self.parked, before) {
            (None, None) => used + max.saturating_sub(used) / 2,
            (None, Some(before)) => before.max(used),
            (Some(free), before) => used.saturating_add(free).min(before.unwrap_or(max)).max(used),
        }
    }
}

/// Old engine: what it will keep once the new one is about to accept, as far as that can be told now.
pub(super) fn present(listeners: &Listeners, pools: &Pools) -> Vec<PeerMessage> {
    let (none, half) = (Lending::default(), |max: u32, used: u32| used + max.saturating_sub(used) / 2);
    let of_frontend = |(name, served): (&String, &Served)| {
        let limit = &served.frontend.limit;
        (LimitName::Frontend(name.clone()), half(limit.max(), limit.used()))
    };
    let mut all = vec![(LimitName::Process, half(listeners.limit().max(), listeners.limit().used()))];
    all.extend(listeners.iter().map(of_frontend));
    for (name, backend) in pools.iter() {
        let of_server = |member: &Arc<Member>| {
            (LimitName::Server(name.clone(), member.server.name.to_string()), none.keep(name, member))
        };
        all.extend(backend.snapshot().members.iter().map(of_server));
    }
    all.retain(|(_, places)| *places > 0);
    messages(all)
}

/// New engine: leaves these places alone. Those of servers with the next snapshot.
pub(super) fn leave(listeners: &Listeners, pools: &Pools, held: &HeldPlaces) {
    for of in &held.of {
        match (&of.frontend, &of.backend, &of.server) {
            (Some(name), ..) => {
                if let Some(frontend) = listeners.frontend(name) {
                    frontend.limit.lend(of.places);
                }
            }
            (None, Some(backend), Some(server)) => {
                let snapshot = pools.get(backend).map(|backend| backend.snapshot_full());
                let members = snapshot.iter().flat_map(|snapshot| &snapshot.members);
                for member in members.filter(|member| *member.server.name == **server) {
                    member.server.lend(of.places);
                }
            }
            _ => listeners.limit().lend(of.places),
        }
    }
}

/// Builds the snapshots that show changed limits of servers: of the backends in `held`, or of all.
pub(super) fn refresh(pools: &Pools, held: Option<&HeldPlaces>) {
    let named: Option<BTreeSet<_>> = held.map(|held| held.of.iter().filter_map(|of| of.backend.as_deref()).collect());
    for (name, backend) in pools.iter() {
        let lends = |member: &Member| member.maxconn().is_some() && member.server.lent() > 0;
        let concerned = match &named {
            Some(named) => named.contains(name.as_str()),
            None => backend.snapshot().members.iter().any(|member| lends(member)),
        };
        if concerned {
            backend.refresh(Instant::now());
        }
    }
}

/// The other engine has no places any more.
pub(super) fn release(listeners: &Listeners, pools: &Pools) {
    listeners.limit().lend(0);
    listeners.iter().for_each(|(_, served)| served.frontend.limit.lend(0));
    lend_servers(pools, 0);
    // A server that left may return.
    let leaving = pools.leaving();
    for backend in pools.iter().map(|(_, backend)| backend).chain(&leaving) {
        backend.leaving().iter().for_each(|member| _ = member.server.lend(0));
    }
}

fn lend_servers(pools: &Pools, places: u32) {
    for (_, backend) in pools.iter() {
        let snapshot = backend.snapshot_full();
        snapshot.members.iter().for_each(|member| _ = member.server.lend(places));
        // Even if nothing has changed: since the last snapshot sessions may have come with their places.
        if snapshot.members.iter().any(|member| member.maxconn().is_some()) {
            backend.refresh(Instant::now());
        }
    }
}

fn lend_of_server(member: &Member, kept: u32) -> bool {
    member.maxconn().is_some_and(|max| member.server.lend(max.saturating_sub(kept)))
}

fn messages(places: Vec<(LimitName, u32)>) -> Vec<PeerMessage> {
    let held = |(limit, places): &(LimitName, u32)| {
        let (frontend, backend, server) = match limit {
            LimitName::Process => (None, None, None),
            LimitName::Frontend(name) => (Some(name.clone()), None, None),
            LimitName::Server(backend, name) => (None, Some(backend.clone()), Some(name.clone())),
        };
        HeldPlace { frontend, backend, server, places: *places }
    };
    let message = |part: &[_]| PeerMessage::Held(HeldPlaces { of: part.iter().map(held).collect() });
    places.chunks(PART).map(message).collect()
}

/// Free places within each limit that a parked engine keeps while it accepts from listeners which the new one does not
/// serve.
pub(super) const KEPT: u32 = 16;

/// Records of one message: with the longest names it stays below the limit of a message.
const PART: usize = 100;
