//! Circles: a server whose address is one of this balancer's own, where a frontend leads back to that server. One client
//! would become a session, that session another one, and so on until something runs out. Pure.
//!
//! A server that is a frontend which leads elsewhere is none.

use std::collections::{BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::address::{Address, shifted};
use super::backend::Backend;
use super::bind::Bind;
use super::bind_entry::BindEntry;
use super::frontend::Frontend;

/// An address where a frontend listens, and the backend that it leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entrance {
    pub(crate) frontend: String,
    pub(crate) backend: String,
    pub(crate) addr: SocketAddr,
    /// An IPv6 address that takes IPv4 clients too.
    pub(crate) both: bool,
}

/// A place that sessions of a backend are sent to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) backend: &'a str,
    pub(crate) server: &'a str,
    pub(crate) addr: SocketAddr,
}

impl Entrance {
    /// As configured, as far as the addresses are written there.
    pub(crate) fn all(frontends: &[Frontend]) -> Vec<Self> {
        let entrance = |frontend: &Frontend, entry: &BindEntry| match entry.bind {
            Bind::Address(addr) => Some(Self {
                frontend: frontend.name.clone(),
                backend: frontend.backend.clone(),
                addr,
                both: entry.v4v6,
            }),
            Bind::Inherited(_) | Bind::Unix(_) | Bind::Abstract(_) => None,
        };
        frontends.iter().flat_map(|one| one.bind.iter().filter_map(move |entry| entrance(one, entry))).collect()
    }

    /// What is wrong with a server that leads back to itself through this entrance, as the end of a sentence.
    pub(crate) fn reason(&self) -> String {
        let Self { frontend, addr, .. } = self;
        format!("is [frontend.{frontend}] of this balancer ({addr}), which leads back to it; write another address")
    }

    /// Whether a connect to `target` arrives here. `is_local`: whether an address is one of this host.
    fn takes(&self, target: SocketAddr, is_local: &impl Fn(SocketAddr) -> bool) -> bool {
        if self.addr.port() != target.port() {
            return false;
        }
        let ip = match target.ip().to_canonical() {
            // A connect to no address goes to this host.
            IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        let any = self.addr.ip().is_unspecified();
        let family = self.addr.is_ipv4() == ip.is_ipv4() || (self.both && ip.is_ipv4());
        self.addr.ip().to_canonical() == ip || (any && family && (ip.is_loopback() || is_local(target)))
    }
}

/// The targets that lead back to their own backend, each once, with the entrance where that begins.
pub(crate) fn circles<'a, 'e>(
    entrances: &'e [Entrance],
    targets: &[Target<'a>],
    is_local: impl Fn(SocketAddr) -> bool,
) -> Vec<(Target<'a>, &'e Entrance)> {
    let mut at_port: HashMap<u16, Vec<&Entrance>> = HashMap::new();
    for entrance in entrances {
        at_port.entry(entrance.addr.port()).or_default().push(entrance);
    }
    let mut steps = Vec::new();
    for target in targets {
        let near = at_port.get(&target.addr.port()).into_iter().flatten().copied();
        steps.extend(near.filter(|one| one.takes(target.addr, &is_local)).map(|one| (*target, one)));
    }
    let leads_back = |(target, entrance): &(Target<'a>, &'e Entrance)| {
        let mut reached = BTreeSet::from([entrance.backend.as_str()]);
        loop {
            let next =
                steps.iter().filter(|(from, _)| reached.contains(from.backend)).map(|(_, to)| to.backend.as_str());
            let next: BTreeSet<_> = next.chain(reached.iter().copied()).collect();
            if next.len() == reached.len() {
                return reached.contains(target.backend);
            }
            reached = next;
        }
    };
    let mut found: Vec<_> = steps.iter().filter(|step| leads_back(step)).copied().collect();
    found.dedup_by_key(|(target, _)| *target);
    found
}

/// The servers of a file that lead back to themselves, as far as that is written there; each once.
pub(super) fn written_circles<'a, 'e>(
    entrances: &'e [Entrance],
    backends: &'a [Backend],
) -> Vec<(Target<'a>, &'e Entrance)> {
    let mut found = circles(entrances, &written(entrances, backends), |_| false);
    found.dedup_by_key(|(target, _)| (target.backend, target.server));
    found
}

/// Where the servers are, as far as that is written there; a server of `localhost` has two places, and one without a port
/// of its own a place for each port that its clients come to.
fn written<'a>(entrances: &[Entrance], backends: &'a [Backend]) -> Vec<Target<'a>> {
    let mut targets = Vec::new();
    for backend in backends {
        for server in &backend.servers {
            let target = |addr| Target { backend: &backend.name, server: &server.name, addr };
            let Some(shift) = server.port_shift else {
                targets.extend(places(&server.addr).into_iter().map(target));
                continue;
            };
            for entrance in entrances.iter().filter(|entrance| entrance.backend == backend.name) {
                let port = shifted(entrance.addr.port(), shift);
                targets.extend(places(&server.addr).into_iter().map(|addr| target((addr.ip(), port).into())));
            }
        }
    }
    targets
}

/// `localhost` is this host on every machine (RFC 6761).
fn places(address: &Address) -> Vec<SocketAddr> {
    match address {
        Address::Ip(addr) => vec![*addr],
        Address::Host(host, port) => {
            let host = host.trim_end_matches('.').to_ascii_lowercase();
            let local: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
            let is_local = host == "localhost" || host.ends_with(".localhost");
            local.into_iter().filter(|_| is_local).map(|ip| (ip, *port).into()).collect()
        }
        Address::Unix(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(entrances: &[(&str, &str, bool)], servers: &[(&str, &str)]) -> Vec<String> {
        let entrance = |&(backend, addr, both): &(&str, &str, bool)| Entrance {
            frontend: format!("to-{backend}"),
            backend: backend.to_owned(),
            addr: addr.parse().unwrap(),
            both,
        };
        let entrances: Vec<_> = entrances.iter().map(entrance).collect();
        let servers: Vec<_> = servers
            .iter()
            .map(|&(backend, addr)| Target { backend, server: "s", addr: addr.parse().unwrap() })
            .collect();
        let own = |addr: SocketAddr| addr.ip() == IpAddr::from([10, 0, 0, 5]);
        let found = circles(&entrances, &servers, own);
        found.iter().map(|(target, entrance)| format!("{} {}", target.addr, entrance.frontend)).collect()
    }

    #[test]
    fn a_server_that_is_its_own_frontend_is_found() {
        for (bind, both, server, expected) in [
            ("127.0.0.1:80", false, "127.0.0.1:80", true),
            ("127.0.0.1:80", false, "127.0.0.1:81", false),
            ("127.0.0.1:80", false, "127.0.0.2:80", false),
            ("0.0.0.0:80", false, "127.0.0.2:80", true),
            ("0.0.0.0:80", false, "0.0.0.0:80", true),
            ("127.0.0.1:80", false, "0.0.0.0:80", true),
            ("0.0.0.0:80", false, "10.0.0.5:80", true),
            ("0.0.0.0:80", false, "10.0.0.6:80", false),
            ("10.0.0.6:80", false, "10.0.0.6:80", true),
            ("[::]:80", false, "127.0.0.1:80", false),
            ("[::]:80", true, "127.0.0.1:80", true),
            ("[::]:80", false, "[::1]:80", true),
            ("[::]:80", true, "[::ffff:127.0.0.1]:80", true),
            ("0.0.0.0:80", false, "[::1]:80", false),
        ] {
            assert_eq!(!found(&[("a", bind, both)], &[("a", server)]).is_empty(), expected, "{bind} {both} {server}");
        }
    }

    #[test]
    fn a_circle_of_several_frontends_is_found_and_a_row_of_them_is_none() {
        let entrances = [("a", "127.0.0.1:1", false), ("b", "127.0.0.1:2", false), ("c", "127.0.0.1:3", false)];
        assert_eq!(found(&entrances, &[("a", "127.0.0.1:2"), ("b", "127.0.0.1:3"), ("c", "10.0.0.9:80")]), [""; 0]);
        let circle = found(&entrances, &[("a", "127.0.0.1:2"), ("b", "127.0.0.1:3"), ("c", "127.0.0.1:2")]);
        assert_eq!(circle, ["127.0.0.1:3 to-c", "127.0.0.1:2 to-b"]);
    }
}
