//! The ways in which sessions begin and end, each with a `listen` of its own.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{SockRef, Socket};

use super::side::Side;
use crate::support::client::{connect, read_to_end};
use crate::support::port::Port;

pub(super) struct Case {
    pub(super) name: &'static str,
    /// Behind the address.
    pub(super) bind: &'static str,
    /// `ECHO` and others stand for servers.
    pub(super) lines: &'static [&'static str],
    pub(super) drive: fn(&Side, SocketAddr),
    /// All its sessions reach a server, so that their bytes are counted the same.
    pub(super) bytes: bool,
}

impl Case {
    /// Whether this is a row of it.
    pub(super) fn owns(&self, row: &str) -> bool {
        row.split_once('/').is_some_and(|(proxy, _)| proxy == self.name)
    }
}

/// Servers for both sides.
pub(super) struct Servers {
    places: Vec<(&'static str, SocketAddr)>,
    /// Port of an agent.
    agent: u16,
    _refusing: Port,
    /// A full queue, and what fills it.
    _full: (Socket, Vec<Socket>),
}

impl Servers {
    pub(super) fn start() -> Self {
        let refusing = Port::reserve();
        let full = full_queue();
        let places = vec![
            ("ECHO", serve(echo)),
            ("RESETTING", serve(break_off)),
            ("CLOSING", serve(close)),
            ("SILENT", serve(|mut stream| _ = stream.read_to_end(&mut Vec::new()))),
            ("REFUSING", refusing.addr()),
            ("FULL", full.0.local_addr().unwrap().as_socket().unwrap()),
        ];
        let agent = serve(|mut stream| _ = stream.write_all(b"up 50% #well\n")).port();
        Self { places, agent, _refusing: refusing, _full: full }
    }

    pub(super) fn fill(&self, line: &str) -> String {
        let line = line.replace("@AGENT", &self.agent.to_string());
        self.places.iter().fold(line, |line, (word, addr)| line.replace(word, &addr.to_string()))
    }
}

pub(super) const CASES: &[Case] = &[
    case("fin", &["server a ECHO"], |side, addr| (0..3).for_each(|_| exchange(side, addr))),
    case("client_reset", &["server a ECHO"], |_, addr| reset(answered(addr))),
    case("server_reset", &["server a RESETTING"], |_, addr| drop(read_to_end(&hello(addr)))),
    case("server_fin", &["server a CLOSING"], |_, addr| drop(read_to_end(&hello(addr)))),
    Case {
        bytes: false,
        ..case("refused", &["retries 1", "timeout queue 100ms", "server a REFUSING"], |_, addr| {
            drop(read_to_end(&hello(addr)))
        })
    },
    case("redispatched", &["option redispatch", "server a REFUSING", "server b ECHO"], exchange),
    Case { bytes: false, ..case("no_server", &[], |_, addr| drop(read_to_end(&hello(addr)))) },
    case("queue", &["server a ECHO maxconn 1"], |side, addr| {
        let first = answered(addr);
        let waiting = [(); 2].map(|()| hello(addr));
        side.wait("queue", "BACKEND", "qcur", "2");
        finish(first);
        // In which order they get the server is not said.
        let threads = waiting.map(|stream| thread::spawn(|| finish(echoed(stream))));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }),
    Case {
        bytes: false,
        ..case("queue_timeout", &["timeout queue 300ms", "server a ECHO maxconn 1"], |_, addr| {
            let first = answered(addr);
            drop(read_to_end(&hello(addr)));
            finish(first);
        })
    },
    Case {
        bytes: false,
        ..case("queue_reset", &["server a ECHO maxconn 1"], |side, addr| {
            let first = answered(addr);
            let waiting = hello(addr);
            side.wait("queue_reset", "BACKEND", "qcur", "1");
            reset(waiting);
            side.wait("queue_reset", "BACKEND", "qcur", "0");
            finish(first);
        })
    },
    case("client_timeout", &["timeout client 300ms", "server a ECHO"], |_, addr| drop(read_to_end(&answered(addr)))),
    case("server_timeout", &["timeout server 300ms", "server a SILENT"], |_, addr| drop(read_to_end(&hello(addr)))),
    case("no_data", &["server a ECHO"], |side, addr| {
        let stream = connect(addr).unwrap();
        side.wait("no_data", "a", "scur", "1");
        drop(stream);
    }),
    case("half_closed", &["server a ECHO"], |_, addr| finish(connect(addr).unwrap())),
    Case { bind: "accept-proxy", ..case("no_header", &["server a ECHO"], |_, addr| drop(read_to_end(&hello(addr)))) },
    Case {
        bind: "accept-proxy",
        ..case("header", &["server a ECHO"], |_, addr| {
            let mut stream = connect(addr).unwrap();
            stream.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nhello").unwrap();
            finish(stream);
        })
    },
    case("backup", &["server a REFUSING check inter 100", "server b ECHO backup"], |side, addr| {
        side.wait("backup", "a", "status", "DOWN");
        (0..2).for_each(|_| exchange(side, addr));
    }),
    case("maint", &["server a ECHO disabled weight 3", "server b ECHO weight 2"], exchange),
    case("checked", &["option tcp-check", "server a ECHO check inter 100 rise 4 fall 5"], |side, addr| {
        side.wait("checked", "a", "status", "UP");
        exchange(side, addr);
    }),
    case("tracking", &["server a REFUSING track backup/a", "server b ECHO track checked/a"], |side, addr| {
        side.wait("tracking", "a", "status", "DOWN");
        exchange(side, addr);
    }),
    case("agent", &["server a ECHO weight 10 agent-check agent-port @AGENT agent-inter 100"], |side, addr| {
        side.wait("agent", "a", "weight", "5");
        exchange(side, addr);
    }),
    Case {
        bytes: false,
        ..case("connect_timeout", &["timeout connect 300ms", "retries 0", "server a FULL"], |_, addr| {
            drop(read_to_end(&hello(addr)));
        })
    },
    Case {
        bytes: false,
        ..case("connect_reset", &["server a FULL"], |side, addr| {
            let stream = hello(addr);
            side.wait("connect_reset", "a", "connect", "1");
            reset(stream);
        })
    },
    case("leastconn", &["balance leastconn", "server a ECHO", "server b ECHO", "server c ECHO"], |_, addr| {
        [(); 6].map(|()| answered(addr)).into_iter().for_each(finish);
    }),
];

const fn case(name: &'static str, lines: &'static [&'static str], drive: fn(&Side, SocketAddr)) -> Case {
    Case { name, bind: "", lines, drive, bytes: true }
}

fn hello(addr: SocketAddr) -> TcpStream {
    let mut stream = connect(addr).unwrap();
    stream.write_all(b"hello").unwrap();
    stream
}

/// A session that has its echo.
fn answered(addr: SocketAddr) -> TcpStream {
    echoed(hello(addr))
}

fn echoed(mut stream: TcpStream) -> TcpStream {
    stream.read_exact(&mut [0; 5]).unwrap();
    stream
}

fn finish(stream: TcpStream) {
    stream.shutdown(Shutdown::Write).unwrap();
    read_to_end(&stream);
}

/// A whole session, until it is counted.
fn exchange(side: &Side, addr: SocketAddr) {
    finish(answered(addr));
    side.wait(side.case(addr), "FRONTEND", "scur", "0");
}

fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// A server on a thread for each connection, until the test ends.
fn serve(connection: fn(TcpStream)) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || connection(stream));
        }
    });
    addr
}

fn echo(mut stream: TcpStream) {
    let mut bytes = [0; 100];
    while let Ok(count @ 1..) = stream.read(&mut bytes) {
        stream.write_all(&bytes[..count]).ok();
    }
}

/// Once the client has what was sent.
fn break_off(mut stream: TcpStream) {
    _ = stream.read(&mut [0; 100]);
    reset(stream);
}

fn close(mut stream: TcpStream) {
    _ = stream.read(&mut [0; 100]);
    stream.write_all(b"answer").ok();
}

/// A port that lets connects wait.
fn full_queue() -> (Socket, Vec<Socket>) {
    let new = || Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let listener = new();
    listener.bind(&"127.0.0.1:0".parse::<SocketAddr>().unwrap().into()).unwrap();
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap();
    let filling = [(); 3].map(|()| {
        let socket = new();
        socket.set_nonblocking(true).unwrap();
        // In progress, or for ever.
        socket.connect(&addr).ok();
        socket
    });
    (listener, filling.into())
}
