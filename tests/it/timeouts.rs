//! Every wait has an end: a side that is silent too long is closed, and one that is not stays connected.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use crate::support::client::{connect, read_to_end};
use crate::support::config::Config;
use crate::support::lb::Lb;
use crate::support::machine::Stopwatch;
use crate::support::origin::{Behaviour, Origin};
use crate::support::outcome::Ending;
use crate::support::wait::observe;

#[test]
fn a_silent_client_is_closed_after_its_timeout() {
    closes_within(r#"timeout = { client = "400ms", server = "20s" }"#, |_| {}, 400);
}

#[test]
fn a_silent_server_is_closed_after_its_timeout() {
    closes_within(r#"timeout = { client = "20s", server = "400ms" }"#, |_| {}, 400);
}

#[test]
fn tunnel_replaces_both_once_a_session_is_established() {
    closes_within(r#"timeout = { client = "100ms", server = "100ms", tunnel = "600ms" }"#, |_| {}, 600);
}

#[test]
fn client_fin_counts_from_the_clients_fin() {
    let half_close = |stream: &TcpStream| stream.shutdown(Shutdown::Write).unwrap();
    let options = r#"timeout = { client = "20s", server = "20s", client_fin = "400ms" }"#;
    // The server does not answer a FIN with its own.
    let origin = Origin::start(Behaviour::Stall);
    closes(&origin, options, half_close, 400);
}

#[test]
fn a_session_with_occasional_traffic_stays_open() {
    let origin = Origin::start(Behaviour::Echo);
    let config = Config::new().backend(r#"timeout = { client = "2s", server = "2s" }"#).origins([&origin]);
    let lb = Lb::start(&config);
    let mut stream = connect(lb.addr("web")).unwrap();
    for _ in 0..6 {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
        observe(Duration::from_millis(500));
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&stream).1, Ending::Fin);
}

fn closes_within(options: &str, act: impl FnOnce(&TcpStream), ms: u64) {
    closes(&Origin::start(Behaviour::Echo), options, act, ms);
}

/// After `act`, the session is closed by the balancer after about `ms`.
#[track_caller]
fn closes(origin: &Origin, options: &str, act: impl FnOnce(&TcpStream), ms: u64) {
    let lb = Lb::start(&Config::new().backend(options).origins([origin]));
    let mut stream = connect(lb.addr("web")).unwrap();
    if origin.echoes() {
        stream.write_all(b"x").unwrap();
        stream.read_exact(&mut [0]).unwrap();
    }
    let watch = Stopwatch::start();
    act(&stream);
    let (_, ending) = read_to_end(&stream);
    assert_ne!(ending, Ending::Timeout, "still open");
    let expected = Duration::from_millis(ms);
    assert!(
        watch.by_the_clock() > expected * 9 / 10 && watch.elapsed() < expected * 2 + Duration::from_secs(1),
        "closed after {watch:?}, expected {expected:?}"
    );
}
