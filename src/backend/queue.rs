//! The hold queue: sessions that wait for a usable server, first come, first served.
//!
//! Knows no runtime: a waiter leaves a `Waker`. Whoever makes room (a lease that returns, a server that comes up)
//! calls the first in line; the called one tries to get a server, and goes back to its old place if somebody was
//! faster. Only when sessions wait is the lock taken.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

#[derive(Debug, Default)]
pub struct Queue {
    /// Waiters that nobody has called yet. Kept beside the map so that the data path can look without the lock.
    uncalled: AtomicU32,
    line: Mutex<Line>,
}

#[derive(Debug, Default)]
struct Line {
    next: u64,
    waiting: BTreeMap<u64, Waiter>,
}

#[derive(Debug, Default)]
struct Waiter {
    called: bool,
    waker: Option<Waker>,
}

/// A place in the queue; dropping it leaves the queue.
#[derive(Debug)]
pub struct Ticket<'a> {
    queue: &'a Queue,
    number: u64,
}

impl Queue {
    /// Joins the end of the line, or `None` when `max` wait already.
    pub fn join(&self, max: u32) -> Option<Ticket<'_>> {
        let mut line = self.lock();
        if line.waiting.len() >= max as usize {
            return None;
        }
        let number = line.next;
        line.next += 1;
        line.waiting.insert(number, Waiter::default());
        self.uncalled.fetch_add(1, SeqCst);
        Some(Ticket {
            queue: self,
            number,
        })
    }

    /// Whether a new session must queue up behind others.
    pub fn is_contended(&self) -> bool {
        self.uncalled.load(SeqCst) > 0
    }

    /// Sessions in the queue, called or not.
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Calls the first `count` in line who have not been called.
    pub fn call(&self, count: usize) {
        if !self.is_contended() {
            return;
        }
        let mut line = self.lock();
        for waiter in line
            .waiting
            .values_mut()
            .filter(|waiter| !waiter.called)
            .take(count)
        {
            waiter.called = true;
            self.uncalled.fetch_sub(1, SeqCst);
            if let Some(waker) = waiter.waker.take() {
                waker.wake();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket<'_> {
    /// Ready once called. Cancel safe: the place is kept until the ticket is dropped.
    pub fn poll_called(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut line = self.queue.lock();
        let Some(waiter) = line.waiting.get_mut(&self.number) else {
            return Poll::Ready(());
        };
        if waiter.called {
            return Poll::Ready(());
        }
        waiter.waker = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Back to the old place, not called. The caller looks for a server once more after this, since room may
    /// have been made between its last look and now.
    pub fn wait_again(&self) {
        let mut line = self.queue.lock();
        if let Some(waiter) = line.waiting.get_mut(&self.number)
            && waiter.called
        {
            waiter.called = false;
            self.queue.uncalled.fetch_add(1, SeqCst);
        }
    }

    /// Sessions in front of this one.
    pub fn position(&self) -> usize {
        self.queue.lock().waiting.range(..self.number).count()
    }

    /// Leaves with a server in hand; the call was used.
    pub fn leave_served(self) {
        self.queue.remove(self.number);
        std::mem::forget(self);
    }
}

impl Queue {
    /// Returns whether the waiter had been called.
    fn remove(&self, number: u64) -> bool {
        let Some(waiter) = self.lock().waiting.remove(&number) else {
            return false;
        };
        if !waiter.called {
            self.uncalled.fetch_sub(1, SeqCst);
        }
        waiter.called
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        if self.queue.remove(self.number) {
            // The room that this session was called for is the next one's.
            self.queue.call(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn called(ticket: &Ticket<'_>) -> bool {
        ticket
            .poll_called(&mut Context::from_waker(Waker::noop()))
            .is_ready()
    }

    #[test]
    fn waiters_are_called_in_order() {
        let queue = Queue::default();
        let (a, b, c) = (
            queue.join(9).unwrap(),
            queue.join(9).unwrap(),
            queue.join(9).unwrap(),
        );
        assert_eq!([a.position(), b.position(), c.position()], [0, 1, 2]);
        queue.call(2);
        assert_eq!([called(&a), called(&b), called(&c)], [true, true, false]);
        assert!(queue.is_contended());
    }

    #[test]
    fn one_who_leaves_passes_the_call_on() {
        let queue = Queue::default();
        let (a, b) = (queue.join(9).unwrap(), queue.join(9).unwrap());
        queue.call(1);
        drop(a);
        assert!(called(&b));
        b.leave_served();
        assert!(queue.is_empty() && !queue.is_contended());
    }

    #[test]
    fn one_who_finds_nothing_keeps_the_place() {
        let queue = Queue::default();
        let (a, b) = (queue.join(9).unwrap(), queue.join(9).unwrap());
        queue.call(1);
        a.wait_again();
        queue.call(1);
        assert_eq!([called(&a), called(&b)], [true, false]);
    }

    #[test]
    fn the_queue_is_bounded() {
        let queue = Queue::default();
        let kept = queue.join(1);
        assert!(kept.is_some() && queue.join(1).is_none());
        drop(kept);
        assert!(queue.join(1).is_some());
    }
}
