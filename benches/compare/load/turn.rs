//! One turn of the loop: the events of the kernel, and their consequences.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use lb::internals::sys::accept;
use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollTimeout};
use rustix::io::Errno as AcceptError;

use super::super::origin::Origin;
use super::super::slots::{Peer, Token};
use super::super::stream::{Progress, Stream};
use super::super::traffic::{Manner, Pace};
use super::{Load, Phase};

/// Returned by the kernel for the origin's listener; no connection has this value.
pub(super) const LISTENER: u64 = u64::MAX;

impl Load {
    /// Polls the kernel once and then moves one block of bulk.
    pub(super) fn turn(&mut self, patience: Duration) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); 256];
        let patience = if self.bulk.is_empty() { patience } else { Duration::ZERO };
        let timeout = EpollTimeout::try_from(patience).unwrap_or(EpollTimeout::ZERO);
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        for event in &events[..count] {
            if event.data() == LISTENER {
                self.accept()?;
                continue;
            }
            let token = Token::from_data(event.data());
            let Some(peer) = self.slots.get(token) else {
                continue;
            };
            peer.note(event.events());
            if peer.is_bulk() {
                self.enqueue(token);
            } else {
                self.drive(token)?;
            }
        }
        if let Some(token) = self.bulk.pop_front() {
            self.slots.set_queued(token, false);
            self.drive(token)?;
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            match accept(self.listener.as_fd()) {
                Ok((fd, _)) => {
                    let stream = Stream::new(fd, true);
                    let token = self.watch(Peer::Origin(Origin::new(stream)))?;
                    self.drive(token)?;
                }
                Err(AcceptError::AGAIN) => return Ok(()),
                Err(AcceptError::CONNABORTED | AcceptError::INTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    fn enqueue(&mut self, token: Token) {
        if self.slots.set_queued(token, true) {
            self.bulk.push_back(token);
        }
    }

    /// Advances one connection and handles the result.
    pub(super) fn drive(&mut self, token: Token) -> io::Result<()> {
        let Some(peer) = self.slots.get(token) else {
            return Ok(());
        };
        let progress = peer.advance(&mut self.scratch);
        let client = match peer {
            Peer::Client(client) => Some((client.background, client.since)),
            Peer::Origin(_) => None,
        };
        match (progress, client) {
            (Progress::Blocked, _) => {}
            (Progress::More, _) => self.enqueue(token),
            (Progress::Ended, None) => self.slots.remove(token),
            (Progress::Answered | Progress::Ended, Some((true, _))) => self.again(token)?,
            (Progress::Answered, Some((false, since))) => self.answered(token, since)?,
            (Progress::Ended, Some((false, since))) => {
                self.slots.remove(token);
                self.run.outcome.answered(since.elapsed());
                self.next(Instant::now())?;
            }
            (Progress::Answered, None) => {}
            (Progress::Failed(why), client) => {
                self.slots.remove(token);
                if self.run.phase != Phase::Closing {
                    self.run.outcome.fail(why, client.is_some());
                }
                if self.run.phase == Phase::Measured && self.run.traffic.manner == Manner::Fresh && client.is_some() {
                    self.next(Instant::now())?;
                }
            }
        }
        Ok(())
    }

    fn answered(&mut self, token: Token, since: Instant) -> io::Result<()> {
        if self.run.phase == Phase::Opening {
            self.run.opening -= 1;
            self.run.idle.push(token);
            return Ok(());
        }
        self.run.outcome.answered(since.elapsed());
        if let Some(due) = self.run.late.pop_front() {
            return self.ask(token, due);
        }
        self.run.idle.push(token);
        match self.run.traffic.pace {
            Pace::Closed => self.next(Instant::now()),
            Pace::Open(_) => Ok(()),
        }
    }

    /// Another endless download on a background stream.
    fn again(&mut self, token: Token) -> io::Result<()> {
        let request = self.request(true);
        if let Some(Peer::Client(client)) = self.slots.get(token) {
            client.ask(request, Instant::now());
            self.enqueue(token);
        }
        Ok(())
    }
}
