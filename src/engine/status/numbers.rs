//! The numbers of frontends, backends and servers, as HAProxy gives them: by their order in the file. Programs ask by them,
//! so they stay as long as the configuration does.

use std::collections::HashMap;

use crate::backend::Member;
use crate::config::{Backend, Config, ProxyPlace};

/// Numbers of frontends and backends.
pub(super) struct ProxyNumbers<'c> {
    frontends: HashMap<&'c str, u32>,
    backends: HashMap<&'c str, u32>,
    next: u32,
}

/// Numbers of the servers of a backend.
pub(super) struct ServerNumbers<'c> {
    configured: HashMap<&'c str, u32>,
    next: u32,
}

/// HAProxy has one of its own before those of the file.
const FIRST: u32 = 2;

impl<'c> ProxyNumbers<'c> {
    pub(super) fn of(config: &'c Config) -> Self {
        let mut numbers = Self { frontends: HashMap::new(), backends: HashMap::new(), next: FIRST };
        let all = (0..config.frontends.len()).map(ProxyPlace::Frontend);
        let all = all.chain((0..config.backends.len()).map(ProxyPlace::Backend));
        config.order.iter().copied().chain(all).for_each(|place| numbers.add(config, place));
        numbers
    }

    pub(super) fn frontend(&self, name: &str) -> u32 {
        self.frontends.get(name).copied().unwrap_or(self.next)
    }

    pub(super) fn backend(&self, name: &str) -> u32 {
        self.backends.get(name).copied().unwrap_or(self.next)
    }

    /// For those that the configuration does not have any more.
    pub(super) fn others(&self) -> impl Iterator<Item = u32> + use<> {
        self.next..
    }

    /// Gives a number to what has none. A frontend and the backend of its name that it leads to, HAProxy's `listen`, have
    /// one.
    fn add(&mut self, config: &'c Config, place: ProxyPlace) {
        let next = match place {
            ProxyPlace::Frontend(index) => {
                let frontend = &config.frontends[index];
                let twin = self.backends.get(frontend.name.as_str()).filter(|_| frontend.backend == frontend.name);
                let number = twin.copied().unwrap_or(self.next);
                *self.frontends.entry(&frontend.name).or_insert(number)
            }
            ProxyPlace::Backend(index) => {
                let name = config.backends[index].name.as_str();
                let leads_here = config.frontends.iter().any(|one| one.name == name && one.backend == name);
                let twin = self.frontends.get(name).filter(|_| leads_here);
                let number = twin.copied().unwrap_or(self.next);
                *self.backends.entry(name).or_insert(number)
            }
        };
        self.next = self.next.max(next + 1);
    }
}

impl<'c> ServerNumbers<'c> {
    pub(super) fn of(settings: &'c Backend) -> Self {
        let configured: HashMap<_, _> = (1..).zip(&settings.servers).map(|(id, one)| (one.name.as_str(), id)).collect();
        let next = u32::try_from(configured.len()).unwrap_or(u32::MAX).saturating_add(1);
        Self { configured, next }
    }

    pub(super) fn member(&self, member: &Member) -> u32 {
        self.configured.get(&*member.server.name).copied().unwrap_or_else(|| self.other(member))
    }

    /// Of a server that has no address yet, and so no place in the table of its backend.
    pub(super) fn configured(&self, name: &str) -> u32 {
        self.configured.get(name).copied().unwrap_or(0)
    }

    /// Of one that was discovered, or leaves.
    pub(super) fn other(&self, member: &Member) -> u32 {
        self.next.saturating_add(member.server.slot().number())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse;

    #[test]
    fn proxies_are_numbered_in_the_order_of_the_file_and_a_listen_once() {
        let text = "[backend.zz]\nservers = { s = \"127.0.0.1:1\" }\n[frontend.both]\nbind = [\"127.0.0.1:2\"]\n\
                    backend = \"both\"\n[backend.both]\nservers = {}\n[frontend.zz]\nbind = [\"127.0.0.1:3\"]\n\
                    backend = \"both\"\n[backend.last]\nservers = {}\n";
        let config = parse("lb.toml", text).unwrap();
        let numbers = ProxyNumbers::of(&config);
        let backends = ["zz", "both", "last"].map(|name| numbers.backend(name));
        assert_eq!((backends, ["both", "zz"].map(|name| numbers.frontend(name))), ([2, 3, 5], [3, 4]));
        assert_eq!(numbers.others().next(), Some(6));
        // Without a file, as of flags.
        let config = Config { order: Vec::new(), ..config };
        let numbers = ProxyNumbers::of(&config);
        let backends = ["zz", "both", "last"].map(|name| numbers.backend(name));
        assert_eq!((["both", "zz"].map(|name| numbers.frontend(name)), backends), ([2, 3], [4, 2, 5]));
    }
}
