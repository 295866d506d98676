//! From a client to a connected server: choose, wait in the queue if nobody can serve, connect, and try again as
//! `retries` and `redispatch` say.
//!
//! As HAProxy does it: with `redispatch`, and as long as another server is there and the choice is no hash, every retry
//! goes elsewhere at once; else the same server is tried again after a second. Beyond HAProxy: a connect that takes
//! suspiciously long makes its server suspect and is tried elsewhere early, and a session whose only servers refuse is
//! held for `timeout.queue` even when its attempts are used up, since servers that restart come back.

use std::future::{Future, poll_fn};
use std::io;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::session::{Interrupt, Left, Session};
use super::{Finding, Notice};
use crate::backend::{Hint, Lease, Slot};
use crate::config::{self, Balance};
use crate::log::{By, During};
use crate::proxy_protocol;
use crate::runtime::stream::Socket;
use crate::runtime::timer::Timer;
use crate::sys::addr::Addr;
use crate::sys::socket;

/// A server that took the connection.
#[derive(Debug)]
pub(super) struct Reached {
    pub(super) lease: Lease,
    pub(super) socket: Socket,
    /// What is to be sent first: PROXY header, then the client's first bytes.
    pub(super) first: Vec<u8>,
    /// How much of it is sent already.
    pub(super) sent: usize,
}

/// Why an attempt failed.
#[derive(Debug)]
enum Failure {
    /// The server, or the network on its behalf, said no.
    Refused(io::Error),
    TimedOut,
    /// Not answered yet, but others are likely to be faster.
    Slow,
    /// This host could not even try: no port, no room in a unix socket's queue. Not that the server is dead.
    Local(io::Error),
    /// This host has no descriptor or no memory for any attempt.
    Exhausted(io::Error),
}

/// What an attempt to reach a server needs to remember between attempts.
struct Search {
    started: Instant,
    /// No waiting beyond this point. Set when waiting begins.
    hold_until: Option<Instant>,
    attempts_left: u32,
    avoid: Option<Slot>,
    /// Try this very server again.
    same: Option<Slot>,
}

/// The pause before the same server is tried again, as in HAProxy; `timeout.connect` if that is shorter.
const TURN_AROUND: Duration = Duration::from_secs(1);

impl Session {
    /// Finds and connects a server. `spent` attempts were made for this session before (by a replay).
    pub(super) async fn reach(&mut self, client: &Socket, first: &[u8], spent: u32) -> Result<Reached, Left> {
        let settings = std::sync::Arc::clone(&self.backend.snapshot().settings);
        let mut search = Search {
            started: Instant::now(),
            hold_until: None,
            attempts_left: (settings.retries + 1).saturating_sub(spent).max(1),
            avoid: self.avoid.take(),
            same: None,
        };
        loop {
            let lease = match self.obtain(&mut search) {
                Some(lease) => lease,
                None => Box::pin(self.hold(client, &settings, &mut search)).await?,
            };
            let dialled = Instant::now();
            self.record.queue.get_or_insert(dialled - search.started);
            match self.dial(client, &lease, &settings, first, search.attempts_left > 1).await? {
                Ok((socket, first, sent)) => {
                    let now = Instant::now();
                    lease.server().connected(now - dialled);
                    self.record.connect = Some(now.saturating_duration_since(search.started));
                    return Ok(Reached { lease, socket, first, sent });
                }
                Err(failure) => {
                    let recovery = self.recover(client, lease, &settings, &mut search, failure, dialled);
                    Box::pin(recovery).await?
                }
            }
        }
    }

    /// A lease, if one can be had at once.
    fn obtain(&self, search: &mut Search) -> Option<Lease> {
        let same = search.same.take();
        if let Some(lease) = same.and_then(|slot| self.backend.pick_same(slot)) {
            return Some(lease);
        }
        // Those who wait come first.
        if self.backend.queue.is_contended() {
            return None;
        }
        self.backend.pick(&self.hint(search))
    }

    fn hint(&self, search: &Search) -> Hint {
        Hint { client: self.record.client.map(|client| client.ip()), avoid: search.avoid }
    }

    /// A lease after a time in the queue.
    async fn hold(&mut self, client: &Socket, settings: &config::Backend, search: &mut Search) -> Result<Lease, Left> {
        let hint = self.hint(search);
        let until = self.hold_until(settings, search);
        let backend = std::sync::Arc::clone(&self.backend);
        let Some(ticket) = backend.queue.join(settings.maxqueue) else {
            return Err(Left::Ended(By::Proxy, During::Queue));
        };
        self.record.queue_position = ticket.position();
        let mut may_look = ticket.position() == 0;
        loop {
            if may_look && let Some(lease) = self.backend.pick(&hint) {
                ticket.leave_served();
                return Ok(lease);
            }
            let called = poll_fn(|cx| ticket.poll_called(cx));
            match self.wait(client, until, called).await {
                Ok(()) => may_look = true,
                Err(Interrupt::Time) => return Err(Left::Ended(By::ServerTimeout, During::Queue)),
                Err(interrupt) => return Err(self.leave(interrupt, During::Queue)),
            }
        }
    }

    /// One attempt. The outer error ends the session, the inner one the attempt.
    async fn dial(
        &mut self,
        client: &Socket,
        lease: &Lease,
        settings: &config::Backend,
        first: &[u8],
        may_move_on: bool,
    ) -> Result<Result<(Socket, Vec<u8>, usize), Failure>, Left> {
        let mut bytes = match settings.send_proxy {
            Some(version) => proxy_protocol::encode(version, self.record.client, self.local(client)),
            None => Vec::new(),
        };
        bytes.extend_from_slice(first);
        let begun = begin(&lease.member().spec.addr, &bytes);
        let (socket, sent) = match begun {
            Ok((socket, Some(sent))) => return Ok(Ok((socket, bytes, sent))),
            Ok((socket, None)) => (socket, 0),
            Err(failure) => return Ok(Err(failure)),
        };
        let connected = self.await_connected(client, lease, settings, &socket, may_move_on);
        Ok(Box::pin(connected).await?.map(|()| (socket, bytes, sent)))
    }

    /// Waits until `socket` is connected; the errors are those of [`Session::dial`].
    async fn await_connected(
        &self,
        client: &Socket,
        lease: &Lease,
        settings: &config::Backend,
        socket: &Socket,
        may_move_on: bool,
    ) -> Result<Result<(), Failure>, Left> {
        let now = Instant::now();
        let deadline = now + settings.timeout.connect;
        let patience = (now + lease.server().patience()).min(deadline);
        let connected = poll_fn(|cx| socket.poll_connected(cx));
        let outcome = match self.wait(client, patience, connected).await {
            Err(Interrupt::Time) if patience < deadline => {
                if lease.server().suspect() {
                    self.notify(lease, Finding::Slow);
                }
                if may_move_on && settings.redispatch && self.backend.has_trusted(lease.server().slot()) {
                    return Ok(Err(Failure::Slow));
                }
                self.wait(client, deadline, poll_fn(|cx| socket.poll_connected(cx))).await
            }
            outcome => outcome,
        };
        Ok(match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Failure::Refused(error)),
            Err(Interrupt::Time) => Err(Failure::TimedOut),
            Err(interrupt) => return Err(self.leave(interrupt, During::Connect)),
        })
    }

    /// After a failed attempt: end, or prepare the next one.
    async fn recover(
        &mut self,
        client: &Socket,
        lease: Lease,
        settings: &config::Backend,
        search: &mut Search,
        failure: Failure,
        dialled: Instant,
    ) -> Result<(), Left> {
        let slot = lease.server().slot();
        self.report(&lease, &failure, dialled.elapsed());
        if let Failure::Exhausted(_) = failure {
            // No other server could be tried either: no attempt is spent, others may give back what is missing.
            let until = self.hold_until(settings, search);
            if Instant::now() >= until {
                return Err(Left::Ended(By::Resource, During::Connect));
            }
            drop(lease);
            return self.turn_around(client, settings, until).await;
        }
        search.attempts_left = search.attempts_left.saturating_sub(1);
        let elsewhere = self.backend.has_trusted(slot);
        let at_once = matches!(failure, Failure::Refused(_) | Failure::Local(_));
        let until = self.hold_until(settings, search);
        if search.attempts_left == 0 && (!at_once || elsewhere || Instant::now() >= until) {
            let by = match failure {
                Failure::Refused(_) => By::Server,
                Failure::TimedOut | Failure::Slow => By::ServerTimeout,
                Failure::Local(_) | Failure::Exhausted(_) => By::Resource,
            };
            return Err(Left::Ended(by, During::Connect));
        }
        self.record.retries += 1;
        let others = self.backend.snapshot().active() > 1;
        let free_choice = others && settings.balance != Balance::Source;
        if settings.redispatch && (free_choice || search.attempts_left <= 1) {
            lease.server().stats.redispatches.add(1);
            self.record.redispatched |= others;
            search.avoid = Some(slot);
        } else {
            lease.server().stats.retries.add(1);
            search.same = Some(slot);
        }
        // Not held while waiting: somebody else may try meanwhile.
        drop(lease);
        if at_once && (search.same.is_some() || !elsewhere) {
            self.turn_around(client, settings, until).await?;
        }
        Ok(())
    }

    /// Waits before the same server, or another one that is suspect as well, is tried again; shorter when a check finds
    /// one that is well.
    async fn turn_around(&self, client: &Socket, settings: &config::Backend, until: Instant) -> Result<(), Left> {
        let now = Instant::now();
        let pause = now + TURN_AROUND.min(settings.timeout.connect);
        let backend = std::sync::Arc::clone(&self.backend);
        let pausing = backend.queue.pause(settings.maxqueue);
        let called = poll_fn(|cx| pausing.as_ref().map_or(Poll::Pending, |pausing| pausing.poll_called(cx)));
        match self.wait(client, pause.min(until.max(now)), called).await {
            Ok(()) | Err(Interrupt::Time) => Ok(()),
            Err(interrupt) => Err(self.leave(interrupt, During::Connect)),
        }
    }

    /// Until when this session may be held: what it waited before it was frozen counts.
    fn hold_until(&self, settings: &config::Backend, search: &mut Search) -> Instant {
        let limit = settings.timeout.queue.saturating_sub(self.waited);
        *search.hold_until.get_or_insert_with(|| Instant::now() + limit)
    }

    fn report(&self, lease: &Lease, failure: &Failure, after: Duration) {
        let server = lease.server();
        let finding = match failure {
            Failure::Refused(error) => Finding::Failed { cause: error.to_string(), after },
            Failure::TimedOut => Finding::TimedOut { after },
            // Known since it became slow, or none of the server's business.
            Failure::Slow => return server.stats.connect_errors.add(1),
            Failure::Local(error) | Failure::Exhausted(error) => {
                return self.context.warn_of(|| {
                    tracing::warn!("backend {}: cannot connect: {error}", lease.backend().name);
                });
            }
        };
        server.stats.connect_errors.add(1);
        if server.connect_failed() {
            self.notify(lease, finding);
        }
    }

    fn notify(&self, lease: &Lease, finding: Finding) {
        let (backend, server) = (lease.backend().clone(), lease.server().clone());
        self.context.notify(Notice { backend, server, finding });
    }

    /// Waits for `what`, but no longer than `until`, and not at all once the client is gone or an order has come.
    pub(super) async fn wait<T>(
        &self,
        client: &Socket,
        until: Instant,
        what: impl Future<Output = T>,
    ) -> Result<T, Interrupt> {
        tokio::select! {
            biased;
            done = what => Ok(done),
            order = poll_fn(|cx| self.registered.poll_order(cx)) => Err(Interrupt::Order(order)),
            () = poll_fn(|cx| client.poll_hangup(cx)) => Err(Interrupt::Hangup),
            () = Timer::at(until) => Err(Interrupt::Time),
        }
    }
}

/// Begins to connect, and sends at once: on a loopback or a LAN the connection often stands by then. `Some` bytes sent
/// say that it does.
fn begin(addr: &Addr, bytes: &[u8]) -> Result<(Socket, Option<usize>), Failure> {
    // Keepalive is set once a session lasts; most are over before it could matter.
    let speaks = !bytes.is_empty();
    let fd = socket::connect(addr, speaks).map_err(classify)?;
    let sent = match bytes {
        [] => None,
        bytes => socket::try_send(std::os::fd::AsFd::as_fd(&fd), bytes).map_err(classify)?,
    };
    let socket = match sent {
        Some(_) => Socket::register(fd),
        None => Socket::connecting(fd),
    };
    let socket = socket.map_err(Failure::Exhausted)?;
    Ok((socket, sent))
}

fn classify(error: io::Error) -> Failure {
    use nix::libc::{EADDRINUSE, EADDRNOTAVAIL, EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM};
    match error.raw_os_error() {
        // EAGAIN: the accept queue of a unix socket is full. A busy server is not a dead one; over TCP the kernel would
        // have repeated the SYN.
        Some(EADDRINUSE | EADDRNOTAVAIL | EAGAIN) => Failure::Local(error),
        Some(EMFILE | ENFILE | ENOBUFS | ENOMEM) => Failure::Exhausted(error),
        _ => Failure::Refused(error),
    }
}
