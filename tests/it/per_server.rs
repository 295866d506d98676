//! What is said of one server holds for that one, and beside it the others are as their backend says.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use crate::support::client::{HANG, connect, greeting, read_to_end};
use crate::support::config::Config;
use crate::support::haproxy::Haproxy;
use crate::support::lb::Lb;
use crate::support::origin::{Behaviour, Origin};
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
    assert_eq!(greeting(haproxy.addr()).unwrap(), "a");
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
