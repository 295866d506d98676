//! The health of one server: HAProxy's rise/fall machine and its last results.
//!
//! Pure: no clock, no sockets. What is learnt about a server (by a check, a live connect) goes to
//! [`Health::record`]; what that returns is the only place from which a change of UP or DOWN may be announced.
//! Administration (ready, drain, maint) is not here: it is another fact about the server.

mod history;
mod result;

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub(crate) use self::history::History;
pub(crate) use self::result::ResultSource;
pub use self::result::{CheckResult, CheckStatus};
use crate::config::{Check, Fall, InitState, Rise};

/// The rise/fall machine.
///
/// HAProxy keeps one counter, `0..=rise + fall - 1`, which means UP from `rise` on: success while UP goes to the top,
/// failure while DOWN to 0, success while DOWN and failure while UP are one step each, and a step over the border
/// goes straight to the far end. [`Standing`] holds the same states without the border arithmetic;
/// [`Health::counter`] gives HAProxy's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    standing: Standing,
    rise: Rise,
    fall: Fall,
}

/// What the machine remembers; also what it hands to a new process or keeps over a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// `failures` in a row since the last success; fewer than `fall`.
    Up { failures: u32 },
    /// `successes` in a row since the last failure; fewer than `rise`.
    Down { successes: u32 },
}

/// A change that is logged and scheduled by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transition {
    WentUp,
    WentDown,
}

impl Health {
    /// A server that was never checked.
    pub fn new(rise: Rise, fall: Fall, init: InitState) -> Self {
        let standing = match init {
            InitState::Up => Standing::Up { failures: fall.get() - 1 },
            InitState::FullyUp => Standing::Up { failures: 0 },
            InitState::Down => Standing::Down { successes: rise.get() - 1 },
            InitState::FullyDown => Standing::Down { successes: 0 },
        };
        Self { standing, rise, fall }
    }

    /// Continues from what another process, or another configuration, had learnt: see [`Self::retune`].
    pub fn restore(value: Standing, rise: Rise, fall: Fall) -> Self {
        let standing = match value {
            Standing::Up { failures } => Standing::Up { failures: failures.min(fall.get() - 1) },
            Standing::Down { successes } => Standing::Down { successes: successes.min(rise.get() - 1) },
        };
        Self { standing, rise, fall }
    }

    /// Takes one result in. The only way the state changes.
    pub fn record(&mut self, ok: bool) -> Option<Transition> {
        let (standing, transition) = match (self.standing, ok) {
            (Standing::Up { .. }, true) => (Standing::Up { failures: 0 }, None),
            (Standing::Down { .. }, false) => (Standing::Down { successes: 0 }, None),
            (Standing::Up { failures }, false) if failures + 1 < self.fall.get() => {
                (Standing::Up { failures: failures + 1 }, None)
            }
            (Standing::Up { .. }, false) => (Standing::Down { successes: 0 }, Some(Transition::WentDown)),
            (Standing::Down { successes }, true) if successes + 1 < self.rise.get() => {
                (Standing::Down { successes: successes + 1 }, None)
            }
            (Standing::Down { .. }, true) => (Standing::Up { failures: 0 }, Some(Transition::WentUp)),
        };
        self.standing = standing;
        transition
    }

    /// So many failures more, at most, leave it DOWN.
    pub fn weaken(&mut self, failures_left: u32) {
        if let Standing::Up { failures } = &mut self.standing {
            *failures = (*failures).max(self.fall.get().saturating_sub(failures_left));
        }
    }

    /// New limits, the same knowledge: UP stays UP and DOWN stays DOWN, with as many failures or successes counted
    /// as the new limits allow. A reload by itself never changes which servers are usable.
    pub fn retune(&mut self, rise: Rise, fall: Fall) {
        *self = Self::restore(self.standing, rise, fall);
    }

    /// May serve, as far as health goes.
    pub fn is_up(&self) -> bool {
        matches!(self.standing, Standing::Up { .. })
    }

    /// Whether one more failure leaves it DOWN.
    pub fn is_down_after_failure(&self) -> bool {
        match self.standing {
            Standing::Up { failures } => failures + 1 >= self.fall.get(),
            Standing::Down { .. } => true,
        }
    }

    /// Between the two ends: the next result matters, so it is asked for after `fastinter`.
    pub fn changing(&self) -> bool {
        matches!(self.standing, Standing::Up { failures: 1.. } | Standing::Down { successes: 1.. })
    }

    /// How long after this result the next check begins, before jitter: `inter` when well, `downinter` when
    /// fully DOWN, `fastinter` between them and so also for a server never checked.
    pub fn next_interval(&self, check: &Check) -> Duration {
        match self.standing {
            Standing::Up { failures: 0 } => check.inter,
            Standing::Down { successes: 0 } => check.downinter,
            Standing::Up { .. } | Standing::Down { .. } => check.fastinter,
        }
    }

    /// What to hand to [`Self::restore`].
    pub fn value(&self) -> Standing {
        self.standing
    }

    /// `rise` and `fall`.
    pub fn limits(&self) -> (Rise, Fall) {
        (self.rise, self.fall)
    }

    /// HAProxy's `health`: `0..=rise + fall - 1`, UP from `rise` on.
    pub fn counter(&self) -> u32 {
        match self.standing {
            Standing::Up { failures } => self.rise.get() + self.fall.get() - 1 - failures,
            Standing::Down { successes } => successes,
        }
    }

    /// The status text of HAProxy's statistics: `UP`, `UP 2/3`, `DOWN`, `DOWN 1/2`.
    pub fn position(&self) -> Position {
        Position(*self)
    }
}

/// A position as text, made by [`Health::position`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position(Health);

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Health { standing, rise, fall } = self.0;
        let (rise, fall) = (rise.get(), fall.get());
        match standing {
            Standing::Up { failures: 0 } => f.write_str("UP"),
            Standing::Up { failures } => write!(f, "UP {}/{fall}", fall - failures),
            Standing::Down { successes: 0 } => f.write_str("DOWN"),
            Standing::Down { successes } => write!(f, "DOWN {successes}/{rise}"),
        }
    }
}

impl Serialize for Position {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests;
