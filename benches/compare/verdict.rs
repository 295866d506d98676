//! Verdicts: ratios of medians within one run, `lb` to its peers.

use serde::Serialize;

use super::balancer::Balancer;
use super::sample::{Middle, Summary};
use super::workload::{Against, Figure, Workload};

/// A figure of `lb`, or its ratio to that of another row.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verdict {
    pub(crate) workload: String,
    /// The row that the figure belongs to, as in the table.
    pub(crate) row: String,
    pub(crate) figure: &'static str,
    #[serde(skip)]
    pub(crate) kind: Against,
    /// The row that it is divided by; `None`: it is the figure itself.
    pub(crate) against: Option<String>,
    /// `None`: a contestant failed or is not available.
    pub(crate) value: Option<f64>,
    /// The same as the median of the rounds' ratios: printed beside it, without effect on the verdict.
    pub(crate) by_rounds: Option<f64>,
    /// The goal, as `≤ 0.96`.
    pub(crate) goal: Option<String>,
    /// `None`: there is no goal, or no value to judge by.
    pub(crate) met: Option<bool>,
}

/// All verdicts on a workload: its goals, and the ratios to the better peer and to HAProxy where there is no goal.
pub(crate) fn all(workload: &Workload, rows: &[Summary]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for setup in &workload.setups {
        let of = |balancer| find(rows, balancer, setup.servers);
        for subject in [Balancer::Lb, Balancer::LbDefer] {
            let Some(row) = of(subject) else { continue };
            for against in AGAINST {
                let goal = workload.goals.iter().find(|goal| goal.subject == subject && goal.against == against);
                let always = match against {
                    Against::Better | Against::Haproxy => true,
                    Against::Other => subject == Balancer::Lb && of(Balancer::Other).is_some(),
                    _ => false,
                };
                let first = setup.servers == workload.setups[0].servers;
                let absent = match against {
                    Against::Newest => of(Balancer::HaproxyNewest).is_none(),
                    Against::Sozu => of(Balancer::Sozu).is_none(),
                    Against::FirstSetup => first,
                    _ => false,
                };
                if goal.is_none() && !always || absent {
                    continue;
                }
                let other = match against {
                    Against::Better => better(workload.figure, of),
                    Against::Haproxy => of(Balancer::Haproxy),
                    Against::Newest => of(Balancer::HaproxyNewest),
                    Against::Sozu => of(Balancer::Sozu),
                    Against::Other => of(Balancer::Other),
                    Against::FirstSetup => find(rows, subject, workload.setups[0].servers),
                    Against::Nothing => None,
                };
                let mine = value(row, workload.figure);
                let value = match against {
                    Against::Nothing => mine,
                    _ => mine
                        .zip(other.and_then(|other| value(other, workload.figure)))
                        .map(|(mine, others)| mine / others),
                };
                verdicts.push(Verdict {
                    workload: workload.name.clone(),
                    row: row.row.clone(),
                    figure: workload.figure.name(workload.unit),
                    kind: against,
                    against: (against != Against::Nothing)
                        .then(|| other.map_or_else(String::new, |other| other.row.clone())),
                    value,
                    by_rounds: other.and_then(|other| row.by_rounds(other)),
                    goal: goal.map(|goal| goal.bound.to_string()),
                    met: goal.zip(value).map(|(goal, value)| goal.bound.holds(rounded(value))),
                });
            }
        }
    }
    verdicts
}

const AGAINST: [Against; 7] = [
    Against::Nothing,
    Against::Better,
    Against::Haproxy,
    Against::Newest,
    Against::Sozu,
    Against::Other,
    Against::FirstSetup,
];

pub(crate) fn find(rows: &[Summary], balancer: Balancer, servers: usize) -> Option<&Summary> {
    rows.iter().find(|row| row.balancer == balancer && row.servers == servers)
}

/// The better of HAProxy and nginx; one that failed does not count.
fn better<'a>(figure: Figure, of: impl Fn(Balancer) -> Option<&'a Summary>) -> Option<&'a Summary> {
    let peers = [Balancer::Haproxy, Balancer::Nginx].into_iter();
    let peers = peers.filter_map(|peer| {
        let row = of(peer)?;
        Some((row, value(row, figure)?))
    });
    let sign = if figure.more_is_better() { -1.0 } else { 1.0 };
    let best = peers.min_by(|a, b| (sign * a.1).total_cmp(&(sign * b.1)));
    best.map(|(row, _)| row)
}

/// The median of a figure.
pub(crate) fn value(row: &Summary, figure: Figure) -> Option<f64> {
    let middle = match figure {
        Figure::Cpu => row.cpu,
        Figure::Rate => row.rate,
        Figure::P99 => row.p99_us,
        Figure::Added => row.added_us,
        Figure::Memory => row.memory_bytes,
    };
    middle.map(|middle: Middle| middle.median)
}

/// As it is printed, so that no line reads `0.96, goal ≤ 0.96: missed`.
fn rounded(value: f64) -> f64 {
    (value * 100.0).round() / 100.0
}
