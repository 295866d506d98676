//! Guard: what stands between a source's view and the set that is applied.
//!
//! Additions and changed values pass at once, and so does a departure that was announced by `drain` in the server's last
//! value. Others are held in two cases: many at once (all that serve, or more than half of them and more than two, within
//! ten seconds), and a key that went by the expiry of its lease while its server still passes its checks, for then it is
//! the registration that died. What is held stays in the applied set until the delay is over and a listing made after
//! that still lacks it, and goes before that when its checks take it DOWN. `accept` ends every hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::value::Servers;

/// Why a server that the source no longer has is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HoldReason {
    /// Its lease expired, and it passes its checks.
    Lease,
    /// Too many left at once. Also what a newer version's unknown reason reads as.
    #[default]
    #[serde(other)]
    Mass,
}

/// A server that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub why: HoldReason,
    /// From here on a listing that lacks it takes it away.
    pub until: Instant,
}

/// How a server left the view.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Departure {
    /// Its last value said so.
    Announced,
    Deleted,
    /// By the end of its lease.
    Expired,
}

/// Whether a server passes its checks. `None`: it has none, or none has come to an end yet.
type Judgement<'a> = &'a dyn Fn(&str) -> Option<bool>;

/// See the module.
#[derive(Debug)]
pub(super) struct Guard {
    /// Zero: off.
    delay: Duration,
    applied: Arc<Servers>,
    held: BTreeMap<String, Held>,
    /// Servers that left the view within [`WINDOW`] and are not back, applied or held.
    departures: BTreeMap<String, Instant>,
}

impl Guard {
    pub(super) fn new(delay: Duration) -> Self {
        Self { delay: delay.min(LONGEST), applied: Arc::default(), held: BTreeMap::new(), departures: BTreeMap::new() }
    }

    pub(super) fn resume(&mut self, servers: &Servers) {
        self.applied = Arc::new(servers.clone());
    }

    pub(super) fn applied(&self) -> &Arc<Servers> {
        &self.applied
    }

    pub(super) fn held(&self) -> &BTreeMap<String, Held> {
        &self.held
    }

    /// Brings the applied set to `wanted`, but for what is held. `left`: the servers that left since the last call.
    /// Returns whether the applied set changed.
    pub(super) fn settle(
        &mut self,
        wanted: &Servers,
        left: BTreeMap<String, Departure>,
        fresh: bool,
        now: Instant,
        verdict: Judgement<'_>,
    ) -> bool {
        if !self.delay.is_zero() {
            // Back, or back and away again with notice.
            let settled = |name: &String| wanted.contains_key(name) || left.get(name) == Some(&Departure::Announced);
            self.held.retain(|name, _| !settled(name));
            self.departures.retain(|name, at| !settled(name) && now.saturating_duration_since(*at) < WINDOW);
            self.hold(wanted, &left, now, verdict);
            self.held.retain(|name, held| {
                let over = fresh && now >= held.until;
                let lives = match held.why {
                    HoldReason::Mass => verdict(name) != Some(false),
                    HoldReason::Lease => verdict(name) == Some(true),
                };
                !over && lives
            });
        }
        self.apply(wanted)
    }

    pub(super) fn accept(&mut self, wanted: &Servers) -> usize {
        let held = self.held.len();
        self.held.clear();
        self.departures.clear();
        self.apply(wanted);
        held
    }

    /// A hold is past its delay and waits for a listing.
    pub(super) fn due(&self, now: Instant) -> bool {
        self.held.values().any(|held| now >= held.until)
    }

    /// When the first hold reaches its end.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.held.values().map(|held| held.until).min()
    }

    /// Holds servers that are about to leave, if there is reason to.
    fn hold(&mut self, wanted: &Servers, left: &BTreeMap<String, Departure>, now: Instant, verdict: Judgement<'_>) {
        let unannounced = |name: &String| left.get(name) != Some(&Departure::Announced);
        let leaving: Vec<String> = self
            .applied
            .keys()
            .filter(|name| !wanted.contains_key(*name) && !self.held.contains_key(*name) && unannounced(name))
            .cloned()
            .collect();
        if leaving.is_empty() {
            return;
        }
        let gone = |name: &String| (name.clone(), now);
        self.departures.extend(leaving.iter().map(gone));
        let mass = self.is_mass(wanted);
        if mass {
            // Those held for their lease turn out to be part of the same trouble.
            self.held.values_mut().for_each(|held| held.why = HoldReason::Mass);
        }
        for name in leaving {
            let by_lease = left.get(&name) == Some(&Departure::Expired) && verdict(&name) == Some(true);
            if mass || by_lease {
                let why = if mass { HoldReason::Mass } else { HoldReason::Lease };
                let until = now + self.delay;
                self.held.insert(name, Held { why, until });
            }
        }
    }

    /// All servers, or more than half of those there were in the last seconds and more than two. One that is about to
    /// leave does not count as one that stays.
    fn is_mass(&self, wanted: &Servers) -> bool {
        let (gone, stay) = (self.departures.len(), wanted.values().filter(|server| !server.drain).count());
        stay == 0 || (gone > 2 && gone > stay)
    }

    fn apply(&mut self, wanted: &Servers) -> bool {
        let mut next = wanted.clone();
        for name in self.held.keys() {
            if let Some(server) = self.applied.get(name) {
                next.insert(name.clone(), server.clone());
            }
        }
        let changed = *self.applied != next;
        if changed {
            self.applied = Arc::new(next);
        }
        changed
    }
}

/// Departures within this time count as one change.
const WINDOW: Duration = Duration::from_secs(10);

/// A bound for the delay, so that adding it to an instant cannot overflow.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 3600);

#[cfg(test)]
mod tests;
