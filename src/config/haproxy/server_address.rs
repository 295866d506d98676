//! The address of a server as HAProxy writes it, turned into the one that `addr` has in TOML.

use std::net::{IpAddr, Ipv6Addr};

/// An address in TOML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ServerAddress {
    pub(super) addr: String,
    /// A port of its own, as a check needs one.
    pub(super) port: bool,
    /// `ipv4@` or `ipv6@` before a name.
    pub(super) prefer: Option<&'static str>,
}

/// Why an address cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum UnusableAddress {
    /// HAProxy refuses it too: the end of its sentence.
    Unknown(String),
    /// Reason and remedy.
    Beyond(&'static str, &'static str),
}

pub(super) fn read(text: &str) -> Result<ServerAddress, UnusableAddress> {
    let plain = |addr: String| Ok(ServerAddress { addr, port: true, prefer: None });
    let (family, rest) = match text.split_once('@') {
        Some((family, rest)) => (family, rest),
        None if text.starts_with('/') => return plain(format!("unix@{text}")),
        None => ("", text),
    };
    let prefer = match family {
        "unix" => return plain(format!("unix@{rest}")),
        "" | "tcp" => None,
        "ipv4" | "tcp4" => Some("ipv4"),
        "ipv6" | "tcp6" => Some("ipv6"),
        _ => {
            let remedy = "give the server an IP address, a host name or unix@/path";
            return Err(UnusableAddress::Beyond("lb does not know this kind of address", remedy));
        }
    };
    let (host, port) = split(rest);
    let suffix = port_suffix(port)?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let has_port = suffix.starts_with(':') && !suffix.starts_with(":+") && !suffix.starts_with(":-");
    match bare.parse::<IpAddr>() {
        Ok(ip) if ip.is_unspecified() => Err(UnusableAddress::Beyond(FOREIGN, "give the server's own address")),
        Ok(IpAddr::V6(ip)) => Ok(ServerAddress { addr: format!("[{ip}]{suffix}"), port: has_port, prefer: None }),
        Ok(ip) => Ok(ServerAddress { addr: format!("{ip}{suffix}"), port: has_port, prefer: None }),
        Err(_) if bare.is_empty() || bare == "*" => {
            Err(UnusableAddress::Beyond(FOREIGN, "give the server's own address"))
        }
        Err(_) if bare.contains('%') => {
            Ok(ServerAddress { addr: format!("[{bare}]{suffix}"), port: has_port, prefer: None })
        }
        Err(_) if bare.starts_with('_') && bare.contains("._") => Err(UnusableAddress::Beyond(
            "lb looks up no SRV records",
            "name hosts and ports, or use `discovery` of lb.toml",
        )),
        Err(_) if bare.contains(':') => Err(UnusableAddress::Unknown(format!("invalid address: '{bare}' in '{text}'"))),
        Err(_) => Ok(ServerAddress { addr: format!("{bare}{suffix}"), port: has_port, prefer }),
    }
}

/// Whether it stands for the address that the client called.
pub(super) fn is_unspecified(text: &str) -> bool {
    let (host, _) = split(text.split_once('@').map_or(text, |(_, rest)| rest));
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.is_empty() || bare == "*" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

/// The port is behind the last colon, unless that is within brackets. `fe80::` alone is an address.
fn split(text: &str) -> (&str, &str) {
    match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') && text.parse::<Ipv6Addr>().is_err() => (host, port),
        _ => (text, ""),
    }
}

/// As it stands behind the host in TOML.
fn port_suffix(port: &str) -> Result<String, UnusableAddress> {
    let wrong = || UnusableAddress::Unknown(format!("invalid port '{port}'"));
    let digits = port.strip_prefix(['+', '-']).unwrap_or(port);
    if port.is_empty() {
        return Ok(String::new());
    }
    let number: u16 = digits.parse().ok().filter(|_| digits.bytes().all(|b| b.is_ascii_digit())).ok_or_else(wrong)?;
    match (port.as_bytes()[0], number) {
        (_, 0) => Ok(String::new()),
        (sign @ (b'+' | b'-'), number) => Ok(format!(":{}{number}", char::from(sign))),
        (_, number) => Ok(format!(":{number}")),
    }
}

const FOREIGN: &str = "it stands for the address that the client called, and lb cannot follow that";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_toml_has_them() {
        for (text, toml, port) in [
            ("10.0.0.1:80", "10.0.0.1:80", true),
            ("app1:8000", "app1:8000", true),
            ("192.0.2.4", "192.0.2.4", false),
            ("relay.example", "relay.example", false),
            ("192.0.2.3:+1000", "192.0.2.3:+1000", false),
            ("192.0.2.3:-10", "192.0.2.3:-10", false),
            ("192.0.2.3:0", "192.0.2.3", false),
            ("[2001:db8::1]:80", "[2001:db8::1]:80", true),
            ("ipv6@[2001:db8::1]:80", "[2001:db8::1]:80", true),
            ("::1", "[::1]", false),
            ("2001:db8:0:0:0:0:0:1:80", "[2001:db8::1]:80", true),
            ("fe80::1%eth0:80", "[fe80::1%eth0]:80", true),
            ("unix@/run/app.sock", "unix@/run/app.sock", true),
            ("/run/app.sock", "unix@/run/app.sock", true),
        ] {
            let read = read(text).unwrap();
            assert_eq!((read.addr.as_str(), read.port, read.prefer), (toml, port, None), "{text}");
        }
        assert_eq!(read("ipv4@db:1").unwrap().prefer, Some("ipv4"));
    }

    #[test]
    fn mistakes_have_the_words_of_haproxy() {
        for (text, reason) in [
            ("10.0.0.1:99999", "invalid port '99999'"),
            ("a:8x", "invalid port '8x'"),
            ("a:b:80", "invalid address: 'a:b' in 'a:b:80'"),
        ] {
            assert_eq!(read(text), Err(UnusableAddress::Unknown(reason.to_owned())), "{text}");
        }
        for text in ["*:80", ":80", "0.0.0.0", "abns@x", "sockpair@4", "_db._tcp.example"] {
            assert!(matches!(read(text), Err(UnusableAddress::Beyond(..))), "{text}");
        }
    }
}
