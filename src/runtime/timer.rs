//! The time, read once for many messages, and the tasks that wait for it.
//!
//! What a session last did is noted with each message, and what is a few milliseconds old is good enough for that: it
//! is compared with time-outs. HAProxy's date, too, is that of its last return from the kernel.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

thread_local! {
    /// What was read last; `None` on a thread that does not refresh it.
    static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
    /// Wakers by due time. The number distinguishes those that are due together.
    static WAITING: RefCell<BTreeMap<(Instant, u64), Waker>> = const { RefCell::new(BTreeMap::new()) };
    static NUMBER: Cell<u64> = const { Cell::new(0) };
}

/// Ready at a time, to the millisecond or so. One task waits for it.
#[derive(Debug)]
pub(crate) struct Timer {
    at: Instant,
    /// Its number among those that wait.
    waiting: Option<u64>,
}

impl Timer {
    pub(crate) fn at(at: Instant) -> Self {
        Self { at, waiting: None }
    }

    pub(crate) fn after(time: Duration) -> Self {
        Self::at(Instant::now() + time)
    }

    /// When it will be ready.
    pub(crate) fn due(&self) -> Instant {
        self.at
    }

    pub(crate) fn is_due(&self) -> bool {
        now() >= self.at
    }

    /// Sets another time. A task that waits has to poll again.
    pub(crate) fn reset(&mut self, at: Instant) {
        self.cancel();
        self.at = at;
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_due() {
            self.cancel();
            return Poll::Ready(());
        }
        if self.waiting.is_none() {
            let number = NUMBER.replace(NUMBER.get() + 1);
            let key = (self.at, number);
            WAITING.with_borrow_mut(|waiting| waiting.insert(key, cx.waker().clone()));
            self.waiting = Some(number);
        }
        Poll::Pending
    }

    fn cancel(&mut self) {
        if let Some(number) = self.waiting.take() {
            WAITING.with_borrow_mut(|waiting| waiting.remove(&(self.at, number)));
        }
    }
}

impl Future for Timer {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Self::poll(&mut self, cx)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// How long until the next timer is due. `None`: there is none.
pub(crate) fn next_due() -> Option<Duration> {
    WAITING.with_borrow(|waiting| {
        let ((at, _), _) = waiting.first_key_value()?;
        Some(at.saturating_duration_since(now()))
    })
}

/// Wakes the tasks that have timers due.
pub(crate) fn fire() {
    let now = now();
    let due = || {
        WAITING.with_borrow_mut(|waiting| {
            let first = waiting.first_entry()?;
            (first.key().0 <= now).then(|| first.remove())
        })
    };
    while let Some(waker) = due() {
        waker.wake();
    }
}

/// Reads the clock. A thread that has done it once has to repeat it, or to call [`forget_clock`].
pub(crate) fn refresh_clock() {
    NOW.set(Some(Instant::now()));
}

/// From now on each call of [`now`] on this thread reads the clock.
pub(crate) fn forget_clock() {
    NOW.set(None);
}

/// The time at the last refresh. On a thread that does not refresh the clock, the present time.
#[inline]
pub(crate) fn now() -> Instant {
    NOW.get().unwrap_or_else(Instant::now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_stands_still_between_two_refreshes() {
        // The clock may be coarser than two calls are apart.
        let later = |than: Instant| while Instant::now() <= than {};
        let first = now();
        later(first);
        assert!(now() > first, "the clock is not refreshed here");
        refresh_clock();
        let seen = now();
        later(seen);
        assert_eq!(now(), seen);
        refresh_clock();
        assert!(now() > seen);
        let seen = now();
        forget_clock();
        later(seen);
        assert!(now() > seen);
    }
}
