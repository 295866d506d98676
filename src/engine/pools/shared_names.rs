//! Servers that share a host name, as those of a template do: each is at an address of its own. One for which none is
//! left waits until the name has more.

use std::collections::{HashMap, HashSet};

use crate::config;
use crate::sys::addr::Addr;

/// Whether it may share its name with others: where it has `resolvers`, as in HAProxy.
pub(super) fn shares_name(server: &config::Server) -> bool {
    server.options.resolve.resolvers.is_some() && server.addr.host().is_some()
}

/// The addresses of these servers by their names. One that has an address of its name keeps it.
pub(super) fn assign<'s>(
    servers: &'s [config::Server],
    in_use: &HashMap<&str, &Addr>,
    places: impl Fn(&config::Server) -> Vec<Addr>,
) -> HashMap<&'s str, Addr> {
    let mut taken = HashSet::new();
    let mut assigned = HashMap::new();
    let sharing = || servers.iter().filter(|server| shares_name(server));
    for server in sharing() {
        let addr = in_use.get(server.name.as_str()).copied().filter(|addr| places(server).contains(addr));
        if let Some(addr) = addr.filter(|addr| taken.insert((server.addr.clone(), Addr::clone(addr)))) {
            assigned.insert(server.name.as_str(), addr.clone());
        }
    }
    for server in sharing() {
        if !assigned.contains_key(server.name.as_str()) {
            let free = places(server).into_iter().find(|addr| taken.insert((server.addr.clone(), addr.clone())));
            assigned.extend(free.map(|addr| (server.name.as_str(), addr)));
        }
    }
    assigned
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn each_server_of_a_name_has_an_address_of_its_own_and_keeps_it() {
        let server = |name: &str| {
            let mut server = config::Server::new(name, "app:80".parse().unwrap());
            Arc::make_mut(&mut server.options).resolve.resolvers = Some("r".to_owned());
            server
        };
        let servers = ["a", "b", "c"].map(server);
        let addr = |last: u8| Addr::Ip(([10, 0, 0, last], 80).into());
        let at = |in_use: &[(&str, u8)], found: &[u8]| {
            let held: Vec<_> = in_use.iter().map(|(name, last)| (*name, addr(*last))).collect();
            let held = held.iter().map(|(name, addr)| (*name, addr)).collect();
            let assigned = assign(&servers, &held, |_| found.iter().map(|last| addr(*last)).collect());
            ["a", "b", "c"].map(|name| (1..9).find(|last| assigned.get(name) == Some(&addr(*last))).unwrap_or(0))
        };
        assert_eq!(at(&[], &[1, 2]), [1, 2, 0]);
        assert_eq!(at(&[("a", 1), ("b", 2)], &[3, 2, 1]), [1, 2, 3]);
        assert_eq!(at(&[("a", 1), ("b", 2), ("c", 3)], &[2, 4]), [4, 2, 0]);
        assert_eq!(at(&[("a", 1)], &[]), [0, 0, 0]);
    }
}
