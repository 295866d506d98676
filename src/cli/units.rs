//! Numbers as people read them.

use super::table::Cell;
use crate::sys::clock;

/// Three digits are enough for people: `0.12ms`, `12ms`, `3.4s`, `5min`.
pub(super) fn duration_ms(ms: f64) -> String {
    match ms {
        ms if ms < 10.0 => format!("{ms:.2}ms"),
        ms if ms < 1_000.0 => format!("{ms:.0}ms"),
        ms if ms < 120_000.0 => format!("{:.1}s", ms / 1_000.0),
        ms => format!("{:.0}min", ms / 60_000.0),
    }
}

/// Powers of 1,000, as network people count.
pub(super) fn bytes(count: u64) -> Cell {
    let mut number = count as f64;
    for unit in ["", "k", "M", "G", "T"] {
        if number < 999.5 {
            let digits = usize::from(!unit.is_empty() && number < 99.95);
            return Cell::right(format!("{number:.digits$}{unit}"));
        }
        number /= 1_000.0;
    }
    Cell::right(format!("{number:.1}P"))
}

/// How long something lasts: `850ms`, `12s`, `1m2s`, `3h4m`, `2d3h`.
pub(super) fn lasting(ms: u64) -> String {
    if ms < 1_000 { format!("{ms}ms") } else { clock::two_units(ms / 1_000) }
}
