//! Merge: the servers of the configuration and those discovered, by name.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::value::Servers;
use crate::config::{MAX_SERVERS, Server, ServerOptions};

/// The servers of one backend, and what had to be left out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Merged {
    /// Those of the configuration in its order, then the discovered ones by name.
    pub servers: Vec<Server>,
    /// Discovered under a name that the configuration has: the configuration wins, and the operator is warned.
    pub shadowed: Vec<String>,
    /// Discovered beyond [`MAX_SERVERS`].
    pub left_out: usize,
}

/// Puts the discovered servers, which have the `options` of their backend, after the configured ones.
pub(crate) fn merge(configured: &[Server], options: &Arc<ServerOptions>, discovered: &Servers) -> Merged {
    let names: BTreeSet<&str> = configured.iter().map(|server| server.name.as_str()).collect();
    let mut merged = Merged { servers: configured.to_vec(), shadowed: Vec::new(), left_out: 0 };
    for (name, found) in discovered {
        if names.contains(name.as_str()) {
            merged.shadowed.push(name.clone());
        } else if merged.servers.len() >= MAX_SERVERS {
            merged.left_out += 1;
        } else {
            merged.servers.push(Server {
                weight: found.weight,
                maxconn: found.maxconn,
                backup: found.backup,
                options: Arc::clone(options),
                drain: found.drain,
                ..Server::new(name.clone(), found.addr.clone())
            });
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::super::Discovered;
    use super::*;

    #[test]
    fn the_configuration_wins_over_a_discovered_server_of_the_same_name() {
        let addr = |text: &str| text.parse().unwrap();
        let configured = [Server::new("b", addr("10.0.0.1:80"))];
        let discovered = ["a", "b", "c"].map(|name| (name.to_owned(), Discovered::new(addr("10.0.0.2:80")))).into();
        let merged = merge(&configured, &Arc::default(), &discovered);
        let names: Vec<_> = merged.servers.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["b", "a", "c"]);
        assert_eq!(merged.servers[0], configured[0]);
        assert_eq!(merged.shadowed, ["b"]);
    }

    #[test]
    fn there_is_room_for_so_many_servers_only() {
        let server = Discovered::new("10.0.0.2:80".parse().unwrap());
        let discovered = (0..MAX_SERVERS).map(|i| (format!("s{i}"), server.clone())).collect();
        let configured = [Server::new("b", server.addr)];
        let merged = merge(&configured, &Arc::default(), &discovered);
        assert_eq!((merged.servers.len(), merged.left_out), (MAX_SERVERS, 1));
    }
}
