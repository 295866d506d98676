//! What the operator changes of servers. Names may be patterns; the answer says what each server meant is now.

use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;

use crate::backend::{Backend, Member};
use crate::config::{AdminState, Weight};
use crate::control::admin::name_pattern::NamePattern;
use crate::control::checker::unusable;
use crate::engine::pools::Pools;

/// What a command has done to servers.
#[derive(Debug, Default, Serialize)]
pub(in crate::engine) struct Administered {
    /// Something is different now.
    pub(in crate::engine) changed: bool,
    /// For people: a line a server.
    message: String,
    /// All that were meant, with their backends.
    servers: Vec<String>,
    /// For people, of the backends that are left without a usable server.
    pub(in crate::engine) warnings: Vec<String>,
}

/// With its backend.
type MeantServer<'p> = (&'p Arc<Backend>, Arc<Member>);

impl Pools {
    /// Sets the administrative state of servers. An error names what there is.
    pub(in crate::engine) fn set_state(
        &self,
        backend: &str,
        server: &str,
        state: AdminState,
    ) -> Result<Administered, String> {
        let meant = self.meant(backend, server)?;
        let mut done = Administered::default();
        for (backend, member) in &meant {
            let before = member.server.state().admin;
            self.consequences.administer(backend, member, state);
            self.checker.check_now(&member.server);
            done.changed |= before != state;
        }
        self.follow_tracked();
        for (backend, member) in &meant {
            let leaves = state == AdminState::Ready && member.spec.drain;
            let status = if leaves { "DRAIN, as its key says" } else { member.status() };
            tracing::info!("backend {}: server {} is {status} by the operator", backend.name, member.server.name);
            done.say(backend, member, &format!("is {status}"));
        }
        self.follow_up(&meant, &mut done);
        Ok(done)
    }

    /// Sets the weight of servers: of all that are meant, or of none.
    pub(in crate::engine) fn set_weight(
        &self,
        backend: &str,
        server: &str,
        weight: u16,
    ) -> Result<Administered, String> {
        let weight = Weight::new(weight).ok_or_else(|| format!("weight {weight} is not from 0 to {}", Weight::MAX))?;
        let meant = self.meant(backend, server)?;
        if let Some((_, fixed)) =
            meant.iter().find(|(backend, member)| !backend.snapshot().takes_weight(member, weight))
        {
            let (name, own) = (&fixed.server.name, fixed.spec.weight);
            return Err(format!("balance static-rr has fixed weights: {name} can have 0 and {own}"));
        }
        let mut done = Administered::default();
        for (backend, member) in &meant {
            let before = member.server.state().weight.replace(weight).unwrap_or(member.spec.weight);
            backend.refresh(Instant::now());
            tracing::info!(
                "backend {}: server {} has weight {weight} by the operator",
                backend.name,
                member.server.name
            );
            done.changed |= before != weight;
            done.say(backend, member, &format!("has weight {weight}"));
        }
        self.follow_up(&meant, &mut done);
        Ok(done)
    }

    /// What is wrong with names that mean nothing here; `None`: they mean something.
    pub(in crate::engine) fn unknown(&self, backend: &NamePattern, server: Option<&NamePattern>) -> Option<String> {
        match server {
            Some(server) => self.meant(backend.text(), server.text()).err(),
            None => {
                let known = self.iter().any(|(name, _)| backend.matches(name));
                (!known).then(|| self.no_backend(backend.text()))
            }
        }
    }

    /// The servers of these names. An error names what there is.
    fn meant(&self, backend: &str, server: &str) -> Result<Vec<MeantServer<'_>>, String> {
        let [of_backend, of_server] = [backend, server].map(|name| NamePattern::new(Some(name.to_owned())));
        let mut meant = Vec::new();
        for (_, found) in self.iter().filter(|(name, _)| of_backend.matches(name)) {
            let snapshot = found.snapshot();
            let members = snapshot.members.iter().filter(|member| of_server.matches(&member.server.name));
            meant.extend(members.map(|member| (found, Arc::clone(member))));
        }
        if !meant.is_empty() {
            return Ok(meant);
        }
        Err(match self.get(backend) {
            _ if of_backend.is_wide() || of_server.is_wide() => {
                format!("no server is {backend}/{server}; `lb server list` shows them")
            }
            None => self.no_backend(backend),
            Some(found) => {
                let snapshot = found.snapshot();
                let known: Vec<_> = snapshot.members.iter().map(|member| &*member.server.name).collect();
                format!("no server {server} in backend {backend}; there are: {}", known.join(", "))
            }
        })
    }

    fn no_backend(&self, name: &str) -> String {
        let known: Vec<_> = self.iter().map(|(name, _)| name.as_str()).collect();
        format!("no backend {name}; there are: {}", known.join(", "))
    }

    /// What the change entails for each backend.
    fn follow_up(&self, meant: &[MeantServer<'_>], done: &mut Administered) {
        // Those of one backend stand together.
        for backend in meant.chunk_by(|one, other| Arc::ptr_eq(one.0, other.0)).map(|of_one| of_one[0].0) {
            self.consequences.follow_up(backend, true);
            done.warnings.extend(Self::warning(backend));
        }
    }

    /// For the operator who has just changed something: no session of the backend would be served now.
    pub(super) fn warning(backend: &Arc<Backend>) -> Option<String> {
        let snapshot = backend.snapshot();
        (snapshot.active() == 0 && !snapshot.members.is_empty()).then(|| unusable(&backend.name))
    }
}

impl Administered {
    fn say(&mut self, backend: &Backend, member: &Member, what: &str) {
        let name = format!("{}/{}", backend.name, member.server.name);
        if !self.message.is_empty() {
            self.message.push('\n');
        }
        self.message += &format!("{name} {what}");
        self.servers.push(name);
    }
}
