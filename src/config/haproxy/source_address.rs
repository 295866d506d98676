//! The address that connections to servers come from.

use std::net::IpAddr;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceAddress {
    pub(super) ip: String,
    /// A port, a range of them or an offset. None, and 0, stand for any.
    pub(super) port: Option<String>,
}

pub(super) fn read(text: &str) -> Result<SourceAddress, String> {
    let bare = text.trim_start_matches("ipv4@").trim_start_matches("ipv6@");
    let (host, port) = match bare.rsplit_once(':') {
        Some((host, port)) if bare.parse::<IpAddr>().is_err() && is_port(port) => (host, port),
        _ => (bare, ""),
    };
    let ip = if host == "*" { Ok(IpAddr::from([0, 0, 0, 0])) } else { host.trim_matches(['[', ']']).parse::<IpAddr>() };
    let port = Some(port.to_owned()).filter(|port| !["", "0"].contains(&port.as_str()));
    ip.map(|ip| SourceAddress { ip: ip.to_string(), port })
        .map_err(|_| format!("invalid address: '{host}' in '{text}'"))
}

fn is_port(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_digit() || b"+-".contains(&b))
}

pub(super) const ANY_PORT: &str = "connects come from any port of the address";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_stands_behind_the_address() {
        for (text, ip, port) in [
            ("10.0.0.1", "10.0.0.1", None),
            ("10.0.0.1:0", "10.0.0.1", None),
            ("*", "0.0.0.0", None),
            ("::1", "::1", None),
            ("[::1]:80", "::1", Some("80")),
            ("ipv4@10.0.0.1:1000-2000", "10.0.0.1", Some("1000-2000")),
        ] {
            let port = port.map(str::to_owned);
            assert_eq!(read(text), Ok(SourceAddress { ip: ip.to_owned(), port }), "{text}");
        }
        assert!(read("host:80").is_err() && read("").is_err());
    }
}
