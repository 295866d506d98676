//! Elements of `bind` with options of their own, ranges of ports, and what a frontend says about rate and time.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::support::client::{HANG, connect, greeting, read_to_end};
use crate::support::config::Config;
use crate::support::figure::figure;
use crate::support::lb::{Lb, lb};
use crate::support::netns::Netns;
use crate::support::origin::{Behaviour, Origin};
use crate::support::port::Port;
use crate::support::wait::{eventually, eventually_eq, settled};

fn echoes(stream: &mut TcpStream) {
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
}

#[test]
fn each_bind_has_its_own_options_also_after_a_reload_and_an_upgrade() {
    let origin = Origin::named("a");
    let ports = [Port::reserve(), Port::reserve()];
    let config = |first: bool, second: bool| {
        let bind =
            |port: &Port, proxied| format!("{{ addr = \"{}\", accept_proxy = {proxied}, tfo = true }}", port.addr());
        let binds = format!("[{}, {}]", bind(&ports[0], first), bind(&ports[1], second));
        Config::new().bind(&binds).origins([&origin])
    };
    let lb = Lb::start(&config(false, true));
    let introduced = |port: &Port| {
        let mut client = connect(port.addr()).unwrap();
        client.write_all(b"PROXY TCP4 192.0.2.7 192.0.2.8 1234 80\r\n").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        read_to_end(&client).0 == b"a"
    };
    assert_eq!(greeting(ports[0].addr()).unwrap(), "a");
    assert!(introduced(&ports[1]));
    eventually(HANG, "the named client in the log", || lb.stdout().contains("192.0.2.7:1234").then_some(()));
    lb.reload(&config(true, false));
    assert_eq!(greeting(ports[1].addr()).unwrap(), "a");
    assert!(introduced(&ports[0]));
    lb.command_ok(&["upgrade", "--probation", "0s"]);
    assert_eq!(greeting(ports[1].addr()).unwrap(), "a");
    assert!(introduced(&ports[0]));
}

#[test]
fn a_range_of_ports_is_one_listener_for_each() {
    let origin = Origin::named("a");
    // An address of its own, and ports that the kernel gives to none.
    let lb = Lb::start(&Config::new().bind("\"127.0.77.1:7101-7103\"").origins([&origin]));
    let bound = lb.status().bound("web");
    assert_eq!(bound, [7101, 7102, 7103].map(|port| SocketAddr::from(([127, 0, 77, 1], port))));
    for addr in bound {
        assert_eq!(greeting(addr).unwrap(), "a");
    }
}

#[test]
fn a_bind_to_an_interface_takes_only_what_comes_through_it() {
    let (netns, origin) = (Netns::new(), Origin::named("a"));
    let link = netns.near_link_local().split_once('%').unwrap().1.to_owned();
    let port = Port::reserve_at("0.0.0.0:0".parse().unwrap()).number();
    let config = |interfaces: &[&str]| {
        let bind = |name: &&str| format!("{{ addr = \"*:{port}\", interface = \"{name}\" }}");
        let binds: Vec<_> = interfaces.iter().map(bind).collect();
        Config::new().bind(&format!("[{}]", binds.join(", "))).origins([&origin])
    };
    let lb = Lb::start(&config(&[&link]));
    let here = SocketAddr::from(([127, 0, 0, 1], port));
    assert!(connect(here).is_err(), "that comes through lo");
    lb.reload(&config(&[&link, "lo"]));
    assert_eq!(greeting(here).unwrap(), "a");
    lb.command_ok(&["upgrade", "--probation", "0s"]);
    assert_eq!(greeting(here).unwrap(), "a");
    lb.reload(&config(&[&link]));
    eventually(HANG, "refused again", || connect(here).err());
}

#[test]
fn an_interface_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("lb.toml");
    let bind = r#"{ addr = "127.0.0.1:0", interface = "nope0" }"#;
    std::fs::write(&file, Config::new().bind(bind).server("a", "127.0.0.1:9").text()).unwrap();
    let socket = dir.path().join("lb.sock");
    let output = lb(&["run", "-f", file.to_str().unwrap(), "--socket", socket.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("127.0.0.1:0 interface nope0") && said.contains("no interface of that name"), "{said}");
}

#[test]
fn a_bind_at_its_maxconn_leaves_the_others_alone() {
    let origin = Origin::start(Behaviour::Echo);
    let lb =
        Lb::start(&Config::new().bind(r#"[{ addr = "127.0.0.1:0", maxconn = 1 }, "127.0.0.2:0"]"#).origins([&origin]));
    let [narrow, wide] = lb.status().bound("web")[..] else { panic!("two addresses") };
    let mut first = connect(narrow).unwrap();
    echoes(&mut first);
    let mut second = connect(narrow).unwrap();
    let sessions = || lb.status().frontend("web").number("sessions");
    assert_eq!(settled(HANG, Duration::from_millis(200), sessions), 1);
    echoes(&mut connect(wide).unwrap());
    drop(first);
    echoes(&mut second);
}

#[test]
fn a_rate_limit_lets_connections_wait_and_refuses_none() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().frontend("rate_limit = 5").origins([&origin]));
    let addr = lb.addr("web");
    let begin = Instant::now();
    let mut clients: Vec<_> = (0..12).map(|_| connect(addr).unwrap()).collect();
    clients.iter_mut().for_each(echoes);
    let took = begin.elapsed();
    figure("12 sessions at 5 a second", format!("{took:?}"));
    assert!(took >= Duration::from_millis(1300), "{took:?}");
    lb.reload(&Config::new().origins([&origin]));
    (0..50).for_each(|_| echoes(&mut connect(addr).unwrap()));
    eventually_eq(HANG, 62, || lb.status().frontend("web").number("sessions_total"));
}

#[test]
fn a_timeout_of_the_frontend_is_above_its_backends() {
    let origin = Origin::start(Behaviour::Echo);
    let (frontend, backend) = (r#"timeout = { client = "200ms" }"#, r#"timeout = { client = "20s", server = "20s" }"#);
    let lb = Lb::start(&Config::new().frontend(frontend).backend(backend).origins([&origin]));
    let mut client = connect(lb.addr("web")).unwrap();
    echoes(&mut client);
    read_to_end(&client);
    eventually(HANG, "the client's timeout in the log", || lb.stdout().contains(" cD ").then_some(()));
}
