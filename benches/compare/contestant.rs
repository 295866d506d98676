//! A running balancer, from its configuration to its end.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::unistd::Pid;

use super::balancer::Balancer;
use super::keeper::Kept;
use super::meter::Meter;

/// The servers of a balancer, its algorithm and its threads.
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
    pub(crate) const PLAIN: Self = Self { balance: Balance::RoundRobin, servers: 3, threads: 1 };

    /// The servers' addresses: the origin listens on all of 127.0.0.0/8.
    pub(crate) fn addrs(&self, port: u16) -> Vec<SocketAddr> {
        let ip = |index: usize| {
            let [high, low] = u16::try_from(index + 1).unwrap_or(u16::MAX).to_be_bytes();
            Ipv4Addr::new(127, 1, high, low)
        };
        (0..self.servers).map(|index| SocketAddr::from((ip(index), port))).collect()
    }
}

/// A running balancer, or none: `direct`.
#[derive(Debug)]
pub(crate) struct Contestant {
    pub(crate) balancer: Balancer,
    pub(crate) setup: Setup,
    /// The address that clients connect to.
    pub(crate) addr: SocketAddr,
    kept: Option<Kept>,
}

impl Contestant {
    /// Starts a balancer on its cores, and returns once it accepts.
    pub(crate) fn start(balancer: Balancer, setup: &Setup, origin: u16) -> io::Result<Self> {
        if balancer == Balancer::Direct {
            return Ok(Self {
                balancer,
                setup: setup.clone(),
                addr: SocketAddr::from((Ipv4Addr::LOCALHOST, origin)),
                kept: None,
            });
        }
        let dir = tempfile::tempdir()?;
        let addr = free_addr()?;
        let file = dir.path().join("config");
        fs::write(&file, balancer.config(addr, &setup.addrs(origin), setup, dir.path()))?;
        let words = File::options().read(true).write(true).create_new(true).open(dir.path().join("words"))?;
        let command = balancer.command(&file, dir.path());
        let kept =
            on_cores(&balancing_cores(setup.threads), || Kept::start(&command, dir.path(), words.try_clone()?.into()))?;
        let mut contestant = Self { balancer, setup: setup.clone(), addr, kept: Some(kept) };
        contestant.await_listener(&words)?;
        // From here on the keeper removes it, even if this program is killed.
        drop(dir.keep());
        Ok(contestant)
    }

    /// Meters the whole process tree; `None` for `direct`.
    pub(crate) fn meter(&self) -> Option<Meter> {
        self.kept.as_ref().map(Kept::meter)
    }

    fn await_listener(&mut self, words: &File) -> io::Result<()> {
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(self.addr).is_err() {
            let dead = self.kept.as_mut().map(Kept::has_ended).transpose()?;
            if dead == Some(true) || Instant::now() > until {
                let mut said = [0; 1000];
                let len = words.read_at(&mut said, 0)?;
                let said = String::from_utf8_lossy(&said[..len]);
                return Err(io::Error::other(format!("does not start: {said}")));
            }
            // A foreign program gives no event when it listens: the sleep is the pace of the attempts.
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// The load runs on the first core of this program; balancers get the others, or with two threads all.
fn balancing_cores(threads: usize) -> Vec<usize> {
    let cores = cores();
    match cores.as_slice() {
        [_, others @ ..] if others.len() >= threads => others[..threads].to_vec(),
        _ => cores,
    }
}

/// Pins this thread, which is the whole load, to its core.
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
        (0..CpuSet::count()).filter(|core| set.is_set(*core).unwrap_or(false)).collect()
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
fn on_cores<T>(cores: &[usize], spawn: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    pin(cores)?;
    let child = spawn();
    pin_load()?;
    child
}

/// The peers do not report the port they got, so one that was just free has to do.
fn free_addr() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// The first line of a program's output; `None`: it cannot be run.
pub(crate) fn version(program: &str, argument: &str) -> Option<String> {
    Some(said(program, argument)?.lines().next()?.to_owned())
}

/// A program's output; `None`: it cannot be run.
pub(crate) fn said(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let said = [output.stdout, output.stderr].concat();
    Some(String::from_utf8_lossy(&said).into_owned())
}
