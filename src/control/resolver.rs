//! Host names of servers: looked up at the start and followed afterwards, off the data path.
//!
//! An answer that still holds the address in use changes nothing, and neither does a failure: the last address stays.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::config::Address;
use crate::sys::addr::Addr;

/// What is known of the names in use. Lives on the control thread.
#[derive(Debug, Default)]
pub struct Resolver {
    known: RefCell<HashMap<String, IpAddr>>,
}

/// Between two look-ups of the same name.
pub const FOLLOW: Duration = Duration::from_secs(10);

/// For one look-up. At the start the daemon waits for it, all names at once.
const LIMIT: Duration = Duration::from_secs(5);

impl Resolver {
    /// Where the server is, as far as it is known.
    pub fn addr(&self, address: &Address) -> Option<Addr> {
        match address {
            Address::Ip(addr) => Some(Addr::Ip(*addr)),
            Address::Unix(path) => Some(Addr::Unix(path.clone())),
            Address::Host(host, port) => {
                let ip = self.known.borrow().get(host).copied()?;
                Some(Addr::Ip(SocketAddr::new(ip, *port)))
            }
        }
    }

    /// Whether there is an address for this name.
    pub fn knows(&self, name: &str) -> bool {
        self.known.borrow().contains_key(name)
    }

    /// Forgets all names but these, which are those in force. Not to be called while another configuration is tried: it
    /// may be refused or come into force, and either has names of its own.
    pub fn keep_only(&self, names: &[String]) {
        self.known.borrow_mut().retain(|name, _| names.contains(name));
    }

    /// Looks names up, all at once, and returns those whose address is new.
    pub async fn follow(&self, names: Vec<String>) -> Vec<String> {
        let mut lookups = tokio::task::JoinSet::new();
        for name in names {
            lookups.spawn_local(async move {
                let lookup =
                    async { lookup_host((name.as_str(), 0)).await.map(|found| found.map(|addr| addr.ip()).collect()) };
                let answer = timeout(LIMIT, lookup).await;
                let answer = match answer {
                    Ok(Ok(found)) => Ok(found),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
                };
                (name, answer)
            });
        }
        let mut changed = Vec::new();
        while let Some(done) = lookups.join_next().await {
            let Ok((name, answer)) = done else { continue };
            if self.learn(&name, answer) {
                changed.push(name);
            }
        }
        changed
    }

    /// Whether the address of `name` is another one now.
    fn learn(&self, name: &str, answer: Result<Vec<IpAddr>, String>) -> bool {
        let known = self.known.borrow().get(name).copied();
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
        self.known.borrow_mut().insert(name.to_owned(), *first);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_stays_while_it_is_among_the_answers() {
        let resolver = Resolver::default();
        let ip = |last| IpAddr::from([10, 0, 0, last]);
        assert_eq!(resolver.addr(&Address::Host("app".into(), 80)), None);
        assert!(resolver.learn("app", Ok(vec![ip(1), ip(2)])));
        assert!(!resolver.learn("app", Ok(vec![ip(2), ip(1)])));
        assert!(!resolver.learn("app", Err("no such host".into())));
        assert!(!resolver.learn("app", Ok(vec![])));
        let at = |last| Some(Addr::Ip(SocketAddr::new(ip(last), 80)));
        assert_eq!(resolver.addr(&Address::Host("app".into(), 80)), at(1));
        assert!(resolver.learn("app", Ok(vec![ip(3)])));
        assert_eq!(resolver.addr(&Address::Host("app".into(), 80)), at(3));
    }

    #[test]
    fn looking_up_other_names_forgets_none_in_use() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build_local(tokio::runtime::LocalOptions::default())
            .unwrap();
        let resolver = Resolver::default();
        let known = |name: &str| resolver.addr(&Address::Host(name.into(), 80)).is_some();
        assert!(resolver.learn("app", Ok(vec![IpAddr::from([10, 0, 0, 1])])));
        runtime.block_on(resolver.follow(vec!["localhost".to_owned()]));
        assert!(known("app") && known("localhost"));
        resolver.keep_only(&["localhost".to_owned()]);
        assert!(!known("app") && known("localhost"));
    }
}
