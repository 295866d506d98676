//! What is counted of each kind of thing.

use std::sync::OnceLock;
use std::time::Duration;

use super::counter::{Counter, Peak};
use super::rate::Rate;
use super::timing::Timing;

/// Of a frontend.
#[derive(Debug, Default)]
pub struct FrontendStats {
    pub sessions_total: Counter,
    /// From clients.
    pub bytes_in: Counter,
    /// To clients.
    pub bytes_out: Counter,
    /// Sessions that ended before a server was reached.
    pub failed: Counter,
    /// Sessions that ended before they were let through to a backend: the PROXY header was missing or wrong.
    pub request_errors: Counter,
    pub sessions_max: Peak,
    /// Sessions a second.
    pub rate: Rate,
}

/// Of a backend, apart from what its servers count.
#[derive(Debug, Default)]
pub struct BackendStats {
    /// Sessions that came to it, whether they reached a server or not.
    pub sessions_total: Counter,
    /// Sessions that ended without a server: none was usable, or the time in the queue was over.
    pub unserved: Counter,
    /// Sessions that the client broke off before a server was tried.
    pub client_aborts: Counter,
    /// Times that its last usable server was lost.
    pub downs: Counter,
    pub sessions_max: Peak,
    pub queue_max: Peak,
    /// Sessions a second.
    pub rate: Rate,
}

/// Of a server.
#[derive(Debug, Default)]
pub struct ServerStats {
    /// Sessions that were connected.
    pub sessions_total: Counter,
    pub bytes_in: Counter,
    pub bytes_out: Counter,
    /// Attempts to connect that failed.
    pub connect_errors: Counter,
    /// Attempts repeated on this server.
    pub retries: Counter,
    /// Attempts repeated on another server.
    pub redispatches: Counter,
    pub checks: CheckCounts,
    /// Transitions to DOWN.
    pub downs: Counter,
    /// Times that the scheduler has chosen it; sessions that come from the queue are not counted.
    pub picks: Counter,
    /// Attempts to connect.
    pub connects: Counter,
    /// Sessions that ended since it could not be reached.
    pub failed: Counter,
    pub aborts: Aborts,
    pub sessions_max: Peak,
    /// Attempts to connect a second.
    pub rate: Rate,
    times: OnceLock<Box<Times>>,
}

/// Checks that failed.
#[derive(Debug, Default)]
pub struct CheckCounts {
    pub failed: Counter,
    /// Those that found it UP until then.
    pub failed_while_up: Counter,
}

/// Sessions that were broken off.
#[derive(Debug, Default)]
pub struct Aborts {
    /// By the client while it was connected or about to be, or since it was silent for too long.
    pub client: Counter,
    /// By the server, or since it was silent for too long.
    pub server: Counter,
    /// Those that the server did not end by silence.
    pub response: Counter,
    /// By lb itself: out of memory or descriptors.
    pub internal: Counter,
}

/// Durations of a server's sessions, by phase.
#[derive(Debug, Default)]
pub struct Times {
    pub queue: Timing,
    pub connect: Timing,
    pub session: Timing,
}

impl ServerStats {
    /// The times, allocated on first use: most of a thousand servers may never have a session.
    pub fn times(&self) -> &Times {
        self.times.get_or_init(Box::default)
    }

    /// Adds what `other` has counted, without times.
    pub fn add_counts(&self, other: &Self) {
        add_all(self, other);
    }

    /// The times, if a session was ever counted.
    pub fn times_if_any(&self) -> Option<&Times> {
        self.times.get().map(Box::as_ref)
    }
}

/// What can be added up.
pub(crate) trait Counts: Default {
    /// Every counter, in an order that stays.
    fn counters(&self) -> Vec<&Counter>;

    /// Every peak but that of the rate, in an order that stays.
    fn peaks(&self) -> Vec<&Peak>;

    fn rate(&self) -> &Rate;

    /// What the rate is the rate of.
    fn sessions(&self) -> u64;

    /// Adds all that `other` has counted.
    fn absorb(&self, other: &Self) {
        add_all(self, other);
    }

    /// Forgets the maxima, and with `all` the rest, too.
    fn clear(&self, all: bool) {
        self.peaks().into_iter().for_each(Peak::clear);
        self.rate().clear();
        if all {
            self.counters().into_iter().for_each(Counter::clear);
        }
    }
}

impl Counts for FrontendStats {
    fn counters(&self) -> Vec<&Counter> {
        let Self { sessions_total, bytes_in, bytes_out, failed, request_errors, sessions_max: _, rate: _ } = self;
        vec![sessions_total, bytes_in, bytes_out, failed, request_errors]
    }

    fn peaks(&self) -> Vec<&Peak> {
        vec![&self.sessions_max]
    }

    fn rate(&self) -> &Rate {
        &self.rate
    }

    fn sessions(&self) -> u64 {
        self.sessions_total.value()
    }
}

impl Counts for BackendStats {
    fn counters(&self) -> Vec<&Counter> {
        let Self { sessions_total, unserved, client_aborts, downs, sessions_max: _, queue_max: _, rate: _ } = self;
        vec![sessions_total, unserved, client_aborts, downs]
    }

    fn peaks(&self) -> Vec<&Peak> {
        vec![&self.sessions_max, &self.queue_max]
    }

    fn rate(&self) -> &Rate {
        &self.rate
    }

    fn sessions(&self) -> u64 {
        self.sessions_total.value()
    }
}

impl Counts for ServerStats {
    fn counters(&self) -> Vec<&Counter> {
        let Self { sessions_total, bytes_in, bytes_out, connect_errors, retries, redispatches, .. } = self;
        let Self { checks, downs, picks, connects, failed, aborts, .. } = self;
        let Aborts { client, server, response, internal } = aborts;
        let CheckCounts { failed: checks_failed, failed_while_up } = checks;
        let traffic = [sessions_total, bytes_in, bytes_out, connect_errors, retries, redispatches];
        let others = [checks_failed, failed_while_up, downs, picks, connects, failed];
        let aborts = [client, server, response, internal];
        [&traffic[..], &others, &aborts].concat()
    }

    fn peaks(&self) -> Vec<&Peak> {
        vec![&self.sessions_max]
    }

    fn rate(&self) -> &Rate {
        &self.rate
    }

    fn sessions(&self) -> u64 {
        self.connects.value()
    }

    fn absorb(&self, other: &Self) {
        add_all(self, other);
        if let Some(theirs) = other.times_if_any() {
            let Times { queue, connect, session } = self.times();
            queue.absorb(&theirs.queue);
            connect.absorb(&theirs.connect);
            session.absorb(&theirs.session);
        }
    }

    fn clear(&self, all: bool) {
        self.sessions_max.clear();
        self.rate.clear();
        if all {
            self.counters().into_iter().for_each(Counter::clear);
        }
        if let Some(Times { queue, connect, session }) = self.times_if_any() {
            [queue, connect, session].into_iter().for_each(|timing| timing.clear(all));
        }
    }
}

fn add_all<C: Counts>(ours: &C, theirs: &C) {
    // Before the counter: what was counted elsewhere has not happened in this second.
    ours.rate().pass_over(theirs.sessions());
    for (ours, theirs) in ours.counters().into_iter().zip(theirs.counters()) {
        ours.add(theirs.value());
    }
    for (ours, theirs) in ours.peaks().into_iter().zip(theirs.peaks()) {
        ours.see(theirs.value());
    }
    ours.rate().most.see(theirs.rate().most.value());
    if let Some(ago) = theirs.rate().quiet(theirs.sessions(), Duration::ZERO) {
        ours.rate().grew(ago);
    }
}
