//! What is said of one server holds for that one, and beside it the others are as their backend says.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use crate::support::client::{HANG, connect, greeting, patient_greeting, read_to_end};
use crate::support::config::Config;
use crate::support::haproxy::Haproxy;
use crate::support::lb::Lb;
use crate::support::machine::Stopwatch;
use crate::support::origin::{Behaviour, Origin};
use crate::support::port::Port;
use crate::support::wait::{eventually, eventually_eq};

#[test]
fn a_server_without_checks_stays_up_beside_one_with_checks() {
    let mut servers = ["a", "b", "c"].map(Origin::named);
    let [a, b, c] = servers.each_ref().map(Origin::addr);
    let config = Config::bare()
        .backend("check = { inter = \"100ms\", rise = 2, fall = 3 }\nobserve = \"none\"")
        .server_with("a", a, "check = false")
        .server_with("b", b, "check = { fall = 1 }")
        .server("c", c);
    let lb = Lb::start(&config);
    let haproxy = Haproxy::backend(&format!(
        " default-server inter 100 rise 2 fall 3\n server a {a}\n server b {b} check fall 1\n server c {c} check"
    ));
    servers.iter_mut().for_each(Origin::stop);
    let (ours, theirs) =
        (|name: &str| lb.status().server(&format!("app/{name}")).text("status"), |name: &str| haproxy.status(name));
    for name in ["b", "c"] {
        eventually_eq(HANG, "DOWN".to_owned(), || ours(name));
        eventually_eq(HANG, "DOWN".to_owned(), || theirs(name));
    }
    assert_eq!((ours("a"), theirs("a")), ("UP".to_owned(), "no check".to_owned()));
    assert_eq!(lb.status().server("app/a").at("/check/health").unwrap(), "no check");
    servers[0].restart();
    assert_eq!(greeting(lb.addr("web")).unwrap(), "a");
    assert_eq!(patient_greeting(haproxy.addr()).unwrap(), "a");
}

#[test]
fn a_proxy_header_goes_to_the_servers_that_want_one() {
    let plain = Origin::start(Behaviour::Echo);
    let proxied = Origin::start_proxied(Behaviour::Echo);
    let config =
        Config::new().server("plain", plain.addr()).server_with("proxied", proxied.addr(), "send_proxy = \"v2\"");
    let lb = Lb::start(&config);
    for _ in 0..4 {
        let mut client = connect(lb.addr("web")).unwrap();
        client.write_all(b"hello").unwrap();
        let mut answer = [0; 5];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"hello");
    }
    assert!(!proxied.proxy_headers().is_empty());
}

#[test]
fn sessions_are_cut_where_their_server_says_so() {
    let servers = ["a", "b"].map(|name| Origin::start(Behaviour::SpeakFirst(name.as_bytes().to_vec())));
    let [a, b] = servers.each_ref().map(Origin::addr);
    let refused = "check = { port = 1, fall = 1, init_state = \"fully-up\", inter = \"1s\" }";
    let config = Config::bare()
        .backend("observe = \"none\"")
        .server_with("a", a, &format!("{refused}, on_marked_down = \"shutdown-sessions\""))
        .server_with("b", b, refused);
    let lb = Lb::start(&config);
    let mut sessions: Vec<_> = (0..2).map(|_| connect(lb.addr("web")).unwrap()).collect();
    let mut names = [0; 2];
    sessions.iter_mut().zip(&mut names).for_each(|(session, name)| {
        session.read_exact(std::slice::from_mut(name)).unwrap();
    });
    for name in ["a", "b"] {
        eventually_eq(HANG, "DOWN".to_owned(), || lb.status().server(&format!("app/{name}")).text("status"));
    }
    let (cut, kept) = if names[0] == b'a' { (&sessions[0], &sessions[1]) } else { (&sessions[1], &sessions[0]) };
    read_to_end(cut);
    kept.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut kept = kept;
    assert!(kept.read(&mut [0]).is_err(), "the session of b is open");
}

#[test]
fn a_backend_without_servers_closes_at_once() {
    let text = "[frontend.web]\nbind = \"127.0.0.1:0\"\nbackend = \"none\"\n[backend.none]\nservers = {}\n";
    let lb = Lb::options().text(text).start();
    let haproxy = Haproxy::backend("");
    for addr in [lb.addr("web"), haproxy.addr()] {
        let (start, client) = (Instant::now(), connect(addr).unwrap());
        assert!(read_to_end(&client).0.is_empty());
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    }
    eventually(HANG, "its line", || {
        lb.stdout().lines().any(|line| line.contains("none/<NOSRV>") && line.contains(" SC ")).then_some(())
    });
}

#[test]
fn a_server_may_have_the_port_that_the_client_came_to() {
    let origin = Origin::start_on("127.0.0.2:0".parse().unwrap(), Behaviour::SpeakFirst(b"a".to_vec()));
    let port = origin.addr().port();
    for (shift, came_to) in [("", port), (":+1", port - 1), (":-1", port + 1)] {
        let config = Config::bare().bind(&format!("[\"127.0.0.4:{came_to}\"]")).server_with(
            "a",
            format!("127.0.0.2{shift}"),
            "check = false",
        );
        let lb = Lb::start(&config);
        let at = SocketAddr::from(([127, 0, 0, 3], came_to));
        let haproxy = Haproxy::backend_at(at, &format!(" server a 127.0.0.2{shift}"));
        for addr in [lb.addr("web"), haproxy.addr()] {
            assert_eq!(patient_greeting(addr).unwrap(), "a", "{shift} at {addr}");
        }
        assert_eq!(lb.status().server("app/a").text("addr"), format!("127.0.0.2{shift}"));
    }
}

#[test]
fn a_dead_server_at_the_port_of_each_client_is_tried_as_often_as_is_written() {
    let settings = "retries = 1\ntimeout = { queue = \"500ms\" }";
    let lb = Lb::start(&Config::new().backend(settings).server_with("a", "127.0.0.2", "check = false"));
    let watch = Stopwatch::start();
    assert!(read_to_end(&connect(lb.addr("web")).unwrap()).0.is_empty());
    assert!(watch.by_the_clock() > Duration::from_millis(900), "{watch:?}");
    assert_eq!(lb.status().server("app/a").number("connect_errors"), 2);
}

#[test]
fn connections_to_servers_come_from_the_source_that_is_written() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = listener.local_addr().unwrap();
    let config = Config::bare()
        .backend("source = \"127.0.0.7\"\ncheck = { type = \"http\", inter = \"100ms\", init_state = \"fully-up\", fall = 9 }")
        .server("a", server);
    let lb = Lb::start(&config);
    let peer = || listener.accept().unwrap().1.ip().to_string();
    assert_eq!(peer(), "127.0.0.7", "of a check");
    let _client = connect(lb.addr("web")).unwrap();
    assert!((0..3).all(|_| peer() == "127.0.0.7"), "of checks and the session");
    drop(lb);
    let port = Port::reserve();
    let source = SocketAddr::from(([127, 0, 0, 7], port.number()));
    let own = format!("source = \"{source}\", check = false");
    let lb = Lb::start(&Config::bare().server_with("a", server, &own));
    drop(port);
    let _client = connect(lb.addr("web")).unwrap();
    assert_eq!(listener.accept().unwrap().1, source);
}

#[test]
fn a_limit_between_minconn_and_maxconn_grows_as_in_haproxy() {
    let origin = Origin::named("a");
    let limits = "minconn = 2, maxconn = 10";
    let config = Config::new()
        .backend("balance = \"leastconn\"\nfullconn = 20\ntimeout = { queue = \"30s\" }")
        .server_with("a", origin.addr(), limits);
    let lb = Lb::start(&config);
    let haproxy = Haproxy::backend(&format!(
        " balance leastconn\n fullconn 20\n timeout queue 30s\n server a {} minconn 2 maxconn 10",
        origin.addr()
    ));
    let ours = || lb.status().server("app/a").number("sessions");
    let theirs = || haproxy.stat("a", "scur");
    let mut open = Vec::new();
    for _ in 0..24 {
        open.extend([lb.addr("web"), haproxy.addr()].map(|addr| connect(addr).unwrap()));
        let came = open.len() as u64 / 2;
        eventually_eq(HANG, came, || lb.status().frontend("web").number("sessions"));
        eventually_eq(HANG, came, || haproxy.stat("BACKEND", "scur"));
        let limit = (came / 2).clamp(2, 10).min(came);
        eventually_eq(HANG, (limit, limit), || (ours(), theirs()));
    }
}

#[test]
fn static_round_robin_has_fixed_weights() {
    let servers = ["a", "b"].map(Origin::named);
    let [a, b] = servers.each_ref().map(Origin::addr);
    let config = Config::new().backend("balance = \"static-rr\"").server_with("a", a, "weight = 3").server("b", b);
    let lb = Lb::start(&config);
    let haproxy = Haproxy::backend(&format!(" balance static-rr\n server a {a} weight 3\n server b {b}"));
    // HAProxy's map of servers has 16 places for each unit of weight.
    let share = |addr| (0..64).filter(|_| patient_greeting(addr).unwrap() == "a").count();
    let shares = [lb.addr("web"), haproxy.addr()].map(share);
    assert!(shares[0] == 48 && shares[1].abs_diff(48) <= 12, "{shares:?}");
    assert!(haproxy.command("set server app/a weight 5").contains("static"));
    let refused = lb.command(&["server", "weight", "app/a", "5"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("can have 0 and 3"));
    lb.command_ok(&["server", "weight", "app/a", "0"]);
    haproxy.command("set server app/a weight 0%");
    assert_eq!([lb.addr("web"), haproxy.addr()].map(share), [0, 0]);
    lb.command_ok(&["server", "weight", "app/a", "3"]);
    haproxy.command("set server app/a weight 100%");
    let shares = [lb.addr("web"), haproxy.addr()].map(share);
    assert!(shares[0] == 48 && shares[1].abs_diff(48) <= 12, "{shares:?}");
}
