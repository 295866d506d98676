//! Every byte arrives, in order, and the ending of a session is preserved. Both ends check.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::SockRef;

use crate::support::client::{Client, HANG, connect, greeting, read_to_end};
use crate::support::config::Config;
use crate::support::figure::figure;
use crate::support::lb::Lb;
use crate::support::limits::alone;
use crate::support::origin::{Behaviour, Origin};
use crate::support::outcome::{Ending, Outcome};
use crate::support::ping_pong::PingPong;
use crate::support::plan::{ClientEnd, Pace, Plan, ServerEnd};
use crate::support::wait::{eventually, eventually_eq, observe, settled};

/// A balancer in front of one origin that follows the plan of each session.
struct Stage {
    origin: Origin,
    lb: Lb,
}

impl Stage {
    fn new() -> Self {
        let origin = Origin::start(Behaviour::Planned);
        let lb = Lb::start(&Config::new().origins([&origin]));
        Self { origin, lb }
    }

    /// Runs the plans at once; checks the bytes of each at both ends, and returns how each ended there.
    #[track_caller]
    fn run(&self, plans: &[Plan]) -> Vec<(Outcome, Outcome)> {
        let addr = self.lb.addr("web");
        let seen: Vec<Outcome> = std::thread::scope(|scope| {
            let runs: Vec<_> = plans.iter().map(|&plan| scope.spawn(move || Client::run(addr, plan))).collect();
            runs.into_iter().map(|run| run.join().unwrap()).collect()
        });
        let both = plans.iter().zip(seen).map(|(plan, seen)| (*plan, seen, self.origin.outcome(plan.seed)));
        both.map(|(plan, seen, served)| {
            assert_eq!((seen.received, seen.corrupt_at), (plan.down, None), "client of {plan:?}: {seen:?}");
            assert_eq!(served.corrupt_at, None, "server of {plan:?}: {served:?}");
            assert!(served.received >= plan.up, "server of {plan:?}: {served:?}");
            (seen, served)
        })
        .collect()
    }

    /// As `run`, and both directions must end with FIN.
    #[track_caller]
    fn run_in_order(&self, plans: &[Plan]) {
        for (plan, (seen, served)) in plans.iter().zip(self.run(plans)) {
            assert_eq!((seen.ending, served.ending), (Ending::Fin, Ending::Fin), "{plan:?}");
        }
    }
}

#[test]
fn ping_pong_of_fifty_sessions() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().origins([&origin]));
    let sessions = PingPong::start(lb.addr("web"), 50);
    sessions.run_for(5000);
    sessions.finish().assert_unharmed();
}

#[test]
fn bulk_both_ways_at_once() {
    let plans: Vec<Plan> = (0..8).map(|seed| Plan::new(seed, 24_000_000 + seed, 24_000_000 + 3 * seed)).collect();
    Stage::new().run_in_order(&plans);
}

#[test]
fn answers_of_every_size_around_the_thresholds() {
    let sizes = [0, 1, 100, 4095, 4096, 4097, 16_383, 16_384, 16_385, 65_535, 65_536, 65_537, 262_145, 1_048_577];
    let plans: Vec<Plan> = (1..)
        .zip(sizes)
        .map(|(seed, size)| Plan { pace: Pace::RequestThenAnswer, ..Plan::new(seed, 80, size) })
        .chain((100..).zip(sizes).map(|(seed, size)| Plan::new(seed, size, 80)))
        .collect();
    Stage::new().run_in_order(&plans);
}

#[test]
fn bulk_then_small_then_bulk_on_one_session() {
    let stage = Stage::new();
    let plans: Vec<Plan> = (1..)
        .zip([1, 7, 700, 1448, 16 * 1024, 200_000])
        .map(|(seed, chunk)| Plan {
            up_chunk: chunk,
            down_chunk: chunk,
            ..Plan::new(seed, 3000 * u64::from(chunk.min(4000)), 2000 * u64::from(chunk.min(4000)))
        })
        .collect();
    stage.run_in_order(&plans);
}

#[test]
fn a_client_that_reads_late_gets_everything_and_delays_no_other() {
    let stage = Stage::new();
    let size = 48_000_000;
    let plan = Plan { pace: Pace::ClientStalls, ..Plan::new(1, 0, size) };
    let stalled = Client::connect(stage.lb.addr("web"), plan).unwrap();
    let seen = stalled.finish(|| {
        let stuck = stage.origin.wait_until_stuck(1);
        assert!(stuck < size, "all of it fit into buffers");
        figure("bytes on the way to a client that does not read", stuck);
        stage.run_in_order(&[Plan::new(2, 1_000_000, 1_000_000)]);
    });
    assert!(seen.is_whole(size), "{seen:?}");
}

#[test]
fn a_server_that_reads_late_gets_everything() {
    let stage = Stage::new();
    let size = 48_000_000;
    let plan = Plan { pace: Pace::ServerStalls, ..Plan::new(1, size, 1000) };
    let client = Client::connect(stage.lb.addr("web"), plan).unwrap();
    let sent = client.sent();
    let seen = std::thread::scope(|scope| {
        let run = scope.spawn(|| client.finish(|| {}));
        let stuck = stuck_at(&sent);
        assert!(stuck < size, "all of it fit into buffers");
        stage.origin.release();
        run.join().unwrap()
    });
    assert!(seen.is_whole(1000), "{seen:?}");
    assert!(stage.origin.outcome(1).is_whole(size));
}

#[test]
fn one_byte_segments_to_a_stalled_reader_neither_hang_nor_spin() {
    let _alone = alone();
    let stage = Stage::new();
    let up = Plan { up_chunk: 1, pace: Pace::ServerStalls, ..Plan::new(1, 60_000, 10) };
    let down = Plan { down_chunk: 1, pace: Pace::ClientStalls, ..Plan::new(2, 10, 60_000) };
    let addr = stage.lb.addr("web");
    let (upload, download) = (Client::connect(addr, up).unwrap(), Client::connect(addr, down).unwrap());
    let sent = upload.sent();
    let (upload, download) = std::thread::scope(|scope| {
        let upload = scope.spawn(|| upload.finish(|| {}));
        let download = scope.spawn(|| {
            download.finish(|| {
                stage.origin.wait_until_stuck(2);
                stuck_at(&sent);
                let story = "both readers stalled";
                stage.lb.assert_at_rest(story, Duration::from_secs(1));
                stage.origin.release();
            })
        });
        (upload.join().unwrap(), download.join().unwrap())
    });
    assert!(upload.is_whole(10) && download.is_whole(60_000), "{upload:?} {download:?}");
    assert!(stage.origin.outcome(1).is_whole(60_000) && stage.origin.outcome(2).is_whole(10));
}

#[test]
fn a_client_that_is_done_sending_still_gets_its_answer() {
    let size = 5_000_000;
    let plan = |seed, up| Plan { pace: Pace::RequestThenAnswer, ..Plan::new(seed, up, size) };
    Stage::new().run_in_order(&[plan(1, 0), plan(2, 1), plan(3, 3_000_000)]);
}

#[test]
fn a_server_that_is_done_sending_still_gets_the_rest() {
    let plan = |seed, down| Plan { server: ServerEnd::HalfClose, ..Plan::new(seed, 20_000_000, down) };
    Stage::new().run_in_order(&[plan(1, 0), plan(2, 1), plan(3, 3_000_000)]);
}

#[test]
fn a_server_that_closes_first_closes_the_client() {
    let plan = |seed, down| Plan {
        server: ServerEnd::HalfClose,
        client: ClientEnd::AfterServer,
        pace: Pace::RequestThenAnswer,
        ..Plan::new(seed, 100, down)
    };
    Stage::new().run_in_order(&[plan(1, 0), plan(2, 1), plan(3, 3_000_000)]);
    let closing = Origin::start(Behaviour::Close);
    let lb = Lb::start(&Config::new().origins([&closing]));
    assert_eq!(greeting(lb.addr("web")).unwrap(), "");
}

#[test]
fn a_servers_reset_is_a_reset_for_the_client_after_all_it_had_sent() {
    let plan =
        |seed, down| Plan { server: ServerEnd::Reset, client: ClientEnd::AfterServer, ..Plan::new(seed, 100, down) };
    for (seen, _) in Stage::new().run(&[plan(1, 1), plan(2, 4000), plan(3, 100_000), plan(4, 10_000_000)]) {
        assert_eq!(seen.ending, Ending::Reset);
    }
}

#[test]
fn a_server_that_resets_after_its_fin_harms_no_client_that_has_yet_to_read() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = server.local_addr().unwrap().to_string();
    let lb = Lb::start(&Config::bare().backend("check = false").server("a", addr));
    let answer: Vec<u8> = (0..100_000u32).map(|n| (n % 251) as u8).collect();
    let mut client = connect(lb.addr("web")).unwrap();
    client.write_all(b"hello").unwrap();
    let (mut stream, _) = server.accept().unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
    stream.write_all(&answer).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    // By the time the counters are updated the client has received everything, FIN included.
    eventually_eq(HANG, answer.len() as u64, || lb.status().frontend("web").number("bytes_out"));
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(stream);
    observe(Duration::from_millis(300));
    // A client that polls for events would see an error before it has read.
    assert!(client.take_error().unwrap().is_none(), "it was reset");
    assert_eq!(read_to_end(&client), (answer, Ending::Fin));
    drop(client);
    eventually(HANG, "a session in order", || lb.stdout().contains(" -- ").then_some(()));
}

#[test]
fn urgent_data_is_dropped_and_what_is_around_it_passes() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = server.local_addr().unwrap().to_string();
    let lb = Lb::start(&Config::bare().backend("check = false").server("a", addr));
    let mut client = connect(lb.addr("web")).unwrap();
    client.write_all(b"begin").unwrap();
    let (mut stream, _) = server.accept().unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream.read_exact(&mut [0; 5]).unwrap();
    for engine in ["the first engine", "the next one"] {
        for (from, to) in [(&client, &stream), (&stream, &client)] {
            for size in [10, 100_000] {
                let around = vec![b'a'; size];
                let expected = vec![b'a'; 2 * size];
                std::thread::scope(|scope| {
                    scope.spawn(|| {
                        (&mut &*from).write_all(&around).unwrap();
                        SockRef::from(from).send_out_of_band(b"!").unwrap();
                        (&mut &*from).write_all(&around).unwrap();
                    });
                    let mut seen = vec![0; 2 * size];
                    (&mut &*to).read_exact(&mut seen).unwrap();
                    assert!(seen == expected, "{engine}, {size} bytes");
                });
            }
        }
        lb.command_ok(&["upgrade", "--probation", "50ms"]);
    }
}

#[test]
fn a_clients_reset_is_a_reset_for_the_server_after_all_it_had_sent() {
    let plan = |seed, up| Plan { client: ClientEnd::Reset, ..Plan::new(seed, up, 100) };
    for (_, served) in Stage::new().run(&[plan(1, 1), plan(2, 4000), plan(3, 100_000), plan(4, 10_000_000)]) {
        assert_eq!(served.ending, Ending::Reset);
    }
}

#[test]
fn the_counters_of_status_match_the_transferred_bytes() {
    let stage = Stage::new();
    stage.run_in_order(&[Plan::new(1, 1_000_000, 3_000_000), Plan::new(2, 10, 20)]);
    let (up, down) = (1_000_010 + 2 * Plan::LEN as u64, 3_000_020);
    eventually_eq(HANG, (0, 2, up, down), || {
        let frontend = stage.lb.status().frontend("web");
        let number = |key| frontend.number(key);
        (number("sessions"), number("sessions_total"), number("bytes_in"), number("bytes_out"))
    });
    let server = stage.lb.status().server("app/a");
    assert_eq!((server.number("bytes_in"), server.number("bytes_out")), (up, down));
}

/// Waits until the counter no longer moves.
fn stuck_at(sent: &AtomicU64) -> u64 {
    settled(HANG, Duration::from_millis(300), || sent.load(Ordering::Relaxed))
}
