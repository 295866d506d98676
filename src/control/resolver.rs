//! Host names of servers: looked up at the start and followed afterwards, off the data path.
//!
//! An answer that still holds the address in use changes nothing, and neither does a failure: the last address stays.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::Address;
use crate::sys::addr::Addr;

/// The addresses of the names in use. Lives on the control thread.
#[derive(Debug, Default)]
pub(crate) struct Resolver {
    known: HashMap<String, IpAddr>,
}

/// Look-ups under way, all at once. Dropped, they are abandoned.
#[derive(Debug)]
pub(crate) struct Lookups(JoinSet<Lookup>);

/// A name and the answer to its look-up.
#[derive(Debug)]
pub(crate) struct Lookup {
    name: String,
    answer: Result<Vec<IpAddr>, String>,
}

/// Between two look-ups of the same name.
pub(crate) const FOLLOW: Duration = Duration::from_secs(10);

/// For one look-up. At the start the engine waits for it, all names at once.
const LIMIT: Duration = Duration::from_secs(5);

impl Lookups {
    /// Starts to look the names up. Needs a runtime with `spawn_local`.
    pub(crate) fn start(names: Vec<String>) -> Self {
        let mut lookups = JoinSet::new();
        for name in names {
            lookups.spawn_local(look_up(name));
        }
        Self(lookups)
    }

    /// The next answer; `None` once all have come. Cancel safe.
    pub(crate) async fn next(&mut self) -> Option<Lookup> {
        loop {
            if let Ok(lookup) = self.0.join_next().await? {
                return Some(lookup);
            }
        }
    }

    /// Waits for all answers.
    pub(crate) async fn all(mut self) -> Vec<Lookup> {
        let mut all = Vec::new();
        while let Some(lookup) = self.next().await {
            all.push(lookup);
        }
        all
    }
}

impl Resolver {
    /// Where the server is, as far as it is known.
    pub(crate) fn addr(&self, address: &Address) -> Option<Addr> {
        match address {
            Address::Ip(addr) => Some(Addr::Ip(*addr)),
            Address::Unix(path) => Some(Addr::Unix(path.clone())),
            Address::Host(host, port) => {
                let ip = self.known.get(host).copied()?;
                Some(Addr::Ip(SocketAddr::new(ip, *port)))
            }
        }
    }

    /// Whether there is an address for this name.
    pub(crate) fn knows(&self, name: &str) -> bool {
        self.known.contains_key(name)
    }

    /// Forgets all names but these, which are those in force. Not to be called while another configuration is tried: it
    /// may be refused or come into force, and either has names of its own.
    pub(crate) fn keep_only(&mut self, names: &[String]) {
        self.known.retain(|name, _| names.contains(name));
    }

    /// Looks names up and takes each answer in as it comes. Cancel safety: the answers that came are kept.
    pub(crate) async fn follow(&mut self, names: Vec<String>) {
        let mut lookups = Lookups::start(names);
        while let Some(lookup) = lookups.next().await {
            self.learn(lookup);
        }
    }

    /// Takes an answer in. Returns whether the address of its name is another one now.
    pub(crate) fn learn(&mut self, lookup: Lookup) -> bool {
        let Lookup { name, answer } = lookup;
        let known = self.known.get(&name).copied();
        let found = match answer {
            Ok(found) => found,
            Err(error) => {
                match known {
                    Some(ip) => tracing::debug!("cannot look up {name}: {error}; it stays {ip}"),
                    None => tracing::warn!("cannot look up {name}: {error}; its server is left out until it is found"),
                }
                return false;
            }
        };
        if known.is_some_and(|ip| found.contains(&ip)) {
            return false;
        }
        let Some(first) = found.first() else {
            return false;
        };
        if let Some(ip) = known {
            tracing::info!("{name} has moved from {ip} to {first}");
        }
        self.known.insert(name, *first);
        true
    }
}

async fn look_up(name: String) -> Lookup {
    let found = async { lookup_host((name.as_str(), 0)).await.map(|found| found.map(|addr| addr.ip()).collect()) };
    let answer = match timeout(LIMIT, found).await {
        Ok(Ok(found)) => Ok(found),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
    };
    Lookup { name, answer }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(answer: Result<Vec<IpAddr>, String>) -> Lookup {
        Lookup { name: "app".to_owned(), answer }
    }

    #[test]
    fn an_address_stays_while_it_is_among_the_answers() {
        let mut resolver = Resolver::default();
        let ip = |last| IpAddr::from([10, 0, 0, last]);
        assert_eq!(resolver.addr(&Address::Host("app".into(), 80)), None);
        assert!(resolver.learn(answer(Ok(vec![ip(1), ip(2)]))));
        assert!(!resolver.learn(answer(Ok(vec![ip(2), ip(1)]))));
        assert!(!resolver.learn(answer(Err("no such host".into()))));
        assert!(!resolver.learn(answer(Ok(vec![]))));
        let at = |last| Some(Addr::Ip(SocketAddr::new(ip(last), 80)));
        assert_eq!(resolver.addr(&Address::Host("app".into(), 80)), at(1));
        assert!(resolver.learn(answer(Ok(vec![ip(3)]))));
        assert_eq!(resolver.addr(&Address::Host("app".into(), 80)), at(3));
    }

    #[test]
    fn looking_up_other_names_forgets_none_in_use() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap();
        let mut resolver = Resolver::default();
        let known = |resolver: &Resolver, name: &str| resolver.addr(&Address::Host(name.into(), 80)).is_some();
        assert!(resolver.learn(answer(Ok(vec![IpAddr::from([10, 0, 0, 1])]))));
        runtime.block_on(resolver.follow(vec!["localhost".to_owned()]));
        assert!(known(&resolver, "app") && known(&resolver, "localhost"));
        resolver.keep_only(&["localhost".to_owned()]);
        assert!(!known(&resolver, "app") && known(&resolver, "localhost"));
    }
}
