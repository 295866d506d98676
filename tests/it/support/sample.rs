//! A sample of tests/haproxy_cfg on this machine: its servers are sites on loopback addresses, its frontends listen at free
//! ports of `${HERE}`, so that the same text serves two balancers beside each other.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use super::port::Port;
use super::site::Site;

#[derive(Debug, Default)]
pub(crate) struct Sample {
    pub(crate) text: String,
    /// Backends with servers that sessions reach, in the order of the file.
    pub(crate) pools: Vec<SamplePool>,
    /// By what the file calls their addresses.
    pub(crate) sites: BTreeMap<String, Site>,
    /// Of every address, so that nothing else takes them.
    ports: Vec<Port>,
    /// The section of the line that is read.
    section: String,
    binds: BTreeMap<String, Vec<u16>>,
    /// From a backend to its frontend.
    fronts: BTreeMap<String, String>,
}

#[derive(Debug, Default)]
pub(crate) struct SamplePool {
    pub(crate) name: String,
    /// Of its frontends.
    pub(crate) ports: Vec<u16>,
    pub(crate) balance: String,
    /// The longest time from one check to the next.
    pub(crate) inter: Duration,
    pub(crate) servers: Vec<SampleServer>,
}

#[derive(Debug)]
pub(crate) struct SampleServer {
    pub(crate) name: String,
    pub(crate) site: String,
    pub(crate) backup: bool,
    pub(crate) checked: bool,
    /// Without a weight it gets nothing.
    pub(crate) idle: bool,
}

impl SampleServer {
    /// For commands.
    pub(crate) fn path(&self, pool: &SamplePool) -> String {
        format!("{}/{}", pool.name, self.name)
    }
}

impl Sample {
    /// All that should run here, by their names.
    pub(crate) fn that_run() -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(directory())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| {
                let text = fs::read_to_string(Path::new(directory()).join(name)).unwrap();
                text.contains("expect=run ") || text.contains("expect=notice ")
            })
            .collect();
        names.sort();
        names
    }

    pub(crate) fn localised(name: &str) -> Self {
        let mut sample = Self::default();
        for line in fs::read_to_string(Path::new(directory()).join(name)).unwrap().lines() {
            let line = sample.line(&quicker(line));
            sample.text += &format!("{}\n", within_the_limits_of_tests(&line));
        }
        for pool in &mut sample.pools {
            let front = sample.fronts.get(&pool.name).unwrap_or(&pool.name);
            pool.ports = sample.binds.get(front).cloned().unwrap_or_default();
            pool.inter = pool.inter.max(Duration::from_secs(1));
        }
        sample.pools.retain(|pool| !pool.ports.is_empty() && !pool.servers.is_empty());
        if let Some(server) = sample.pools.first().and_then(|pool| pool.servers.first()) {
            sample.sites[&server.site].lead(true);
        }
        sample
    }

    /// Its checks pass by the role of a server: the leader's in the pool `primary`, those of the others elsewhere.
    pub(crate) fn by_role(&self) -> bool {
        self.text.contains("/replica")
    }

    fn line(&mut self, line: &str) -> String {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            [word @ ("global" | "defaults" | "frontend" | "backend" | "listen" | "resolvers"), ref rest @ ..] => {
                self.section = rest.first().map_or(word, |name| name).to_owned();
                if matches!(word, "backend" | "listen") {
                    self.pools.push(SamplePool {
                        name: self.section.clone(),
                        inter: Duration::from_secs(2),
                        ..SamplePool::default()
                    });
                }
            }
            ["bind", at, ..] => return self.bind(at),
            ["default_backend", name] => drop(self.fronts.insert(name.to_owned(), self.section.clone())),
            ["balance", ref rest @ ..] => {
                if let Some(pool) = self.pools.last_mut() {
                    pool.balance = rest.join(" ");
                }
            }
            ["default-server", ref rest @ ..] => self.pace(rest),
            ["server", name, addr, ref rest @ ..] => return self.server(name, addr, rest),
            // What belongs to the process and its surroundings.
            ["log", to, ..] if to != "global" => return String::new(),
            ["pidfile" | "chroot" | "ulimit-n" | "user" | "group" | "daemon" | "master-worker", ..]
            | ["stats", "socket", ..] => {
                return String::new();
            }
            _ => {}
        }
        line.to_owned()
    }

    fn bind(&mut self, at: &str) -> String {
        let ports = at.rsplit(':').next().unwrap();
        let count = ports.split_once('-').map_or(1, |(first, last)| number(last) - number(first) + 1);
        let reserved = Port::reserve_row(Ipv4Addr::UNSPECIFIED.into(), count);
        let (first, last) = (reserved[0].number(), reserved[reserved.len() - 1].number());
        self.binds.entry(self.section.clone()).or_default().extend(first..=last);
        self.ports.extend(reserved);
        format!(" bind \"${{HERE}}:{first}-{last}\"")
    }

    /// A server that has no port is one on the ports of the frontends.
    fn server(&mut self, name: &str, addr: &str, rest: &[&str]) -> String {
        let binds: Vec<u16> = self.binds.values().flatten().copied().collect();
        let site = self.sites.entry(addr.to_owned()).or_insert_with(|| {
            let ports = match addr.contains(':') {
                true => vec![Port::reserve()],
                false => {
                    binds.iter().map(|port| Port::reserve_at((Ipv4Addr::new(127, 0, 0, 3), *port).into())).collect()
                }
            };
            Site::start(addr, ports)
        });
        let place = if addr.contains(':') { site.addr().to_string() } else { site.addr().ip().to_string() };
        let own = site.addr().port().to_string();
        let mut words = rest.to_vec();
        if let Some(index) = words.iter().position(|word| *word == "port") {
            words[index + 1] = &own;
        }
        self.pace(rest);
        let server = SampleServer {
            name: name.to_owned(),
            site: addr.to_owned(),
            backup: rest.contains(&"backup"),
            checked: rest.contains(&"check"),
            idle: rest.windows(2).any(|pair| pair == ["weight", "0"]),
        };
        self.pools.last_mut().unwrap().servers.push(server);
        format!(" server {name} {place} {}", words.join(" "))
    }

    fn pace(&mut self, words: &[&str]) {
        let inter = words.windows(2).find(|pair| pair[0] == "inter").and_then(|pair| pair[1].strip_suffix('s'));
        if let (Some(seconds), Some(pool)) = (inter, self.pools.last_mut()) {
            pool.inter = Duration::from_secs(number(seconds).into());
        }
    }
}

/// Seconds between checks become less. HAProxy judges that something is missing only when the server closes, or has said
/// as much as `min-recv`; lb takes silence for the end.
fn quicker(line: &str) -> String {
    let pace = line
        .replace("inter 10s", "inter 1s")
        .replace("inter 3s", "inter 1s")
        .replace("downinter 5s", "downinter 500ms");
    pace.replace("tcp-check expect !", "tcp-check expect min-recv 1 !")
}

/// HAProxy reserves descriptors for as many connections as a file allows.
fn within_the_limits_of_tests(line: &str) -> String {
    let words: Vec<_> = line.split_whitespace().collect();
    match words.iter().position(|word| *word == "maxconn").and_then(|index| words.get(index + 1)) {
        Some(count) if count.len() > 4 => line.replace(count, "2000"),
        _ => line.to_owned(),
    }
}

fn directory() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/tests/haproxy_cfg")
}

fn number(text: &str) -> u16 {
    text.parse().unwrap()
}
