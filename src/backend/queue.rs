//! The hold queue: sessions that wait for a usable server, first come, first served.
//!
//! Needs no runtime: a waiter leaves a `Waker`. Room that appears (a lease returns, a server comes up) calls the
//! first in line; the called one tries to get a server, and keeps its old place if another was faster. What it was
//! called for is not for others: a session that comes while there is a line joins it, and looks for a server only when
//! none stands in front. Only when sessions wait is a lock taken.
//!
//! Beside the line are the sessions that pause: their server has just refused them, and they try again after a while,
//! or as soon as a server is found well. Room on a server is not what they lack, so that no lease calls them: two of
//! them would call each other to a dead server without end.

use std::collections::BTreeMap;
use std::mem;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst, fence};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

#[derive(Debug, Default)]
pub struct Queue {
    line: Row,
    pausing: Row,
}

/// Waiters in the order in which they came.
#[derive(Debug, Default)]
struct Row {
    /// How many there are. Kept beside the map so that the data path can look without the lock.
    len: AtomicU32,
    places: Mutex<Places>,
}

#[derive(Debug, Default)]
struct Places {
    next: u64,
    /// How many left with a server.
    served: u64,
    waiters: BTreeMap<u64, Waiter>,
}

#[derive(Debug, Default)]
struct Waiter {
    called: bool,
    waker: Option<Waker>,
}

/// A place in the line; dropping it leaves the line.
#[derive(Debug)]
pub struct Ticket<'a> {
    row: &'a Row,
    number: u64,
    position: usize,
    /// How many had left with a server when it joined.
    served: u64,
}

/// A pause before the next attempt; dropping it ends it.
#[derive(Debug)]
pub struct Pause<'a> {
    row: &'a Row,
    number: u64,
}

impl Queue {
    /// Joins the end of the line, or `None` when `max` wait or pause already.
    pub fn join(&self, max: u32) -> Option<Ticket<'_>> {
        let (number, position, served) = self.line.enter(max.saturating_sub(self.pausing.len()))?;
        Some(Ticket { row: &self.line, number, position, served })
    }

    /// Begins a pause, or `None` when `max` wait or pause already.
    pub fn pause(&self, max: u32) -> Option<Pause<'_>> {
        let (number, ..) = self.pausing.enter(max.saturating_sub(self.line.len()))?;
        Some(Pause { row: &self.pausing, number })
    }

    /// Whether a new session must queue up behind others.
    pub fn is_contended(&self) -> bool {
        self.line.len() > 0
    }

    /// Sessions in line and pausing ones.
    pub fn len(&self) -> usize {
        self.line.len() as usize + self.pausing.len() as usize
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// There is room for one more: calls the first in line that has not been called.
    pub fn call_next(&self) {
        self.line.call(1);
    }

    /// A server may be well again, and there may be room for `room` sessions: calls as many, and ends all pauses.
    pub fn call(&self, room: usize) {
        if room > 0 {
            self.line.call(room);
            self.pausing.call(usize::MAX);
        }
    }
}

impl Row {
    fn len(&self) -> u32 {
        self.len.load(SeqCst)
    }

    /// The number of a new place, how many are in front of it, and how many were served before.
    fn enter(&self, max: u32) -> Option<(u64, usize, u64)> {
        let mut places = self.lock();
        let position = places.waiters.len();
        if position >= max as usize {
            return None;
        }
        let (number, served) = (places.next, places.served);
        places.next += 1;
        places.waiters.insert(number, Waiter::default());
        self.len.fetch_add(1, SeqCst);
        // A joiner looks for room afterwards, and a call looks at `len` afterwards (in `call`): one of the two
        // sees the other.
        fence(SeqCst);
        Some((number, position, served))
    }

    fn call(&self, count: usize) {
        fence(SeqCst);
        if self.len() == 0 {
            return;
        }
        let mut places = self.lock();
        let uncalled = places.waiters.values_mut().filter(|waiter| !waiter.called);
        for waiter in uncalled.take(count) {
            waiter.called = true;
            if let Some(waker) = waiter.waker.take() {
                waker.wake();
            }
        }
    }

    /// Takes the call, so that one that comes from now on is another one.
    fn poll_called(&self, number: u64, cx: &mut Context<'_>) -> Poll<()> {
        let mut places = self.lock();
        let Some(waiter) = places.waiters.get_mut(&number) else {
            return Poll::Ready(());
        };
        if mem::take(&mut waiter.called) {
            return Poll::Ready(());
        }
        waiter.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Returns whether the waiter had been called.
    fn leave(&self, number: u64) -> bool {
        let left = self.lock().waiters.remove(&number);
        self.len.fetch_sub(1, SeqCst);
        left.is_some_and(|waiter| waiter.called)
    }

    fn lock(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket<'_> {
    /// Sessions that were in front of this one when it joined. With none it may look for a server without being called:
    /// room may have been made just before it joined.
    pub fn position(&self) -> usize {
        self.position
    }

    /// Which of those that were served since it joined this one is or would be: 1 for the first one.
    pub fn turn(&self) -> u32 {
        u32::try_from(self.row.lock().served - self.served).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Ready once called. The caller then looks for a server; without one it waits for the next call, in its old place.
    /// Cancel safe: the place is kept until the ticket is dropped.
    pub fn poll_called(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.row.poll_called(self.number, cx)
    }

    /// Leaves with a server in hand.
    pub fn leave_served(self) {
        self.row.leave(self.number);
        self.row.lock().served += 1;
        // A ticket that joined behind this one did not look for itself: there may be more room than one call filled.
        self.row.call(1);
        mem::forget(self);
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.row.leave(self.number) {
            // The room that this session was called for is the next one's.
            self.row.call(1);
        }
    }
}

impl Pause<'_> {
    /// Ready once a server was found well. Cancel safe.
    pub fn poll_called(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.row.poll_called(self.number, cx)
    }
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        self.row.leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(ticket: &Ticket<'_>) -> bool {
        ticket.poll_called(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn waiters_are_called_in_order() {
        let queue = Queue::default();
        let (a, b, c) = (queue.join(9).unwrap(), queue.join(9).unwrap(), queue.join(9).unwrap());
        assert_eq!([a.position(), b.position(), c.position()], [0, 1, 2]);
        queue.call(2);
        assert_eq!([called(&a), called(&b), called(&c)], [true, true, false]);
    }

    #[test]
    fn one_who_leaves_passes_the_call_on() {
        let queue = Queue::default();
        let (a, b) = (queue.join(9).unwrap(), queue.join(9).unwrap());
        queue.call_next();
        drop(a);
        assert!(called(&b));
        assert!(queue.is_contended());
        b.leave_served();
        assert!(queue.is_empty() && !queue.is_contended());
    }

    #[test]
    fn one_who_finds_nothing_keeps_the_place() {
        let queue = Queue::default();
        let (a, b) = (queue.join(9).unwrap(), queue.join(9).unwrap());
        for _ in 0..2 {
            queue.call_next();
            assert_eq!([called(&a), called(&b)], [true, false]);
        }
    }

    #[test]
    fn the_queue_is_bounded() {
        let queue = Queue::default();
        let kept = queue.join(1);
        assert!(kept.is_some() && queue.join(1).is_none());
        drop(kept);
        assert!(queue.join(1).is_some());
    }

    #[test]
    fn one_who_is_served_lets_the_next_look() {
        // Both may have joined after room for two was made: only the first of them looks for itself.
        let queue = Queue::default();
        let (a, b) = (queue.join(9).unwrap(), queue.join(9).unwrap());
        a.leave_served();
        assert!(called(&b));
    }

    #[test]
    fn pauses_end_when_a_server_is_well_and_not_when_a_lease_returns() {
        let queue = Queue::default();
        let pause = queue.pause(9).unwrap();
        let over = || pause.poll_called(&mut Context::from_waker(Waker::noop())).is_ready();
        assert!(queue.join(1).is_none() && !queue.is_contended() && queue.len() == 1);
        queue.call_next();
        queue.call(0);
        assert!(!over());
        queue.call(1);
        assert!(over());
        drop(pause);
        assert!(queue.is_empty());
    }
}
