//! A balancer that takes part, from its configuration to its end.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use super::balancer::Balancer;
use super::meter::Meter;

/// Where a balancer sends what comes, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Setup {
    pub(crate) balance: Balance,
    pub(crate) servers: usize,
    pub(crate) threads: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Balance {
    RoundRobin,
    LeastConn,
    Random,
    Source,
}

impl Setup {
    pub(crate) const PLAIN: Self = Self {
        balance: Balance::RoundRobin,
        servers: 3,
        threads: 1,
    };

    /// The servers' addresses: the origin listens on all of 127.0.0.0/8.
    pub(crate) fn addrs(&self, port: u16) -> Vec<SocketAddr> {
        let ip = |index: usize| {
            let [high, low] = u16::try_from(index + 1).unwrap_or(u16::MAX).to_be_bytes();
            Ipv4Addr::new(127, 1, high, low)
        };
        (0..self.servers)
            .map(|index| SocketAddr::from((ip(index), port)))
            .collect()
    }
}

/// A running balancer, or nobody: `direct`.
#[derive(Debug)]
pub(crate) struct Contestant {
    pub(crate) balancer: Balancer,
    /// Where clients connect to.
    pub(crate) addr: SocketAddr,
    process: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    _dir: TempDir,
}

impl Contestant {
    /// Starts a balancer on the cores it may use, and returns when it accepts.
    pub(crate) fn start(balancer: Balancer, setup: &Setup, origin: u16) -> io::Result<Self> {
        if balancer == Balancer::Direct {
            return Ok(Self {
                balancer,
                addr: SocketAddr::from((Ipv4Addr::LOCALHOST, origin)),
                process: None,
            });
        }
        let dir = tempfile::tempdir()?;
        let addr = free_addr()?;
        let file = dir.path().join("config");
        fs::write(
            &file,
            balancer.config(addr, &setup.addrs(origin), setup, dir.path()),
        )?;
        let mut command = balancer.command(&file, dir.path());
        let words = dir.path().join("words");
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&words)?);
        let child = on_cores(&balancing_cores(setup.threads), || command.spawn())?;
        let mut contestant = Self {
            balancer,
            addr,
            process: Some(Running { child, _dir: dir }),
        };
        contestant.await_listener(&words)?;
        Ok(contestant)
    }

    /// What meters the whole process tree; `None` for `direct`.
    pub(crate) fn meter(&self) -> Option<Meter> {
        self.process
            .as_ref()
            .map(|running| Meter::new(running.child.id()))
    }

    fn await_listener(&mut self, words: &Path) -> io::Result<()> {
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(self.addr).is_err() {
            let dead = match self.process.as_mut() {
                Some(running) => running.child.try_wait()?.is_some(),
                None => false,
            };
            if dead || Instant::now() > until {
                let said = fs::read_to_string(words).unwrap_or_default();
                return Err(io::Error::other(format!(
                    "{} does not start: {said}",
                    self.balancer.name()
                )));
            }
            // Nobody tells when a foreign program listens.
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let tree = Meter::new(self.child.id()).tree();
        let signal = |signal| {
            for pid in &tree {
                // It may have ended by itself.
                kill(Pid::from_raw(i32::try_from(*pid).unwrap_or(0)), signal).ok();
            }
        };
        signal(Signal::SIGTERM);
        let until = Instant::now() + Duration::from_secs(2);
        while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(2));
        }
        if matches!(self.child.try_wait(), Ok(None)) {
            signal(Signal::SIGKILL);
            self.child.wait().ok();
        }
    }
}

/// The load's core is the first this program may use; balancers get the others, or with two threads all.
fn balancing_cores(threads: usize) -> Vec<usize> {
    let cores = cores();
    match cores.as_slice() {
        [_, others @ ..] if others.len() >= threads => others[..threads].to_vec(),
        _ => cores,
    }
}

/// Keeps this thread, which is all the load, on its core.
pub(crate) fn pin_load() -> io::Result<()> {
    cores();
    match cores().first() {
        Some(first) => pin(&[*first]),
        None => Ok(()),
    }
}

/// The cores that this program was allowed to use when it began.
fn cores() -> Vec<usize> {
    static CORES: std::sync::OnceLock<Vec<usize>> = std::sync::OnceLock::new();
    let allowed = || {
        let set = nix::sched::sched_getaffinity(Pid::from_raw(0)).unwrap_or_default();
        (0..CpuSet::count())
            .filter(|core| set.is_set(*core).unwrap_or(false))
            .collect()
    };
    CORES.get_or_init(allowed).clone()
}

fn pin(cores: &[usize]) -> io::Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core)?;
    }
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// A child inherits the cores of the thread that starts it.
fn on_cores(cores: &[usize], spawn: impl FnOnce() -> io::Result<Child>) -> io::Result<Child> {
    pin(cores)?;
    let child = spawn();
    pin_load()?;
    child
}

/// The peers cannot be asked which port they got, so one that was free a moment ago has to do.
fn free_addr() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// Whether a program can be run at all.
pub(crate) fn version(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&said).lines().next()?.to_owned())
}
