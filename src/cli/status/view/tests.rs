//! What the page shows.

use super::*;
use crate::control::admin::status::{
    CheckReport, FrontendReport, ResultReport, ServerTimes, StatusPhase, Traffic, UpgradeReport,
};

fn status() -> Status {
    let last = ResultReport {
        ok: false,
        status: "L4CON".into(),
        cause: "connection refused".into(),
        duration_ms: 0.1234,
        source: "check".into(),
        age_ms: 1_200,
    };
    let check =
        CheckReport { status: "L4CON".into(), health: "DOWN 0/2".into(), last: vec![last], ..CheckReport::default() };
    let down = ServerReport {
        name: "b".into(),
        addr: "127.0.0.1:2".into(),
        status: ServerStatus::Down,
        check,
        ..ServerReport::default()
    };
    let up = ServerReport {
        name: "a".into(),
        addr: "127.0.0.1:1".into(),
        status: ServerStatus::Up,
        traffic: Traffic { sessions: 3, bytes_out: 123_456_789, ..Traffic::default() },
        maxconn: 10,
        times: ServerTimes {
            connect_ms: Percentiles { p50: 0.2, p90: 1.0, p99: 25.4, max: 1_500.0, mean: 0.4 },
            ..ServerTimes::default()
        },
        ..ServerReport::default()
    };
    let backend = BackendReport {
        name: "app".into(),
        balance: "roundrobin".into(),
        servers: vec![up, down],
        ..BackendReport::default()
    };
    let frontend = FrontendReport {
        name: "web".into(),
        bind: vec!["0.0.0.0:80".into(), "[::]:80".into()],
        ..FrontendReport::default()
    };
    Status {
        version: "0.1.0".into(),
        pid: 7,
        generation: 2,
        uptime_s: 3_725,
        maxconn: 4096,
        upgrade: Some(UpgradeReport { phase: StatusPhase::Probation, elapsed_ms: 1_500 }),
        etcd: Some(EtcdSummary { connected: true, last_error: Some("no answer".into()), revision: 12 }),
        frontends: vec![frontend],
        backends: vec![backend],
        ..Status::default()
    }
}

#[test]
fn the_page_shows_what_an_operator_needs() {
    let page = page(&status(), false);
    let expected = [
        "lb 0.1.0  pid 7  generation 2  up 1h 2m 5s  sessions 0/4096",
        "upgrade: probation for 1.5s",
        "etcd: connected true, last_error no answer, revision 12\n",
        "0.0.0.0:80 [::]:80",
        "app/a",
        "3/10",
        "123M",
        "0.20ms/25ms",
        "app/b",
        "DOWN 0/2",
        "L4CON connection refused in 0.12ms, 1.2s ago",
        "1/2",
    ];
    for words in expected {
        assert!(page.contains(words), "no {words:?} in\n{page}");
    }
    assert!(!page.contains('\x1b'));
}

#[test]
fn an_empty_status_is_a_page_too() {
    assert!(page(&Status::default(), true).contains("SERVER"));
}

#[test]
fn bytes_have_three_digits() {
    let table = [
        (0, "0"),
        (999, "999"),
        (1_000, "1.0k"),
        (99_949, "99.9k"),
        (100_000, "100k"),
        (999_600, "1.0M"),
        (u64::MAX, "18446.7P"),
    ];
    for (count, text) in table {
        let mut table = Table::new(&["N"]);
        table.row(vec![bytes(count)]);
        assert_eq!(table.render(false), format!("N\n{}{text}\n", ""), "{count}");
    }
}
