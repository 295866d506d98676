//! `[fe80::1%eth0]:80`: an IPv6 address with the interface that a link-local one needs. The numbers of interfaces are
//! taken from the machine, as everything else about a configuration is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};

use super::interface;

/// Why an IPv6 address cannot be used as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    #[error("is link-local and names no interface; write it as `[{ip}%{example}]:{port}`")]
    Missing { ip: Ipv6Addr, example: String, port: u16 },
    #[error("names the interface `{scope}`, which this machine does not have; it has {known}")]
    Unknown { scope: String, known: String },
    #[error("names an interface, which only a link-local address (fe80::) has; write it as `[{ip}]:{port}`")]
    Superfluous { ip: Ipv6Addr, port: u16 },
    #[error("names an interface, which only a link-local IPv6 address (fe80::) has; write it as `{ip}:{port}`")]
    V4 { ip: Ipv4Addr, port: u16 },
    #[error("has no brackets around the address; write it as `[{0}]:{1}`")]
    NoBrackets(String, u16),
}

/// `None`: the text is no IPv6 address and port, with or without an interface, and no other address with an interface.
pub(crate) fn parse(text: &str) -> Option<Result<SocketAddr, ScopeError>> {
    if let Some(error) = misplaced(text) {
        return Some(Err(error));
    }
    let (inside, port) = text.strip_prefix('[')?.split_once("]:")?;
    let (ip, scope) = inside.split_once('%').map_or((inside, None), |(ip, scope)| (ip, Some(scope)));
    let ip: Ipv6Addr = ip.parse().ok()?;
    let port = port.parse().ok().filter(|_| port.bytes().all(|b| b.is_ascii_digit()))?;
    let with = |scope| Ok(SocketAddr::V6(SocketAddrV6::new(ip, port, 0, scope)));
    Some(match scope {
        None if ip.is_unicast_link_local() => Err(ScopeError::Missing { ip, example: example(), port }),
        None => with(0),
        Some(_) if !ip.is_unicast_link_local() => Err(ScopeError::Superfluous { ip, port }),
        Some(scope) => interface::index_of(scope).map_or_else(|| Err(unknown(scope)), with),
    })
}

/// An interface where none can be: behind an IPv4 address, or behind an IPv6 address without its brackets.
fn misplaced(text: &str) -> Option<ScopeError> {
    let (address, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|_| port.bytes().all(|b| b.is_ascii_digit()))?;
    let (ip, _) = address.trim_matches(['[', ']']).split_once('%')?;
    match ip.parse().ok()? {
        IpAddr::V4(ip) => Some(ScopeError::V4 { ip, port }),
        IpAddr::V6(_) if address.starts_with('[') => None,
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Some(ScopeError::NoBrackets(address.to_owned(), port)),
        IpAddr::V6(ip) => Some(ScopeError::Superfluous { ip, port }),
    }
}

fn unknown(scope: &str) -> ScopeError {
    let known: Vec<_> = interface::names().iter().take(MOST_NAMED).map(|name| format!("`{name}`")).collect();
    ScopeError::Unknown { scope: scope.to_owned(), known: known.join(", ") }
}

fn example() -> String {
    interface::names().into_iter().next().unwrap_or_else(|| "eth0".to_owned())
}

/// A machine with containers has hundreds.
const MOST_NAMED: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(text: &str) -> String {
        parse(text).unwrap().unwrap_err().to_string()
    }

    #[test]
    fn an_interface_has_a_name_or_a_number() {
        let index = interface::index_of("lo").unwrap();
        let scoped = SocketAddr::V6(SocketAddrV6::new("fe80::1".parse().unwrap(), 80, 0, index));
        assert_eq!(parse("[fe80::1%lo]:80"), Some(Ok(scoped)));
        assert_eq!(parse(&format!("[fe80::1%{index}]:80")), Some(Ok(scoped)));
        assert_eq!(parse("[::1]:80"), Some(Ok("[::1]:80".parse().unwrap())));
        for other in ["1.2.3.4:80", "[::1]", "::1", "[x%lo]:80", "[::1]:+1", "[::1]:65536"] {
            assert_eq!(parse(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_interface_is_said() {
        assert!(reason("[fe80::1]:80").contains("is link-local and names no interface; write it as `[fe80::1%"));
        assert!(reason("[fe80::1%nope]:80").contains("names the interface `nope`, which this machine does not have"));
        assert!(reason("[fe80::1%]:80").contains("does not have"));
        assert!(reason("[fe80::1%2147483647]:80").contains("does not have"));
        assert!(reason("[fe80::1%4294967295]:80").contains("does not have"));
        assert!(reason("[::1%lo]:80").contains("write it as `[::1]:80`"));
        assert!(reason("::1%lo:80").contains("write it as `[::1]:80`"));
        assert!(reason("fe80::1%lo:82").contains("write it as `[fe80::1%lo]:82`"));
        assert!(reason("10.0.0.1%eth0:80").contains("IPv6 address (fe80::) has; write it as `10.0.0.1:80`"));
    }
}
