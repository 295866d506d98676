//! The client of a session as logs and headers name it.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// Where a session comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientName {
    Ip(SocketAddr),
    /// By a unix socket, which gives no address: the number of the bind in its frontend.
    Unix(u16),
    Unknown,
}

impl ClientName {
    /// As the kernel reports a peer, or else what it is.
    pub fn or(peer: Option<SocketAddr>, other: Self) -> Self {
        peer.map_or(other, Self::Ip)
    }

    pub(crate) fn addr(self) -> Option<SocketAddr> {
        match self {
            Self::Ip(addr) => Some(addr),
            Self::Unix(_) | Self::Unknown => None,
        }
    }

    pub(crate) fn ip(self) -> Option<IpAddr> {
        self.addr().map(|addr| addr.ip())
    }

    /// The number of the bind, where that is all there is.
    pub(crate) fn unix(self) -> Option<u16> {
        match self {
            Self::Unix(number) => Some(number),
            Self::Ip(_) | Self::Unknown => None,
        }
    }
}

/// `10.0.0.1:1234`; an IPv6 address has no brackets, as in HAProxy.
impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(addr) => write!(f, "{}:{}", addr.ip(), addr.port()),
            Self::Unix(number) => write!(f, "unix:{number}"),
            Self::Unknown => f.write_str("-:0"),
        }
    }
}
