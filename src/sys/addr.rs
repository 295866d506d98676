//! A resolved place to connect to: what remains of a server's address once names have been looked up.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

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
            assert_eq!(shown.parse::<crate::config::Address>().unwrap().to_string(), shown);
        }
    }
}
