//! The time, read once for many messages, and those who wait for it.
//!
//! What a session last did is noted with each message, and what is a few milliseconds old is good enough for that: it
//! is compared with time-outs. HAProxy's date, too, is that of its last look at the kernel.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

thread_local! {
    /// Waits that have ended on this thread; 0: nobody counts them.
    static TURN: Cell<u64> = const { Cell::new(0) };
    /// What was read last, in which turn, and how often it was used since.
    static LAST: Cell<Option<(Instant, u64, u32)>> = const { Cell::new(None) };
    /// Whom to wake when. The number tells those apart that are due together.
    static WAITING: RefCell<BTreeMap<(Instant, u64), Waker>> = const { RefCell::new(BTreeMap::new()) };
    static NUMBER: Cell<u64> = const { Cell::new(0) };
}

/// Ready at a time, to the millisecond or so. One task waits for it.
#[derive(Debug)]
pub(super) struct Timer {
    at: Instant,
    /// Its number among those that wait.
    waiting: Option<u64>,
}

impl Timer {
    pub(super) fn at(at: Instant) -> Self {
        Self { at, waiting: None }
    }

    pub(super) fn after(time: Duration) -> Self {
        Self::at(Instant::now() + time)
    }

    /// When it will be ready.
    pub(super) fn due(&self) -> Instant {
        self.at
    }

    pub(super) fn is_due(&self) -> bool {
        now() >= self.at
    }

    /// Another time. Whoever waits has to ask again.
    pub(super) fn reset(&mut self, at: Instant) {
        self.cancel();
        self.at = at;
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
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
pub(super) fn next_due() -> Option<Duration> {
    WAITING.with_borrow(|waiting| {
        let ((at, _), _) = waiting.first_key_value()?;
        Some(at.saturating_duration_since(now()))
    })
}

/// The worker has waited for the kernel: the time it knows is old. Wakes whose time has come.
pub(super) fn fire() {
    TURN.set(TURN.get() + 1);
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

/// The time, or what it was shortly before. On a thread that does not tell when it has waited, always the time.
pub(super) fn now() -> Instant {
    let turn = TURN.get();
    match LAST.get() {
        Some((at, read_in, uses)) if turn > 0 && read_in == turn && uses < USES => {
            LAST.set(Some((at, turn, uses + 1)));
            at
        }
        _ => {
            let at = Instant::now();
            LAST.set(Some((at, turn, 0)));
            at
        }
    }
}

/// A worker that is never idle does not wait, and a poll of a busy session may take 200 µs.
const USES: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_read_again_after_a_wait_or_many_uses() {
        // The clock may be coarser than two calls are apart.
        let later = |than: Instant| while Instant::now() <= than {};
        let first = now();
        later(first);
        assert!(now() > first, "nobody has said that it waits");
        fire();
        let read = now();
        later(read);
        assert!((2..=USES).all(|_| now() == read));
        let again = now();
        assert!(again > read);
        later(again);
        fire();
        assert!(now() > again);
    }
}
