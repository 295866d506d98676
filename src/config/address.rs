//! The address of a server, as one writes it.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

use super::scope::{self, ScopeError};

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Address {
    Ip(SocketAddr),
    /// Resolved at start and followed afterwards.
    Host(String, u16),
    /// A unix stream socket, written `unix@/path`.
    Unix(PathBuf),
}

impl Address {
    /// The name that is looked up, if it is one.
    pub(crate) fn host(&self) -> Option<&str> {
        match self {
            Self::Host(host, _) => Some(host),
            Self::Ip(_) | Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(addr) => write!(f, "{addr}"),
            Self::Host(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "unix@{}", path.display()),
        }
    }
}

/// Reads an address that may leave its port to the client: `10.0.0.1` is the port that the client came to, and
/// `10.0.0.1:+1000` is that plus 1000. `Some`: what is added to that port; the address then has the port 0.
pub(super) fn parse_shifted(text: &str) -> Result<(Address, Option<i32>), AddressError> {
    let shifted = text.rsplit_once(':').filter(|(_, shift)| shift.starts_with(['+', '-']));
    let (host, shift) = match shifted {
        Some((host, digits)) => {
            let shift = digits.parse().ok().filter(|shift: &i32| is_number(&digits[1..]) && shift.abs() < 65536);
            (host, shift.ok_or_else(|| AddressError::BadPort(digits.to_owned()))?)
        }
        None => (text, 0),
    };
    // Any port shows whether the rest is an address; one of IPv6 without brackets would take it for its last group.
    let bare_v6 = host.parse::<Ipv6Addr>().is_ok();
    match format!("{host}:1").parse() {
        Ok(Address::Ip(mut addr)) if !bare_v6 => {
            addr.set_port(0);
            Ok((Address::Ip(addr), Some(shift)))
        }
        Ok(Address::Host(host, _)) => Ok((Address::Host(host, 0), Some(shift))),
        _ => Ok((text.parse()?, None)),
    }
}

/// The port that is so far from another one, as in HAProxy without a care for the ends.
pub(crate) fn shifted(port: u16, shift: i32) -> u16 {
    // Truncated on purpose.
    (i32::from(port) + shift).rem_euclid(1 << 16) as u16
}

/// Why a text is no server address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("has no port; write it as `{0}:PORT`")]
    NoPort(String),
    #[error("port `{0}` is not a number from 1 to 65535")]
    BadPort(String),
    #[error("`{0}` is neither an IP address nor a host name; write `HOST:PORT`")]
    BadHost(String),
    #[error("has no host; write it as `127.0.0.1:{0}`, or with the host's name")]
    NoHost(String),
    #[error("has no colon before the port; write it as `{0}`")]
    Gap(String),
    #[error("has a scheme; write it as `{0}`")]
    Scheme(String),
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error("the path after `unix@` must be absolute and shorter than 108 bytes")]
    BadPath,
}

impl FromStr for Address {
    type Err = AddressError;

    /// `1.2.3.4:80`, `[::1]:80`, `[fe80::1%eth0]:80`, `name.example:80` or `unix@/path`.
    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix@") {
            // sun_path holds 108 bytes with its terminating NUL (unix(7)).
            if !path.starts_with('/') || path.len() > 107 || path.contains('\0') {
                return Err(AddressError::BadPath);
            }
            return Ok(Self::Unix(path.into()));
        }
        if let Some(scoped) = scope::parse(text) {
            return refuse_port_zero(scoped?);
        }
        if let Some((_, rest)) = text.split_once("://") {
            return Err(AddressError::Scheme(rest.trim_end_matches('/').to_owned()));
        }
        let without_port = text.trim_matches(['[', ']']);
        match without_port.split('%').next().unwrap_or_default().parse() {
            Ok(IpAddr::V4(ip)) => return Err(AddressError::NoPort(ip.to_string())),
            Ok(IpAddr::V6(_)) => return Err(AddressError::NoPort(format!("[{without_port}]"))),
            Err(_) => {}
        }
        let (host, port) = match text.rsplit_once(':') {
            Some(("" | "*", port)) => return Err(AddressError::NoHost(port.to_owned())),
            Some(parts) => parts,
            None if is_number(text) => return Err(AddressError::NoHost(text.to_owned())),
            None => return Err(no_port(text)),
        };
        let number = match port.parse::<u16>() {
            Ok(number) if number > 0 && is_number(port) => number,
            _ => return Err(AddressError::BadPort(port.to_owned())),
        };
        if let Ok(addr) = text.parse::<SocketAddr>() {
            return Ok(Self::Ip(addr));
        }
        if is_host_name(host) {
            return Ok(Self::Host(host.to_owned(), number));
        }
        Err(AddressError::BadHost(host.to_owned()))
    }
}

fn refuse_port_zero(addr: SocketAddr) -> Result<Address, AddressError> {
    if addr.port() == 0 { Err(AddressError::BadPort("0".to_owned())) } else { Ok(Address::Ip(addr)) }
}

/// A host, or a host and its port with something else than a colon between them.
fn no_port(text: &str) -> AddressError {
    match text.split_once(char::is_whitespace) {
        Some((host, port)) if is_number(port.trim()) => AddressError::Gap(format!("{host}:{}", port.trim())),
        _ => AddressError::NoPort(text.to_owned()),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// RFC 1123 names, and `_`, which container networks use. A name with only digits in its last label would be an
/// IPv4 address with a mistake in it.
fn is_host_name(host: &str) -> bool {
    let bare = host.strip_suffix('.').unwrap_or(host);
    let labels = || bare.split('.');
    !bare.is_empty()
        && bare.len() <= 253
        && labels().all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        })
        && !labels().next_back().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
}
