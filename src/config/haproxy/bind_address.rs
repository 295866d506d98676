//! An address to listen on as HAProxy writes it, turned into the one that `bind` has in TOML.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum WrongAddress {
    /// HAProxy refuses it too: the end of its sentence.
    Unknown(String),
    /// Reason and remedy.
    Beyond(&'static str, &'static str),
}

pub(super) fn read(text: &str) -> Result<String, WrongAddress> {
    let (family, rest) = match text.split_once('@') {
        Some((family, rest)) => (family, rest),
        None if text.starts_with('/') => return Ok(text.to_owned()),
        None => ("", text),
    };
    let any = match family {
        "unix" => return Ok(format!("unix@{rest}")),
        "abns" => return Ok(format!("abns@{rest}")),
        "fd" => return Ok(format!("fd@{rest}")),
        "" | "ipv4" | "tcp" | "tcp4" => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        "ipv6" | "tcp6" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        "udp" | "udp4" | "udp6" | "quic4" | "quic6" => {
            return Err(WrongAddress::Beyond("lb relays TCP only", "keep this section in HAProxy"));
        }
        _ => return Err(WrongAddress::Beyond("lb does not know this kind of address", "bind an IP address and port")),
    };
    let (host, ports) =
        split(rest).ok_or_else(|| WrongAddress::Unknown(format!("missing port specification in '{text}'")))?;
    let ports = range(ports)?;
    let host = match host.trim_start_matches('[').trim_end_matches(']') {
        "" | "*" => any,
        "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
        scoped if scoped.contains('%') => return Ok(format!("[{scoped}]:{ports}")),
        other => match other.parse() {
            Ok(ip) => ip,
            Err(_) if is_name(other) => {
                return Err(WrongAddress::Beyond("lb listens on addresses, not on names", "write the IP address"));
            }
            Err(_) => return Err(WrongAddress::Unknown(format!("invalid address: '{other}' in '{text}'"))),
        },
    };
    Ok(match host {
        IpAddr::V4(ip) => format!("{ip}:{ports}"),
        IpAddr::V6(ip) => format!("[{ip}]:{ports}"),
    })
}

/// The port is behind the last colon, unless that is within brackets. `None`: there is no port.
fn split(text: &str) -> Option<(&str, &str)> {
    let (host, ports) = text.rsplit_once(':')?;
    (!ports.is_empty() && !ports.ends_with(']')).then_some((host, ports))
}

fn range(text: &str) -> Result<String, WrongAddress> {
    let port = |text: &str| {
        let port = text.parse::<u16>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
        port.ok_or_else(|| WrongAddress::Unknown(format!("invalid port '{text}'")))
    };
    match text.split_once('-') {
        None => Ok(port(text)?.to_string()),
        Some((first, last)) => match (port(first)?, port(last)?) {
            (0, _) | (_, 0) => Err(WrongAddress::Unknown("invalid port '0'".to_owned())),
            (least, most) if least > most => Err(WrongAddress::Unknown(format!("invalid port range '{text}'"))),
            (least, most) if least == most => Ok(least.to_string()),
            (least, most) => Ok(format!("{least}-{most}")),
        },
    }
}

fn is_name(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_toml_has_them() {
        for (text, toml) in [
            ("*:80", "0.0.0.0:80"),
            (":80", "0.0.0.0:80"),
            (":::25", "[::]:25"),
            ("[::]:443", "[::]:443"),
            ("ipv6@:7103", "[::]:7103"),
            ("ipv4@127.0.0.1:0", "127.0.0.1:0"),
            ("2001:db8::1:80", "[2001:db8::1]:80"),
            ("fe80::1%eth0:80", "[fe80::1%eth0]:80"),
            ("*:15937-15939", "0.0.0.0:15937-15939"),
            (":80-80", "0.0.0.0:80"),
            ("localhost:80", "127.0.0.1:80"),
            ("/run/lb.sock", "/run/lb.sock"),
            ("unix@/run/lb.sock", "unix@/run/lb.sock"),
            ("abns@lb", "abns@lb"),
            ("fd@5", "fd@5"),
        ] {
            assert_eq!(read(text), Ok(toml.to_owned()), "{text}");
        }
    }

    #[test]
    fn mistakes_have_the_words_of_haproxy() {
        for (text, reason) in [
            ("127.0.0.1", "missing port specification in '127.0.0.1'"),
            ("[::1]", "missing port specification in '[::1]'"),
            (":", "missing port specification in ':'"),
            ("1", "missing port specification in '1'"),
            ("127.0.0.1:99999", "invalid port '99999'"),
            (":80x", "invalid port '80x'"),
            (":2-1", "invalid port range '2-1'"),
            (":1-0", "invalid port '0'"),
            ("1.2.3:80", "invalid address: '1.2.3' in '1.2.3:80'"),
        ] {
            assert_eq!(read(text), Err(WrongAddress::Unknown(reason.to_owned())), "{text}");
        }
        for text in ["www.example.org:80", "quic4@:443", "sockpair@3"] {
            assert!(matches!(read(text), Err(WrongAddress::Beyond(..))), "{text}");
        }
    }
}
