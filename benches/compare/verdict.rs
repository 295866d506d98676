//! What was reached: ratios of medians, `lb` to the better of HAProxy and nginx.

use serde::Serialize;

use super::sample::{Middle, Summary};
use super::workload::{Figure, Workload};

#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verdict {
    pub(crate) workload: String,
    /// The figure and whom `lb` is compared with.
    pub(crate) what: String,
    pub(crate) ratio: f64,
    pub(crate) at_most: f64,
}

impl Verdict {
    pub(crate) fn reached(&self) -> bool {
        self.ratio <= self.at_most
    }

    /// `None`: no goal, nobody to compare with, or a failure on one of the sides.
    pub(crate) fn of(workload: &Workload, rows: &[Summary]) -> Option<Self> {
        let goal = workload.goal?;
        let value = |name: &str| {
            let row = rows.iter().find(|row| row.contestant == name)?;
            figure(row, goal.figure)
        };
        let peers = ["haproxy", "nginx"].map(|name| value(name).map(|value| (value, name)));
        let (best, whose) = peers
            .into_iter()
            .flatten()
            .min_by(|a, b| a.0.total_cmp(&b.0))?;
        Some(Self {
            workload: workload.name.clone(),
            what: format!("{} against {whose}", goal.figure.name()),
            ratio: value("lb")? / best,
            at_most: goal.at_most,
        })
    }

    /// A thousand servers against three, `lb` with itself.
    pub(crate) fn flat(
        name: &str,
        at_most: f64,
        few: &[Summary],
        many: &[Summary],
    ) -> Option<Self> {
        let cpu = |rows: &[Summary]| {
            let row = rows.iter().find(|row| row.contestant == "lb")?;
            Some(row.cpu?.median)
        };
        Some(Self {
            workload: name.to_owned(),
            what: "cpu, 1,000 against 3 servers".to_owned(),
            ratio: cpu(many)? / cpu(few)?,
            at_most,
        })
    }
}

fn figure(row: &Summary, figure: Figure) -> Option<f64> {
    let median = |middle: Option<Middle>| middle.map(|middle| middle.median);
    match figure {
        Figure::Cpu => median(row.cpu),
        Figure::P50 => median(row.p50_us),
        Figure::P99 => median(row.p99_us),
        Figure::Memory => median(row.memory_bytes),
        Figure::Pace => median(row.rate).map(|rate| 1.0 / rate),
    }
}

impl Figure {
    fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Memory => "memory",
            Self::Pace => "time",
        }
    }
}
