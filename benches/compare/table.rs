//! Output for human readers: a table for each workload, and its verdicts.

use super::balancer::Balancer;
use super::sample::{Middle, Summary};
use super::verdict::{self, Verdict};
use super::workload::{Against, Figure, Unit, Workload};

/// Prints the rows of a workload under a heading, and the verdicts below them.
pub(crate) fn print(workload: &Workload, rows: &[Summary], verdicts: &[Verdict]) {
    let rounds = rows.iter().map(|row| row.rounds).max().unwrap_or(0);
    println!("\n{}: {} ({rounds} rounds)", workload.name, workload.about);
    let (cpu, scale) = match workload.unit {
        Unit::Connection => ("µs/conn", 1.0),
        Unit::Request => ("µs/req", 1.0),
        Unit::GibiByte => ("ms/GiB", 1e-3),
        Unit::IdleSession => ("µs/s", 1.0),
    };
    let special = match workload.figure {
        Figure::Memory => "B/session",
        Figure::Added => "added µs",
        _ => "",
    };
    println!(
        "  {:<16}{cpu:>13}{:>13}{:>13}{:>13}{:>13}{:>13}{special:>13}{:>7}{:>7}",
        "", "machine", "rate/s", "p50 µs", "p99 µs", "p99.9 µs", "failed", "lb/",
    );
    for row in rows {
        println!(
            "  {:<16}{:>13}{:>13}{:>13}{:>13}{:>13}{:>13}{:>13}{:>7}{:>7}",
            row.row,
            spread(row.cpu, scale),
            spread(row.machine, scale),
            spread(row.rate, 1.0),
            spread(row.p50_us, 1.0),
            spread(row.p99_us, 1.0),
            spread(row.p999_us, 1.0),
            spread(row.added_us.or(row.memory_bytes), 1.0),
            row.failed,
            ratio(workload, rows, row),
        );
        if row.failed > 0 {
            println!("      FAILED, not averaged: {}", row.reasons.join("; "));
        }
    }
    for verdict in verdicts {
        let repeated = verdict.goal.is_none()
            && verdict.kind == Against::Haproxy
            && verdict.against.as_deref() == better_of(verdict, verdicts);
        if !repeated {
            println!("  {}", sentence(verdict, scale));
        }
    }
}

/// The row that served as the better peer of the same row.
fn better_of<'a>(of: &Verdict, verdicts: &'a [Verdict]) -> Option<&'a str> {
    let better = verdicts.iter().find(|verdict| verdict.row == of.row && verdict.kind == Against::Better);
    better?.against.as_deref()
}

/// The ratio of the telling figure, `lb` to this row.
fn ratio(workload: &Workload, rows: &[Summary], row: &Summary) -> String {
    let lb = verdict::find(rows, Balancer::Lb, row.servers);
    let lb = lb.and_then(|lb| verdict::value(lb, workload.figure));
    match (lb, verdict::value(row, workload.figure)) {
        (Some(lb), Some(value)) if value != 0.0 => format!("{:.2}", lb / value),
        _ => String::new(),
    }
}

fn sentence(verdict: &Verdict, scale: f64) -> String {
    let Verdict { row, figure, .. } = verdict;
    let value = match (verdict.value, &verdict.against) {
        (Some(value), Some(other)) => format!("{value:.2} of {other}"),
        (Some(value), None) => number(value * scale),
        (None, _) => "unknown: a contestant failed or is absent".to_owned(),
    };
    let goal = match (&verdict.goal, verdict.met) {
        (None, _) => String::new(),
        (Some(goal), Some(true)) => format!("; goal {goal}: met"),
        (Some(goal), Some(false)) => format!("; goal {goal}: MISSED"),
        (Some(goal), None) => format!("; goal {goal}: not judged"),
    };
    let by_rounds = verdict.by_rounds.filter(|_| verdict.value.is_some());
    let by_rounds = by_rounds.map_or_else(String::new, |ratio| format!(" ({ratio:.2} by rounds)"));
    format!("{row}: {figure}: {value}{by_rounds}{goal}")
}

pub(super) fn spread(middle: Option<Middle>, scale: f64) -> String {
    let shown = |m: Middle| format!("{} ±{:.0}%", number(m.median * scale), m.spread_percent);
    middle.map_or_else(String::new, shown)
}

/// Three significant digits.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
