//! `rate_limit`: how many sessions a frontend begins in a second. As with `maxconn`, what is beyond waits in the kernel's
//! queue and is not refused.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// Counts sessions over the last second: those of the running one, and of the one before it the share that is still
/// within a second. So a burst of the whole limit is followed by a second with little, as in HAProxy.
#[derive(Debug)]
pub struct SessionRate {
    began: Instant,
    /// Sessions a second; 0: no limit.
    limit: AtomicU32,
    counted: AtomicU64,
}

/// What `counted` holds, packed: 16 bits of the second since the beginning, 24 bits for each count.
#[derive(Debug, Clone, Copy)]
struct RateWindow {
    second: u64,
    before: u64,
    now: u64,
}

impl SessionRate {
    pub(super) fn new(limit: Option<u32>) -> Self {
        Self { began: Instant::now(), limit: limit.unwrap_or(0).into(), counted: 0.into() }
    }

    /// Whether there is a limit. Without one the clock need not be read.
    pub(super) fn is_limited(&self) -> bool {
        self.limit.load(SeqCst) > 0
    }

    pub(super) fn set_limit(&self, limit: Option<u32>) {
        self.limit.store(limit.unwrap_or(0), SeqCst);
    }

    /// How long the next session has to wait; `None`: not at all.
    pub(super) fn wait(&self, now: Instant) -> Option<Duration> {
        let limit = u64::from(self.limit.load(SeqCst));
        if limit == 0 {
            return None;
        }
        let (second, past) = self.place(now);
        let window = RateWindow::unpack(self.counted.load(SeqCst)).at(second);
        let left = SECOND - past;
        if window.now + window.before * left / SECOND < limit {
            return None;
        }
        // Until enough of the second before is over, or this second.
        let room = limit.saturating_sub(window.now);
        let wanted = (room * SECOND).checked_div(window.before).map_or(SECOND, |share| SECOND - share.min(SECOND));
        Some(Duration::from_millis(wanted.saturating_sub(past).clamp(1, left)))
    }

    /// A session has begun.
    pub(super) fn count(&self, now: Instant) {
        let (second, _) = self.place(now);
        let counted = |packed| {
            let mut window = RateWindow::unpack(packed).at(second);
            window.now = (window.now + 1).min(MOST);
            Some(window.pack())
        };
        match self.counted.fetch_update(SeqCst, SeqCst, counted) {
            Ok(_) | Err(_) => {}
        }
    }

    /// The second, and how many milliseconds of it are over.
    fn place(&self, now: Instant) -> (u64, u64) {
        let since = now.saturating_duration_since(self.began);
        (since.as_secs() & 0xffff, u64::from(since.subsec_millis()))
    }
}

impl RateWindow {
    fn unpack(packed: u64) -> Self {
        Self { second: packed >> 48, before: packed >> 24 & MOST, now: packed & MOST }
    }

    fn pack(self) -> u64 {
        self.second << 48 | self.before << 24 | self.now
    }

    /// As it is in this second.
    fn at(self, second: u64) -> Self {
        match second.wrapping_sub(self.second) & 0xffff {
            0 => self,
            1 => Self { second, before: self.now, now: 0 },
            _ => Self { second, before: 0, now: 0 },
        }
    }
}

/// In milliseconds.
const SECOND: u64 = 1000;
/// What a count can be.
const MOST: u64 = 0xff_ffff;

#[cfg(test)]
mod tests {
    use super::*;

    /// Sessions begun until `millis`, by a client that always waits as long as it has to.
    fn begun(rate: &SessionRate, from: u64, until: u64) -> u64 {
        let (mut at, mut count) = (from, 0);
        while at < until {
            let now = rate.began + Duration::from_millis(at);
            match rate.wait(now) {
                Some(wait) => at += u64::try_from(wait.as_millis()).unwrap(),
                None => {
                    rate.count(now);
                    count += 1;
                }
            }
        }
        count
    }

    #[test]
    fn each_second_begins_no_more_than_the_limit() {
        let rate = SessionRate::new(Some(10));
        assert_eq!(begun(&rate, 0, 1000), 10);
        let later: Vec<_> = (1..5).map(|second| begun(&rate, second * 1000, second * 1000 + 1000)).collect();
        assert!(later.iter().all(|count| (9..=10).contains(count)), "{later:?}");
        assert_eq!(begun(&rate, 60_000, 60_001), 10, "after a rest all at once");
    }

    #[test]
    fn a_limit_that_is_lifted_holds_none_back() {
        let rate = SessionRate::new(Some(1));
        rate.count(rate.began);
        assert_eq!(rate.wait(rate.began), Some(Duration::from_millis(1000)));
        rate.set_limit(None);
        assert_eq!(rate.wait(rate.began), None);
    }
}
