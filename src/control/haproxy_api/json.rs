//! Rows and values as HAProxy's JSON.

use std::fmt::Write as _;

use serde_json::json;

use super::row::{Cell, Row};

/// A list of rows, each a list of values. Written by hand, since a thousand servers have a hundred thousand values, and with
/// the keys in HAProxy's order.
pub(super) fn rows(rows: &[Row]) -> String {
    let mut out = String::from("[");
    for row in rows {
        out += if out.len() > 1 { ",[" } else { "[" };
        for (index, (column, cell)) in row.cells().enumerate() {
            let (comma, kind) = (if index > 0 { "," } else { "" }, row.kind.word());
            let about = format_args!("\"objType\":\"{kind}\",\"proxyId\":{},\"id\":{},", row.iid, row.sid);
            write!(out, "{comma}{{{about}").expect("a string takes it");
            push_field(&mut out, (column as usize, column.name()), row.typed(column), cell);
        }
        out.push(']');
    }
    out + "]\n"
}

/// The rest of an object about a value: where it stands, what it is, and it.
pub(super) fn push_field(out: &mut String, (position, name): (usize, &str), typed: &str, cell: &Cell) {
    let [origin, nature, scope] = tags(typed);
    let field = format_args!("\"field\":{{\"pos\":{position},\"name\":\"{name}\"}},\"processNum\":1");
    let tags = format_args!("\"tags\":{{\"origin\":\"{origin}\",\"nature\":\"{nature}\",\"scope\":\"{scope}\"}}");
    let written = write!(out, "{field},{tags},\"value\":{{\"type\":\"{}\",\"value\":", cell.kind());
    written.expect("a string takes it");
    match cell {
        Cell::Text(text) => *out += &json!(text).to_string(),
        number => write!(out, "{number}").expect("a string takes it"),
    }
    *out += "}}";
}

/// The three letters in words.
fn tags(typed: &str) -> [&'static str; 3] {
    let letter = |index: usize| typed.as_bytes().get(index).copied().unwrap_or(b' ');
    let origin = match letter(0) {
        b'M' => "Metric",
        b'S' => "Status",
        b'K' => "Key",
        b'C' => "Config",
        _ => "Product",
    };
    let nature = match letter(1) {
        b'A' => "Age",
        b'a' => "Avg",
        b'C' => "Counter",
        b'D' => "Duration",
        b'G' => "Gauge",
        b'L' => "Limit",
        b'M' => "Max",
        b'm' => "Min",
        b'N' => "Name",
        b'O' => "Output",
        _ => "Rate",
    };
    let scope = match letter(2) {
        b'C' => "Cluster",
        b'P' => "Process",
        b'S' => "Service",
        _ => "System",
    };
    [origin, nature, scope]
}
