//! `show info`: the process. What does not exist here is 0, so that programs find every key that they know.

use std::fmt::Write as _;

use super::json::push_field;
use super::row::Cell;
use crate::control::admin::Status;

/// A line: position, name, origin with nature and scope, value.
type InfoLine = (usize, &'static str, &'static str, Cell);

/// The version that programs compare: that of a HAProxy with the same answers, and ours.
pub(super) fn version(status: &Status) -> String {
    format!("2.8.0-lb{}", status.version)
}

/// The answer to `show info` with these words behind it; unknown ones have no meaning.
pub(super) fn show_info(status: &Status, words: &[&str]) -> String {
    let lines = lines(status);
    let (mut is_typed, mut is_json) = (false, false);
    for word in words {
        (is_typed, is_json) = match *word {
            "typed" => (true, false),
            "json" => (false, true),
            _ => (is_typed, is_json),
        };
    }
    let mut out = String::new();
    if is_json {
        for (position, name, typed, cell) in lines {
            out += if out.is_empty() { "[{" } else { ",{" };
            push_field(&mut out, (position, name), typed, &cell);
        }
        return out + "]\n";
    }
    for (position, name, typed, cell) in lines {
        let written = match is_typed {
            true => writeln!(out, "{position}.{name}.1:{typed}:{}:{cell}", cell.kind()),
            false => writeln!(out, "{name}: {cell}"),
        };
        written.expect("a string takes it");
    }
    out
}

fn lines(status: &Status) -> Vec<InfoLine> {
    let [product, identity, process, transfer] = [product(status), identity(status), process(status), transfer(status)];
    let nothing = NOTHING.iter().map(|(position, name, typed)| (*position, *name, *typed, Cell::U32(0)));
    let nothing =
        nothing.chain(NO_BYTES.iter().map(|(position, name, typed)| (*position, *name, *typed, Cell::U64(0))));
    let mut lines: Vec<InfoLine> =
        product.into_iter().chain(identity).chain(process).chain(transfer).chain(nothing).collect();
    lines.sort_by_key(|(position, ..)| *position);
    lines
}

fn product(status: &Status) -> Vec<InfoLine> {
    vec![
        (0, "Name", "POS", text("lb")),
        (1, "Version", "POS", text(version(status))),
        (2, "Release_date", "POS", text(&*status.process.released)),
        (50, "node", "COS", text(&*status.process.node)),
        (66, "Build info", "POS", text(version(status))),
        (71, "Tainted", "SGP", text("0")),
    ]
}

fn identity(status: &Status) -> Vec<InfoLine> {
    let up = status.uptime_s;
    let (days, hours, minutes, seconds) = (up / 86400, up / 3600 % 24, up / 60 % 60, up % 60);
    vec![
        (3, "Nbthread", "CGS", number(status.threads.into())),
        (4, "Nbproc", "CGS", number(1)),
        (5, "Process_num", "KGP", number(1)),
        (6, "Pid", "SGP", number(status.engine_pid.into())),
        (7, "Uptime", "MDP", text(format!("{days}d {hours}h{minutes:02}m{seconds:02}s"))),
        (8, "Uptime_sec", "MDP", number(up)),
        (70, "Start_time_sec", "MDP", number(status.process.started_at)),
    ]
}

fn process(status: &Status) -> Vec<InfoLine> {
    let process = &status.process;
    vec![
        (13, "Ulimit-n", "CLP", number(process.descriptors_max)),
        (14, "Maxsock", "CLP", number(process.descriptors_max)),
        (15, "Maxconn", "CLP", number(status.maxconn)),
        (16, "Hard_maxconn", "CLP", number(status.maxconn)),
        (23, "Maxpipes", "CLP", number(process.pipes_max)),
        (24, "PipesUsed", "MGP", number(process.pipes)),
        (47, "Tasks", "MGP", number(process.tasks)),
        (49, "Idle_pct", "MaP", number(process.idle_percent)),
        (52, "Stopping", "MGP", number(process.stopping.into())),
        (53, "Jobs", "MGP", number(status.sessions + process.listeners)),
        (55, "Listeners", "MGP", number(process.listeners)),
        (58, "DroppedLogs", "MGP", number(status.losses.log_lines_dropped)),
    ]
}

fn transfer(status: &Status) -> Vec<InfoLine> {
    let process = &status.process;
    vec![
        (17, "CurrConns", "MGP", number(status.sessions)),
        (18, "CumConns", "MCP", number(status.sessions_total)),
        (19, "CumReq", "MCP", number(status.sessions_total)),
        (26, "ConnRate", "MRP", number(process.pace.rate)),
        (28, "MaxConnRate", "MMP", number(process.pace.rate_max)),
        (29, "SessRate", "MRP", number(process.pace.rate)),
        (31, "MaxSessRate", "MRP", number(process.pace.rate_max)),
        (61, "TotalBytesOut", "MGP", Cell::U64(process.bytes_out)),
        (63, "BytesOutRate", "MRP", Cell::U64(process.bytes_out_rate)),
    ]
}

fn number(value: u64) -> Cell {
    Cell::U32(value.min(u32::MAX.into()))
}

fn text(value: impl Into<String>) -> Cell {
    Cell::Text(value.into())
}

/// What lb does not have.
const NOTHING: &[(usize, &str, &str)] = &[
    (9, "Memmax_MB", "CLP"),
    (10, "PoolAlloc_MB", "MGP"),
    (11, "PoolUsed_MB", "MGP"),
    (12, "PoolFailed", "MCP"),
    (20, "MaxSslConns", "MMP"),
    (21, "CurrSslConns", "MGP"),
    (22, "CumSslConns", "MCP"),
    (25, "PipesFree", "MGP"),
    (27, "ConnRateLimit", "CLP"),
    (30, "SessRateLimit", "CLP"),
    (32, "SslRate", "MRP"),
    (33, "SslRateLimit", "CLP"),
    (34, "MaxSslRate", "MMP"),
    (35, "SslFrontendKeyRate", "MGP"),
    (36, "SslFrontendMaxKeyRate", "MMP"),
    (37, "SslFrontendSessionReuse_pct", "MGP"),
    (38, "SslBackendKeyRate", "MRP"),
    (39, "SslBackendMaxKeyRate", "MMP"),
    (40, "SslCacheLookups", "MCP"),
    (41, "SslCacheMisses", "MCP"),
    (42, "CompressBpsIn", "MRP"),
    (43, "CompressBpsOut", "MRP"),
    (44, "CompressBpsRateLim", "CLP"),
    (48, "Run_queue", "MGP"),
    (54, "Unstoppable Jobs", "MGP"),
    (56, "ActivePeers", "MGP"),
    (57, "ConnectedPeers", "MGP"),
    (59, "BusyPolling", "MGP"),
    (60, "FailedResolutions", "MGP"),
    (64, "DebugCommandsIssued", "MGP"),
    (65, "CumRecvLogs", "MCP"),
    (67, "Memmax_bytes", "CLP"),
];

const NO_BYTES: &[(usize, &str, &str)] = &[
    // HAProxy's spelling.
    (62, "TotalSplicdedBytesOut", "MGP"),
    (68, "PoolAlloc_bytes", "MGP"),
    (69, "PoolUsed_bytes", "MGP"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_in_order_and_every_position_is_used_once() {
        let status = Status { version: "0.1.0".into(), uptime_s: 90_061, sessions: 7, ..Status::default() };
        let text = show_info(&status, &[]);
        assert!(text.starts_with("Name: lb\nVersion: 2.8.0-lb0.1.0\nRelease_date: "), "{text}");
        assert!(
            text.contains("\nUptime: 1d 1h01m01s\nUptime_sec: 90061\n") && text.contains("\nCurrConns: 7\n"),
            "{text}"
        );
        let typed = show_info(&status, &["typed"]);
        let positions: Vec<usize> =
            typed.lines().map(|line| line.split('.').next().unwrap().parse().unwrap()).collect();
        // 45 and 46 are zlib's, which a HAProxy without it leaves out; 51 is the description of the node.
        let all: Vec<usize> = (0..72).filter(|position| ![45, 46, 51].contains(position)).collect();
        assert_eq!(positions, all);
        assert!(typed.contains("\n8.Uptime_sec.1:MDP:u32:90061\n"), "{typed}");
        let json: serde_json::Value = serde_json::from_str(&show_info(&status, &["typed", "json"])).unwrap();
        assert_eq!(json[0]["value"]["value"], "lb");
        assert_eq!(json.as_array().unwrap().len(), all.len());
    }
}
