//! What HAProxy's socket shows of traffic, beside HAProxy 2.6: the same file, the same servers and the same sessions to both,
//! and then every column compared.

mod cases;
mod side;

use std::collections::BTreeSet;
use std::time::Duration;

use self::cases::{CASES, Servers};
use self::side::{Rows, Side};
use crate::support::client::HANG;
use crate::support::wait::eventually_eq;

/// Columns that count or tell the same in both. The others are times and rates, or depend on when bytes arrive.
const SAME: &[&str] = &[
    "qcur",
    "qmax",
    "scur",
    "smax",
    "slim",
    "stot",
    "dreq",
    "dresp",
    "ereq",
    "econ",
    "eresp",
    "wretr",
    "wredis",
    "status",
    "weight",
    "act",
    "bck",
    "chkfail",
    "chkdown",
    "qlimit",
    "pid",
    "iid",
    "sid",
    "throttle",
    "lbtot",
    "tracked",
    "type",
    "rate_lim",
    "check_status",
    "check_code",
    "cli_abrt",
    "srv_abrt",
    "last_chk",
    "rtime",
    "check_desc",
    "check_rise",
    "check_fall",
    "check_health",
    "agent_status",
    "agent_code",
    "last_agt",
    "agent_desc",
    "agent_rise",
    "agent_fall",
    "agent_health",
    "addr",
    "mode",
    "algo",
    "conn_tot",
    "dcon",
    "dses",
    "wrew",
    "connect",
    "reuse",
    "rtime_max",
    "eint",
    "uweight",
];

/// Of sessions that reach a server.
const BYTES: &[&str] = &["bin", "bout"];

/// In milliseconds, or seconds. (Of `downtime` HAProxy forgets what was MAINT when that is over.)
const TIMES: &[(&str, i64)] = &[("qtime_max", 500), ("ctime_max", 500), ("ttime_max", 1000), ("lastchg", 3)];

const SOON: Duration = Duration::from_secs(5);

/// The first columns, which are the same in all versions.
const COMMON: usize = 103;

fn both() -> [Side; 2] {
    let servers = Servers::start();
    let sides = [Side::haproxy(&servers), Side::lb(&servers)];
    std::thread::scope(|scope| {
        for side in &sides {
            scope.spawn(|| CASES.iter().for_each(|case| (case.drive)(side, side.addr(case.name))));
        }
    });
    sides
}

#[test]
fn every_column_counts_as_in_haproxy() {
    let [haproxy, lb] = &both();
    assert_same(haproxy, lb, &[SAME, BYTES].concat());
    assert_near(haproxy, lb, TIMES);
    assert_near(haproxy, lb, &[("downtime", 3)]);
    answers_have_the_form_of_haproxy(haproxy, lb);
    rows_are_chosen_as_by_haproxy(haproxy, lb);
    servers_are_kept_as_by_haproxy(haproxy, lb);
}

#[test]
fn what_the_operator_does_shows_as_in_haproxy() {
    let [haproxy, lb] = &both();
    for command in [
        "set server checked/a state drain",
        "set server checked/a state maint",
        "set server leastconn/b state maint",
        "set server leastconn/a state drain",
        "set weight maint/b 50%",
        "set server maint/a state ready",
        "set server backup/b state maint",
        "set weight leastconn/c 7",
        "set server checked/a state ready",
        "disable server agent/a",
        "enable server leastconn/b",
    ] {
        [haproxy, lb].iter().for_each(|side| assert_eq!(side.ask(command).trim(), "", "{command}"));
        assert_same(haproxy, lb, SAME);
        assert_near(haproxy, lb, TIMES);
        servers_are_kept_as_by_haproxy(haproxy, lb);
    }
}

/// Columns that are equal soon: sessions that have just ended are not counted yet, and checks are to come.
fn assert_same(haproxy: &Side, lb: &Side, columns: &[&str]) {
    let differences = || {
        let mut differ = Vec::new();
        for_each_pair(haproxy, lb, columns, |name, column, theirs, ours| {
            if theirs != ours && (!BYTES.contains(&column) || CASES.iter().any(|case| case.bytes && case.owns(name))) {
                differ.push(format!("{name}: {column} {theirs:?} {ours:?}"));
            }
        });
        differ
    };
    eventually_eq(SOON, Vec::<String>::new(), differences);
}

/// Times that are equal but for what a busy machine adds.
fn assert_near(haproxy: &Side, lb: &Side, bands: &[(&str, i64)]) {
    let columns: Vec<_> = bands.iter().map(|(column, _)| *column).collect();
    let mut wrong = Vec::new();
    for_each_pair(haproxy, lb, &columns, |name, column, theirs, ours| {
        let band = bands.iter().find(|(banded, _)| *banded == column).map_or(0, |(_, band)| *band);
        let numbers = theirs.parse::<i64>().ok().zip(ours.parse::<i64>().ok());
        if !numbers.map_or(theirs == ours, |(theirs, ours)| (theirs - ours).abs() <= band) {
            wrong.push(format!("{name}: {column} {theirs:?} {ours:?}"));
        }
    });
    assert!(wrong.is_empty(), "column, HAProxy, lb:\n{}", wrong.join("\n"));
}

/// Calls `see` with row, column and both values.
fn for_each_pair(haproxy: &Side, lb: &Side, columns: &[&str], mut see: impl FnMut(&str, &str, &str, &str)) {
    let [theirs, ours] = [haproxy, lb].map(|side| side.rows(columns));
    let names = |rows: &Rows| rows.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&theirs), names(&ours));
    for ((name, theirs), (_, ours)) in theirs.iter().zip(&ours) {
        for (column, (theirs, ours)) in columns.iter().zip(theirs.iter().zip(ours)) {
            see(name, column, theirs, ours);
        }
    }
}

/// Header, and of each value its position, name, tags and type.
fn answers_have_the_form_of_haproxy(haproxy: &Side, lb: &Side) {
    let header = |side: &Side| {
        let answer = side.ask("show stat");
        let names = answer.lines().next().unwrap_or_default().split(',').map(str::to_owned);
        names.take(COMMON).collect::<Vec<_>>()
    };
    assert_eq!(header(haproxy), header(lb));
    let forms = |side: &Side| -> BTreeSet<String> {
        let answer = side.ask("show stat typed");
        let form = |line: &str| line.splitn(4, ':').take(3).collect::<Vec<_>>().join(":");
        let position = |line: &&str| line.split('.').nth(3).and_then(|at| at.parse().ok()).unwrap_or(usize::MAX);
        answer.lines().filter(|line| position(line) < COMMON).map(form).collect()
    };
    let [theirs, ours] = [haproxy, lb].map(forms);
    let (missing, more): (Vec<_>, Vec<_>) = (theirs.difference(&ours).collect(), ours.difference(&theirs).collect());
    assert!(missing.is_empty() && more.is_empty(), "missing {missing:#?}, more {more:#?}");
    let info = |side: &Side, command: &str| {
        let answer = side.ask(command);
        answer.lines().map(|line| line.split(": ").next().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(info(haproxy, "show info"), info(lb, "show info"));
    let typed = |side: &Side| {
        let answer = side.ask("show info typed");
        let form = |line: &str| line.splitn(4, ':').take(3).collect::<Vec<_>>().join(":");
        answer.lines().map(form).collect::<Vec<_>>()
    };
    assert_eq!(typed(haproxy), typed(lb));
    // The first object, without its value.
    for (command, begin) in [("show stat json", "[[{"), ("show info json", "[{")] {
        let [theirs, ours] = [haproxy, lb].map(|side| side.ask(command));
        let first = |text: &str| text.split("},{").next().unwrap().split("\"value\":\"").next().unwrap().to_owned();
        assert!(theirs.starts_with(begin), "{theirs}");
        assert_eq!(first(&theirs), first(&ours), "{command}");
        serde_json::from_str::<serde_json::Value>(&ours).unwrap();
    }
}

fn rows_are_chosen_as_by_haproxy(haproxy: &Side, lb: &Side) {
    for words in [
        "-1 4 -1",
        "-1 1 0",
        "fin 7 -1",
        "backup 4 2",
        "3 2 0",
        "3x 2 0",
        "999 -1 -1",
        "nope 7 -1",
        "domain x",
        "domain proxy fin -1 -1",
        "up",
        "no-maint",
        "-1 -1 -1 up no-maint",
        "fin 4",
        "bogus",
    ] {
        let rows = |side: &Side| {
            let answer = side.ask(&format!("show stat {words}"));
            let row = |line: &str| {
                let columns: Vec<_> = line.split(',').collect();
                [0, 1, 17].map(|at| columns.get(at).map_or(String::new(), |text| (*text).to_owned()))
            };
            answer.lines().map(row).collect::<Vec<_>>()
        };
        eventually_eq(HANG, rows(haproxy), || rows(lb));
    }
}

/// Without times, and the numbers of checks that come and go.
fn servers_are_kept_as_by_haproxy(haproxy: &Side, lb: &Side) {
    const TIME: usize = 9;
    // Of a server without checks: HAProxy sets it to 0 when it was in MAINT once.
    const HEALTH: usize = 12;
    let lines = |side: &Side, command: &str, most: usize| {
        let answer = side.ask(command);
        let line = |line: &str| {
            let fields: Vec<_> = line.split(' ').take(most).collect();
            let unchecked = fields.get(HEALTH + 1) == Some(&"0");
            let says = |at: usize| line.starts_with('#') || at != TIME && !(at == HEALTH && unchecked);
            let said = fields.iter().enumerate().filter(|(at, _)| says(*at)).map(|(_, field)| *field);
            said.collect::<Vec<_>>().join(" ")
        };
        answer.lines().map(line).collect::<Vec<_>>()
    };
    for (command, most) in [
        ("show servers state", 25),
        ("show servers state maint", 25),
        ("show servers state nope", 25),
        ("show servers conn", 6),
        ("show backend", 25),
    ] {
        // A check may have ended in between.
        let differences = || {
            let [theirs, ours] = [haproxy, lb].map(|side| lines(side, command, most));
            let differ = theirs.iter().zip(&ours).filter(|(theirs, ours)| theirs != ours);
            let differ: Vec<_> = differ.map(|(theirs, ours)| format!("{theirs}\n{ours}")).collect();
            if theirs.len() == ours.len() { differ } else { vec![theirs.join("\n"), ours.join("\n")] }
        };
        eventually_eq(SOON, Vec::<String>::new(), differences);
    }
}
