//! Host names of servers: looked up off the data path, and never a reason to lose a server.
//!
//! A table keeps the last good addresses of every name in use; it changes only by an answer that has usable addresses. It
//! moves to the next process, to the supervisor for an engine that crashes, and to `state_dir`. One task looks the names
//! up, a few at a time: nothing waits for a name server, and nothing grows with the number of names that hang.

mod follow;
mod found;
mod hosts;
mod lookup;
mod saved;
mod saving;
mod schedule;
mod sockets;
mod system;
mod table;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, spawn_local};

pub(crate) use self::follow::SOCKETS;
use self::follow::{FollowOrder, follow};
use self::saved::SavedNames;
use self::saving::{NamesFile, keep};
use self::schedule::Answer;
use self::table::AddressTable;
use crate::config::{Address, Resolve, Resolvers};
use crate::control::state_file::Damage;
use crate::sys::addr::Addr;

/// The names in use and their addresses. Lives on the control thread.
pub(crate) struct Names {
    table: AddressTable,
    followed: BTreeSet<String>,
    orders: mpsc::UnboundedSender<FollowOrder>,
    answers: mpsc::UnboundedReceiver<Vec<Answer>>,
    /// Received and not taken in yet.
    arrived: Vec<Answer>,
    file: NamesFile,
    tasks: [AbortHandle; 2],
}

impl Names {
    /// No names yet. Needs a runtime with `spawn_local`.
    pub(crate) fn new() -> Self {
        let (orders, ordered) = mpsc::unbounded_channel();
        let (answered, answers) = mpsc::unbounded_channel();
        let (file, written) = NamesFile::new();
        let tasks =
            [spawn_local(follow(ordered, answered)), spawn_local(keep(written))].map(|task| task.abort_handle());
        Self {
            table: AddressTable::default(),
            followed: BTreeSet::new(),
            orders,
            answers,
            arrived: Vec::new(),
            file,
            tasks,
        }
    }

    /// Begins with what `state_dir` has, except for names that are known already.
    pub(crate) fn resume_from(&mut self, state_dir: Option<&Path>) {
        self.keep_in(state_dir);
        if let Some(saved) = self.file.load() {
            self.table.resume(saved, false);
        }
    }

    /// Takes over what another process knew, which is newer than the file.
    pub(crate) fn resume(&mut self, part: &[u8]) -> Result<(), Damage> {
        self.table.resume(SavedNames::decode(part)?, true);
        Ok(())
    }

    /// Takes over a single address, unless the name has some.
    pub(crate) fn resume_address(&mut self, address: &Address, resolve: &Resolve, known: SocketAddr) {
        if let Address::Host(host, port) = address
            && *port == known.port()
        {
            self.table.resume_one(&resolve.key(host), known.ip());
        }
    }

    /// Everything that is known, for [`Names::resume`], in parts that each fit into a message.
    pub(crate) fn parts(&self) -> Vec<Vec<u8>> {
        self.table.saved().parts()
    }

    /// Where the table is kept.
    pub(crate) fn keep_in(&mut self, state_dir: Option<&Path>) {
        self.file.keep_in(state_dir.map(PathBuf::from));
    }

    /// Follows these names, some of them by these `resolvers`, and no others. What is known of others is forgotten.
    /// Returns what completes once each name without an address was looked up.
    pub(crate) fn follow(
        &mut self,
        names: BTreeSet<String>,
        resolvers: &[Resolvers],
    ) -> impl Future<Output = ()> + use<> {
        self.table.keep_only(&names);
        self.save();
        let new = names.iter().filter(|name| self.table.addresses(name).is_empty()).cloned().collect();
        let (looked_up, all) = oneshot::channel();
        let order = FollowOrder { names: names.clone(), resolvers: resolvers.to_vec(), new, looked_up };
        self.followed = names;
        // The task ends only with this.
        self.orders.send(order).ok();
        async { all.await.unwrap_or_default() }
    }

    /// Waits for answers. Cancel safe: what has arrived is kept.
    pub(crate) async fn answered(&mut self) {
        if self.arrived.is_empty()
            && let Some(answers) = self.answers.recv().await
        {
            self.arrived.extend(answers);
        }
    }

    /// Takes in the answers that have arrived. Returns the names whose addresses have changed.
    pub(crate) fn learn(&mut self) -> BTreeSet<String> {
        while let Ok(answers) = self.answers.try_recv() {
            self.arrived.extend(answers);
        }
        let mut changed = BTreeSet::new();
        for answer in self.arrived.drain(..) {
            if self.followed.contains(&answer.name) && self.table.learn(&answer.name, answer.outcome) {
                changed.insert(answer.name);
            }
        }
        if !changed.is_empty() {
            self.save();
        }
        changed
    }

    /// What another process has handed over has to be saved too. A file is not replaced by nothing: that would be what a
    /// start without it knows.
    fn save(&self) {
        let saved = self.table.saved();
        if !saved.names.is_empty() {
            self.file.write(&saved);
        }
    }

    /// Where a server may be, the usual place first. Empty: its name has no known address.
    pub(crate) fn places(&self, address: &Address, resolve: &Resolve) -> Vec<Addr> {
        match address {
            Address::Ip(addr) => vec![Addr::Ip(*addr)],
            Address::Unix(path) => vec![Addr::Unix(path.clone())],
            Address::Host(host, port) => {
                let mut addresses = self.table.addresses(&resolve.key(host)).to_vec();
                if let Some(family) = resolve.prefer {
                    addresses.sort_by_key(|ip| !family.has(*ip));
                }
                addresses.into_iter().map(|ip| Addr::Ip(SocketAddr::new(ip, *port))).collect()
            }
        }
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}
