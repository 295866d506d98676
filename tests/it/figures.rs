//! What is counted of sessions: maxima, rates, aborts by side, times. All of it stays through reloads and upgrades, until
//! the operator clears it.

use std::io::{Read, Write};
use std::time::Duration;

use socket2::SockRef;

use crate::support::client::{HANG, connect, established};
use crate::support::config::Config;
use crate::support::lb::Lb;
use crate::support::origin::{Behaviour, Origin};
use crate::support::status::Status;
use crate::support::wait::{eventually, eventually_eq};

/// Sessions that end in each way, five of them at once.
fn traffic(lb: &Lb, origin: &mut Origin) {
    let five = [(); 5].map(|()| established(lb.addr("web")));
    eventually_eq(HANG, 5, || lb.status().server("app/a").number("sessions"));
    let [reset, killed, rest @ ..] = five;
    SockRef::from(&reset).set_linger(Some(Duration::ZERO)).unwrap();
    drop((reset, rest));
    eventually_eq(HANG, 1, || lb.status().server("app/a").number("sessions"));
    origin.stop();
    let mut left = Vec::new();
    (&killed).read_to_end(&mut left).unwrap();
    // What comes after its FIN is answered by a reset.
    (&killed).write_all(b"more").unwrap();
    eventually_eq(HANG, 1, || lb.status().server("app/a").number("server_aborts"));
    connect(lb.addr("web")).unwrap().write_all(b"refused").ok();
    eventually_eq(HANG, 1, || lb.status().server("app/a").number("failed"));
    eventually_eq(HANG, 0, || lb.status().number("sessions"));
}

fn counted(status: &Status) -> Vec<(String, u64)> {
    let all =
        [("frontend", status.frontend("web")), ("backend", status.backend("app")), ("server", status.server("app/a"))];
    let keys = [
        ("frontend", &["sessions_max", "sessions_total", "rate_max", "request_errors"][..]),
        (
            "backend",
            &["sessions_max", "arrivals", "sessions_total", "rate_max", "failed", "client_aborts", "server_aborts"],
        ),
        (
            "server",
            &["sessions_max", "sessions_total", "rate_max", "failed", "client_aborts", "server_aborts", "connects"],
        ),
    ];
    let of = all.iter().zip(keys).flat_map(|((kind, entry), (_, keys))| {
        keys.iter().map(move |key| (format!("{kind} {key}"), entry.number(key)))
    });
    of.collect()
}

/// In milliseconds.
fn longest(lb: &Lb) -> f64 {
    lb.status().server("app/a").at("/session_ms/max").and_then(serde_json::Value::as_f64).unwrap()
}

#[test]
fn what_was_counted_stays_until_it_is_cleared() {
    let mut origin = Origin::start(Behaviour::Echo);
    let config = Config::bare().backend("check = false\nobserve = \"none\"\nretries = 0").origins([&origin]);
    let lb = Lb::start(&config);
    traffic(&lb, &mut origin);
    // The second in which they began is over.
    eventually(HANG, "the rate", || (lb.status().server("app/a").number("rate") == 0).then_some(()));
    let before = counted(&lb.status());
    let value = |name: &str| before.iter().find(|(key, _)| key == name).unwrap().1;
    assert_eq!(value("frontend sessions_max"), 5, "{before:?}");
    assert_eq!(
        [value("server client_aborts"), value("server server_aborts"), value("server failed")],
        [1, 1, 1],
        "{before:?}"
    );
    assert_eq!(
        [value("backend arrivals"), value("backend sessions_total"), value("backend failed")],
        [6, 5, 1],
        "{before:?}"
    );
    assert!((5..=6).contains(&value("frontend rate_max")), "{before:?}");
    let times = longest(&lb);
    assert!(times > 0.0);
    lb.reload(&config.backend("maxqueue = 7"));
    lb.command_ok(&["upgrade", "--probation", "0s"]);
    assert_eq!(counted(&lb.status()), before);
    assert!((longest(&lb) - times).abs() < 0.01);
    let last = lb.status().server("app/a").number("last_session_s");
    assert!(last < 60, "{last}");

    assert_eq!(lb.command_ok(&["counters", "clear"]).trim(), "all maxima begin anew");
    let cleared = counted(&lb.status());
    for ((key, before), (_, now)) in before.iter().zip(&cleared) {
        assert_eq!(*now, if key.ends_with("_max") { 0 } else { *before }, "{key}");
    }
    lb.command_ok(&["counters", "clear", "--all"]);
    assert!(counted(&lb.status()).iter().all(|(_, value)| *value == 0), "{:?}", counted(&lb.status()));
}
