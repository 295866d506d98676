//! Which server gets the next session.
//!
//! A [`Schedule`] is built once for each snapshot, from its usable servers, and is read by all workers. What a pick
//! costs with N usable servers, while they have room: `roundrobin`, `random` and `first` O(1), `source` O(log N),
//! `leastconn` O(N) over a dense table of counters (about a microsecond for a thousand servers).
//! A server that is full, suspect or to be avoided is passed over; looking for one that is not is O(N) at worst.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use xxhash_rust::xxh3::xxh3_64;

use super::loads::{Loads, SUSPECT, Slot};
use crate::config::Balance;

/// A usable server as the scheduler sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// Position among the members of the snapshot.
    pub member: usize,
    /// Its counter in [`Loads`].
    pub slot: Slot,
    /// At least 1.
    pub weight: u32,
    /// `u32::MAX`: no limit.
    pub maxconn: u32,
    /// The limit while the backend has few sessions.
    pub minconn: u32,
    /// Identifies the server on the hash ring, whatever else changes.
    pub name_hash: u64,
}

/// What a session brings to the choice.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hint {
    /// The client's address, for `source`.
    pub client: Option<IpAddr>,
    /// Slot of the server that has just failed this session.
    pub avoid: Option<Slot>,
    /// Sessions of the backend, where limits depend on them.
    pub busy: u32,
}

/// The usable servers in the order that an algorithm needs them.
#[derive(Debug)]
pub(crate) struct Schedule {
    candidates: Vec<Candidate>,
    order: PickOrder,
    /// Sessions of the backend at which a candidate has its whole `maxconn`.
    fullconn: u32,
}

#[derive(Debug)]
enum PickOrder {
    /// Candidates repeated by weight and spread evenly; walked by a cursor.
    Cycle(Vec<u16>),
    /// So many turns are drawn.
    Draw(Vec<u16>, u16),
    /// Reciprocal weights, so that the scan multiplies instead of dividing.
    Least(Vec<u64>),
    /// Points of a consistent hash ring, sorted.
    Ring(Vec<(u64, u16)>),
    First,
}

/// How choosy a pass over the candidates is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choosiness {
    Best,
    SuspectsToo,
    AvoidedToo,
}

impl Schedule {
    pub(crate) fn new(balance: Balance, candidates: Vec<Candidate>) -> Self {
        let order = match balance {
            Balance::RoundRobin | Balance::StaticRr => PickOrder::Cycle(spread(&candidates)),
            Balance::Random { draws } => PickOrder::Draw(spread(&candidates), draws),
            Balance::LeastConn => {
                PickOrder::Least(candidates.iter().map(|c| RECIPROCAL / u64::from(c.weight)).collect())
            }
            Balance::Source => PickOrder::Ring(ring(&candidates)),
            Balance::First => PickOrder::First,
        };
        Self { candidates, order, fullconn: 0 }
    }

    /// The same with limits that depend on the sessions of the backend.
    pub(crate) fn with_fullconn(self, fullconn: u32) -> Self {
        Self { fullconn, ..self }
    }

    /// Whether the limit of a candidate depends on the sessions of the backend.
    pub(crate) fn is_elastic(&self) -> bool {
        self.fullconn > 0
    }

    /// How many sessions a candidate may have while its backend has `busy`.
    pub(crate) fn limit(&self, candidate: &Candidate, busy: u32) -> u32 {
        let Candidate { minconn, maxconn, .. } = *candidate;
        if minconn >= maxconn || busy >= self.fullconn {
            return maxconn;
        }
        // Less than `maxconn`, since `busy` is less than `fullconn`.
        let share = u64::from(busy) * u64::from(maxconn) / u64::from(self.fullconn);
        minconn.max(u32::try_from(share).unwrap_or(maxconn))
    }

    pub(crate) fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    /// Picks a candidate and counts a session on it. `None`: there is none, or all are full.
    pub(crate) fn take(&self, loads: &Loads, cursor: &AtomicUsize, hint: &Hint) -> Option<&Candidate> {
        if self.candidates.is_empty() {
            return None;
        }
        let turn = cursor.fetch_add(1, Relaxed);
        self.pass(loads, turn, hint, Choosiness::Best)
            .or_else(|| self.pass(loads, turn, hint, Choosiness::SuspectsToo))
            .or_else(|| self.last_resort(loads, turn, hint))
    }

    /// The one to be avoided, unless others may have room before it takes connections again.
    fn last_resort(&self, loads: &Loads, turn: usize, hint: &Hint) -> Option<&Candidate> {
        let avoid = hint.avoid?;
        let others = self.candidates.iter().any(|candidate| candidate.slot != avoid);
        if others && loads.is_suspect(avoid) { None } else { self.pass(loads, turn, hint, Choosiness::AvoidedToo) }
    }

    fn pass(&self, loads: &Loads, turn: usize, hint: &Hint, pass: Choosiness) -> Option<&Candidate> {
        let allowed = |c: &Candidate| {
            (pass != Choosiness::Best || !loads.is_suspect(c.slot))
                && (pass == Choosiness::AvoidedToo || hint.avoid != Some(c.slot))
        };
        let take = |c: &Candidate| allowed(c) && loads.take(c.slot, self.limit(c, hint.busy));
        let quick = match &self.order {
            PickOrder::Cycle(turns) => {
                let start = turn % turns.len();
                let near = turns[start..].iter().chain(&turns[..start]).take(NEAR);
                near.map(|index| &self.candidates[usize::from(*index)]).find(|c| take(c))
            }
            PickOrder::Draw(turns, draws) => self.best_drawn(loads, turns, *draws, &allowed).filter(|c| take(c)),
            PickOrder::Least(reciprocals) => return self.least(loads, reciprocals, turn, hint.busy, &allowed),
            PickOrder::Ring(points) => {
                let start = points.partition_point(|(point, _)| *point < hash_of(hint.client));
                let near = points[start..].iter().chain(&points[..start]).take(NEAR);
                near.map(|(_, index)| &self.candidates[usize::from(*index)]).find(|c| take(c))
            }
            PickOrder::First => return self.candidates.iter().find(|c| take(c)),
        };
        quick.or_else(|| {
            let start = turn % self.candidates.len();
            self.candidates[start..].iter().chain(&self.candidates[..start]).find(|c| take(c))
        })
    }

    /// The least busy of some that are drawn, by sessions for each unit of weight.
    fn best_drawn(
        &self,
        loads: &Loads,
        turns: &[u16],
        draws: u16,
        allowed: &impl Fn(&Candidate) -> bool,
    ) -> Option<&Candidate> {
        let mut best: Option<(u64, &Candidate)> = None;
        for _ in 0..draws {
            let drawn = &self.candidates[usize::from(turns[fastrand::usize(..turns.len())])];
            let busy = u64::from(loads.apparent(drawn.slot)) * RECIPROCAL / u64::from(drawn.weight);
            if allowed(drawn) && best.is_none_or(|(least, _)| busy < least) {
                best = Some((busy, drawn));
            }
        }
        best.map(|(_, drawn)| drawn)
    }

    /// HAProxy's key: 0 for an idle server, else (sessions + 1) / weight; the smallest wins. The scan starts at another
    /// place each time, so that ties are spread.
    fn least(
        &self,
        loads: &Loads,
        reciprocals: &[u64],
        turn: usize,
        busy: u32,
        allowed: &impl Fn(&Candidate) -> bool,
    ) -> Option<&Candidate> {
        let start = turn % self.candidates.len();
        // Another worker may fill the chosen server meanwhile; a few attempts, then the caller's queue decides.
        for _ in 0..4 {
            let mut best: Option<(u64, usize)> = None;
            for index in (start..self.candidates.len()).chain(0..start) {
                let candidate = &self.candidates[index];
                let load = loads.apparent(candidate.slot);
                let key = if load == 0 { 0 } else { (u64::from(load) + 1) * reciprocals[index] };
                if best.is_none_or(|(least, _)| key < least)
                    && load & !SUSPECT < self.limit(candidate, busy)
                    && allowed(candidate)
                {
                    best = Some((key, index));
                    if key == 0 {
                        break;
                    }
                }
            }
            let candidate = &self.candidates[best?.1];
            if loads.take(candidate.slot, self.limit(candidate, busy)) {
                return Some(candidate);
            }
        }
        None
    }
}

/// Probes near the cursor before the plain walk over all candidates begins.
const NEAR: usize = 16;

/// Fixed-point one for reciprocal weights: loads stay below 2^32, so products fit 64 bits.
const RECIPROCAL: u64 = 1 << 31;

/// Points on the ring of the lightest server. The share of a server then varies by about a tenth.
const POINTS: u64 = 128;

/// A server has at most so many times `POINTS`: 2048 entries of 16 bytes.
const HEAVIEST: u64 = 16;

/// Turns of one cycle: candidate i appears weight_i times (divided by the common divisor), as evenly spaced as can be.
fn spread(candidates: &[Candidate]) -> Vec<u16> {
    let divisor = candidates.iter().fold(0, |acc, c| gcd(acc, c.weight)).max(1);
    let weights: Vec<u64> = candidates.iter().map(|c| u64::from(c.weight / divisor)).collect();
    let total: u64 = weights.iter().sum();
    // The k-th turn of weight w is due at (2k + 1) / 2w of the cycle; a heap merges them in order.
    let due = |k: u64, weight: u64| ((2 * k + 1) << 32) / (2 * weight);
    let mut heap: BinaryHeap<_> =
        weights.iter().enumerate().map(|(index, weight)| Reverse((due(0, *weight), index, 0))).collect();
    let mut turns = Vec::with_capacity(usize::try_from(total).unwrap_or(0));
    while let Some(Reverse((_, index, k))) = heap.pop() {
        turns.push(u16::try_from(index).unwrap_or(u16::MAX));
        if k + 1 < weights[index] {
            heap.push(Reverse((due(k + 1, weights[index]), index, k + 1)));
        }
    }
    turns
}

/// A point depends on the server's name and its number alone, so that those of the others stay where they are when a
/// server comes or goes.
fn ring(candidates: &[Candidate]) -> Vec<(u64, u16)> {
    let weights = || candidates.iter().map(|c| u64::from(c.weight));
    let (least, most) = (weights().min().unwrap_or(1), weights().max().unwrap_or(1));
    // By the lightest server and not by the mean: the mean moves whenever the set changes, the lightest seldom. Where
    // the heaviest would have too many, by the heaviest: all have fewer then, in the same proportions.
    let (points_of_one, one) = if most / least < HEAVIEST { (POINTS, least) } else { (POINTS * HEAVIEST, most) };
    let mut points: Vec<(u64, u16)> = Vec::new();
    for (index, candidate) in candidates.iter().enumerate() {
        let count = (points_of_one * u64::from(candidate.weight) / one).max(1);
        points.extend((0..count).map(|k| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&candidate.name_hash.to_le_bytes());
            bytes[8..].copy_from_slice(&k.to_le_bytes());
            (xxh3_64(&bytes), u16::try_from(index).unwrap_or(u16::MAX))
        }));
    }
    points.sort_unstable();
    points
}

fn hash_of(client: Option<IpAddr>) -> u64 {
    match client {
        Some(IpAddr::V4(ip)) => xxh3_64(&ip.octets()),
        Some(IpAddr::V6(ip)) => xxh3_64(&ip.octets()),
        None => 0,
    }
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
