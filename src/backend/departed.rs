//! Servers that left a backend. One with open sessions stays until the last of them ends: it is shown, and it is the
//! same server again if its name returns meanwhile. Of the others remains what they counted, so that no total falls.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::loads::Loads;
use super::server::{Member, MemberOrigin, MemberSpec, Server};
use crate::config::{ServerOptions, Weight};
use crate::stats::ServerStats;
use crate::sys::addr::Addr;

/// The servers of a backend that are no members any more, by name.
#[derive(Debug, Default)]
pub(super) struct DepartedServers(BTreeMap<String, Arc<Member>>);

impl DepartedServers {
    /// Takes members in that leave.
    pub(super) fn extend<'a>(&mut self, gone: impl Iterator<Item = &'a Arc<Member>>) {
        self.0.extend(gone.map(|member| (member.spec.name.clone(), Arc::clone(member))));
    }

    pub(super) fn get(&self, name: &str) -> Option<&Arc<Member>> {
        self.0.get(name)
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.0.remove(name);
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.0.values()
    }

    /// The server of that name, or a new one that leaves already. `None`: there is no place for one more.
    pub(super) fn get_or_make(
        &mut self,
        name: &str,
        addr: impl FnOnce() -> Addr,
        loads: &Arc<Loads>,
    ) -> Option<&Arc<Member>> {
        if !self.0.contains_key(name) {
            let spec = MemberSpec {
                name: name.to_owned(),
                addr: addr(),
                host: None,
                weight: Weight::default(),
                maxconn: None,
                backup: false,
                disabled: false,
                options: Arc::new(ServerOptions { check: None, ..ServerOptions::default() }),
                drain: false,
                origin: MemberOrigin::Static,
            };
            let server = Arc::new(Server::new(&spec, loads)?);
            self.0.insert(name.to_owned(), Arc::new(Member { server, spec }));
        }
        self.0.get(name)
    }

    /// Forgets the servers that nothing uses any more. Their counts go to `gone`.
    pub(super) fn settle(&mut self, gone: &ServerStats) {
        self.0.retain(|_, member| {
            // Unique: no session counts on it any more, nor can one again. Unlike a look at the number of references,
            // this synchronizes with the last of them.
            let unused = Arc::get_mut(member).and_then(|member| Arc::get_mut(&mut member.server));
            let unused = unused.map(|server| gone.absorb(&server.stats));
            unused.is_none()
        });
    }
}
