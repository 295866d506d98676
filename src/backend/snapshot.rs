//! One immutable state of a backend: its settings, its members, and the schedule over those that are usable.

use std::sync::Arc;
use std::time::{Duration, Instant};

use xxhash_rust::xxh3::xxh3_64;

use super::loads::Loads;
use super::scheduler::{Candidate, Schedule};
use super::server::Member;
use crate::config::{self, Balance, Weight};

#[derive(Debug)]
pub struct Snapshot {
    pub settings: Arc<config::Backend>,
    /// All servers, usable or not, in the order of the configuration, discovered ones behind.
    pub members: Vec<Arc<Member>>,
    pub(super) schedule: Schedule,
    /// Some server's weight is still growing: refresh after this time, again and again.
    pub ramping: Option<Duration>,
}

impl Snapshot {
    pub(super) fn empty(settings: Arc<config::Backend>) -> Self {
        let schedule = Schedule::new(settings.balance, Vec::new());
        Self { settings, members: Vec::new(), schedule, ramping: None }
    }

    pub(super) fn new(settings: Arc<config::Backend>, members: Vec<Arc<Member>>, now: Instant) -> Self {
        let (candidates, ramping) = usable(&settings, &members, now);
        let elastic = candidates.iter().any(|candidate| candidate.minconn < candidate.maxconn);
        let schedule = Schedule::new(settings.balance, candidates);
        let schedule = if elastic { schedule.with_fullconn(settings.fullconn.unwrap_or(1)) } else { schedule };
        Self { settings, members, schedule, ramping }
    }

    /// Whether a server may have this weight, which is 0, its own, or any where shares can change.
    pub fn takes_weight(&self, member: &Member, weight: Weight) -> bool {
        self.settings.balance != Balance::StaticRr || weight.get() == 0 || weight == member.spec.weight
    }

    /// Servers that get new sessions now.
    pub fn active(&self) -> usize {
        self.schedule.candidates().len()
    }

    /// Servers that may get sessions, and backups that could.
    pub fn usable(&self) -> (usize, usize) {
        let count = |backup| able(&self.members, backup).count();
        (count(false), count(true))
    }

    /// Sessions that the usable servers could take at once.
    pub(super) fn room(&self, loads: &Loads) -> usize {
        let room = |c: &Candidate| match c.maxconn {
            u32::MAX => usize::MAX,
            max => max.saturating_sub(loads.sessions(c.slot)) as usize,
        };
        self.schedule.candidates().iter().fold(0, |sum: usize, c| sum.saturating_add(room(c)))
    }
}

/// Servers that may get sessions: the active ones, or else the backups (the first alone unless `allbackups`).
fn usable(settings: &config::Backend, members: &[Arc<Member>], now: Instant) -> (Vec<Candidate>, Option<Duration>) {
    let mut chosen: Vec<(usize, &Arc<Member>)> = able(members, false).collect();
    if chosen.is_empty() {
        chosen = able(members, true).take(if settings.allbackups { usize::MAX } else { 1 }).collect();
    }
    // The shares of `static-rr` do not change.
    let warmth = |member: &Member| if settings.balance == Balance::StaticRr { 100 } else { member.warmth(now) };
    let percents: Vec<u32> = chosen.iter().map(|(_, member)| warmth(member)).collect();
    let cold = chosen.iter().zip(&percents).filter(|(_, percent)| **percent < 100);
    // In steps of 5 %.
    let ramping = cold.map(|((_, member), _)| member.spec.options.slowstart / 20).min();
    let candidates = chosen.iter().zip(percents).map(|((index, member), percent)| {
        let weight = u32::from(weight_of(member).get());
        let limit = |max: u32| {
            let part = (u64::from(max) * u64::from(percent)).div_ceil(100).max(1);
            u32::try_from(part).unwrap_or(u32::MAX).saturating_sub(member.server.lent())
        };
        let maxconn = member.maxconn().map_or(u32::MAX, limit);
        Candidate {
            member: *index,
            slot: member.server.slot(),
            // In steps of 5 %, since the cycle of turns grows with the scale.
            weight: if ramping.is_some() { (weight * 20 * percent / 100).max(1) } else { weight },
            maxconn,
            minconn: member.spec.options.minconn.map_or(maxconn, limit),
            name_hash: xxh3_64(member.spec.name.as_bytes()),
        }
    });
    (candidates.collect(), ramping)
}

fn able(members: &[Arc<Member>], backup: bool) -> impl Iterator<Item = (usize, &Arc<Member>)> {
    members
        .iter()
        .enumerate()
        .filter(move |(_, member)| member.spec.backup == backup && weight_of(member).get() > 0 && member.is_usable())
}

fn weight_of(member: &Member) -> Weight {
    member.server.state().weight.unwrap_or(member.spec.weight)
}
