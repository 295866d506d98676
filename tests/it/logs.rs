//! Every session is explained by one line: the fields of HAProxy's tcplog, and which side ended it in which phase.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use socket2::SockRef;

use crate::support::client::{Client, HANG, connect, read_to_end};
use crate::support::config::Config;
use crate::support::lb::Lb;
use crate::support::origin::{Behaviour, Origin};
use crate::support::plan::{ClientEnd, Plan, ServerEnd};
use crate::support::wait::{eventually, eventually_eq, settled};

#[test]
fn a_line_has_the_fields_of_tcplog() {
    let origin = Origin::start(Behaviour::Planned);
    let lb = Lb::start(&Config::new().origins([&origin]));
    let client = Client::connect(lb.addr("web"), Plan::new(1, 1000, 70_000)).unwrap();
    let source = client.local_addr();
    assert!(client.finish(|| {}).is_whole(70_000));
    let line = line_of(&lb, source);
    let words: Vec<&str> = line.split(' ').collect();
    let start = words.iter().position(|word| *word == source.to_string()).unwrap();
    let [_, date, frontend, server, times, bytes, ending, counts, queues] = words[start..start + 9] else {
        panic!("too few fields: {line}")
    };
    assert!(date.starts_with('[') && date.ends_with(']') && date.contains('/'), "{line}");
    assert_eq!((frontend, server, bytes, ending), ("web", "app/a", "70000", "--"), "{line}");
    let numbers = |text: &str| text.split('/').map(|number| number.parse::<i64>()).collect::<Result<Vec<_>, _>>();
    let times = numbers(times).unwrap();
    assert!(times.len() == 3 && times[2] >= times[1] && times.iter().all(|&time| time >= 0), "{line}");
    assert_eq!((numbers(counts).unwrap().len(), numbers(queues).unwrap().len()), (5, 2), "{line}");
}

#[test]
fn an_orderly_end_of_a_session_is_logged() {
    let (_origin, lb) = stage(Behaviour::Planned, "");
    let plan = Plan { server: ServerEnd::HalfClose, ..Plan::new(1, 10, 10) };
    assert_eq!(ending_of(&lb, |addr| finish(addr, plan)), "--");
}

#[test]
fn a_client_that_resets_and_a_server_that_resets_are_told_apart() {
    let (_origin, lb) = stage(Behaviour::Planned, "");
    let plan = Plan { client: ClientEnd::Reset, ..Plan::new(1, 10_000, 10) };
    assert_eq!(ending_of(&lb, |addr| finish(addr, plan)), "CD");
    let plan = Plan { server: ServerEnd::Reset, client: ClientEnd::AfterServer, ..Plan::new(2, 10, 10_000) };
    assert_eq!(ending_of(&lb, |addr| finish(addr, plan)), "SD");
}

#[test]
fn a_timeout_is_attributed_to_the_silent_side() {
    // The side that is expected to send next has the shorter timeout here.
    for (timeouts, ending) in
        [("client = \"200ms\", server = \"20s\"", "cD"), ("client = \"20s\", server = \"200ms\"", "sD")]
    {
        let (_origin, lb) = stage(Behaviour::Echo, &format!("timeout = {{ {timeouts} }}"));
        let silent = |addr| {
            let mut stream = connect(addr).unwrap();
            stream.write_all(b"x").unwrap();
            stream.read_exact(&mut [0]).unwrap();
            let source = stream.local_addr().unwrap();
            read_to_end(&stream);
            source
        };
        assert_eq!(ending_of(&lb, silent), ending);
    }
}

#[test]
fn a_server_that_refuses_and_one_that_does_not_answer_are_told_apart() {
    let dead = Origin::stopped(Behaviour::Echo);
    // Neither checks nor live traffic mark it down, so that every attempt is made.
    let config = Config::bare().backend("check = false\nobserve = \"none\"\nretries = 1").origins([&dead]);
    let lb = Lb::start(&config);
    assert_eq!(ending_of(&lb, patient), "SC");
}

#[test]
fn a_timeout_in_the_queue_is_logged() {
    let (mut origin, lb) = stage(Behaviour::Echo, r#"timeout = { queue = "200ms" }"#);
    origin.stop();
    eventually_eq(HANG, "DOWN".to_owned(), || lb.status().server("app/a").text("status"));
    assert_eq!(ending_of(&lb, patient), "sQ");
    let gives_up = |addr| {
        let stream = connect(addr).unwrap();
        eventually_eq(HANG, 1, || lb.status().backend("app").number("queue"));
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        stream.local_addr().unwrap()
    };
    assert_eq!(ending_of(&lb, gives_up), "CQ");
}

#[test]
fn sessions_of_a_server_marked_down_are_logged_as_such() {
    let origin = Origin::start(Behaviour::Http(1));
    let config = Config::bare()
        .backend(r#"check = { type = "http", inter = "50ms", fall = 1 }"#)
        .backend(r#"on_marked_down = "shutdown-sessions""#)
        .origins([&origin]);
    let lb = Lb::start(&config);
    let killed = |addr| {
        let stream = connect(addr).unwrap();
        eventually_eq(HANG, 1, || lb.status().server("app/a").number("sessions"));
        origin.set_http_status(500);
        read_to_end(&stream);
        stream.local_addr().unwrap()
    };
    assert_eq!(ending_of(&lb, killed), "D-");
}

#[test]
fn sessions_without_a_byte_are_left_out_when_asked() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().global("log = { dontlognull = true }").origins([&origin]));
    let addr = lb.addr("web");
    let empty = closed_on(addr);
    let full = echoed(addr);
    line_of(&lb, full);
    assert!(!lb.stdout().contains(&format!("{empty} ")), "{}", lb.stdout());
    assert_eq!(lb.status().frontend("web").number("sessions_total"), 2);
}

#[test]
fn the_log_can_be_switched_off_and_its_rate_is_limited() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().global("log = { rate = 10 }").origins([&origin]));
    let addr = lb.addr("web");
    for _ in 0..200 {
        echoed(addr);
    }
    eventually_eq(HANG, 200, || lb.status().frontend("web").number("sessions_total"));
    let lines =
        settled(HANG, Duration::from_millis(300), || lb.stdout().lines().filter(|line| line.contains("app/a")).count());
    assert!((10..=100).contains(&lines), "{lines} lines");
    lb.reload(&Config::new().global("log = { sessions = false }").origins([&origin]));
    let before = lb.stdout().len();
    echoed(addr);
    eventually_eq(HANG, 201, || lb.status().frontend("web").number("sessions_total"));
    assert_eq!(settled(HANG, Duration::from_millis(300), || lb.stdout().len()), before);
}

#[test]
fn syslog_gets_the_lines() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.sock");
    let syslog = UnixDatagram::bind(&path).unwrap();
    syslog.set_read_timeout(Some(HANG)).unwrap();
    let origin = Origin::start(Behaviour::Echo);
    let lb =
        Lb::start(&Config::new().global(&format!("log = {{ target = \"{}\" }}", path.display())).origins([&origin]));
    let source = echoed(lb.addr("web"));
    let mut buffer = [0; 2048];
    let size = syslog.recv(&mut buffer).unwrap();
    let text = String::from_utf8_lossy(&buffer[..size]);
    assert!(text.starts_with('<') && text.contains(&source.to_string()) && text.contains("app/a"), "{text}");
}

#[test]
fn a_change_of_state_is_logged_with_its_cause() {
    let (mut origin, lb) = stage(Behaviour::Echo, "");
    origin.stop();
    let said = |what: &str| {
        eventually(HANG, what, || {
            let text = lb.stderr();
            text.lines()
                .rev()
                .find(|line| line.contains("backend app: server a") && line.contains(what))
                .map(str::to_owned)
        })
    };
    let line = said("DOWN");
    assert!(line.to_lowercase().contains("refused"), "{line}");
    origin.restart();
    said("UP");
}

fn stage(behaviour: Behaviour, backend: &str) -> (Origin, Lb) {
    let origin = Origin::start(behaviour);
    let lb = Lb::start(&Config::new().backend(backend).origins([&origin]));
    (origin, lb)
}

/// Carries out the plan and returns the client's address.
fn finish(addr: SocketAddr, plan: Plan) -> SocketAddr {
    let client = Client::connect(addr, plan).unwrap();
    let source = client.local_addr();
    client.finish(|| {});
    source
}

/// Sends nothing and waits for the end.
fn closed_on(addr: SocketAddr) -> SocketAddr {
    let stream = connect(addr).unwrap();
    let source = stream.local_addr().unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    read_to_end(&stream);
    source
}

/// Waits for what comes. A client that closes in silence would not be waited for.
fn patient(addr: SocketAddr) -> SocketAddr {
    let stream = connect(addr).unwrap();
    read_to_end(&stream);
    stream.local_addr().unwrap()
}

fn echoed(addr: SocketAddr) -> SocketAddr {
    let mut stream: TcpStream = connect(addr).unwrap();
    stream.write_all(b"hello").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&stream).0, b"hello");
    stream.local_addr().unwrap()
}

/// The session line of the client with this address.
#[track_caller]
fn line_of(lb: &Lb, source: SocketAddr) -> String {
    eventually(HANG, "the session's line", || {
        lb.stdout().lines().find(|line| line.contains(&format!("{source} "))).map(str::to_owned)
    })
}

/// The two letters at the end of the session that `session` makes.
#[track_caller]
fn ending_of(lb: &Lb, session: impl FnOnce(SocketAddr) -> SocketAddr) -> String {
    let source = session(lb.addr("web"));
    let line = line_of(lb, source);
    let words: Vec<&str> = line.split(' ').collect();
    let start = words.iter().position(|word| *word == source.to_string()).unwrap();
    words[start + 6].to_owned()
}
