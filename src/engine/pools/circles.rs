//! Servers that are frontends of this balancer and lead back to themselves, as far as this host shows it now: by the
//! addresses of their names, of its interfaces, and of what was discovered. They get no sessions.
//!
//! Two balancers that lead to each other are not found: a connection does not show where it has been. The limits of
//! `maxconn` bound them.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use crate::config::{self, Config, Entrance, Target, circles};
use crate::sys::addr::Addr;
use crate::sys::local_ip::is_local;

/// Backend, server and place.
pub(super) type CircularPlace = (String, String, SocketAddr);

/// What a look has found.
#[derive(Debug)]
pub(super) struct CirclesFound {
    /// Anything is another than before.
    pub(super) changed: bool,
    pub(super) new: Vec<CircularPlace>,
}

/// What was found last.
#[derive(Debug, Default)]
pub(super) struct Circles {
    entrances: Vec<Entrance>,
    /// The servers of each backend with their places, as last told.
    servers: BTreeMap<String, Vec<(String, Vec<Addr>)>>,
    /// The reason for each.
    found: BTreeMap<CircularPlace, String>,
    /// When it was looked for last.
    looked: Option<Instant>,
}

impl Circles {
    /// Waits until it is time to look again, since the addresses of this host may have changed. Cancel safe.
    pub(super) async fn due(&self) {
        sleep_until(self.looked.unwrap_or_else(Instant::now) + PERIOD).await;
    }

    /// Looks again. `entrances`: where the frontends listen, if that is changing; `servers`: those of a backend with their
    /// places, if these may have changed. Says what is new.
    pub(super) fn look(
        &mut self,
        config: &Config,
        entrances: Option<Vec<Entrance>>,
        mut servers: impl FnMut(&config::Backend) -> Option<Vec<(String, Vec<Addr>)>>,
    ) -> CirclesFound {
        self.looked = Some(Instant::now());
        self.entrances = entrances.unwrap_or_else(|| std::mem::take(&mut self.entrances));
        self.servers.retain(|name, _| config.backends.iter().any(|backend| backend.name == *name));
        for backend in &config.backends {
            self.servers.extend(servers(backend).map(|servers| (backend.name.clone(), servers)));
        }
        let mut targets = Vec::new();
        for (backend, servers) in &self.servers {
            let placed = servers.iter().flat_map(|(server, places)| places.iter().map(move |place| (server, place)));
            targets.extend(placed.filter_map(|(server, place)| match place {
                Addr::Ip(addr) => Some(Target { backend, server, addr: *addr }),
                Addr::Unix(_) => None,
            }));
        }
        let named = |(target, entrance): (Target<'_>, &Entrance)| {
            let key = (target.backend.to_owned(), target.server.to_owned(), target.addr);
            (key, format!("{} {}", target.addr, entrance.reason()))
        };
        // Asked of the kernel once a look: many servers share an address, and several frontends a port.
        let known = RefCell::new(HashMap::new());
        let is_local = |addr: SocketAddr| *known.borrow_mut().entry(addr.ip()).or_insert_with(|| is_local(addr));
        let found: BTreeMap<_, _> = circles(&self.entrances, &targets, is_local).into_iter().map(named).collect();
        let mut new = Vec::new();
        for (key, why) in found.iter().filter(|(key, why)| self.found.get(*key) != Some(*why)) {
            tracing::error!("backend {}: server {} gets no sessions there: {why}", key.0, key.1);
            new.push(key.clone());
        }
        let changed = found != self.found;
        self.found = found;
        CirclesFound { changed, new }
    }

    pub(super) fn has(&self, backend: &str, server: &str, place: &Addr) -> bool {
        let is_it = |of: &CircularPlace| of.0 == backend && of.1 == server && Addr::Ip(of.2) == *place;
        self.found.keys().any(is_it)
    }

    /// Names and reasons of those of a backend.
    pub(super) fn of<'s>(&'s self, backend: &'s str) -> impl Iterator<Item = (&'s str, &'s str)> {
        let of_backend = self.found.iter().filter(move |(of, _)| of.0 == backend);
        of_backend.map(|(of, why)| (of.1.as_str(), why.as_str()))
    }
}

/// Between two looks: until then an address that comes to this host may make a circle.
const PERIOD: Duration = Duration::from_secs(2);
