//! `maxconn`: how many sessions there may be. A permit is taken before a connection is accepted, so that what is beyond
//! the limit waits in the kernel's queue and is never refused.

use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

#[derive(Debug)]
pub struct Limit {
    max: AtomicU32,
    /// Places that sessions of another engine have, or may take.
    lent: AtomicU32,
    /// What of `max` is not lent.
    own: AtomicU32,
    used: AtomicU32,
    waiting: AtomicU32,
    wakers: Mutex<Vec<Waker>>,
}

impl Limit {
    pub fn new(max: u32) -> Self {
        Self {
            max: max.into(),
            lent: 0.into(),
            own: max.into(),
            used: 0.into(),
            waiting: 0.into(),
            wakers: Mutex::default(),
        }
    }

    /// A new limit; sessions above it stay, but no new one comes until there is room.
    pub fn set_max(&self, max: u32) {
        self.max.store(max, SeqCst);
        self.settle();
    }

    /// Leaves so many places to the other engine of an upgrade, whose sessions count within this limit. For control alone,
    /// as `set_max` and `arrive`.
    pub fn lend(&self, places: u32) {
        if self.lent.swap(places, SeqCst) != places {
            self.settle();
        }
    }

    /// A session comes from the other engine with the place that was lent for it.
    pub fn arrive(&self) {
        self.force();
        self.lent.store(self.lent.load(SeqCst).saturating_sub(1), SeqCst);
        self.settle();
    }

    /// Whether no place is free.
    pub fn is_full(&self) -> bool {
        self.used() >= self.own.load(SeqCst)
    }

    pub fn max(&self) -> u32 {
        self.max.load(SeqCst)
    }

    pub fn used(&self) -> u32 {
        self.used.load(SeqCst)
    }

    /// Takes a place if there is one.
    pub fn try_take(&self) -> bool {
        // Never above the limit, even for a moment: taking a step back would wake the waiting listeners, one of which
        // may be the caller, for nothing and without end.
        let max = self.own.load(SeqCst);
        let room = |used: u32| (used < max).then_some(used + 1);
        self.used.fetch_update(SeqCst, SeqCst, room).is_ok()
    }

    /// Takes a place even beyond the limit, for a session that exists already.
    pub fn force(&self) {
        self.used.fetch_add(1, SeqCst);
    }

    /// Takes a place, or leaves the waker to be called when one may be free.
    pub fn poll_take(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.try_take() {
            return Poll::Ready(());
        }
        let mut wakers = self.wakers.lock().unwrap_or_else(PoisonError::into_inner);
        // A listener is polled for each connection that comes to its queue.
        if !wakers.iter().any(|known| known.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
            self.waiting.fetch_add(1, SeqCst);
        }
        drop(wakers);
        // A place may have been given back before the waker was there.
        if self.try_take() { Poll::Ready(()) } else { Poll::Pending }
    }

    pub fn give_back(&self) {
        self.used.fetch_sub(1, SeqCst);
        if self.waiting.load(SeqCst) > 0 {
            self.wake();
        }
    }

    fn settle(&self) {
        self.own.store(self.max().saturating_sub(self.lent.load(SeqCst)), SeqCst);
        self.wake();
    }

    /// Wakes all: they are the listeners, a handful.
    fn wake(&self) {
        let wakers = std::mem::take(&mut *self.wakers.lock().unwrap_or_else(PoisonError::into_inner));
        self.waiting.fetch_sub(u32::try_from(wakers.len()).unwrap_or(u32::MAX), SeqCst);
        wakers.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_for_a_place_wakes_no_task() {
        struct Woken(AtomicU32);
        impl std::task::Wake for Woken {
            fn wake(self: std::sync::Arc<Self>) {
                self.0.fetch_add(1, SeqCst);
            }
        }
        let woken = std::sync::Arc::new(Woken(0.into()));
        let waker = Waker::from(woken.clone());
        let limit = Limit::new(1);
        assert!(limit.try_take());
        assert!(limit.poll_take(&mut Context::from_waker(&waker)).is_pending());
        assert!(!limit.try_take());
        assert_eq!(woken.0.load(SeqCst), 0);
        // However often it asks, it waits once.
        assert!(limit.poll_take(&mut Context::from_waker(&waker)).is_pending());
        limit.give_back();
        assert_eq!(woken.0.load(SeqCst), 1);
        assert_eq!(limit.waiting.load(SeqCst), 0);
    }

    #[test]
    fn a_place_that_is_lent_is_kept_for_a_session_that_arrives() {
        let limit = Limit::new(2);
        limit.lend(2);
        assert!(!limit.try_take() && limit.is_full());
        limit.arrive();
        assert!(!limit.try_take());
        limit.lend(0);
        assert!(limit.try_take() && !limit.try_take());
        assert_eq!((limit.max(), limit.used()), (2, 2));
    }

    #[test]
    fn places_are_limited_and_a_returned_one_wakes_the_waiting() {
        let limit = Limit::new(1);
        assert!(limit.try_take() && !limit.try_take());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(limit.poll_take(&mut cx).is_pending());
        limit.give_back();
        assert_eq!(limit.waiting.load(SeqCst), 0);
        assert!(limit.poll_take(&mut cx).is_ready());
        limit.force();
        limit.give_back();
        assert!(!limit.try_take(), "still one beyond the limit");
        limit.set_max(2);
        assert!(limit.try_take());
    }
}
