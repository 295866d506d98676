//! The time, read once for many messages.
//!
//! What a session last did is noted with each message, and what is a few milliseconds old is good enough for that: it
//! is compared with time-outs. HAProxy's date, too, is that of its last look at the kernel.

use std::cell::Cell;
use std::time::Instant;

thread_local! {
    /// Waits that have ended on this thread; 0: nobody counts them.
    static TURN: Cell<u64> = const { Cell::new(0) };
    /// What was read last, in which turn, and how often it was used since.
    static LAST: Cell<Option<(Instant, u64, u32)>> = const { Cell::new(None) };
}

/// The worker has waited for the kernel: the time it knows is old.
pub(super) fn waited() {
    TURN.set(TURN.get() + 1);
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
        waited();
        let read = now();
        later(read);
        assert!((0..USES).all(|_| now() == read));
        let again = now();
        assert!(again > read);
        later(again);
        waited();
        assert!(now() > again);
    }
}
