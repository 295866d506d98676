//! What a look-up has found. Pure.

use std::net::IpAddr;
use std::time::Duration;

use crate::config::Family;

/// The addresses of a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FoundAddresses {
    /// Each once, the preferred one first.
    pub(super) addresses: Vec<IpAddr>,
    /// The addresses of this family could not be asked for.
    pub(super) unknown: Option<Family>,
    /// How long they are valid, where the source says so.
    pub(super) ttl: Option<Duration>,
}

/// Those that a server can have, each once: an answer of `0.0.0.0` means "none", and connecting to it leads to this
/// machine.
pub(super) fn usable(addresses: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut usable = Vec::new();
    for ip in addresses.into_iter().map(|ip| ip.to_canonical()) {
        let broadcast = matches!(ip, IpAddr::V4(v4) if v4.is_broadcast());
        if !ip.is_unspecified() && !ip.is_multicast() && !broadcast && !usable.contains(&ip) {
            usable.push(ip);
        }
        if usable.len() == MOST_ADDRESSES {
            break;
        }
    }
    usable
}

/// Addresses of one name and family; further ones are left out.
pub(super) const MOST_ADDRESSES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_no_server_can_have_are_left_out() {
        let texts =
            ["0.0.0.0", "10.0.0.1", "::", "224.0.0.1", "ff02::1", "255.255.255.255", "::ffff:10.0.0.1", "fd00::1"];
        let found = usable(texts.map(|text| text.parse().unwrap()));
        assert_eq!(found.iter().map(ToString::to_string).collect::<Vec<_>>(), ["10.0.0.1", "fd00::1"]);
        assert_eq!(usable((1..=99).map(|last| IpAddr::from([10, 0, 0, last]))).len(), MOST_ADDRESSES);
    }
}
