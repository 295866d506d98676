//! The address that connections to servers come from.

use std::net::IpAddr;

/// An IP address; a port of 0 or none stands for any.
pub(super) fn read(text: &str) -> Result<String, String> {
    let bare = text.trim_start_matches("ipv4@").trim_start_matches("ipv6@");
    let host = match bare.rsplit_once(':') {
        Some((host, "0" | "")) => host,
        _ => bare,
    };
    let ip = if host == "*" { Ok(IpAddr::from([0, 0, 0, 0])) } else { host.trim_matches(['[', ']']).parse::<IpAddr>() };
    ip.map(|ip| ip.to_string()).map_err(|_| format!("lb takes an IP address here, without a port (got '{text}')"))
}
