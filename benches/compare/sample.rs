//! Measurements: one sample per round, and the summary of all rounds.

use std::io;

use serde::Serialize;

use super::balancer::Balancer;
use super::outcome::Outcome;
use super::workload::Figure;

/// One contestant in one round; times in microseconds.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    /// CPU of the balancer for each unit; `None` for `direct`.
    pub(crate) cpu: Option<f64>,
    /// CPU of balancer, clients and origin together for each unit.
    pub(crate) machine: Option<f64>,
    /// Units per second.
    pub(crate) rate: Option<f64>,
    pub(crate) p50: Option<f64>,
    pub(crate) p99: Option<f64>,
    pub(crate) p999: Option<f64>,
    /// Median delay minus that of `direct` in the same round.
    pub(crate) added: Option<f64>,
    /// Bytes of the balancer's own memory for each session.
    pub(crate) memory: Option<f64>,
    pub(crate) failed: u64,
    pub(crate) reasons: Vec<String>,
}

impl Sample {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        Self {
            p50: outcome.quantile(0.5),
            p99: outcome.quantile(0.99),
            p999: outcome.quantile(0.999),
            failed: outcome.failed,
            reasons: outcome.reasons.clone(),
            ..Self::default()
        }
    }

    fn figure(&self, figure: Figure) -> Option<f64> {
        match figure {
            Figure::Cpu => self.cpu,
            Figure::Rate => self.rate,
            Figure::P99 => self.p99,
            Figure::Added => self.added,
            Figure::Memory => self.memory,
        }
    }

    /// The sample of a round that could not run.
    pub(crate) fn failed(error: &io::Error) -> Self {
        Self { failed: 1, reasons: vec![error.to_string()], ..Self::default() }
    }

    /// The failures of a round that is not counted. `None`: there were none.
    pub(crate) fn only_failures(self) -> Option<Self> {
        (self.failed > 0).then(|| Self { failed: self.failed, reasons: self.reasons, ..Self::default() })
    }
}

/// A median, and half the distance between the quartiles in percent of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Middle {
    pub(crate) median: f64,
    pub(crate) spread_percent: f64,
}

/// All rounds of a contestant in a workload.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Summary {
    /// For human readers: the contestant's name, and its setup where there are several.
    pub(crate) row: String,
    #[serde(skip)]
    pub(crate) balancer: Balancer,
    pub(crate) contestant: &'static str,
    pub(crate) servers: usize,
    pub(crate) rounds: usize,
    pub(crate) cpu: Option<Middle>,
    pub(crate) machine: Option<Middle>,
    pub(crate) rate: Option<Middle>,
    pub(crate) p50_us: Option<Middle>,
    pub(crate) p99_us: Option<Middle>,
    pub(crate) p999_us: Option<Middle>,
    pub(crate) added_us: Option<Middle>,
    pub(crate) memory_bytes: Option<Middle>,
    /// Failed requests. If there are any, the figures are of no value and are not averaged.
    pub(crate) failed: u64,
    pub(crate) reasons: Vec<String>,
    /// The telling figure of each round.
    #[serde(skip)]
    pub(crate) each: Vec<Option<f64>>,
}

impl Summary {
    pub(crate) fn of(row: String, balancer: Balancer, servers: usize, figure: Figure, samples: &[Sample]) -> Self {
        let failed = samples.iter().map(|sample| sample.failed).sum();
        let middle = |value: fn(&Sample) -> Option<f64>| {
            let values: Vec<f64> = samples.iter().filter_map(value).collect();
            (failed == 0).then(|| Middle::of(values)).flatten()
        };
        let reasons = samples.iter().flat_map(|sample| sample.reasons.clone());
        Self {
            row,
            balancer,
            contestant: balancer.name(),
            servers,
            rounds: samples.len(),
            cpu: middle(|sample| sample.cpu),
            machine: middle(|sample| sample.machine),
            rate: middle(|sample| sample.rate),
            p50_us: middle(|sample| sample.p50),
            p99_us: middle(|sample| sample.p99),
            p999_us: middle(|sample| sample.p999),
            added_us: middle(|sample| sample.added),
            memory_bytes: middle(|sample| sample.memory),
            failed,
            reasons: reasons.take(3).collect(),
            each: samples.iter().map(|sample| sample.figure(figure)).collect(),
        }
    }

    /// The median of the ratios within each round, which excludes changes of the machine from round to round. `None`: a
    /// round of one of them failed.
    pub(crate) fn by_rounds(&self, other: &Self) -> Option<f64> {
        let rounds = self.each.iter().zip(&other.each);
        let ratios: Option<Vec<f64>> = rounds.map(|(mine, others)| Some((*mine)? / (*others)?)).collect();
        Some(Middle::of(ratios?)?.median)
    }
}

impl Middle {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let median = quantile(&values, 0.5)?;
        let between = quantile(&values, 0.75)? - quantile(&values, 0.25)?;
        let spread_percent = if median == 0.0 { 0.0 } else { between / 2.0 / median.abs() * 100.0 };
        Some(Self { median, spread_percent })
    }
}

/// A quantile of sorted values, interpolated.
fn quantile(sorted: &[f64], quantile: f64) -> Option<f64> {
    // A handful of rounds: exact, and never negative.
    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let (at, below) = {
        let at = quantile * sorted.len().saturating_sub(1) as f64;
        (at, at as usize)
    };
    let low = sorted.get(below)?;
    let high = sorted.get(below + 1).unwrap_or(low);
    Some(low + (high - low) * at.fract())
}
