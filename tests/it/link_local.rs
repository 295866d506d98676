//! Link-local addresses, which need the interface: on both sides, in `lb status`, and over an upgrade.

use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV6, TcpStream};
use std::time::Duration;

use nix::net::if_::if_nametoindex;

use super::support::config::Config;
use super::support::lb::Lb;
use super::support::netns::Netns;
use super::support::origin::{Behaviour, Origin};
use super::support::wait::eventually_eq;

/// `fe80::77%eth0` and a port as an address of the kernel.
fn resolved(scoped: &str, port: u16) -> SocketAddr {
    let (ip, interface) = scoped.split_once('%').unwrap();
    SocketAddrV6::new(ip.parse().unwrap(), port, 0, if_nametoindex(interface).unwrap()).into()
}

fn echo(session: &mut TcpStream) {
    session.write_all(b"x").unwrap();
    let mut byte = [0];
    session.read_exact(&mut byte).unwrap();
    assert_eq!(&byte, b"x");
}

#[test]
fn a_link_local_address_is_bound_and_reached_with_its_interface_also_after_an_upgrade() {
    let netns = Netns::new();
    let near = netns.near_link_local();
    let origin = Origin::start_on(resolved(&near, 0), Behaviour::Echo);
    let server = format!("[{near}]:{}", origin.addr().port());
    // A number does as well as a name.
    let index = if_nametoindex(near.split_once('%').unwrap().1).unwrap();
    let numbered = format!("[fe80::77%{index}]:{}", origin.addr().port());
    let lb = Lb::start(&Config::new().bind(&format!("[\"[{near}]:0\"]")).server("a", &server).server("b", numbered));
    let binds = || lb.status().frontend("web").at("/bind").cloned().unwrap();
    for name in ["app/a", "app/b"] {
        eventually_eq(Duration::from_secs(5), "UP".to_owned(), || lb.status().server(name).text("status"));
        assert_eq!(lb.status().server(name).text("addr"), server);
    }
    let before = binds();
    let port = before[0].as_str().unwrap().strip_prefix(&format!("[{near}]:")).expect("as written").parse().unwrap();
    let connect = || TcpStream::connect(resolved(&near, port)).unwrap();
    let mut sessions = [connect(), connect()];
    sessions.iter_mut().for_each(echo);
    lb.command_ok(&["upgrade", "--probation", "0s"]);
    assert_eq!(binds(), before);
    assert_eq!(lb.status().server("app/a").text("addr"), server);
    sessions.iter_mut().for_each(echo);
    echo(&mut connect());
    let total = |name| lb.status().server(name).number("sessions_total");
    assert_eq!(total("app/a") + total("app/b"), 3);
}
