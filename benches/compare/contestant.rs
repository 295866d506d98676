//! A running balancer, from its configuration to its end.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use super::balancer::Balancer;
use super::cores::{balancing_cores, on_cores};
use super::keeper::Kept;
use super::meter::Meter;
use super::setup::Setup;

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
        let log = File::options().read(true).write(true).create_new(true).open(dir.path().join("log"))?;
        let command = balancer.command(&file, dir.path());
        let kept =
            on_cores(&balancing_cores(setup.threads), || Kept::start(&command, dir.path(), log.try_clone()?.into()))?;
        let mut contestant = Self { balancer, setup: setup.clone(), addr, kept: Some(kept) };
        contestant.await_listener(&log)?;
        // From here on the keeper removes it, even if this program is killed.
        drop(dir.keep());
        Ok(contestant)
    }

    /// Meters the whole process tree; `None` for `direct`.
    pub(crate) fn meter(&self) -> Option<Meter> {
        self.kept.as_ref().map(Kept::meter)
    }

    fn await_listener(&mut self, log: &File) -> io::Result<()> {
        let until = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(self.addr).is_err() {
            let dead = self.kept.as_mut().map(Kept::has_ended).transpose()?;
            if dead == Some(true) || Instant::now() > until {
                let mut output = [0; 1000];
                let len = log.read_at(&mut output, 0)?;
                let output = String::from_utf8_lossy(&output[..len]);
                return Err(io::Error::other(format!("does not start: {output}")));
            }
            // A foreign program gives no event when it listens: the sleep is the pace of the attempts.
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// The peers do not report the port they got, so one that was just free has to do.
fn free_addr() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
