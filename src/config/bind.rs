//! `bind`: where a frontend listens, and what is bound already.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::scope::{self, ScopeError};
use super::value::RawValue;

/// Where a frontend listens.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Bind {
    /// A port of 0 asks the kernel for a free one.
    Address(SocketAddr),
    /// A listening socket that the parent process has handed down: `fd@3` by its number, `fd@web` by its name in
    /// LISTEN_FDNAMES. The text after the `@`.
    Inherited(String),
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(addr) => addr.fmt(f),
            Self::Inherited(name) => write!(f, "fd@{name}"),
        }
    }
}

impl From<SocketAddr> for Bind {
    fn from(addr: SocketAddr) -> Self {
        Self::Address(addr)
    }
}

/// What is bound so far.
#[derive(Default)]
pub(super) struct Binds {
    /// By which frontend, and in which line.
    taken: HashMap<Bind, (String, usize)>,
}

impl Binds {
    /// Reads one bind of this frontend.
    pub(super) fn read(&mut self, value: &RawValue<'_>, frontend: &str, v4v6: bool) -> Option<Bind> {
        let bind = match parse(value.text("0.0.0.0:80")?) {
            Ok(bind) => bind,
            Err(error) => {
                value.wrong(error);
                return None;
            }
        };
        if let Some(plain) = mapped(&bind).filter(|_| !v4v6) {
            value.wrong(UnusableBind::Mapped(plain));
            return None;
        }
        let line = value.report.line_of(value.key_at);
        if let Some((owner, line)) = self.take(&bind, frontend, v4v6, line) {
            value.wrong(format!("is bound already by [frontend.{owner}] in line {line}; keep one of them"));
            return None;
        }
        Some(bind)
    }

    fn take(&mut self, bind: &Bind, frontend: &str, v4v6: bool, line: usize) -> Option<(String, usize)> {
        let v4 = match bind {
            // With port 0 the kernel finds a free one each time.
            Bind::Address(addr) if addr.port() == 0 => return None,
            Bind::Address(addr) if v4v6 && addr.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) => {
                Some(Bind::Address((Ipv4Addr::UNSPECIFIED, addr.port()).into()))
            }
            Bind::Address(_) | Bind::Inherited(_) => None,
        };
        for bind in [Some(bind.clone()), v4].into_iter().flatten() {
            if let Some(owner) = self.taken.get(&bind) {
                return Some(owner.clone());
            }
            self.taken.insert(bind, (frontend.to_owned(), line));
        }
        None
    }
}

/// Why a text is no address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnusableBind {
    #[error("has no port; write it as \"{0}:80\"")]
    NoPort(String),
    #[error("has no address; write it as \"0.0.0.0:{0}\"")]
    OnlyPort(u16),
    #[error("has no single port from 0 to 65535; write one bind for each port, e.g. \"0.0.0.0:80\"")]
    PortRange,
    #[error("has a port that is no number from 0 to 65535; write e.g. \"0.0.0.0:80\"")]
    BadPort,
    #[error("is an IPv4 address in the form of IPv6; write \"{0}\"")]
    Mapped(SocketAddr),
    #[error("is no IP address and port; write e.g. \"127.0.0.1:{0}\" or \"[::1]:{0}\"")]
    Localhost(u16),
    #[error(transparent)]
    Scope(#[from] ScopeError),
    #[error("is no IP address and port; write e.g. \"0.0.0.0:80\" or \"[::]:80\"")]
    BadAddress,
    #[error("names no socket; write `fd@3`, by its number from 3 on, or `fd@web`, by its name in LISTEN_FDNAMES")]
    BadDescriptor,
}

/// `1.2.3.4:80`, `[::]:80`, `:80` or `*:80` for all IPv4 addresses, as in HAProxy, and `fd@3` or `fd@web`.
pub(super) fn parse(text: &str) -> Result<Bind, UnusableBind> {
    match text.strip_prefix("fd@") {
        Some(name) if is_descriptor(name) => Ok(Bind::Inherited(name.to_owned())),
        Some(_) => Err(UnusableBind::BadDescriptor),
        None => parse_address(text).map(Bind::Address),
    }
}

/// A number from 3 on (below are the standard streams), or a name as in sd_listen_fds_with_names(3).
fn is_descriptor(name: &str) -> bool {
    let is_name = name.len() <= 255 && name.bytes().all(|b| b.is_ascii_graphic() && b != b':');
    match name.parse::<u32>() {
        Ok(number) => number > 2 && number.to_string() == name,
        Err(_) => is_name && !name.is_empty() && !name.bytes().all(|b| b.is_ascii_digit()),
    }
}

fn parse_address(text: &str) -> Result<SocketAddr, UnusableBind> {
    if let Some(scoped) = scope::parse(text) {
        return Ok(scoped?);
    }
    if let Ok(addr) = text.parse() {
        return Ok(addr);
    }
    if let Some(error) = incomplete(text) {
        return Err(error);
    }
    let (host, port) = text.rsplit_once(':').ok_or(UnusableBind::BadAddress)?;
    match host {
        "localhost" => Err(port.parse().map_or(UnusableBind::BadPort, UnusableBind::Localhost)),
        "" | "*" => Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port_of(port)?))),
        // With a good port it would have been an address above.
        _ if format!("{host}:0").parse::<SocketAddr>().is_ok() => {
            Err(port_of(port).err().unwrap_or(UnusableBind::BadPort))
        }
        _ => Err(UnusableBind::BadAddress),
    }
}

/// `[::ffff:1.2.3.4]:80` as an IPv4 address. The kernel binds that form only where IPv6 sockets take IPv4 clients.
fn mapped(bind: &Bind) -> Option<SocketAddr> {
    match bind {
        Bind::Address(SocketAddr::V6(addr)) => Some((addr.ip().to_ipv4_mapped()?, addr.port()).into()),
        Bind::Address(_) | Bind::Inherited(_) => None,
    }
}

/// An address without port, or a port without address.
fn incomplete(text: &str) -> Option<UnusableBind> {
    if let Ok(port) = text.parse() {
        return Some(UnusableBind::OnlyPort(port));
    }
    let bare = text.trim_matches(['[', ']']);
    match bare.split('%').next().unwrap_or_default().parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => Some(UnusableBind::NoPort(ip.to_string())),
        Ok(IpAddr::V6(_)) => Some(UnusableBind::NoPort(format!("[{bare}]"))),
        Err(_) if text == "*" => Some(UnusableBind::NoPort(text.to_owned())),
        Err(_) if text == "localhost" => Some(UnusableBind::Localhost(80)),
        Err(_) => None,
    }
}

fn port_of(text: &str) -> Result<u16, UnusableBind> {
    let is_digit = |b: u8| b.is_ascii_digit();
    let several = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| is_digit(b) || b"-, ".contains(&b))
        && !text.bytes().all(is_digit);
    let wrong = if several { UnusableBind::PortRange } else { UnusableBind::BadPort };
    text.parse().ok().filter(|_| text.bytes().all(is_digit)).ok_or(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_or_nothing_means_all_ipv4_addresses() {
        for text in ["0.0.0.0:80", "*:80", ":80"] {
            assert_eq!(parse(text), Ok(Bind::Address("0.0.0.0:80".parse().unwrap())), "{text}");
        }
        assert_eq!(parse("[::1]:0"), Ok(Bind::Address("[::1]:0".parse().unwrap())));
    }

    #[test]
    fn an_ipv4_address_in_the_form_of_ipv6_is_known() {
        let plain = |text| mapped(&parse(text).unwrap()).map(|addr| addr.to_string());
        assert_eq!(plain("[::ffff:127.0.0.1]:9100").as_deref(), Some("127.0.0.1:9100"));
        for text in ["[::1]:80", "[::]:80", "127.0.0.1:80", "fd@3"] {
            assert_eq!(plain(text), None, "{text}");
        }
    }

    #[test]
    fn a_descriptor_is_named_by_its_number_or_its_name() {
        for text in ["fd@3", "fd@web", "fd@lb.socket", "fd@3rd"] {
            assert_eq!(parse(text).unwrap().to_string(), text);
        }
        for text in ["fd@", "fd@2", "fd@03", "fd@+3", "fd@a b", "fd@a:b", "fd@99999999999"] {
            assert_eq!(parse(text), Err(UnusableBind::BadDescriptor), "{text}");
        }
    }

    #[test]
    fn an_error_shows_what_is_missing() {
        for (text, error) in [
            ("127.0.0.1", UnusableBind::NoPort("127.0.0.1".into())),
            ("::", UnusableBind::NoPort("[::]".into())),
            ("[::1]", UnusableBind::NoPort("[::1]".into())),
            ("*", UnusableBind::NoPort("*".into())),
            ("8080", UnusableBind::OnlyPort(8080)),
            (":80-90", UnusableBind::PortRange),
            ("*:80,81", UnusableBind::PortRange),
            (":-1", UnusableBind::BadPort),
            (":", UnusableBind::BadPort),
            (":+80", UnusableBind::BadPort),
            ("0.0.0.0:65536", UnusableBind::BadPort),
            ("localhost:80", UnusableBind::Localhost(80)),
            ("localhost", UnusableBind::Localhost(80)),
            ("eth0:80", UnusableBind::BadAddress),
            ("", UnusableBind::BadAddress),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
