//! Pause: how long to wait before the next attempt. It grows, has an end, and half of it is chance, so that many who lost
//! the same etcd do not come back at once.

use std::time::Duration;

/// The growing pause between attempts.
#[derive(Debug)]
pub struct Pause {
    next: Duration,
}

impl Default for Pause {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Pause {
    /// The pause after a connection that lasted so long: after a good one it is short again.
    pub fn after(&mut self, connection: Duration) -> Duration {
        if connection >= GOOD {
            self.next = FIRST;
        }
        let pause = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.next = (self.next * 2).min(LONGEST);
        pause
    }
}

const FIRST: Duration = Duration::from_millis(100);

/// Short enough that an etcd that is back is used within five seconds.
const LONGEST: Duration = Duration::from_secs(3);

/// A connection of this length was none of a row of failures: the longest that a failing attempt takes is less.
const GOOD: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_begin_anew_after_a_good_connection() {
        let mut pause = Pause::default();
        let row: Vec<Duration> = (0..10).map(|_| pause.after(Duration::ZERO)).collect();
        assert!(row[0] >= FIRST / 2 && row[0] <= FIRST);
        assert!(row[9] >= LONGEST / 2 && row.iter().all(|pause| *pause <= LONGEST));
        assert!(pause.after(GOOD) <= FIRST);
    }
}
