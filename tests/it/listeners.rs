//! Addresses of clients and servers: both families, several binds, unix sockets, the PROXY protocol.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::time::Duration;

use crate::support::client::{Client, HANG, connect, greeting, read_to_end};
use crate::support::config::Config;
use crate::support::haproxy::Haproxy;
use crate::support::lb::{Lb, lb};
use crate::support::origin::{Behaviour, Origin};
use crate::support::outcome::Ending;
use crate::support::plan::Plan;
use crate::support::port::Port;
use crate::support::wait::{eventually, eventually_eq, settled};

#[test]
fn flags_alone_make_a_balancer() {
    let (a, b) = (Origin::named("a"), Origin::named("b"));
    let lb = Lb::start_with_flags(&[
        "--bind",
        "127.0.0.1:0",
        "--server",
        &format!("one={}", a.server()),
        "--server",
        &b.server(),
    ]);
    let status = lb.status();
    let frontend = status.only_frontend();
    let addr = status.bound(&frontend)[0];
    let mut served = [greeting(addr).unwrap(), greeting(addr).unwrap()];
    served.sort();
    assert_eq!(served, ["a", "b"]);
}

#[test]
fn ipv6_clients_and_servers() {
    let origin = Origin::start_v6(Behaviour::SpeakFirst(b"six".to_vec()));
    let lb = Lb::start(&Config::new().bind(r#"["[::1]:0"]"#).origins([&origin]));
    assert!(lb.addr("web").is_ipv6());
    assert_eq!(greeting(lb.addr("web")).unwrap(), "six");
}

#[test]
fn both_families_stand_side_by_side_on_one_port() {
    let origin = Origin::named("both");
    let port = Port::reserve_at("0.0.0.0:0".parse().unwrap()).number();
    let lb = Lb::start(&Config::new().bind(&format!(r#"["0.0.0.0:{port}", "[::]:{port}"]"#)).origins([&origin]));
    for addr in [SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port))] {
        assert_eq!(greeting(addr).unwrap(), "both");
    }
    assert_eq!(lb.status().bound("web").len(), 2);
}

#[test]
fn one_bind_takes_both_families_when_asked() {
    let origin = Origin::named("both");
    let lb = Lb::start(&Config::new().bind(r#"["[::]:0"]"#).frontend("v4v6 = true").origins([&origin]));
    let port = lb.addr("web").port();
    for addr in [SocketAddr::from(([127, 0, 0, 1], port)), SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port))] {
        assert_eq!(greeting(addr).unwrap(), "both");
    }
}

#[test]
fn a_unix_socket_is_a_server_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let origin = Origin::start_unix(dir.path().join("server.sock"), Behaviour::Planned);
    let lb = Lb::start(&Config::new().origins([&origin]));
    for (seed, up, down) in [(1, 100, 100), (2, 5_000_000, 7_000_000)] {
        assert!(Client::run(lb.addr("web"), Plan::new(seed, up, down)).is_whole(down));
        assert!(origin.outcome(seed).is_whole(up));
    }
}

#[test]
fn proxy_headers_of_haproxy_name_the_client_and_go_on_to_the_server() {
    for (theirs, ours, version) in [("send-proxy", "v2", 2), ("send-proxy-v2", "v1", 1)] {
        let origin = Origin::start_proxied(Behaviour::Planned);
        let config = Config::new()
            .frontend("accept_proxy = true")
            .backend(&format!("send_proxy = \"{ours}\""))
            .origins([&origin]);
        let lb = Lb::start(&config);
        let haproxy = Haproxy::relay("", lb.addr("web"), theirs);
        let client = Client::connect(haproxy.addr(), Plan::new(1, 1_000_000, 1_000_000)).unwrap();
        let source = client.local_addr();
        assert!(client.finish(|| {}).is_whole(1_000_000));
        assert!(origin.outcome(1).is_whole(1_000_000));
        let headers = origin.proxy_headers();
        let header = headers.iter().find(|header| header.source == Some(source));
        let header = header.unwrap_or_else(|| panic!("{source} is none of {headers:?}"));
        assert_eq!((header.version, header.destination), (version, Some(haproxy.addr())));
        eventually(HANG, "the real client in the log", || {
            lb.stdout().contains(&format!("{}:{}", source.ip(), source.port())).then_some(())
        });
    }
}

#[test]
fn haproxy_understands_our_proxy_headers() {
    for (version, number) in [("v1", 1), ("v2", 2)] {
        let origin = Origin::start_proxied(Behaviour::Planned);
        let haproxy = Haproxy::relay("accept-proxy", origin.addr(), "send-proxy");
        let config = Config::new().backend(&format!("send_proxy = \"{version}\"")).server("a", haproxy.addr());
        let lb = Lb::start(&config);
        let client = Client::connect(lb.addr("web"), Plan::new(number, 1000, 1000)).unwrap();
        let source = client.local_addr();
        assert!(client.finish(|| {}).is_whole(1000));
        assert!(origin.proxy_headers().iter().any(|header| header.source == Some(source)));
    }
}

#[test]
fn a_proxy_header_in_pieces_is_waited_for_and_one_that_is_none_is_turned_away() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().frontend("accept_proxy = true").origins([&origin]));
    let mut client = connect(lb.addr("web")).unwrap();
    for byte in b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\r\nafter" {
        client.write_all(&[*byte]).unwrap();
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&client), (b"after".to_vec(), Ending::Fin));
    eventually(HANG, "the named client in the log", || lb.stdout().contains("192.0.2.7:1234").then_some(()));
    let mut client = connect(lb.addr("web")).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let (bytes, ending) = read_to_end(&client);
    assert!(bytes.is_empty() && ending != Ending::Timeout, "{bytes:?} {ending:?}");
}

#[test]
fn with_defer_accept_a_connection_counts_once_it_has_spoken() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().frontend("defer_accept = true").origins([&origin]));
    let mut client = connect(lb.addr("web")).unwrap();
    let sessions = || lb.status().frontend("web").number("sessions_total");
    assert_eq!(settled(HANG, Duration::from_millis(100), sessions), 0);
    client.write_all(b"hello").unwrap();
    eventually_eq(HANG, 1, sessions);
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(read_to_end(&client), (b"hello".to_vec(), Ending::Fin));
}

#[test]
fn a_bind_that_fails_is_named_and_nothing_starts() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    // A missing directory is created, as /run/lb is after a boot.
    let socket = dir.path().join("made/lb.sock").display().to_string();
    let output = lb(&["run", "--bind", &addr, "--server", "127.0.0.1:9", "--socket", &socket]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(1 | 2)), "{}: {message}", output.status);
    assert!(message.contains(&addr) && message.to_lowercase().contains("in use"), "{message}");
}
