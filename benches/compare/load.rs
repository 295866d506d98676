//! Clients and origin of one run, in one thread and one epoll loop: their cost stays small beside that of a balancer,
//! and is the same for every contestant.
//!
//! Small requests go first: bulk connections wait in a queue, and one of them moves one block between two polls of the
//! kernel, so that the delay of a small request is the balancer's and not this loop's.

mod turn;

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use socket2::{Domain, Socket, Type};

use self::turn::LISTENER;
use super::client::Client;
use super::outcome::Outcome;
use super::slots::{Peer, Slots, Token};
use super::stream::{Scratch, Stream};
use super::traffic::{Manner, Pace, Request, Traffic};

#[derive(Debug)]
pub(crate) struct Load {
    epoll: Epoll,
    listener: OwnedFd,
    port: u16,
    slots: Slots,
    /// Bulk connections that could advance.
    bulk: VecDeque<Token>,
    scratch: Scratch,
    seed: u64,
    run: Run,
}

/// The run in progress.
#[derive(Debug)]
struct Run {
    target: SocketAddr,
    traffic: Traffic,
    phase: Phase,
    /// Measured requests that have begun.
    begun: u64,
    idle: Vec<Token>,
    /// Requests that were due when no connection was idle.
    late: VecDeque<Instant>,
    /// New connections without an answer yet.
    opening: usize,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Connections are opened, each with one request that is not measured.
    Opening,
    Measured,
    Closing,
}

impl Load {
    /// An origin on every loopback address.
    pub(crate) fn new() -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)).into())?;
        socket.set_tcp_nodelay(true)?;
        socket.listen(4096)?;
        let addr = socket.local_addr()?.as_socket();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&socket, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        Ok(Self {
            epoll,
            listener: socket.into(),
            port: addr.map_or(0, |addr| addr.port()),
            slots: Slots::default(),
            bulk: VecDeque::new(),
            scratch: Scratch::new(),
            seed: 0,
            run: Run::new(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Traffic::reuse(0, 0)),
        })
    }

    /// The origin's port.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Prepares a run: when this returns, lasting connections are open and have had one answer.
    pub(crate) fn open(&mut self, target: SocketAddr, traffic: &Traffic) -> io::Result<()> {
        self.run = Run::new(target, *traffic);
        self.scratch.share(traffic.background.is_some());
        let streams = traffic.background.map_or(0, |background| background.streams);
        for _ in 0..streams {
            self.connect(Instant::now(), true)?;
        }
        if traffic.manner == Manner::Fresh {
            return Ok(());
        }
        let until = Instant::now() + Traffic::LIMIT;
        let mut missing = traffic.connections;
        while missing > 0 || self.run.opening > 0 {
            while missing > 0 && self.run.opening < OPENING {
                self.connect(Instant::now(), false)?;
                self.run.opening += 1;
                missing -= 1;
            }
            self.turn(TICK)?;
            if Instant::now() > until || self.run.outcome.failed > 0 {
                return Err(io::Error::other(self.run.outcome.complaint()));
            }
        }
        Ok(())
    }

    /// Sends the requests, waits for their answers, and returns the outcome.
    pub(crate) fn go(&mut self) -> io::Result<Outcome> {
        self.run.phase = Phase::Measured;
        let traffic = self.run.traffic;
        let started = Instant::now();
        let until = started + Traffic::LIMIT;
        if traffic.pace == Pace::Closed {
            for _ in 0..traffic.connections {
                self.next(Instant::now())?;
            }
        }
        while self.run.outcome.over() < traffic.requests {
            let patience = match traffic.pace {
                Pace::Closed => TICK,
                Pace::Open(rate) => {
                    self.keep_pace(started, rate)?;
                    Duration::ZERO
                }
            };
            self.turn(patience)?;
            if Instant::now() > until || (traffic.manner == Manner::Reuse && self.slots.clients == 0) {
                self.run.outcome.give_up(traffic.requests);
            }
        }
        self.run.outcome.elapsed = started.elapsed();
        if traffic.manner == Manner::Fresh && traffic.background.is_none() {
            self.settle()?;
        }
        Ok(std::mem::take(&mut self.run.outcome))
    }

    /// Serves background connections for a while.
    pub(crate) fn hold(&mut self, time: Duration) -> io::Result<Outcome> {
        self.run.phase = Phase::Measured;
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.turn(TICK)?;
        }
        Ok(std::mem::take(&mut self.run.outcome))
    }

    /// Closes all connections and waits until the balancer has done the same.
    pub(crate) fn close(&mut self) -> io::Result<()> {
        self.run.phase = Phase::Closing;
        for token in self.slots.client_tokens() {
            self.slots.remove(token);
        }
        self.settle()
    }

    fn settle(&mut self) -> io::Result<()> {
        let until = Instant::now() + Traffic::LIMIT;
        while self.slots.origins > 0 {
            self.turn(TICK)?;
            if Instant::now() > until {
                return Err(io::Error::other(format!("{} connections were not closed", self.slots.origins)));
            }
        }
        Ok(())
    }

    /// Begins the requests that are due by now.
    fn keep_pace(&mut self, started: Instant, rate: f64) -> io::Result<()> {
        let interval = Duration::from_secs_f64(1.0 / rate);
        while self.run.begun < self.run.traffic.requests {
            let due = started + interval.mul_f64(u32::try_from(self.run.begun).unwrap_or(0).into());
            if due > Instant::now() {
                return Ok(());
            }
            self.next(due)?;
        }
        Ok(())
    }

    /// Begins a measured request, if one is left.
    fn next(&mut self, since: Instant) -> io::Result<()> {
        if self.run.begun == self.run.traffic.requests {
            return Ok(());
        }
        self.run.begun += 1;
        if self.run.traffic.manner == Manner::Fresh {
            return self.connect(since, false);
        }
        match self.run.idle.pop() {
            Some(token) => self.ask(token, since),
            None => {
                self.run.late.push_back(since);
                Ok(())
            }
        }
    }

    fn request(&mut self, background: bool) -> Request {
        self.seed += 1;
        let traffic = &self.run.traffic;
        let (upload, answer) = match self.run.phase {
            _ if background => (0, BACKGROUND_BYTES),
            // Enough to establish the connection at both ends.
            Phase::Opening => (0, traffic.answer.min(1024)),
            Phase::Measured | Phase::Closing => (traffic.upload, traffic.answer),
        };
        Request { seed: self.seed, upload, answer, close: !background && traffic.manner == Manner::Fresh }
    }

    fn connect(&mut self, since: Instant, background: bool) -> io::Result<()> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking(), None)?;
        if self.run.traffic.manner == Manner::Reuse {
            socket.set_tcp_nodelay(true)?;
        }
        match socket.connect(&self.run.target.into()) {
            Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => {
                return Err(error);
            }
            _ => {}
        }
        let request = self.request(background);
        let stream = Stream::new(socket.into(), false);
        self.watch(Peer::Client(Client::new(stream, request, since, background)))?;
        Ok(())
    }

    fn ask(&mut self, token: Token, since: Instant) -> io::Result<()> {
        let request = self.request(false);
        if let Some(Peer::Client(client)) = self.slots.get(token) {
            client.ask(request, since);
            self.drive(token)?;
        }
        Ok(())
    }

    fn watch(&mut self, peer: Peer) -> io::Result<Token> {
        let token = self.slots.insert(peer);
        if let Some(peer) = self.slots.get(token) {
            let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
            self.epoll.add(peer, EpollEvent::new(flags, token.data()))?;
        }
        Ok(token)
    }
}

impl Run {
    fn new(target: SocketAddr, traffic: Traffic) -> Self {
        Self {
            target,
            traffic,
            phase: Phase::Opening,
            begun: 0,
            idle: Vec::new(),
            late: VecDeque::new(),
            opening: 0,
            outcome: Outcome::default(),
        }
    }
}

/// Connections that are opened at once before a run.
const OPENING: usize = 128;

/// The longest time between two readings of the clock.
const TICK: Duration = Duration::from_millis(20);

/// Longer than any run lasts.
const BACKGROUND_BYTES: u64 = 1 << 50;
