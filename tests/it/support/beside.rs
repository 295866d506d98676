//! lb and the real HAProxy beside each other, with the text of one sample and the same servers behind.

use std::fmt::Debug;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::client::HANG;
use super::haproxy::Haproxy;
use super::lb::Lb;
use super::machine::Stopwatch;
use super::port::Port;
use super::sample::{Sample, SamplePool, SampleServer};
use super::wait::pause;

/// Both balancers. Each has its own loopback address for its frontends.
pub(crate) struct Beside {
    pub(crate) sample: Sample,
    lb: Lb,
    haproxy: Haproxy,
}

/// What lb does or says, and then HAProxy.
pub(crate) type Both<T> = [T; 2];

/// A client, the server that it is with, and how its session has ended.
pub(crate) struct Asking {
    pub(crate) who: String,
    stream: TcpStream,
    ended: Option<String>,
}

impl Beside {
    /// `None`: HAProxy does not accept the sample.
    pub(crate) fn start(name: &str) -> Option<Self> {
        let sample = Sample::localised(name);
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("haproxy.cfg");
        fs::write(&file, &sample.text).unwrap();
        let check = Command::new("haproxy").arg("-c").arg("-f").arg(&file).env("HERE", "127.0.0.2").output().unwrap();
        if !check.status.success() {
            return None;
        }
        let port = Port::reserve_at((THEIRS, sample.pools[0].ports[0]).into());
        let haproxy = Haproxy::whole(port, &sample.text, &["env", "HERE=127.0.0.2"]);
        let lb = Lb::options().flags(&["-f", file.to_str().unwrap()]).env("HERE", Path::new("127.0.0.1")).start();
        Some(Self { sample, lb, haproxy })
    }

    /// The words of both for each server of the pool.
    pub(crate) fn states(&self, pool: &SamplePool) -> Both<Vec<String>> {
        let (status, stat) = (self.lb.status(), self.haproxy.command("show stat"));
        let ours = |server: &SampleServer| status.server(&server.path(pool)).text("status");
        let theirs = |server: &SampleServer| match column(&stat, pool, server, 17).split(' ').next().unwrap() {
            // Words of its own for a server without checks, and for one without a weight.
            "no" => "UP".to_owned(),
            "DRAIN" if server.idle => "UP".to_owned(),
            status => status.to_owned(),
        };
        [pool.servers.iter().map(ours).collect(), pool.servers.iter().map(theirs).collect()]
    }

    /// Whether each server has been checked: before that one failure takes it down.
    pub(crate) fn are_known(&self, pool: &SamplePool) -> Both<bool> {
        let (status, stat) = (self.lb.status(), self.haproxy.command("show stat"));
        let checked = || pool.servers.iter().filter(|server| server.checked);
        [
            checked().all(|server| status.server(&server.path(pool)).at("/check/last/0").is_some()),
            checked().all(|server| column(&stat, pool, server, 36) != "INI"),
        ]
    }

    pub(crate) fn set(&self, pool: &SamplePool, server: &SampleServer, state: &str) {
        let path = server.path(pool);
        self.lb.command_ok(&["server", state, &path]);
        self.haproxy.command(&format!("set server {path} state {state}"));
    }

    /// Sessions at every port, all open at once, beside no others.
    pub(crate) fn sessions(&self, pool: &SamplePool) -> Both<Vec<Asking>> {
        agree("sessions that are still open", || self.open_sessions(pool), |open| *open == 0);
        HERE.map(|ip| {
            let clients = (0..SESSIONS).flat_map(|client| pool.ports.iter().map(move |port| (client, *port)));
            let from = |client| (pool.balance == "source").then(|| Ipv4Addr::new(127, 9, 0, client + 1));
            clients.map(|(client, port)| Asking::start(ip, port, from(client)).unwrap()).collect()
        })
    }

    fn open_sessions(&self, pool: &SamplePool) -> Both<u64> {
        let (status, stat) = (self.lb.status(), self.haproxy.command("show stat"));
        [
            pool.servers.iter().map(|server| status.server(&server.path(pool)).number("sessions")).sum(),
            pool.servers.iter().map(|server| column(&stat, pool, server, 4).parse::<u64>().unwrap()).sum(),
        ]
    }

    /// One session at each.
    pub(crate) fn session(&self, pool: &SamplePool) -> Both<io::Result<Asking>> {
        HERE.map(|ip| Asking::start(ip, pool.ports[0], None))
    }

    /// How a session ends that comes when no server accepts, and after which time.
    pub(crate) fn session_in_vain(&self, pool: &SamplePool) -> Both<(Option<ErrorKind>, Duration)> {
        let end = |ip| {
            let watch = Stopwatch::start();
            (Asking::start(ip, pool.ports[0], None).err().map(|error| error.kind()), watch.elapsed())
        };
        thread::scope(|scope| HERE.map(|ip| scope.spawn(move || end(ip))).map(|ended| ended.join().unwrap()))
    }
}

impl Asking {
    /// Connects, and asks which server it is with: its name, its address if it has several, and who it was told comes.
    fn start(ip: Ipv4Addr, port: u16, from: Option<Ipv4Addr>) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        if let Some(from) = from {
            socket.bind(&SocketAddr::from((from, 0)).into())?;
        }
        socket.connect(&SocketAddr::from((ip, port)).into())?;
        let mut stream = TcpStream::from(socket);
        stream.set_read_timeout(Some(HANG))?;
        stream.write_all(b"WHO\n")?;
        let mut line = String::new();
        BufReader::with_capacity(256, &stream).read_line(&mut line)?;
        if line.is_empty() {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let who = line.trim_end().replace(&stream.local_addr()?.to_string(), "for its client");
        Ok(Self { who: who.replace(&port.to_string(), "at the same port"), stream, ended: None })
    }

    /// How the session ends after these words.
    pub(crate) fn end(mut self, words: &str) -> String {
        self.stream.write_all(words.as_bytes()).unwrap();
        self.read()
    }

    /// Whether the session with its server goes on, or how it has ended.
    pub(crate) fn now(&mut self) -> String {
        if self.ended.is_none() {
            // Refused where it has ended already.
            drop(self.stream.write_all(b"WHO\n"));
            self.ended = Some(self.read()).filter(|ended| ended != "an answer");
        }
        format!("{} {}", self.who, self.ended.as_deref().unwrap_or("goes on"))
    }

    fn read(&mut self) -> String {
        match self.stream.read(&mut [0; 256]) {
            Ok(0) => "FIN".to_owned(),
            Ok(_) => "an answer".to_owned(),
            Err(error) => format!("{:?}", error.kind()),
        }
    }
}

/// Waits until both say the same, and something that is good.
#[track_caller]
pub(crate) fn agree<T: PartialEq + Debug>(
    what: &str,
    mut ask: impl FnMut() -> Both<T>,
    good: impl Fn(&T) -> bool,
) -> T {
    let watch = Stopwatch::start();
    loop {
        let [ours, theirs] = ask();
        if ours == theirs && good(&ours) {
            return ours;
        }
        assert!(watch.elapsed() < HANG * 2, "{what}: {ours:?}, and HAProxy {theirs:?}");
        pause(Duration::from_millis(20));
    }
}

/// Of the server's row in `show stat`.
fn column<'s>(stat: &'s str, pool: &SamplePool, server: &SampleServer, index: usize) -> &'s str {
    let begin = format!("{},{},", pool.name, server.name);
    let row = stat.lines().find(|row| row.starts_with(&begin)).unwrap_or_else(|| panic!("no {begin} in {stat}"));
    row.split(',').nth(index).unwrap()
}

const OURS: Ipv4Addr = Ipv4Addr::LOCALHOST;
const THEIRS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const HERE: Both<Ipv4Addr> = [OURS, THEIRS];
const SESSIONS: u8 = 12;
