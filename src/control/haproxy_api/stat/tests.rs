use super::*;
use crate::control::admin::status::{
    CheckPosition, CheckReport, ResultReport, ServerReport, ServerSettings, ServerStatus, Traffic,
};
use crate::control::haproxy_api::column::Column;

/// A `listen` behind a backend of its own.
fn status() -> Status {
    let server = |id, name: &str, status| ServerReport {
        name: name.into(),
        addr: "10.0.0.1:80".into(),
        status,
        weight: 1,
        settings: ServerSettings { id, weight: 1, ..ServerSettings::default() },
        ..ServerReport::default()
    };
    let last = ResultReport {
        status: "L7STS/503".into(),
        source: "check".into(),
        cause: "status 503, expected 200-399".into(),
        duration_ms: 2.9,
        ..ResultReport::default()
    };
    let check = CheckReport {
        last: vec![last],
        position: Some(CheckPosition { level: 1, rise: 2, fall: 3 }),
        failed_while_up: 4,
        ..CheckReport::default()
    };
    let down = ServerReport { check, ..server(1, "d", ServerStatus::Down) };
    let traffic = Traffic { failed: 3, connects: 9, ..Traffic::default() };
    let app = BackendReport {
        id: 2,
        name: "app".into(),
        servers: vec![down, server(2, "m", ServerStatus::Maint), server(3, "u", ServerStatus::Up)],
        traffic,
        balance: "roundrobin".into(),
        ..BackendReport::default()
    };
    let both = BackendReport { id: 3, name: "both".into(), ..BackendReport::default() };
    let frontend = |id, name: &str, backend: &str| FrontendReport {
        id,
        name: name.into(),
        backend: backend.into(),
        maxconn: 100,
        sessions_total: 7,
        request_errors: 2,
        ..FrontendReport::default()
    };
    Status {
        backends: vec![both, app],
        frontends: vec![frontend(3, "both", "both"), frontend(4, "web", "app")],
        ..Status::default()
    }
}

fn names(words: &[&str]) -> Vec<String> {
    let status = status();
    let text = show_stat(&status, words, true);
    let name = |line: &str| line.split(',').take(2).collect::<Vec<_>>().join("/");
    text.lines().filter(|line| !line.starts_with('#')).map(name).collect()
}

#[test]
fn rows_are_in_the_order_of_the_file_and_can_be_asked_for_by_number() {
    let all = ["app/d", "app/m", "app/u", "app/BACKEND", "both/FRONTEND", "both/BACKEND", "web/FRONTEND"];
    assert_eq!(names(&[]), all);
    for (words, expected) in [
        (&["-1", "4", "-1"][..], &["app/d", "app/m", "app/u"][..]),
        (&["app", "4", "3"], &["app/u"]),
        (&["2", "2", "0"], &["app/BACKEND"]),
        (&["3", "3", "-1", "up"], &["both/FRONTEND", "both/BACKEND"]),
        (&["domain", "proxy", "4x", "-1", "-1"], &["web/FRONTEND"]),
        (&["9", "-1", "-1"], &[]),
        (&["domain", "resolvers"], &[]),
        (&["nope", "-1", "-1"], &["No such proxy."]),
        (&["domain", "x"], &["Invalid statistics domain."]),
        (&["no-maint"], &["app/d", "app/u", "app/BACKEND", "both/FRONTEND", "both/BACKEND", "web/FRONTEND"]),
        // What is about to come up is not DOWN.
        (&["up"], &["app/d", "app/u", "app/BACKEND", "both/FRONTEND", "both/BACKEND", "web/FRONTEND"]),
    ] {
        assert_eq!(names(words), expected, "{words:?}");
    }
}

#[test]
fn every_row_has_as_many_columns_as_the_header() {
    let text = show_stat(&status(), &[], true);
    let commas = |line: &str| line.matches(',').count();
    let header = commas(text.lines().next().unwrap());
    assert_eq!(header, Column::ALL.len() + 1);
    for line in text.lines() {
        // The one text with a comma is quoted.
        let quoted = line.matches('"').count() / 2;
        assert_eq!(commas(line), header + quoted, "{line}");
    }
}

#[test]
fn columns_have_what_haproxy_counts() {
    let rows = StatQuery::default().rows(&status());
    let shown = |row: usize, column| rows[row].get(column).map(ToString::to_string).unwrap_or_default();
    let down = [Column::Status, Column::CheckStatus, Column::CheckCode, Column::CheckDuration, Column::LastChk];
    let down = down.map(|column| shown(0, column));
    assert_eq!(down, ["DOWN 1/2", "L7STS", "503", "2", "Status 503, expected 200-399"]);
    assert_eq!([shown(0, Column::Chkfail), shown(0, Column::CheckHealth), shown(0, Column::Addr)], ["4", "1", ""]);
    assert_eq!([shown(1, Column::Status), shown(2, Column::Status)], ["MAINT", "no check"]);
    assert_eq!([shown(2, Column::Chkfail), shown(2, Column::Lastsess)], ["", "-1"]);
    let backend = [Column::Econ, Column::Slim, Column::Status, Column::Act, Column::Weight, Column::Algo];
    assert_eq!(backend.map(|column| shown(3, column)), ["3", "10", "UP", "1", "1", "roundrobin"]);
    let frontend = [Column::Stot, Column::ConnTot, Column::Status, Column::Slim];
    assert_eq!(frontend.map(|column| shown(6, column)), ["5", "7", "OPEN", "100"]);
    let counted = show_stat(&status(), &["app", "2", "-1", "up"], true);
    assert!(counted.contains(",UP (1/3),"), "{counted}");
}
