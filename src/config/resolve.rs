//! How the host name of a server is looked up: `resolvers` and `resolve_prefer`.

use std::net::IpAddr;

/// The usual way is that of the machine, with addresses in their usual order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolve {
    /// The section [resolvers.NAME] whose name servers are asked. Servers that share a name are then at different ones
    /// of its addresses.
    pub resolvers: Option<String>,
    /// Addresses of this family come first.
    pub prefer: Option<Family>,
}

/// A family of IP addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub(super) const WORDS: [(&'static str, Self); 2] = [("ipv4", Self::V4), ("ipv6", Self::V6)];

    pub(crate) fn has(self, ip: IpAddr) -> bool {
        ip.is_ipv6() == (self == Self::V6)
    }
}

impl Resolve {
    /// What a host name is looked up by: the name, and behind `@` the section that is asked.
    pub(crate) fn key(&self, host: &str) -> String {
        match &self.resolvers {
            Some(section) => format!("{host}@{section}"),
            None => host.to_owned(),
        }
    }
}
