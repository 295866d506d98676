//! Tests of the support, against itself and against HAProxy: a client and an origin that could not see a fault would
//! make every other test worthless.

use crate::support::ab::Ab;
use crate::support::client::{Client, greeting};
use crate::support::haproxy::Haproxy;
use crate::support::nginx::Nginx;
use crate::support::origin::{Behaviour, Origin};
use crate::support::outcome::Ending;
use crate::support::ping_pong::PingPong;
use crate::support::plan::{ClientEnd, Pace, Plan, ServerEnd};
use crate::support::redis::Redis;

#[test]
fn a_planned_session_is_whole_at_both_ends_directly_and_through_haproxy() {
    let origin = Origin::start(Behaviour::Planned);
    let haproxy = Haproxy::relay("", origin.addr(), "");
    for (seed, addr) in [(1, origin.addr()), (2, haproxy.addr())] {
        let plan = Plan::new(seed, 3_000_001, 5_000_003);
        let seen = Client::run(addr, plan);
        assert!(seen.is_whole(5_000_003), "{seen:?}");
        let served = origin.outcome(seed);
        assert!(served.is_whole(3_000_001) && served.sent == 5_000_003, "{served:?}");
    }
}

#[test]
fn every_ending_shows_as_what_it_was() {
    let origin = Origin::start(Behaviour::Planned);
    let reset = Plan { server: ServerEnd::Reset, client: ClientEnd::AfterServer, ..Plan::new(1, 100, 10_000) };
    let seen = Client::run(origin.addr(), reset);
    assert_eq!((seen.received, seen.corrupt_at, seen.ending), (10_000, None, Ending::Reset));
    let reset = Plan { client: ClientEnd::Reset, ..Plan::new(2, 50_000, 1000) };
    assert_eq!(Client::run(origin.addr(), reset).received, 1000);
    let served = origin.outcome(2);
    assert_eq!((served.received, served.corrupt_at, served.ending), (50_000, None, Ending::Reset));
    let first = Plan { server: ServerEnd::HalfClose, client: ClientEnd::AfterServer, ..Plan::new(3, 5, 10_000) };
    assert!(Client::run(origin.addr(), first).is_whole(10_000));
    assert_eq!(origin.ending(77), None);
}

#[test]
fn a_stopped_origin_cuts_and_refuses_and_a_restarted_one_serves() {
    let mut origin = Origin::start(Behaviour::Echo);
    let sessions = PingPong::start(origin.addr(), 3);
    sessions.run_for(30);
    origin.stop();
    assert!(sessions.finish().outcomes.iter().all(|outcome| outcome.corrupt_at.is_none()));
    assert_eq!(
        Client::run(origin.addr(), Plan::new(1, 1, 1)).ending,
        Ending::Failed(std::io::ErrorKind::ConnectionRefused)
    );
    origin.restart();
    PingPong::start(origin.addr(), 3).finish().assert_unharmed();
    assert_eq!(origin.connections(), 6);
}

#[test]
fn fixed_behaviours_work_as_named() {
    let ending = |behaviour| Client::run(Origin::start(behaviour).addr(), Plan::new(1, 0, 1)).ending;
    assert_eq!(ending(Behaviour::Reset), Ending::Reset);
    assert_eq!(greeting(Origin::start(Behaviour::SpeakFirst(b"220 ready".to_vec())).addr()).unwrap(), "220 ready");
    assert_eq!(greeting(Origin::start_v6(Behaviour::Close).addr()).unwrap(), "");
    let web = Origin::start(Behaviour::Http(100));
    Ab::run(web.addr(), 500, 8, &[]).assert_flawless();
    Ab::run(web.addr(), 500, 8, &["-k"]).assert_flawless();
    web.set_http_status(503);
    assert_eq!(Ab::run(web.addr(), 100, 8, &[]).non_2xx, 100);
    assert_eq!(web.requests(), 1100);
}

#[test]
fn proxy_headers_of_haproxy_are_understood() {
    for (version, word) in [(1, "send-proxy"), (2, "send-proxy-v2")] {
        let origin = Origin::start_proxied(Behaviour::Planned);
        let haproxy = Haproxy::relay("", origin.addr(), word);
        assert!(Client::run(haproxy.addr(), Plan::new(1, 10, 10)).is_whole(10));
        let header = &origin.proxy_headers()[0];
        assert_eq!((header.version, header.destination), (version, Some(haproxy.addr())));
        assert!(header.source.is_some_and(|source| source.ip().is_loopback()));
    }
}

#[test]
fn real_servers_start_die_and_return() {
    let mut nginx = Nginx::start();
    Ab::run(nginx.addr(), 1000, 8, &[]).assert_flawless();
    nginx.kill();
    assert_ne!(Ab::run(nginx.addr(), 10, 1, &[]).exit, Some(0));
    nginx.restart();
    Ab::run(nginx.addr(), 1000, 8, &[]).assert_flawless();
    let primary = Redis::primary();
    let replica = Redis::replica_of(&primary);
    replica.promote();
    assert_ne!(primary.addr(), replica.addr());
}

#[test]
fn a_stalled_reader_stops_its_sender_and_still_gets_everything() {
    let origin = Origin::start(Behaviour::Planned);
    let plan = Plan { pace: Pace::ClientStalls, ..Plan::new(5, 0, 30_000_000) };
    let client = Client::connect(origin.addr(), plan).unwrap();
    let mut stuck = 0;
    let seen = client.finish(|| stuck = origin.wait_until_stuck(5));
    assert!(stuck < 30_000_000, "{stuck} fit into socket buffers");
    assert!(seen.is_whole(30_000_000), "{seen:?}");
}
