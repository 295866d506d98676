//! A name with several addresses: the server is at one that answers, and stays there.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::support::client::{HANG, connect, greeting};
use crate::support::config::Config;
use crate::support::dns::NameServer;
use crate::support::lb::Lb;
use crate::support::origin::{Behaviour, Origin};
use crate::support::wait::{eventually_eq, observe};

#[test]
fn localhost_is_where_the_app_listens() {
    for origin in [Origin::named("app"), Origin::start_v6(Behaviour::SpeakFirst(b"app".to_vec()))] {
        for hosts in ["127.0.0.1 localhost\n::1 localhost\n", "127.0.0.1 localhost\n", ""] {
            for checked in [Config::new(), Config::bare().backend("check = false")] {
                let dns = NameServer::start();
                dns.set_hosts(hosts);
                let lb =
                    dns.options().config(&checked.server("a", format!("localhost:{}", origin.addr().port()))).start();
                assert_eq!(patient(lb.addr("web")), "app", "{hosts:?}");
                assert_eq!(lb.status().server("app/a").text("addr"), origin.server());
            }
        }
    }
}

#[test]
fn a_server_that_dies_at_one_address_continues_at_the_next_and_stays_there() {
    let dns = NameServer::start();
    let [first, second] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)].map(IpAddr::V4);
    let mut one = Origin::named("one");
    let port = one.addr().port();
    let mut two = Origin::start_at_address((second, port).into(), Behaviour::SpeakFirst(b"two".to_vec()));
    dns.put("app.example", &[first, second]);
    let lb = dns.options().config(&Config::new().server("a", format!("app.example:{port}"))).start();
    assert_eq!(greeting(lb.addr("web")).unwrap(), "one");
    one.stop();
    assert_eq!(patient(lb.addr("web")), "two", "{}", lb.stderr());
    assert_eq!(lb.status().server("app/a").text("addr"), format!("127.0.0.2:{port}"));
    // One server, one row, and it is said.
    assert_eq!(lb.status().servers("app"), ["a"]);
    assert!(lb.stderr().contains(&format!("but at 127.0.0.2:{port}, which is used")), "{}", lb.stderr());
    // It stays although the first one is back, and other answers come in another order.
    one.restart();
    dns.put("app.example", &[first, second]);
    observe(std::time::Duration::from_millis(1500));
    assert_eq!(greeting(lb.addr("web")).unwrap(), "two");
    lb.command_ok(&["upgrade", "--probation", "50ms"]);
    assert_eq!(greeting(lb.addr("web")).unwrap(), "two", "an upgrade moved it");
    // Both dead: DOWN as any other, without moving to and fro; then back at the one that returns.
    one.stop();
    two.stop();
    eventually_eq(HANG, "DOWN".to_owned(), || lb.status().server("app/a").text("status"));
    let moves = moves(&lb);
    observe(std::time::Duration::from_millis(600));
    assert_eq!(self::moves(&lb), moves, "{}", lb.stderr());
    one.restart();
    eventually_eq(HANG, "UP".to_owned(), || lb.status().server("app/a").text("status"));
    assert_eq!(greeting(lb.addr("web")).unwrap(), "one");
}

#[test]
fn addresses_of_both_families_are_tried_and_an_answer_without_the_one_in_use_moves_the_server() {
    let dns = NameServer::start();
    let v6 = Origin::start_v6(Behaviour::SpeakFirst(b"v6".to_vec()));
    let port = v6.addr().port();
    dns.put(
        "app.example",
        &[Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(127, 0, 0, 2).into(), Ipv6Addr::LOCALHOST.into()],
    );
    let lb = dns.options().config(&Config::new().server("a", format!("app.example:{port}"))).start();
    assert_eq!(greeting(lb.addr("web")).unwrap(), "v6");
    let _v4 = Origin::start_at_address((Ipv4Addr::LOCALHOST, port).into(), Behaviour::SpeakFirst(b"v4".to_vec()));
    dns.put("app.example", &[Ipv4Addr::LOCALHOST.into()]);
    eventually_eq(HANG, format!("127.0.0.1:{port}"), || lb.status().server("app/a").text("addr"));
    assert_eq!(greeting(lb.addr("web")).unwrap(), "v4");
}

/// The three letters that a server says first. A client that closes its half in silence would not be waited for.
fn patient(addr: SocketAddr) -> String {
    let mut words = [0; 3];
    connect(addr).unwrap().read_exact(&mut words).unwrap();
    String::from_utf8_lossy(&words).into_owned()
}

fn moves(lb: &Lb) -> usize {
    lb.stderr().lines().filter(|line| line.contains("which is used")).count()
}
