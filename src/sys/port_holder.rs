//! Which processes listen on a TCP port of this network namespace, as `/proc` shows it, or on a unix socket: for the
//! message that an address is taken, and to tell the own sockets from those of others.
//!
//! Limits: the descriptors of other users' processes can only be read by root, so that of such a socket only the user is
//! known; and the search among all processes ends after a while.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::socket::UnixCredentials;
use nix::unistd::getppid;

/// Listening sockets of one address, and the processes that have them open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PortHolder {
    address: String,
    uid: u32,
    inodes: Vec<u64>,
    /// By pid; empty where they may not be read.
    processes: BTreeMap<u32, String>,
}

/// The holders of every address that a bind to `addr` meets, those of the same address first. `both`: an IPv6 bind that
/// takes IPv4 clients too.
pub(crate) fn holders(addr: SocketAddr, both: bool) -> Vec<PortHolder> {
    let tables = [("/proc/self/net/tcp", false), ("/proc/self/net/tcp6", true)];
    let mut found: Vec<PortHolder> = Vec::new();
    for (path, v6) in tables {
        for (address, uid, inode) in listening(Path::new(path), v6).filter(|(other, ..)| meet(addr, both, *other)) {
            match found.iter_mut().find(|holder| holder.address == address.to_string() && holder.uid == uid) {
                Some(holder) => holder.inodes.push(inode),
                None => found.push(PortHolder {
                    address: address.to_string(),
                    uid,
                    inodes: vec![inode],
                    processes: BTreeMap::new(),
                }),
            }
        }
    }
    let wanted = addr.to_string();
    found.sort_by_key(|holder| holder.address != wanted);
    if !found.is_empty() {
        name_processes(&mut found);
    }
    found
}

impl PortHolder {
    /// The process that listens on a unix socket; its pid is that of the one which began to, and may be gone.
    pub(crate) fn of_unix(address: String, of: UnixCredentials) -> Self {
        let pid = of.pid().cast_unsigned();
        let processes = Some(command_of(pid)).filter(|command| !command.is_empty()).map(|command| (pid, command));
        Self { address, uid: of.uid(), inodes: Vec::new(), processes: processes.into_iter().collect() }
    }

    /// Whether it is this process, its parent, or another child of its parent: another engine of the same balancer.
    pub(crate) fn is_own(&self) -> bool {
        let parent = getppid().as_raw().cast_unsigned();
        let is_own = |pid: u32| pid == std::process::id() || pid == parent || parent_of(pid) == Some(parent);
        self.processes.keys().any(|pid| is_own(*pid))
    }

    /// Whether its program is called `lb`: it may hand its sockets over.
    pub(crate) fn is_lb(&self) -> bool {
        let program = |command: &String| command.split(' ').next().map(|word| Path::new(word).ends_with("lb"));
        self.processes.values().any(|command| program(command) == Some(true))
    }
}

/// `pid 7 (nginx: master process) listens on 0.0.0.0:80`.
impl fmt::Display for PortHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<_> =
            self.processes.iter().take(NAMED).map(|(pid, name)| format!("pid {pid} ({name})")).collect();
        match &named[..] {
            [] => write!(f, "a process of uid {} listens on {}", self.uid, self.address),
            [one] => write!(f, "{one} listens on {}", self.address),
            several => write!(f, "{} listen on {}", several.join(" and "), self.address),
        }
    }
}

/// Address, user and inode of each listening socket. They come first in the table, so that a host with many connections
/// is read no further.
fn listening(table: &Path, v6: bool) -> impl Iterator<Item = (SocketAddr, u32, u64)> {
    let lines = File::open(table).ok().map(|file| BufReader::new(file).lines());
    let lines = lines.into_iter().flatten().map_while(Result::ok).skip(1);
    lines.map_while(|line| state_of(&line).filter(|state| *state == "0A").map(|_| line.clone())).filter_map(
        move |line| {
            let mut fields = line.split_ascii_whitespace();
            let address = parse_address(fields.nth(1)?, v6)?;
            Some((address, fields.nth(5)?.parse().ok()?, fields.nth(1)?.parse().ok()?))
        },
    )
}

fn state_of(line: &str) -> Option<&str> {
    line.split_ascii_whitespace().nth(3)
}

/// `0100007F:0050`: words of four bytes in the order of the host.
fn parse_address(text: &str, v6: bool) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(ip.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes());
    let ip = if v6 {
        let mut bytes = [0; 16];
        for at in 0..4 {
            bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
        }
        IpAddr::V6(Ipv6Addr::from(bytes))
    } else {
        IpAddr::V4(Ipv4Addr::from(word(0)?))
    };
    Some((ip, port).into())
}

/// Whether the kernel may refuse one address while the other is listened on. Whether a socket on `[::]` takes IPv4 clients
/// is not in the table.
fn meet(wanted: SocketAddr, both: bool, other: SocketAddr) -> bool {
    let same_family = wanted.is_ipv4() == other.is_ipv4();
    let (wanted_ip, other_ip) = (wanted.ip().to_canonical(), other.ip().to_canonical());
    let any = wanted_ip.is_unspecified() || other_ip.is_unspecified();
    let across = match wanted.ip() {
        IpAddr::V4(_) => other_ip == IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        IpAddr::V6(_) => both && wanted_ip.is_unspecified(),
    };
    wanted.port() == other.port() && (wanted_ip == other_ip || (same_family && any) || (!same_family && across))
}

/// Looks for the inodes among the descriptors of all processes that may be read.
fn name_processes(found: &mut [PortHolder]) {
    let end = Instant::now() + SEARCH_LIMIT;
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        for descriptor in fs::read_dir(process.path().join("fd")).into_iter().flatten().flatten() {
            let Some(inode) = fs::read_link(descriptor.path()).ok().and_then(|target| socket_inode(&target)) else {
                continue;
            };
            for holder in found.iter_mut().filter(|holder| holder.inodes.contains(&inode)) {
                holder.processes.entry(pid).or_insert_with(|| command_of(pid));
            }
        }
        if Instant::now() > end {
            return;
        }
    }
}

/// `socket:[4711]`.
fn socket_inode(target: &Path) -> Option<u64> {
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// The command line, shortened, without what a terminal would obey.
fn command_of(pid: u32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let text = String::from_utf8_lossy(&words).replace('\0', " ");
    let clean: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    match clean.char_indices().nth(COMMAND) {
        Some((end, _)) => format!("{}…", &clean[..end]),
        None => clean,
    }
}

/// The pid of the parent process.
pub(crate) fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Processes that a message names: the supervisor and the engine of another balancer.
const NAMED: usize = 2;
/// Characters shown of a command line.
const COMMAND: usize = 80;
const SEARCH_LIMIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_of_this_process_is_found_and_own() {
        for bind in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(bind).unwrap();
            let addr = listener.local_addr().unwrap();
            let found = holders(addr, false);
            assert_eq!(found[0].address, addr.to_string());
            assert!(found[0].is_own());
            let text = found[0].to_string();
            assert!(
                text.contains(&format!("pid {} (", std::process::id())) && text.contains(bind.trim_end_matches('0'))
            );
            drop(listener);
            // A child that another test starts meanwhile may hold it for a moment.
            let is_gone = |_| {
                std::thread::sleep(Duration::from_millis(10));
                holders(addr, false).is_empty()
            };
            assert!((0..500).any(is_gone));
        }
    }

    #[test]
    fn a_balancer_is_known_by_its_program() {
        for (command, expected) in [("/usr/bin/lb run", true), ("lb", true), ("nginx: lb", false), ("/opt/club", false)]
        {
            let processes = BTreeMap::from([(7, command.to_owned())]);
            let holder = PortHolder { address: "127.0.0.1:80".to_owned(), uid: 0, inodes: vec![1], processes };
            assert_eq!(holder.is_lb(), expected, "{command}");
        }
    }

    #[test]
    fn addresses_meet_as_the_kernel_sees_it() {
        let addr = |text: &str| text.parse::<SocketAddr>().unwrap();
        for (wanted, both, other, expected) in [
            ("127.0.0.1:80", false, "127.0.0.1:80", true),
            ("127.0.0.1:80", false, "127.0.0.1:81", false),
            ("127.0.0.1:80", false, "127.0.0.2:80", false),
            ("0.0.0.0:80", false, "127.0.0.2:80", true),
            ("127.0.0.1:80", false, "0.0.0.0:80", true),
            ("127.0.0.1:80", false, "[::]:80", true),
            ("127.0.0.1:80", false, "[::1]:80", false),
            ("127.0.0.1:80", false, "[::ffff:127.0.0.1]:80", true),
            ("[::]:80", false, "127.0.0.1:80", false),
            ("[::]:80", true, "127.0.0.1:80", true),
            ("[::]:80", false, "[::1]:80", true),
            ("[::1]:80", false, "[::2]:80", false),
        ] {
            assert_eq!(meet(addr(wanted), both, addr(other)), expected, "{wanted} {both} {other}");
        }
    }
}
