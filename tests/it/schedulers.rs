//! Which server gets the next session. Each origin sends its name, so that a session shows its server.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use crate::support::client::{HANG, connect, greeting, read_to_end};
use crate::support::config::{Config, WORKERS};
use crate::support::figure::figure;
use crate::support::haproxy::Haproxy;
use crate::support::lb::Lb;
use crate::support::limits::{alone, raise_descriptors};
use crate::support::origin::{Behaviour, Origin};
use crate::support::wait::eventually_eq;

#[test]
fn round_robin_follows_the_weights_exactly_and_smoothly() {
    let origins = named(3);
    let mut config = Config::new();
    for (origin, (name, weight)) in origins.iter().zip([("a", 1), ("b", 2), ("c", 3)]) {
        config = config.server_with(name, origin.server(), &format!("weight = {weight}"));
    }
    let lb = Lb::start(&config);
    let addr = lb.addr("web");
    let served: Vec<String> = (0..600).map(|_| greeting(addr).unwrap()).collect();
    assert_eq!(counts(&served), [("a", 100), ("b", 200), ("c", 300)].map(own).into());
    // Smooth: never the heaviest three times running, as a plain cycle would.
    assert!(served.windows(3).all(|three| !(three[0] == three[1] && three[1] == three[2])));
    for round in served.chunks(6) {
        assert_eq!(counts(round), [("a", 1), ("b", 2), ("c", 3)].map(own).into());
    }
}

#[test]
fn a_weight_changed_by_command_counts_at_once() {
    let origins = named(2);
    let lb = Lb::start(&Config::new().origins(&origins));
    lb.command_ok(&["server", "weight", "app/a", "3"]);
    assert_eq!(spread(&lb, 40), [("a", 30), ("b", 10)].map(own).into());
    lb.command_ok(&["server", "weight", "app/a", "0"]);
    assert_eq!(spread(&lb, 10), [("b", 10)].map(own).into());
}

#[test]
fn leastconn_is_never_off_by_more_than_the_workers() {
    let origins = named(3);
    let lb = Lb::start(&Config::new().backend(r#"balance = "leastconn""#).origins(&origins));
    let addr = lb.addr("web");
    let mut open: Vec<TcpStream> = Vec::new();
    for round in 1..=20 {
        open.extend(hold(addr, 9));
        let now = sessions(&lb, &["a", "b", "c"]);
        assert_eq!(now.iter().sum::<u64>(), round * 9);
        let (least, most) = (now.iter().min().unwrap(), now.iter().max().unwrap());
        assert!(most - least <= WORKERS, "{now:?}");
    }
    // The same when many clients open them all at once.
    let together: Vec<TcpStream> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..30).map(|_| scope.spawn(move || hold(addr, 4))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    let now = sessions(&lb, &["a", "b", "c"]);
    figure("leastconn after 300 sessions", format!("{now:?}"));
    assert!(now.iter().max().unwrap() - now.iter().min().unwrap() <= WORKERS, "{now:?}");
    drop((open, together));
}

#[test]
fn leastconn_counts_by_weight() {
    let origins = named(2);
    let config = Config::new()
        .backend(r#"balance = "leastconn""#)
        .server_with("a", origins[0].server(), "weight = 3")
        .server("b", origins[1].server());
    let lb = Lb::start(&config);
    let _open = hold(lb.addr("web"), 80);
    let now = sessions(&lb, &["a", "b"]);
    assert!(now[0].abs_diff(60) <= WORKERS, "{now:?}");
}

#[test]
fn a_thousand_servers_each_get_their_turn() {
    let _alone = alone();
    let (_origin, config) = thousand_servers();
    let lb = Lb::start(&config);
    let addr = lb.addr("web");
    let served: Vec<String> = (0..2000).map(|_| greeting(addr).unwrap()).collect();
    let counts = counts(&served);
    assert_eq!(counts.len(), 1000);
    assert!(counts.values().all(|&count| count == 2), "not twice each");
}

#[test]
fn source_keeps_a_client_with_its_server_and_moves_few_when_one_leaves() {
    let origins = named(10);
    let lb = Lb::start(&Config::new().backend(r#"balance = "source""#).origins(&origins));
    let addr = lb.addr("web");
    let clients: Vec<Ipv4Addr> = (0..200).map(|n| Ipv4Addr::new(127, 9, n / 100, n % 100 + 1)).collect();
    let ask = || -> Vec<String> { clients.iter().map(|&client| greeting_from(client, addr)).collect() };
    let before = ask();
    assert_eq!(before, ask(), "a client's server does not change by itself");
    assert_eq!(counts(&before).len(), 10, "every server has clients: {:?}", counts(&before));
    let without_c = origins.iter().enumerate().filter(|(index, _)| *index != 2);
    let config = without_c.fold(Config::new().backend(r#"balance = "source""#), |config, (index, origin)| {
        config.server(&name(index), origin.server())
    });
    lb.reload(&config);
    let after = ask();
    let moved = before.iter().zip(&after).filter(|(before, after)| before != after).count();
    let of_c = before.iter().filter(|server| *server == "c").count();
    figure("clients that move when one of ten servers leaves", format!("{moved} of 200, {of_c} were its own"));
    assert_eq!(moved, of_c, "only the clients of the server that left move");
    assert!(!after.contains(&"c".to_owned()));
}

/// Each maps clients by a hash of its own, so that the shares differ by chance.
#[test]
fn source_gives_servers_of_very_different_weights_the_shares_that_haproxy_gives_them() {
    let origins = named(3);
    let servers = || ["a", "b", "c"].into_iter().zip(&origins).zip([30, 10, 1]);
    let mut config = Config::new().backend(r#"balance = "source""#);
    let mut lines = " balance source\n".to_owned();
    for ((name, origin), weight) in servers() {
        config = config.server_with(name, origin.server(), &format!("weight = {weight}"));
        lines += &format!(" server {name} {} weight {weight}\n", origin.addr());
    }
    let (lb, haproxy) = (Lb::start(&config), Haproxy::backend(&lines));
    let shares = [lb.addr("web"), haproxy.addr()].map(|addr| {
        let client = |n: u32| Ipv4Addr::from(0x7f0a_0101 + n * 7);
        let served: Vec<String> = (0..2000).map(|n| first_byte_from(client(n), addr)).collect();
        let counts = counts(&served);
        ["a", "b", "c"].map(|name| counts.get(name).copied().unwrap_or(0))
    });
    let [ours, theirs] = shares;
    figure("clients of servers of weight 30, 10 and 1 by `source`", format!("{ours:?}, HAProxy {theirs:?}"));
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert!(ours.abs_diff(theirs) < 2000 / 20, "{shares:?}");
    }
}

#[test]
fn first_fills_one_server_before_the_next() {
    let origins = named(3);
    let config = ["a", "b", "c"]
        .iter()
        .zip(&origins)
        .fold(Config::new().backend(r#"balance = "first""#), |config, (name, origin)| {
            config.server_with(name, origin.server(), "maxconn = 4")
        });
    let lb = Lb::start(&config);
    let _open = hold(lb.addr("web"), 10);
    assert_eq!(sessions(&lb, &["a", "b", "c"]), [4, 4, 2]);
}

#[test]
fn random_of_two_choices_leaves_no_server_out() {
    let origins = named(4);
    let lb = Lb::start(&Config::new().backend(r#"balance = "random""#).origins(&origins));
    let counts = spread(&lb, 400);
    assert!(counts.len() == 4 && counts.values().all(|count| (50..=150).contains(count)), "{counts:?}");
}

#[test]
fn backups_serve_only_when_no_other_can() {
    let mut origins = named(4);
    let config = |options: &str| {
        Config::new()
            .backend(options)
            .server("a", origins[0].server())
            .server("b", origins[1].server())
            .server_with("c", origins[2].server(), "backup = true")
            .server_with("d", origins[3].server(), "backup = true")
    };
    let (one, all) = (config(""), config("allbackups = true"));
    let lb = Lb::start(&one);
    assert_eq!(spread(&lb, 10), [("a", 5), ("b", 5)].map(own).into());
    origins[0].stop();
    origins[1].stop();
    for server in ["app/a", "app/b"] {
        eventually_eq(HANG, "DOWN".to_owned(), || lb.status().server(server).text("status"));
    }
    assert_eq!(spread(&lb, 10), [("c", 10)].map(own).into(), "the first backup alone");
    lb.reload(&all);
    assert_eq!(spread(&lb, 10), [("c", 5), ("d", 5)].map(own).into(), "all backups");
    origins[0].restart();
    eventually_eq(HANG, "UP".to_owned(), || lb.status().server("app/a").text("status"));
    assert_eq!(spread(&lb, 10), [("a", 10)].map(own).into());
}

/// One origin at a thousand addresses of 127.0.0.0/8; it greets each session with the address it was reached at.
pub(crate) fn thousand_servers() -> (Origin, Config) {
    raise_descriptors();
    let origin = Origin::start_everywhere(Behaviour::SpeakAddress);
    let port = origin.addr().port();
    let config = (0..1000).fold(Config::bare(), |config, index| {
        config.server(&format!("s{index}"), format!("127.7.{}.{}:{port}", index / 250, index % 250 + 1))
    });
    (origin, config)
}

fn named(count: usize) -> Vec<Origin> {
    (0..count).map(|index| Origin::named(&name(index))).collect()
}

fn name(index: usize) -> String {
    char::from(b'a' + u8::try_from(index).unwrap()).to_string()
}

fn own((name, count): (&str, usize)) -> (String, usize) {
    (name.to_owned(), count)
}

fn counts(served: &[String]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for name in served {
        *counts.entry(name.clone()).or_default() += 1;
    }
    counts
}

fn spread(lb: &Lb, sessions: usize) -> BTreeMap<String, usize> {
    let addr = lb.addr("web");
    counts(&(0..sessions).map(|_| greeting(addr).unwrap()).collect::<Vec<_>>())
}

/// Opens sessions that stay open, each once its server has greeted it.
fn hold(addr: SocketAddr, count: usize) -> Vec<TcpStream> {
    let one = |_| {
        let mut stream = connect(addr).unwrap();
        std::io::Read::read_exact(&mut stream, &mut [0]).unwrap();
        stream
    };
    (0..count).map(one).collect()
}

fn sessions(lb: &Lb, servers: &[&str]) -> Vec<u64> {
    let status = lb.status();
    servers.iter().map(|server| status.server(&format!("app/{server}")).number("sessions")).collect()
}

fn greeting_from(client: Ipv4Addr, addr: SocketAddr) -> String {
    let stream = connect_from(client, addr);
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    String::from_utf8(read_to_end(&stream).0).unwrap()
}

/// Without a FIN, at which HAProxy gives up a session that has no server yet.
fn first_byte_from(client: Ipv4Addr, addr: SocketAddr) -> String {
    let mut byte = [0];
    std::io::Read::read_exact(&mut connect_from(client, addr), &mut byte).unwrap();
    char::from(byte[0]).to_string()
}

fn connect_from(client: Ipv4Addr, addr: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((client, 0)).into()).unwrap();
    socket.connect(&addr.into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream
}
