//! The answer for people: a table for each workload, and what was reached.

use super::sample::{Middle, Summary};
use super::verdict::Verdict;
use super::workload::{Unit, Workload};

/// Prints the rows of a workload under a heading.
pub(crate) fn print(workload: &Workload, rows: &[Summary]) {
    println!("\n{}: {}", workload.name, workload.about);
    let cpu = match workload.unit {
        Unit::Connection => "µs/conn",
        Unit::Request => "µs/req",
        Unit::GibiByte => "ms/GiB",
        Unit::IdleSession => "µs/s",
    };
    let last = if workload.unit == Unit::IdleSession {
        "B/session"
    } else {
        "p99.9 µs"
    };
    println!(
        "  {:<15}{cpu:>15}{:>15}{:>15}{:>11}{:>11}{last:>11}{:>7}{:>7}",
        "", "with load", "rate/s", "p50 µs", "p99 µs", "failed", "lb/",
    );
    let lb = rows
        .iter()
        .find(|row| row.contestant == "lb")
        .and_then(|row| row.cpu);
    let scale = if workload.unit == Unit::GibiByte {
        1e-3
    } else {
        1.0
    };
    for row in rows {
        let ratio = match (lb, row.cpu) {
            (Some(lb), Some(cpu)) if cpu.median > 0.0 => format!("{:.2}", lb.median / cpu.median),
            _ => String::new(),
        };
        println!(
            "  {:<15}{:>15}{:>15}{:>15}{:>11}{:>11}{:>11}{:>7}{ratio:>7}",
            row.contestant,
            spread(row.cpu, scale),
            spread(row.machine, scale),
            spread(row.rate, 1.0),
            plain(row.p50_us),
            plain(row.p99_us),
            plain(row.memory_bytes.or(row.p999_us)),
            row.failed,
        );
        if !row.reasons.is_empty() {
            println!("      not averaged: {}", row.reasons.join("; "));
        }
    }
}

/// Prints which goals were reached.
pub(crate) fn conclude(verdicts: &[Verdict]) {
    if verdicts.is_empty() {
        return;
    }
    println!(
        "\n{:<20}{:<26}{:>8}{:>9}",
        "workload", "figure", "ratio", "to reach"
    );
    for verdict in verdicts {
        println!(
            "{:<20}{:<26}{:>8.2}{:>9.2}  {}",
            verdict.workload,
            verdict.what,
            verdict.ratio,
            verdict.at_most,
            if verdict.reached() { "ok" } else { "MISSED" }
        );
    }
}

fn spread(middle: Option<Middle>, scale: f64) -> String {
    let shown = |m: Middle| format!("{} ±{:.0}%", number(m.median * scale), m.spread_percent);
    middle.map_or_else(String::new, shown)
}

fn plain(middle: Option<Middle>) -> String {
    middle.map_or_else(String::new, |middle| number(middle.median))
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        small if small < 10.0 => format!("{value:.2}"),
        middle if middle < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}
