//! All rounds of a workload: its contestants, the work of a round, and the order of the contestants.
//!
//! A small first round, which is not counted, shows how long the work takes; from it follows the amount that fills the
//! workload's time, the same for all contestants. The rounds are interleaved, so that changes of the machine affect all
//! of them alike.

use std::io;
use std::time::{Duration, Instant};

use super::args::Args;
use super::balancer::Balancer;
use super::contestant::Contestant;
use super::load::Load;
use super::round;
use super::sample::{Sample, Summary};
use super::setup::Setup;
use super::workload::{Amount, Figure, Workload};

/// The state common to all workloads.
#[derive(Debug)]
pub(crate) struct Contest<'a> {
    pub(crate) args: &'a Args,
    /// Time of a workload with a share of 1.
    pub(crate) time: Duration,
    pub(crate) load: Load,
    /// Running balancers, kept as long as workloads need them.
    running: Vec<Contestant>,
}

/// A balancer in one of a workload's setups.
#[derive(Debug, Clone, Copy)]
struct Participant<'a> {
    balancer: Balancer,
    setup: &'a Setup,
}

impl<'a> Contest<'a> {
    /// `workloads` are all of them, selected or not: the time of one does not depend on the others' absence.
    pub(crate) fn new(args: &'a Args, workloads: &[Workload]) -> io::Result<Self> {
        let shares: f64 = workloads.iter().map(|workload| workload.share).sum();
        let whole = if args.is_quick() { QUICK } else { FULL };
        Ok(Self { args, time: whole.div_f64(shares), load: Load::new()?, running: Vec::new() })
    }

    /// Runs a workload with its available contestants.
    pub(crate) fn run(&mut self, workload: &Workload, available: &[Balancer]) -> Vec<Summary> {
        let until = Instant::now() + self.time.mul_f64(workload.share);
        let entries: Vec<Participant<'_>> = workload
            .setups
            .iter()
            .flat_map(|setup| {
                let balancers = workload.contestants.iter().filter(|balancer| available.contains(balancer));
                balancers.map(move |&balancer| Participant { balancer, setup })
            })
            .collect();
        self.running.retain(|contestant| workload.setups.contains(&contestant.setup));
        let mut samples: Vec<Vec<Sample>> = vec![Vec::new(); entries.len()];
        let scale = self.warm_up(workload, &entries, until, &mut samples);
        let most = self.args.rounds().unwrap_or_else(|| match workload.amount {
            Amount::Fixed => MOST_ROUNDS,
            Amount::Grows | Amount::Fresh => self.args.usual_rounds(),
        });
        for round in 0..most {
            let began = Instant::now();
            self.round(workload, &entries, round, scale, &mut samples);
            let enough = self.args.rounds().is_none() && round + 1 >= LEAST_ROUNDS;
            if enough && Instant::now() + began.elapsed().mul_f64(0.8) > until {
                break;
            }
        }
        let rows = entries.iter().zip(&samples);
        rows.map(|(entry, samples)| {
            let row = workload.row(entry.balancer, entry.setup);
            Summary::of(row, entry.balancer, entry.setup.servers, workload.figure, samples)
        })
        .collect()
    }

    /// First runs are slower: pages, ports and caches are new. Returns the scale of a round that fits; failures are
    /// kept, figures are not.
    fn warm_up(
        &mut self,
        workload: &Workload,
        entries: &[Participant<'_>],
        until: Instant,
        samples: &mut [Vec<Sample>],
    ) -> f64 {
        if workload.amount == Amount::Fresh {
            return 1.0;
        }
        for entry in entries {
            // The first round reports an error.
            self.contestant(*entry).ok();
        }
        let mut scale = 1.0;
        for _ in 0..4 {
            let mut first = vec![Vec::new(); entries.len()];
            let began = Instant::now();
            self.round(workload, entries, 0, scale, &mut first);
            let took = began.elapsed();
            for (kept, first) in samples.iter_mut().zip(first) {
                kept.extend(first.into_iter().filter_map(Sample::only_failures));
            }
            let left = until.saturating_duration_since(Instant::now());
            let round = left.div_f64(rounds_as_f64(self.args.usual_rounds()));
            let fits = round.as_secs_f64() / took.as_secs_f64();
            // The time of a round that was far too short is not reliable.
            if fits < 6.0 {
                return (scale * fits).max(0.2);
            }
            scale *= 4.0;
        }
        scale
    }

    /// Each contestant once. Each is first, and behind each other one, equally often.
    fn round(
        &mut self,
        workload: &Workload,
        entries: &[Participant<'_>],
        round: usize,
        scale: f64,
        samples: &mut [Vec<Sample>],
    ) {
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.rotate_left(round % entries.len().max(1));
        if round / entries.len().max(1) % 2 == 1 {
            order.reverse();
        }
        for index in order {
            let sample = self.sample(workload, entries[index], scale);
            samples[index].push(sample);
        }
        if workload.figure == Figure::Added {
            let direct = entries.iter().position(|e| e.balancer == Balancer::Direct);
            let direct = direct.and_then(|index| samples[index].last()?.p50);
            for (entry, samples) in entries.iter().zip(samples) {
                if let Some(sample) = samples.last_mut()
                    && entry.balancer != Balancer::Direct
                {
                    sample.added = sample.p50.zip(direct).map(|(whole, direct)| whole - direct);
                }
            }
        }
    }

    /// Failures are recorded in the sample; a failed contestant is restarted for the next one.
    fn sample(&mut self, workload: &Workload, entry: Participant<'_>, scale: f64) -> Sample {
        let port = self.load.port();
        let traffic = workload.traffic(scale);
        let quick = self.args.is_quick();
        if workload.amount == Amount::Fresh {
            return match Contestant::start(entry.balancer, entry.setup, port) {
                Ok(fresh) => round::run(&mut self.load, &fresh, workload.unit, &traffic, quick),
                Err(error) => Sample::failed(&error),
            };
        }
        let sample = match self.contestant(entry) {
            Ok(index) => {
                let contestant = &self.running[index];
                round::run(&mut self.load, contestant, workload.unit, &traffic, quick)
            }
            Err(error) => Sample::failed(&error),
        };
        if sample.failed > 0 {
            self.running.retain(|contestant| !entry.is(contestant));
        }
        sample
    }

    /// Its index among the running ones.
    fn contestant(&mut self, entry: Participant<'_>) -> io::Result<usize> {
        let found = self.running.iter().position(|running| entry.is(running));
        if let Some(index) = found {
            return Ok(index);
        }
        let started = Contestant::start(entry.balancer, entry.setup, self.load.port())?;
        self.running.push(started);
        Ok(self.running.len() - 1)
    }
}

impl Participant<'_> {
    fn is(&self, contestant: &Contestant) -> bool {
        contestant.balancer == self.balancer && contestant.setup == *self.setup
    }
}

fn rounds_as_f64(rounds: usize) -> f64 {
    u32::try_from(rounds).unwrap_or(u32::MAX).into()
}

/// Time of all workloads in a quick run, which shall end within a minute, and in a full one, within ten.
const QUICK: Duration = Duration::from_secs(50);
const FULL: Duration = Duration::from_secs(510);

/// Medians of fewer are meaningless.
const LEAST_ROUNDS: usize = 3;

/// More of them hardly move a median.
const MOST_ROUNDS: usize = 31;
