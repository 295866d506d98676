//! `/etc/hosts`. Pure.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The names of a hosts file, in lower case.
#[derive(Debug, Default)]
pub(super) struct HostsFile(HashMap<String, Vec<IpAddr>>);

impl HostsFile {
    /// As the C library reads it: what is no line of such a file is skipped.
    pub(super) fn parse(text: &str) -> Self {
        let mut names: HashMap<_, Vec<IpAddr>> = HashMap::new();
        for line in text.lines() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(Ok(ip)) = words.next().map(str::parse) else { continue };
            for name in words {
                names.entry(name.to_ascii_lowercase()).or_default().push(ip);
            }
        }
        Self(names)
    }

    /// Empty: it does not have this name.
    pub(super) fn addresses(&self, name: &str) -> &[IpAddr] {
        self.0.get(&name.to_ascii_lowercase()).map_or(&[], Vec::as_slice)
    }
}

/// `localhost` is this machine, by either family, also where the file has one or none (RFC 6761).
pub(super) fn loopback(name: &str) -> &'static [IpAddr] {
    const BOTH: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
    let name = name.to_ascii_lowercase();
    let bare = name.strip_suffix('.').unwrap_or(&name);
    if bare == "localhost" || bare.ends_with(".localhost") { &BOTH } else { &[] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_file_is_read_as_the_c_library_does() {
        let text = "# comment\n10.0.0.1 App app.example # db\nnonsense x\n\n10.0.0.2\tapp\n::1 localhost\nfe80::1%lo z\n10.0.0.3";
        let hosts = HostsFile::parse(text);
        let shown = |name| hosts.addresses(name).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        assert_eq!(shown("app"), "10.0.0.1 10.0.0.2");
        assert_eq!(shown("APP.example"), "10.0.0.1");
        assert_eq!([shown("db"), shown("x"), shown("z"), shown("app.")], ["", "", "", ""]);
        assert_eq!(shown("localhost"), "::1");
        let counts = ["localhost", "web.Localhost.", "localhost.example", "app"].map(|name| loopback(name).len());
        assert_eq!(counts, [2, 2, 0, 0]);
    }
}
