//! The whole run in one Markdown table: the telling figure of each workload.

use super::balancer::Balancer;
use super::sample::Summary;
use super::table::number;
use super::verdict::{self, Verdict};
use super::workload::{Against, Figure, Unit, Workload};

/// Prints the table.
pub(crate) fn print(done: &[(Workload, Vec<Summary>, Vec<Verdict>)]) {
    println!("\n| workload | figure | lb | HAProxy | nginx | lb / better | lb / HAProxy | goal | |");
    println!("|---|---|--:|--:|--:|--:|--:|---|---|");
    for (workload, rows, verdicts) in done {
        for setup in &workload.setups {
            for subject in [Balancer::Lb, Balancer::LbDefer] {
                if let Some(row) = verdict::find(rows, subject, setup.servers) {
                    println!("{}", line(workload, rows, row, verdicts));
                }
            }
        }
    }
}

fn line(workload: &Workload, rows: &[Summary], row: &Summary, verdicts: &[Verdict]) -> String {
    let shown = |balancer: Balancer| match verdict::find(rows, balancer, row.servers) {
        None => "absent".to_owned(),
        Some(row) if row.failed > 0 => "failed".to_owned(),
        Some(row) => {
            let value = verdict::value(row, workload.figure);
            value.map_or_else(String::new, |value| number(value * scale(workload)))
        }
    };
    let mine: Vec<&Verdict> = verdicts.iter().filter(|v| v.row == row.row).collect();
    let ratio = |kind: Against| {
        let found = mine.iter().find(|verdict| verdict.kind == kind);
        let value = found.and_then(|verdict| verdict.value);
        value.map_or_else(String::new, |value| format!("{value:.2}"))
    };
    let goals: Vec<String> = mine.iter().filter_map(|verdict| goal(verdict)).collect();
    let judged: Vec<Option<bool>> =
        mine.iter().filter(|verdict| verdict.goal.is_some()).map(|verdict| verdict.met).collect();
    let met = if judged.is_empty() {
        ""
    } else if judged.contains(&Some(false)) {
        "missed"
    } else if judged.contains(&None) {
        "not judged"
    } else {
        "met"
    };
    let option = match row.balancer {
        Balancer::LbDefer => " with `defer_accept`",
        _ => "",
    };
    let servers = match workload.setups.as_slice() {
        [_] => String::new(),
        _ => format!(", {} servers", row.servers),
    };
    format!(
        "| {}{servers}{option} | {} | {} | {} | {} | {} | {} | {} | {met} |",
        workload.name,
        workload.figure.name(workload.unit),
        shown(row.balancer),
        shown(Balancer::Haproxy),
        shown(Balancer::Nginx),
        ratio(Against::Better),
        ratio(Against::Haproxy),
        goals.join(", "),
    )
}

/// As `≤ 0.93 of HAProxy`; the better peer is not named.
fn goal(verdict: &Verdict) -> Option<String> {
    let goal = verdict.goal.as_ref()?;
    Some(match (verdict.kind, verdict.value) {
        (Against::Haproxy, _) => format!("{goal} of HAProxy"),
        (Against::Newest, Some(value)) => format!("{goal} of the newest HAProxy (is {value:.2})"),
        (Against::Sozu, Some(value)) => format!("{goal} of sozu (is {value:.2})"),
        (Against::FirstSetup, Some(value)) => format!("{goal} of 3 servers (is {value:.2})"),
        _ => goal.clone(),
    })
}

fn scale(workload: &Workload) -> f64 {
    if workload.unit == Unit::GibiByte && workload.figure == Figure::Cpu { 1e-3 } else { 1.0 }
}
