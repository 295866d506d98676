//! Where a frontend listens: the places that an element of `bind` names.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::scope::{self, ScopeError};

/// One place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Bind {
    /// A port of 0 asks the kernel for a free one.
    Address(SocketAddr),
    /// A listening socket that the parent process has handed down: `fd@3` by its number, `fd@web` by its name in
    /// LISTEN_FDNAMES. The text after the `@`.
    Inherited(String),
    /// A unix socket, written `/path` or `unix@/path`.
    Unix(PathBuf),
    /// A unix socket in the abstract namespace of Linux, `abns@name`. As with HAProxy its address has the full length:
    /// zeros follow the name.
    Abstract(String),
}

impl fmt::Display for Bind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(addr) => addr.fmt(f),
            Self::Inherited(name) => write!(f, "fd@{name}"),
            Self::Unix(path) => write!(f, "unix@{}", path.display()),
            Self::Abstract(name) => write!(f, "abns@{name}"),
        }
    }
}

impl From<SocketAddr> for Bind {
    fn from(addr: SocketAddr) -> Self {
        Self::Address(addr)
    }
}

/// Why a text is no address to listen on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnusableBind {
    #[error("has no port; write it as \"{0}:80\"")]
    NoPort(String),
    #[error("has no address; write it as \"0.0.0.0:{0}\"")]
    OnlyPort(u16),
    #[error("has no range of ports from 1 to 65535, the lower one first; write e.g. \"0.0.0.0:8000-8010\"")]
    PortRange,
    #[error("has more than {MOST_PORTS} ports; write several binds")]
    ManyPorts,
    #[error("has several ports; write one bind for each, e.g. \"0.0.0.0:80\", or a range, \"0.0.0.0:8000-8010\"")]
    PortList,
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
    #[error("is no path of a socket, which is absolute and has at most 97 bytes; write e.g. \"/run/web.sock\"")]
    BadPath,
    #[error("names no socket; write `abns@` and a name of 1 to 107 bytes")]
    BadName,
}

/// `1.2.3.4:80`, `[::]:80`, `:80` or `*:80` for all IPv4 addresses, as in HAProxy, `:8000-8010` for a range of ports,
/// `fd@3` or `fd@web`, `/path` or `unix@/path`, and `abns@name`. At least one.
pub(super) fn parse(text: &str) -> Result<Vec<Bind>, UnusableBind> {
    if let Some(name) = text.strip_prefix("fd@") {
        let inherited = is_descriptor(name).then(|| vec![Bind::Inherited(name.to_owned())]);
        return inherited.ok_or(UnusableBind::BadDescriptor);
    }
    if let Some(name) = text.strip_prefix("abns@") {
        // sun_path holds 108 bytes, of which the first is zero (unix(7)).
        let good = (1..=107).contains(&name.len()) && !name.contains('\0');
        return if good { Ok(vec![Bind::Abstract(name.to_owned())]) } else { Err(UnusableBind::BadName) };
    }
    if let Some(path) = text.strip_prefix("unix@").or_else(|| text.starts_with('/').then_some(text)) {
        // As in HAProxy: the name under which a socket is made is longer.
        let good = path.starts_with('/') && path.len() <= MOST_PATH && !path.ends_with('/') && !path.contains('\0');
        return if good { Ok(vec![Bind::Unix(path.into())]) } else { Err(UnusableBind::BadPath) };
    }
    let Some((host, first, last)) = port_range(text) else {
        return Ok(vec![parse_address(text)?.into()]);
    };
    let first = parse_address(&format!("{host}:{first}"))?;
    let ports = match last.parse() {
        Ok(last) if first.port() > 0 && first.port() <= last => first.port()..=last,
        _ => return Err(UnusableBind::PortRange),
    };
    if ports.len() > MOST_PORTS {
        return Err(UnusableBind::ManyPorts);
    }
    let with_port = |port| {
        let mut addr = first;
        addr.set_port(port);
        addr.into()
    };
    Ok(ports.map(with_port).collect())
}

/// `:8000-8010`: what is before the ports, and both of them.
fn port_range(text: &str) -> Option<(&str, &str, &str)> {
    let (host, ports) = text.rsplit_once(':')?;
    let (first, last) = ports.split_once('-')?;
    (is_number(first) && is_number(last)).then_some((host, first, last))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
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
pub(super) fn mapped(bind: &Bind) -> Option<SocketAddr> {
    match bind {
        Bind::Address(SocketAddr::V6(addr)) => Some((addr.ip().to_ipv4_mapped()?, addr.port()).into()),
        Bind::Address(_) | Bind::Inherited(_) | Bind::Unix(_) | Bind::Abstract(_) => None,
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
    let several = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b"-, ".contains(&b))
        && !is_number(text);
    let wrong = if several { UnusableBind::PortList } else { UnusableBind::BadPort };
    text.parse().ok().filter(|_| is_number(text)).ok_or(wrong)
}

/// Of one range: each worker has a socket for each of them.
const MOST_PORTS: usize = 4096;

/// sun_path holds 108 bytes with its terminating NUL; a dot and a pid come behind the path until it is published.
const MOST_PATH: usize = 97;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_or_nothing_means_all_ipv4_addresses() {
        for text in ["0.0.0.0:80", "*:80", ":80"] {
            assert_eq!(parse(text), Ok(vec![Bind::Address("0.0.0.0:80".parse().unwrap())]), "{text}");
        }
        assert_eq!(parse("[::1]:0"), Ok(vec![Bind::Address("[::1]:0".parse().unwrap())]));
    }

    #[test]
    fn an_ipv4_address_in_the_form_of_ipv6_is_known() {
        let plain = |text| mapped(&parse(text).unwrap()[0]).map(|addr| addr.to_string());
        assert_eq!(plain("[::ffff:127.0.0.1]:9100").as_deref(), Some("127.0.0.1:9100"));
        for text in ["[::1]:80", "[::]:80", "127.0.0.1:80", "fd@3"] {
            assert_eq!(plain(text), None, "{text}");
        }
    }

    #[test]
    fn a_descriptor_is_named_by_its_number_or_its_name() {
        for text in ["fd@3", "fd@web", "fd@lb.socket", "fd@3rd"] {
            assert_eq!(parse(text).unwrap()[0].to_string(), text);
        }
        for text in ["fd@", "fd@2", "fd@03", "fd@+3", "fd@a b", "fd@a:b", "fd@99999999999"] {
            assert_eq!(parse(text), Err(UnusableBind::BadDescriptor), "{text}");
        }
    }

    #[test]
    fn a_unix_socket_has_a_path_or_an_abstract_name() {
        for (text, shown) in
            [("/run/x.sock", "unix@/run/x.sock"), ("unix@/run/x", "unix@/run/x"), ("abns@a b", "abns@a b")]
        {
            assert_eq!(parse(text).unwrap()[0].to_string(), shown);
        }
        assert!(parse(&format!("/{}", "a".repeat(96))).is_ok());
        for text in ["unix@run/x", "unix@", "/", "/run/", &format!("/{}", "a".repeat(97))] {
            assert_eq!(parse(text), Err(UnusableBind::BadPath), "{text}");
        }
        for text in ["abns@", &format!("abns@{}", "a".repeat(108))] {
            assert_eq!(parse(text), Err(UnusableBind::BadName), "{text}");
        }
    }

    #[test]
    fn a_range_is_one_address_for_each_port() {
        let addresses = |text| parse(text).map(|all| all.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(addresses(":80-82").unwrap(), ["0.0.0.0:80", "0.0.0.0:81", "0.0.0.0:82"]);
        assert_eq!(addresses("[::1]:65535-65535").unwrap(), ["[::1]:65535"]);
        assert_eq!(addresses("10.0.0.1:1000-5095").unwrap().len(), 4096);
    }

    #[test]
    fn an_error_shows_what_is_missing() {
        for (text, error) in [
            ("127.0.0.1", UnusableBind::NoPort("127.0.0.1".into())),
            ("::", UnusableBind::NoPort("[::]".into())),
            ("[::1]", UnusableBind::NoPort("[::1]".into())),
            ("*", UnusableBind::NoPort("*".into())),
            ("8080", UnusableBind::OnlyPort(8080)),
            (":90-80", UnusableBind::PortRange),
            (":0-80", UnusableBind::PortRange),
            (":80-65536", UnusableBind::PortRange),
            (":1000-5096", UnusableBind::ManyPorts),
            ("*:80,81", UnusableBind::PortList),
            ("*:80-", UnusableBind::PortList),
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
