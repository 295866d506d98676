//! Servers that left a backend. One with open sessions stays until the last of them ends: it is shown, and it is the
//! same server again if its name returns meanwhile. Of the others remains what they counted, by name: no total falls.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::loads::Loads;
use super::server::{Member, MemberOrigin, MemberSpec, Server};
use crate::config::{ServerOptions, Weight};
use crate::stats::{Counts, Remembered, ServerStats};
use crate::sys::addr::Addr;

/// The servers of a backend that are no members any more.
#[derive(Debug, Default)]
pub(super) struct DepartedServers {
    /// Those in use, by name.
    leaving: BTreeMap<String, Arc<Member>>,
    /// What the others have counted, without times.
    counts: Remembered<ServerStats>,
}

impl DepartedServers {
    /// Takes members in that leave.
    pub(super) fn extend<'a>(&mut self, gone: impl Iterator<Item = &'a Arc<Member>>) {
        self.leaving.extend(gone.map(|member| (member.spec.name.clone(), Arc::clone(member))));
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<Member>> {
        self.leaving.get(name)
    }

    /// The name is one of a member again, to which go the counts of those that had it before.
    pub(super) fn returns(&mut self, member: &Member) {
        self.leaving.remove(&member.spec.name);
        if let Some(counts) = self.counts.take(&member.spec.name) {
            member.server.stats.absorb(&counts);
        }
    }

    /// Where counts go of a name that is no member: to the server that leaves, or to what is remembered. The empty name
    /// stands for all that are forgotten.
    pub(super) fn counts_of(&mut self, name: &str) -> &ServerStats {
        match self.leaving.get(name) {
            Some(member) => &member.server.stats,
            None => self.counts.of(name),
        }
    }

    /// What those counted by name that nothing uses any more.
    pub(super) fn remembered(&self) -> impl Iterator<Item = (&str, &ServerStats)> {
        self.counts.iter()
    }

    /// Lets nothing remain of what those counted.
    pub(super) fn forget_counts(&mut self) {
        self.counts = Remembered::default();
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.leaving.values()
    }

    /// The server of that name, or a new one that leaves already. `None`: there is no place for one more.
    pub(super) fn get_or_make(
        &mut self,
        name: &str,
        addr: impl FnOnce() -> Addr,
        loads: &Arc<Loads>,
    ) -> Option<&Arc<Member>> {
        if !self.leaving.contains_key(name) {
            let spec = MemberSpec {
                name: name.to_owned(),
                addr: addr(),
                port_shift: None,
                host: None,
                weight: Weight::default(),
                maxconn: None,
                backup: false,
                disabled: false,
                options: Arc::new(ServerOptions { check: None, ..ServerOptions::default() }),
                drain: false,
                origin: MemberOrigin::Static,
            };
            let member = Member { server: Arc::new(Server::new(&spec, loads)?), spec };
            self.returns(&member);
            self.leaving.insert(name.to_owned(), Arc::new(member));
        }
        self.leaving.get(name)
    }

    /// Forgets the servers that nothing uses any more, but not what they have counted.
    pub(super) fn settle(&mut self) {
        let Self { leaving, counts } = self;
        leaving.retain(|name, member| {
            // Unique: no session counts on it any more, nor can one again. Unlike a look at the number of references,
            // this synchronizes with the last of them.
            let unused = Arc::get_mut(member).and_then(|member| Arc::get_mut(&mut member.server));
            let unused = unused.map(|server| counts.of(name).add_counts(&server.stats));
            unused.is_none()
        });
    }
}
