//! What the machine says about names: `/etc/hosts` and `/etc/resolv.conf`, read again when they change (a container that
//! joins another network gets new ones).

use std::fs::{self, File};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use hickory_resolver::Resolver;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::system_conf::parse_resolv_conf;

use super::hosts::HostsFile;
use super::sockets::BoundedSockets;
use crate::config::Resolvers;

/// Both files as they were at one moment.
pub(super) struct SystemNames {
    pub(super) hosts: HostsFile,
    /// Asks the name servers for names as they are.
    pub(super) resolver: Resolver<BoundedSockets>,
    search: Vec<Name>,
    ndots: usize,
    stamps: [Option<Stamp>; 2],
    /// When a name is looked up again; `None`: as its time to live says.
    pub(super) again: Option<Duration>,
}

/// Tells one state of a file from another: device, inode, length, time of the last change.
type Stamp = (u64, u64, u64, i64, i64);

impl SystemNames {
    /// Reads both files. What cannot be read or understood is as if it were not there.
    pub(super) fn read(sockets: BoundedSockets) -> Result<Self, NetError> {
        let stamps = stamps();
        let (config, mut options) = resolv_conf(&content(RESOLV_CONF));
        bound(&mut options);
        let search = match config.search() {
            [] => config.domain().cloned().into_iter().collect(),
            given => given.to_vec(),
        };
        let (ndots, servers) = (options.ndots, config.name_servers().to_vec());
        let servers = ResolverConfig::from_parts(None, Vec::new(), servers);
        let mut builder = Resolver::builder_with_config(servers, sockets);
        *builder.options_mut() = options;
        let resolver = builder.build()?;
        Ok(Self { hosts: HostsFile::parse(&content(HOSTS)), resolver, search, ndots, stamps, again: None })
    }

    /// The name servers of a section of the configuration, without those files: names are full already, as in HAProxy.
    pub(super) fn of_section(settings: &Resolvers, sockets: BoundedSockets) -> Result<Self, NetError> {
        let stamps = stamps();
        let server = |addr: &SocketAddr| {
            let mut server = NameServerConfig::udp_and_tcp(addr.ip());
            server.connections.iter_mut().for_each(|connection| connection.port = addr.port());
            server
        };
        let servers = match &settings.nameservers[..] {
            [] => resolv_conf(&content(RESOLV_CONF)).0.name_servers().to_vec(),
            given => given.iter().map(server).collect(),
        };
        let mut builder = Resolver::builder_with_config(ResolverConfig::from_parts(None, Vec::new(), servers), sockets);
        let options = builder.options_mut();
        (options.timeout, options.attempts) = (settings.timeout_retry, settings.retries);
        bound(options);
        Ok(Self {
            hosts: HostsFile::default(),
            resolver: builder.build()?,
            search: Vec::new(),
            ndots: 0,
            stamps,
            again: Some(settings.timeout_resolve),
        })
    }

    /// Whether a file is another one now.
    pub(super) fn is_outdated(&self) -> bool {
        self.stamps != stamps()
    }

    /// The full names to ask for, in order, as the C library chooses them: with few dots the domains of `search` come
    /// first, and a name that ends in a dot is full already.
    pub(super) fn candidates(&self, name: &str) -> Vec<Name> {
        let Ok(mut full) = Name::from_ascii(name) else { return Vec::new() };
        if full.is_fqdn() {
            return vec![full];
        }
        let within = |domain: &Name| full.clone().append_domain(domain).ok();
        let mut candidates: Vec<Name> = self.search.iter().filter_map(within).collect();
        full.set_fqdn(true);
        let at = if name.matches('.').count() >= self.ndots { 0 } else { candidates.len() };
        candidates.insert(at, full);
        for candidate in &mut candidates {
            candidate.set_fqdn(true);
        }
        candidates
    }
}

/// A line that is none is skipped; without a name server this machine is asked. Both as the C library does.
fn resolv_conf(text: &str) -> (ResolverConfig, ResolverOpts) {
    let this_machine = format!("nameserver {}\n", Ipv4Addr::LOCALHOST);
    let is_usable = |line: &&str| parse_resolv_conf(format!("{line}\n{this_machine}")).is_ok();
    let usable: String = text.lines().filter(is_usable).map(|line| format!("{line}\n")).collect();
    parse_resolv_conf(&usable).or_else(|_| parse_resolv_conf(usable + &this_machine)).unwrap_or_else(|_| {
        let this_machine = NameServerConfig::udp_and_tcp(IpAddr::from(Ipv4Addr::LOCALHOST));
        (ResolverConfig::from_parts(None, Vec::new(), vec![this_machine]), ResolverOpts::default())
    })
}

/// Within the time of one look-up each of the usual three servers is asked, one after the other.
fn bound(options: &mut ResolverOpts) {
    options.timeout = options.timeout.clamp(Duration::from_millis(500), LONGEST_QUESTION);
    options.attempts = options.attempts.clamp(2, 3);
    options.num_concurrent_reqs = 1;
    options.os_port_selection = true;
    options.use_hosts_file = ResolveHosts::Never;
    // What was answered is kept in the table, for as long as it may be.
    options.cache_size = 0;
}

fn stamps() -> [Option<Stamp>; 2] {
    [RESOLV_CONF, HOSTS].map(|path| {
        let metadata = fs::metadata(path).ok()?;
        Some((metadata.dev(), metadata.ino(), metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
    })
}

/// The beginning of a regular file; empty if there is none.
fn content(path: &str) -> String {
    let read = || {
        let mut bytes = Vec::new();
        if fs::metadata(path)?.is_file() {
            File::open(path)?.take(LONGEST_FILE).read_to_end(&mut bytes)?;
        }
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
const LONGEST_FILE: u64 = 4 << 20;
const LONGEST_QUESTION: Duration = Duration::from_millis(1500);

#[cfg(test)]
mod tests {
    use super::*;

    fn system(text: &str) -> SystemNames {
        let (config, options) = resolv_conf(text);
        let search = config.search().to_vec();
        let ndots = options.ndots;
        let resolver = Resolver::builder_with_config(config, BoundedSockets::new(1)).build().unwrap();
        SystemNames { hosts: HostsFile::default(), resolver, search, ndots, stamps: [None; 2], again: None }
    }

    #[test]
    fn names_are_completed_as_the_c_library_does() {
        let shown = |system: &SystemNames, name| {
            system.candidates(name).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        let plain = system("nameserver 10.0.0.1\nsearch a.example b.example\n");
        assert_eq!(shown(&plain, "app"), "app.a.example. app.b.example. app.");
        assert_eq!(shown(&plain, "app.c"), "app.c. app.c.a.example. app.c.b.example.");
        assert_eq!(shown(&plain, "app."), "app.");
        assert_eq!(shown(&plain, "my_app"), "my_app.a.example. my_app.b.example. my_app.");
        let cluster = system("search ns.svc.cluster.local\noptions ndots:5\n");
        assert_eq!(shown(&cluster, "app.ns"), "app.ns.ns.svc.cluster.local. app.ns.");
    }

    #[test]
    fn a_file_with_mistakes_is_used_as_far_as_it_goes() {
        let servers = |text| {
            let (config, options) = resolv_conf(text);
            let servers: Vec<_> = config.name_servers().iter().map(|server| server.ip.to_string()).collect();
            (servers.join(" "), options.ndots)
        };
        assert_eq!(servers(""), ("127.0.0.1".to_owned(), 1));
        assert_eq!(servers("options ndots:3\nnonsense\n"), ("127.0.0.1".to_owned(), 3));
        let text = "nameserver 10.0.0.1\nnameserver x\nsearch a..b\nnameserver ::1 # here\noptions timeout:1 rotate\n";
        assert_eq!(servers(text), ("10.0.0.1 ::1".to_owned(), 1));
    }
}
