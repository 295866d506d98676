//! `bind`: an address to listen on, and its earlier user.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::value::RawValue;

/// The addresses that are bound so far.
#[derive(Default)]
pub(super) struct Binds {
    /// By which frontend, and in which line.
    taken: HashMap<SocketAddr, (String, usize)>,
}

impl Binds {
    /// Reads one bind of this frontend.
    pub(super) fn read(&mut self, value: &RawValue<'_>, frontend: &str, v4v6: bool) -> Option<SocketAddr> {
        let addr = match parse(value.text("0.0.0.0:80")?) {
            Ok(addr) => addr,
            Err(error) => {
                value.wrong(error);
                return None;
            }
        };
        let line = value.report.line_of(value.key_at);
        if let Some((owner, line)) = self.take(addr, frontend, v4v6, line) {
            value.wrong(format!("is bound already by [frontend.{owner}] in line {line}; keep one of them"));
            return None;
        }
        Some(addr)
    }

    fn take(&mut self, addr: SocketAddr, frontend: &str, v4v6: bool, line: usize) -> Option<(String, usize)> {
        // With port 0 the kernel finds a free one each time.
        if addr.port() == 0 {
            return None;
        }
        let both = v4v6 && addr.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let v4 = both.then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port())));
        for addr in [Some(addr), v4].into_iter().flatten() {
            if let Some(owner) = self.taken.get(&addr) {
                return Some(owner.clone());
            }
            self.taken.insert(addr, (frontend.to_owned(), line));
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
    BadPort,
    #[error("is no IP address and port; write e.g. \"0.0.0.0:80\" or \"[::]:80\"")]
    BadAddress,
}

/// `1.2.3.4:80`, `[::]:80`, and `:80` or `*:80` for all IPv4 addresses, as in HAProxy.
pub(super) fn parse(text: &str) -> Result<SocketAddr, UnusableBind> {
    if let Ok(addr) = text.parse() {
        return Ok(addr);
    }
    if let Ok(port) = text.parse() {
        return Err(UnusableBind::OnlyPort(port));
    }
    if text == "*" {
        return Err(UnusableBind::NoPort(text.to_owned()));
    }
    match text.trim_matches(['[', ']']).parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => return Err(UnusableBind::NoPort(text.to_owned())),
        Ok(IpAddr::V6(v6)) => return Err(UnusableBind::NoPort(format!("[{v6}]"))),
        Err(_) => {}
    }
    let (host, port) = text.rsplit_once(':').ok_or(UnusableBind::BadAddress)?;
    let is_address = host.is_empty() || host == "*";
    if is_address || format!("{host}:0").parse::<SocketAddr>().is_ok() {
        let digits = port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse().ok().filter(|_| digits).ok_or(UnusableBind::BadPort)?;
        return Ok(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)));
    }
    Err(UnusableBind::BadAddress)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_or_nothing_means_all_ipv4_addresses() {
        for text in ["0.0.0.0:80", "*:80", ":80"] {
            assert_eq!(parse(text), Ok("0.0.0.0:80".parse().unwrap()), "{text}");
        }
        assert_eq!(parse("[::1]:0"), Ok("[::1]:0".parse().unwrap()));
    }

    #[test]
    fn an_error_shows_what_is_missing() {
        for (text, error) in [
            ("127.0.0.1", UnusableBind::NoPort("127.0.0.1".into())),
            ("::", UnusableBind::NoPort("[::]".into())),
            ("[::1]", UnusableBind::NoPort("[::1]".into())),
            ("*", UnusableBind::NoPort("*".into())),
            ("8080", UnusableBind::OnlyPort(8080)),
            (":80-90", UnusableBind::BadPort),
            (":+80", UnusableBind::BadPort),
            ("0.0.0.0:65536", UnusableBind::BadPort),
            ("localhost:80", UnusableBind::BadAddress),
            ("", UnusableBind::BadAddress),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
    }
}
