//! From a client to a connected server: choose, wait in the queue while every server is full or down, connect, and try
//! again as `retries` and `redispatch` allow.
//!
//! As in HAProxy: with `redispatch`, and as long as another server is there and the choice is no hash, every retry
//! uses another one at once; else the same server is tried again after a second, unless it is DOWN by then. A session
//! that waits follows its frontend to another backend; its client may leave, or close in silence. Beyond HAProxy: a
//! connect that takes suspiciously long makes its server suspect and is tried elsewhere early, and a session whose only
//! servers refuse is held for `timeout.queue` even when its attempts are used up, since servers that restart come back.

mod attempt;

use std::future::{Future, pending, poll_fn};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use self::attempt::{ConnectFailure, Missed, ServerConnection};
use super::Finding;
use super::preamble::Preamble;
use super::session::state::{Ending, Interrupt, Session};
use super::sighting::Wait;
use crate::backend::{Hint, Lease, Slot};
use crate::config::{self, Balance};
use crate::log::{By, During};
use crate::runtime::stream::Socket;

/// A connected server.
pub(super) struct Reached {
    pub(super) lease: Lease,
    pub(super) socket: Socket,
    /// What is to be sent first: PROXY header, then the client's first bytes.
    pub(super) first: Vec<u8>,
    /// How much of it is sent already.
    pub(super) sent: usize,
}

/// What is remembered between attempts.
struct Search {
    settings: Arc<config::Backend>,
    /// Of the wait for a server, then of the connects.
    started: Instant,
    /// When waiting began, for `timeout.queue`.
    held_since: Option<Instant>,
    attempts_left: u32,
    avoid: Option<Slot>,
    /// Try this very server again.
    same: Option<Slot>,
    /// It was let into the queue of another backend: a full one does not turn it away.
    followed: bool,
    /// How long the next pause lasts at least, in milliseconds, even if a server is found well.
    haste: u16,
}

/// The pause before the same server is tried again, as in HAProxy; `timeout.connect` if that is shorter.
const TURN_AROUND: Duration = Duration::from_secs(1);

/// The first pause that a call ends does so at once, the second after this time at the earliest, each further one after
/// twice as long: a server whose checks pass and that refuses sessions would be tried without end.
const HASTE: u16 = 10;
/// As [`TURN_AROUND`].
const LONGEST_HASTE: u16 = 1000;

impl Session {
    /// Finds and connects a server. `spent` attempts were made for this session before (by a replay).
    pub(super) async fn reach(&mut self, client: &Socket, preamble: &Preamble, spent: u32) -> Result<Reached, Ending> {
        let moved = self.follow_frontend();
        let settings = Arc::clone(&self.backend.snapshot().settings);
        let mut search = Search {
            started: Instant::now(),
            held_since: None,
            attempts_left: (settings.retry.retries + 1).saturating_sub(spent).max(1),
            avoid: self.failed.as_ref().filter(|_| !moved).map(|failed| failed.slot()),
            same: None,
            followed: moved,
            haste: 0,
            settings,
        };
        loop {
            let mut lease = self.obtain(&mut search);
            if lease.is_none() {
                lease = Box::pin(self.hold(client, preamble, &mut search)).await?;
            }
            let Some(lease) = lease else { continue };
            self.count_repeated(&lease);
            let dialled = Instant::now();
            if self.record.queue.is_none() {
                self.record.queue = Some(self.waited + (dialled - search.started));
                search.started = dialled;
            }
            let may_move_on = search.attempts_left > 1;
            let failure = match self.dial(client, &lease, &search.settings, &preamble.bytes, may_move_on).await {
                Ok(ServerConnection { socket, first, sent }) => {
                    let now = Instant::now();
                    lease.server().connected(now - dialled);
                    let reached = now.saturating_duration_since(search.started);
                    self.record.connect = Some(reached.saturating_sub(self.record.queue.unwrap_or_default()));
                    return Ok(Reached { lease, socket, first, sent });
                }
                Err(Missed::Session(ending)) => {
                    // The server that it ended on.
                    self.failed = Some(Arc::clone(lease.server()));
                    return Err(ending);
                }
                Err(Missed::Attempt(failure)) => failure,
            };
            self.report(&lease, &failure, dialled.elapsed());
            Box::pin(self.recover(client, preamble, lease, &mut search, failure)).await?;
        }
    }

    /// Changes to the backend that the frontend leads to by now. Returns whether it is another one.
    fn follow_frontend(&mut self) -> bool {
        let route = self.permit.frontend().route();
        let moved = !Arc::ptr_eq(&route.backend, &self.backend);
        if moved {
            self.backend = Arc::clone(&route.backend);
        }
        moved
    }

    /// The same for a session that has looked for a server already: it begins anew there.
    fn follow_in_search(&mut self, search: &mut Search) -> bool {
        let moved = self.follow_frontend();
        if moved {
            let settings = Arc::clone(&self.backend.snapshot().settings);
            let attempts_left = settings.retry.retries + 1;
            *search = Search { settings, attempts_left, avoid: None, same: None, followed: true, ..*search };
        }
        moved
    }

    /// Counts a repeated attempt, now that it is known where it goes.
    fn count_repeated(&mut self, lease: &Lease) {
        match self.failed.take() {
            Some(failed) if Arc::ptr_eq(&failed, lease.server()) => failed.stats.retries.add(1),
            Some(failed) => {
                failed.stats.redispatches.add(1);
                self.record.redispatched = true;
            }
            None => {}
        }
    }

    /// A lease, if one can be had at once.
    fn obtain(&self, search: &mut Search) -> Option<Lease> {
        let same = search.same.take();
        if let Some(lease) = same.and_then(|slot| self.backend.pick_same(slot)) {
            return Some(lease);
        }
        // Sessions in the queue come first.
        if self.backend.queue.is_contended() {
            return None;
        }
        let lease = self.backend.pick(&self.hint(search))?;
        lease.server().stats.picks.add(1);
        Some(lease)
    }

    fn hint(&self, search: &Search) -> Hint {
        Hint { client: self.record.client.ip(), avoid: search.avoid, busy: 1 }
    }

    /// A lease after a time in the queue. `None`: the frontend leads to another backend, where the search begins anew.
    async fn hold(
        &mut self,
        client: &Socket,
        preamble: &Preamble,
        search: &mut Search,
    ) -> Result<Option<Lease>, Ending> {
        if search.settings.is_empty() {
            self.backend.stats.sessions_max.see(u64::from(self.backend.sessions()) + 1);
            return Err(Ending::over(By::Server, During::Connect));
        }
        let mut hint = self.hint(search);
        let until = self.hold_until(search);
        let backend = Arc::clone(&self.backend);
        let maxqueue = if search.followed { u32::MAX } else { search.settings.maxqueue };
        let Some(ticket) = backend.queue.join(maxqueue) else {
            return Err(Ending::over(By::Proxy, During::Queue));
        };
        let queued = backend.queue.len() as u64;
        backend.stats.queue_max.see(queued);
        backend.stats.sessions_max.see(queued + u64::from(backend.sessions()));
        // From now on it counts as one in the queue.
        hint.busy = 0;
        backend.call_if_elastic();
        let mut may_look = ticket.position() == 0;
        let outcome = loop {
            // After joining: a reload looks at the queue after it has changed the frontend.
            if self.follow_in_search(search) {
                break Ok(None);
            }
            if may_look && let Some(lease) = self.backend.pick(&hint) {
                break Ok(Some(lease));
            }
            // Later the server to be avoided may be well again, and the only one with room.
            hint.avoid = None;
            let called = poll_fn(|cx| ticket.poll_called(cx));
            let wait = Wait::new(until, During::Queue);
            if let Err(interrupt) = self.wait_for_call(client, preamble, wait, called).await {
                break Err(self.ending_of(interrupt, During::Queue));
            }
            may_look = true;
        };
        self.record.queue_position = self.record.queue_position.saturating_add(ticket.turn());
        match outcome {
            Ok(Some(_)) => ticket.leave_served(),
            Ok(None) => {}
            Err(_) => _ = self.record.queue.get_or_insert_with(|| self.waited + search.started.elapsed()),
        }
        outcome
    }

    /// Waits for a call in the queue or between attempts.
    async fn wait_for_call(
        &self,
        client: &Socket,
        preamble: &Preamble,
        wait: Wait<'_>,
        called: impl Future<Output = ()>,
    ) -> Result<(), Interrupt> {
        let event = async {
            tokio::select! {
                biased;
                () = called => Ok(()),
                () = preamble.closed_in_silence(client) => Err(Interrupt::Hangup),
            }
        };
        self.wait(client, wait, event).await.flatten()
    }

    /// After a failed attempt: end, or prepare the next one.
    async fn recover(
        &mut self,
        client: &Socket,
        preamble: &Preamble,
        lease: Lease,
        search: &mut Search,
        failure: ConnectFailure,
    ) -> Result<(), Ending> {
        let until = self.hold_until(search);
        if let ConnectFailure::Exhausted(_) = failure {
            // No other server could be tried either: no attempt is spent, others may give back what is missing.
            if Instant::now() >= until {
                self.failed = Some(Arc::clone(lease.server()));
                return Err(Ending::over(By::Resource, During::Connect));
            }
            drop(lease);
            return self.turn_around(client, preamble, search, until).await;
        }
        search.attempts_left = search.attempts_left.saturating_sub(1);
        let elsewhere = self.backend.has_trusted(lease.server().slot());
        let at_once = matches!(failure, ConnectFailure::Refused(_) | ConnectFailure::Local(_));
        if search.attempts_left == 0 && (!at_once || elsewhere || Instant::now() >= until) {
            self.failed = Some(Arc::clone(lease.server()));
            return Err(Ending::over(to_blame(&failure), During::Connect));
        }
        self.prepare_retry(&lease, search);
        // Not held while waiting: another session may try meanwhile.
        drop(lease);
        if at_once && (search.same.is_some() || !elsewhere) {
            // The retries that it has are spread over their own time, however short the queue's is.
            let until = if search.attempts_left > 0 { until.max(Instant::now() + TURN_AROUND) } else { until };
            self.turn_around(client, preamble, search, until).await?;
        }
        self.follow_in_search(search);
        Ok(())
    }

    /// Decides whether the next attempt goes to another server or to the same one. One that is no longer usable, which
    /// this very failure may have caused, is not tried again.
    fn prepare_retry(&mut self, lease: &Lease, search: &mut Search) {
        self.record.retries += 1;
        let server = lease.server();
        self.failed = Some(Arc::clone(server));
        let settings = &search.settings;
        let (usable, others) = self.backend.standing(server.slot());
        let free_choice = others && settings.balance != Balance::Source;
        let leaves = settings.retry.redispatch && (free_choice || search.attempts_left <= 1);
        if leaves || !usable {
            search.avoid = Some(server.slot());
        } else {
            search.same = Some(server.slot());
        }
    }

    /// Waits before the same server, or another one that is suspect as well, is tried again; shorter when a check finds
    /// one that is up.
    async fn turn_around(
        &self,
        client: &Socket,
        preamble: &Preamble,
        search: &mut Search,
        until: Instant,
    ) -> Result<(), Ending> {
        let now = Instant::now();
        let pause = now + TURN_AROUND.min(search.settings.timeout.connect);
        let backend = Arc::clone(&self.backend);
        let pausing = backend.queue.pause(search.settings.maxqueue);
        let called = poll_fn(|cx| pausing.as_ref().map_or(Poll::Pending, |pausing| pausing.poll_called(cx)));
        let wait = Wait::new(pause.min(until.max(now)), During::Connect);
        match self.wait_for_call(client, preamble, wait, called).await {
            Ok(()) => {}
            Err(Interrupt::Time) => return Ok(()),
            Err(interrupt) => return Err(self.ending_of(interrupt, During::Connect)),
        }
        let earliest = now + Duration::from_millis(search.haste.into());
        search.haste = (search.haste * 2).clamp(HASTE, LONGEST_HASTE);
        match self.wait(client, Wait::new(earliest, During::Connect), pending::<()>()).await {
            Ok(()) | Err(Interrupt::Time) => Ok(()),
            Err(interrupt) => Err(self.ending_of(interrupt, During::Connect)),
        }
    }

    /// Until when this session may be held: the time that it waited before it was frozen counts.
    fn hold_until(&self, search: &mut Search) -> Instant {
        let limit = search.settings.timeout.queue.saturating_sub(self.waited);
        *search.held_since.get_or_insert_with(Instant::now) + limit
    }

    /// Counts a failed attempt, and notifies control or logs a shortage of this host.
    fn report(&self, lease: &Lease, failure: &ConnectFailure, after: Duration) {
        let server = lease.server();
        let finding = match failure {
            ConnectFailure::Refused(error) => Finding::Failed { cause: error.to_string(), after },
            ConnectFailure::TimedOut => Finding::TimedOut { after },
            // Control was notified when it became slow.
            ConnectFailure::Slow => return server.stats.connect_errors.add(1),
            // Not the server's failure.
            ConnectFailure::Local(error) | ConnectFailure::Exhausted(error) => {
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
}

fn to_blame(failure: &ConnectFailure) -> By {
    match failure {
        ConnectFailure::Refused(_) => By::Server,
        ConnectFailure::TimedOut | ConnectFailure::Slow => By::ServerTimeout,
        ConnectFailure::Local(_) | ConnectFailure::Exhausted(_) => By::Resource,
    }
}
