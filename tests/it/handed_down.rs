//! Listening sockets that a service manager or another parent leaves open for the balancer.

use std::net::{SocketAddr, TcpListener, TcpStream};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::support::client::{HANG, greeting};
use crate::support::config::Config;
use crate::support::lb::{Lb, LbOptions};
use crate::support::origin::Origin;
use crate::support::port::Port;
use crate::support::wait::eventually;

#[test]
fn a_blocking_socket_of_a_unit_serves_all_workers_and_freezes_none() {
    let origin = Origin::named("one");
    let port = Port::reserve();
    let addr = port.addr();
    let config = Config::new().threads(3).bind(&format!(r#"["{addr}"]"#)).origins([&origin]);
    let lb = start(activated(&[addr.to_string()], "web.socket", &[]).config(&config), addr);
    serves(&lb, addr, "one");
    // It stays through the ways in which engines are replaced.
    lb.reload(&config);
    lb.command_ok(&["upgrade"]);
    serves(&lb, addr, "one");
    let engine = lb.engine();
    kill(Pid::from_raw(engine), Signal::SIGKILL).unwrap();
    eventually(HANG, "another engine", || {
        lb.command(&["status"]).status.success().then(|| lb.engine()).filter(|now| *now != engine)
    });
    serves(&lb, addr, "one");
}

#[test]
fn a_bind_names_a_socket_by_its_number_or_its_name_and_the_rest_is_closed() {
    let (one, two) = (Origin::named("one"), Origin::named("two"));
    let ports = [(); 3].map(|()| Port::reserve());
    let [api, web, more] = [0, 1, 2].map(|n: usize| ports[n].addr());
    let table =
        format!("[frontend.api]\nbind = \"fd@3\"\nbackend = \"api\"\n[backend.api.servers]\na = \"{}\"", two.server());
    let config = Config::new().bind(r#"["fd@web"]"#).origins([&one]).table(&table);
    let sockets = [api, web, more].map(|addr| addr.to_string());
    let lb = start(activated(&sockets, "api:web:more", &[]).config(&config), web);
    serves(&lb, web, "one");
    serves(&lb, api, "two");
    let words = lb.stderr();
    assert!(words.contains(&format!("fd@5 fd@more {more}")), "{words}");
    eventually(HANG, "the unused one closed", || TcpStream::connect(more).is_err().then_some(()));
    lb.command_ok(&["upgrade"]);
    serves(&lb, web, "one");
    serves(&lb, api, "two");
}

#[test]
fn sockets_for_another_process_are_used_by_number_alone() {
    let origin = Origin::named("one");
    let ports = [(); 2].map(|()| Port::reserve());
    let [first, second] = [0, 1].map(|n: usize| ports[n].addr());
    let sockets = [first, second].map(|addr| addr.to_string());
    let other = ["bash", "-c", "export LISTEN_PID=1; exec \"$@\"", "bash"];
    let config = Config::new().bind(r#"["fd@3"]"#).origins([&origin]);
    let lb = start(activated(&sockets, "web:api", &other).config(&config), first);
    serves(&lb, first, "one");
    eventually(HANG, "the other closed", || TcpStream::connect(second).is_err().then_some(()));
    drop(lb);
    let config = Config::new().bind(r#"["fd@api"]"#).origins([&origin]);
    let mut lb = launch(activated(&sockets, "web:api", &other).config(&config), second).0;
    assert_eq!(lb.wait(HANG).code(), Some(1));
    assert!(lb.stderr().contains("cannot bind fd@api: no listening TCP socket was handed down"), "{}", lb.stderr());
}

#[test]
fn the_socket_of_a_port_alone_serves_ipv4_too() {
    let origin = Origin::named("one");
    let port = Port::reserve_at("[::]:0".parse().unwrap()).number();
    let config = Config::new().bind(&format!(r#"[":{port}"]"#)).origins([&origin]);
    let addr = SocketAddr::from(([127, 0, 0, 1], port));
    let lb = start(activated(&[port.to_string()], "lb.socket", &[]).config(&config), addr);
    serves(&lb, addr, "one");
}

#[test]
fn a_socket_of_the_wrong_kind_is_one_sentence() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = format!("exec 3<>/dev/tcp/127.0.0.1/{}", listener.local_addr().unwrap().port());
    let kinds = [("exec 3<>/dev/udp/127.0.0.1/9", "UDP"), (&connected, "connected"), ("exec 3</dev/null", "no socket")];
    for (open, words) in kinds {
        let script = format!("{open}; export LISTEN_FDS=1 LISTEN_FDNAMES=web LISTEN_PID=$$; exec \"$@\"");
        let config = Config::new().bind(r#"["fd@web"]"#).server("a", "127.0.0.1:9");
        let mut lb = Lb::options().within(&["bash", "-c", &script, "bash"]).config(&config).launch();
        assert_eq!(lb.wait(HANG).code(), Some(1));
        let said = lb.stderr();
        assert!(said.contains(words) && said.contains("frontend web: cannot bind fd@web"), "{said}");
    }
}

/// Started by the first connection to one of these sockets, which are blocking, as those of a `.socket` unit. `then`: a
/// command that runs the balancer.
fn activated(sockets: &[String], names: &str, then: &[&str]) -> LbOptions {
    let mut command = vec!["systemd-socket-activate".to_owned(), format!("--fdname={names}")];
    command.extend(sockets.iter().flat_map(|socket| ["-l".to_owned(), socket.clone()]));
    command.extend(["-E", "NOTIFY_SOCKET", "-E", "PATH"].map(str::to_owned));
    command.extend(then.iter().map(|&word| word.to_owned()));
    Lb::options().within(&command.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Launches it and makes the connection that starts it.
fn launch(options: LbOptions, addr: SocketAddr) -> (Lb, TcpStream) {
    let lb = options.launch();
    let client = eventually(HANG, "a socket that listens", || TcpStream::connect(addr).ok());
    (lb, client)
}

fn start(options: LbOptions, addr: SocketAddr) -> Lb {
    let (lb, _client) = launch(options, addr);
    lb.wait_for_notice("READY=1");
    lb
}

/// More connections than workers, so that each takes some; and an engine that answers.
#[track_caller]
fn serves(lb: &Lb, addr: SocketAddr, who: &str) {
    for _ in 0..12 {
        assert_eq!(greeting(addr).unwrap(), who, "{}", lb.stderr());
    }
    lb.status();
}
