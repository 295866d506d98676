//! A resolved place to connect to: what remains of a server's address once names have been looked up.

use std::fmt;
use std::net::{AddrParseError, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;

use crate::config::interface;

/// Where to connect.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Addr {
    Ip(SocketAddr),
    /// A unix stream socket; the path is absolute.
    Unix(PathBuf),
}

/// As in the configuration: `1.2.3.4:80`, `[::1]:80`, `unix@/path`.
impl fmt::Display for Addr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(addr) => addr.fmt(f),
            Self::Unix(path) => write!(f, "unix@{}", path.display()),
        }
    }
}

impl Addr {
    /// Stands for an address that is not known any more.
    pub const UNKNOWN: Self = Self::Ip(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)));

    /// For people: as `Display`, with the name of the interface in place of its number.
    pub fn named(&self) -> String {
        match self {
            Self::Ip(addr) => named(addr),
            Self::Unix(_) => self.to_string(),
        }
    }
}

/// As [`Addr::named`].
pub(crate) fn named(addr: &SocketAddr) -> String {
    let scope = match addr {
        SocketAddr::V6(v6) if v6.scope_id() != 0 => interface::name_of(v6.scope_id()),
        SocketAddr::V6(_) | SocketAddr::V4(_) => None,
    };
    scope.map_or_else(|| addr.to_string(), |scope| format!("[{}%{scope}]:{}", addr.ip(), addr.port()))
}

/// What is displayed, back.
impl FromStr for Addr {
    type Err = AddrParseError;

    fn from_str(text: &str) -> Result<Self, AddrParseError> {
        match text.strip_prefix("unix@") {
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Ip),
        }
    }
}

impl From<SocketAddr> for Addr {
    fn from(addr: SocketAddr) -> Self {
        Self::Ip(addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_itself_as_in_the_configuration() {
        for (addr, shown) in [
            (Addr::Ip("1.2.3.4:80".parse().unwrap()), "1.2.3.4:80"),
            (Addr::Ip("[::1]:80".parse().unwrap()), "[::1]:80"),
            (Addr::Unix("/run/app.sock".into()), "unix@/run/app.sock"),
        ] {
            assert_eq!(addr.to_string(), shown);
            assert_eq!(addr.named(), shown);
            assert_eq!(shown.parse(), Ok(addr));
            assert_eq!(shown.parse::<crate::config::Address>().unwrap().to_string(), shown);
        }
        let index = interface::index_of("lo").unwrap();
        let scoped = Addr::Ip(format!("[fe80::1%{index}]:80").parse().unwrap());
        assert_eq!(scoped.named(), "[fe80::1%lo]:80");
    }
}
