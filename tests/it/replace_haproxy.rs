//! `haproxy -sf PID`: a running HAProxy, or an `lb`, is replaced under load.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{self as unix, UnixListener, UnixStream};
use std::path::Path;

use nix::sys::signal::Signal;

use crate::support::ab::Ab;
use crate::support::as_haproxy::{AsHaproxy, Foreground};
use crate::support::client::{HANG, read_to_end};
use crate::support::config::Config;
use crate::support::figure::figure;
use crate::support::limits::{alone, amount};
use crate::support::origin::{Behaviour, Origin};
use crate::support::outcome::Ending;
use crate::support::ping_pong::PingPong;
use crate::support::port::Port;
use crate::support::process::Process;
use crate::support::wait::eventually;

/// Two servers and the ports of two frontends in front of them.
struct Site {
    home: AsHaproxy,
    http: Origin,
    echo: Origin,
    ports: [Port; 2],
}

impl Site {
    fn new() -> Self {
        let (http, echo) = (Origin::start(Behaviour::Http(100)), Origin::start(Behaviour::Echo));
        let site = Self { home: AsHaproxy::new(), http, echo, ports: [(); 2].map(|()| Port::reserve()) };
        site.write_for_lb();
        let (http, echo) = (site.http.server(), site.echo.server());
        site.home.write(
            "haproxy.cfg",
            &format!(
                "global\n maxconn 2000\n stats socket @DIR@/admin.sock level admin expose-fd listeners\n\
                 defaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n\
                 listen http\n bind {}\n server a {http}\nlisten echo\n bind {}\n server a {echo}\n",
                site.addr(0),
                site.addr(1)
            ),
        );
        site
    }

    fn addr(&self, frontend: usize) -> SocketAddr {
        self.ports[frontend].addr()
    }

    fn write_for_lb(&self) {
        let table = format!(
            "[frontend.echo]\nbind = \"{}\"\nbackend = \"echo\"\n[backend.echo.servers]\na = \"{}\"\n",
            self.addr(1),
            self.echo.server()
        );
        let config = Config::new().bind(&format!("[\"{}\"]", self.addr(0))).origins([&self.http]).table(&table);
        self.home.write("lb.toml", &config.global("socket = \"@DIR@/lb.sock\"").text());
    }

    fn start_haproxy(&self, flags: &str) -> Process {
        let process = self.home.start_real("old", &format!("{flags} -db -f @DIR@/haproxy.cfg"));
        for port in &self.ports {
            eventually(HANG, "haproxy accepts", || TcpStream::connect(port.addr()).ok());
        }
        process
    }

    /// Replaces `old` by `lb` with the same file under load; `flags` name it.
    fn replace(&self, story: &str, mut old: Process, flags: &str) -> Foreground {
        let _alone = alone();
        let sessions = PingPong::start(self.addr(1), 50);
        let mut ab = Ab::start(self.addr(0), amount(20_000, 200_000), 8, &[]);
        eventually(HANG, "load", || (self.http.requests() > 500).then_some(()));
        let lb = self.home.start("new", &format!("-db -f @DIR@/haproxy.cfg --socket @DIR@/lb.sock {flags}"));
        let served = self.http.requests();
        assert!(ab.is_running(), "it came too late for the load");
        eventually(HANG, "load", || (self.http.requests() > served + 500).then_some(()));
        sessions.run_for(200);
        assert!(old.ended().is_none(), "the old one cut its sessions: {}", old.stderr());
        let sessions = sessions.finish();
        sessions.assert_unharmed();
        let report = ab.finish();
        figure(&format!("ab while {story}"), &report);
        report.assert_flawless();
        // HAProxy 2.6.12 crashes now and then while it frees its memory at the very end, also by itself.
        old.wait(HANG);
        assert!(self.home.status().frontend("http").number("sessions_total") > 500);
        lb
    }
}

#[test]
fn a_haproxy_that_hands_out_its_sockets_is_replaced_without_a_refused_connection() {
    let site = Site::new();
    let old = site.start_haproxy("");
    let flags = format!("-x @DIR@/admin.sock -sf {}", old.pid());
    site.replace("HAProxy is replaced, with -x", old, &flags);
}

#[test]
fn a_haproxy_is_replaced_without_its_help() {
    let site = Site::new();
    let old = site.start_haproxy("");
    let flags = format!("-sf {}", old.pid());
    site.replace("HAProxy is replaced, without -x", old, &flags);
}

#[test]
fn connections_in_the_queue_of_a_haproxy_that_hangs_are_served() {
    let site = Site::new();
    let mut old = site.start_haproxy("");
    old.stop();
    let mut waiting: Vec<_> = (0..10).map(|_| TcpStream::connect(site.addr(1)).unwrap()).collect();
    let _lb = site.home.start("lb", &format!("-db -f @DIR@/lb.toml -sf {}", old.pid()));
    for client in &mut waiting {
        client.set_read_timeout(Some(HANG)).unwrap();
        client.write_all(b"waited").unwrap();
        let mut answer = [0; 6];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"waited");
    }
    old.signal(Signal::SIGCONT);
    old.wait(HANG);
}

#[test]
fn the_workers_of_a_master_are_replaced() {
    let site = Site::new();
    let old = site.start_haproxy("-W");
    let flags = format!("-sf {}", old.pid());
    site.replace("a master and its worker are replaced", old, &flags);
}

#[test]
fn a_haproxy_whose_sockets_cannot_be_had_shares_its_ports_until_the_new_one_serves() {
    let site = Site::new();
    let mut old = site.start_haproxy("");
    let sessions = PingPong::start(site.addr(1), 5);
    let line = format!(
        "--bounding-set=-sys_ptrace --inh-caps=-sys_ptrace -- @DIR@/haproxy -db -f @DIR@/lb.toml -sf {}",
        old.pid()
    );
    let lb = site.home.start_by(Path::new("setpriv"), "new", &line);
    assert!(lb.process.stderr().contains("only shared"), "{}", lb.process.stderr());
    sessions.run_for(50);
    sessions.finish().assert_unharmed();
    old.wait(HANG);
    PingPong::start(site.addr(1), 5).finish().assert_unharmed();
}

#[test]
fn an_lb_hands_its_sessions_to_the_next_one_by_its_pid() {
    let _alone = alone();
    let site = Site::new();
    let mut old = site.home.start("first", "-W -db -f @DIR@/lb.toml -p @DIR@/pid");
    let sessions = PingPong::start(site.addr(1), 50);
    let mut ab = Ab::start(site.addr(0), amount(20_000, 200_000), 8, &[]);
    for generation in 2..4 {
        let name = format!("next{generation}");
        let line = format!("-W -db -f @DIR@/lb.toml -p @DIR@/pid -x @DIR@/admin.sock -sf {}", site.home.pid("pid"));
        let new = site.home.start(&name, &line);
        // It has nothing left.
        let status = old.process.wait(HANG);
        assert!(status.success(), "{status}: {}", old.process.stderr());
        assert_eq!(site.home.status().number("generation"), generation);
        assert_eq!(site.home.pid("pid"), new.process.pid());
        old = new;
    }
    sessions.run_for(200);
    sessions.finish().assert_unharmed();
    let busy = ab.is_running();
    let report = ab.finish();
    figure("ab while lb replaces lb as haproxy -sf", format!("{report}{}", if busy { "" } else { ", ended early" }));
    report.assert_flawless();
}

#[test]
fn a_start_that_fails_leaves_the_old_one_as_it_was() {
    let site = Site::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!("[frontend.more]\nbind = \"{}\"\nbackend = \"echo\"\n", taken.local_addr().unwrap());
    let bad = fs::read_to_string(site.home.path("lb.toml")).unwrap() + &more;
    site.home.write("bad.toml", &bad);
    let fails = |flags: &str| {
        let output = site.home.run(&format!("-D -f @DIR@/bad.toml -p @DIR@/newpid {flags}"));
        let words = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{words}");
        assert!(words.contains(&taken.local_addr().unwrap().to_string()), "{words}");
    };
    let haproxy = site.start_haproxy("");
    let sessions = PingPong::start(site.addr(1), 5);
    fails(&format!("-sf {}", haproxy.pid()));
    // It takes the path of the stats socket, and gives it back.
    fails(&format!("--socket @DIR@/admin.sock -sf {}", haproxy.pid()));
    fails(&format!("-x @DIR@/admin.sock -st {}", haproxy.pid()));
    PingPong::start(site.addr(1), 1).finish().assert_unharmed();
    sessions.run_for(20);
    // And it can be replaced in the end.
    let lb = site.home.start("lb", &format!("-db -f @DIR@/lb.toml -sf {}", haproxy.pid()));
    let moved = PingPong::start(site.addr(1), 5);
    fails(&format!("-sf {}", lb.process.pid()));
    sessions.run_for(20);
    moved.run_for(20);
    sessions.finish().assert_unharmed();
    moved.finish().assert_unharmed();
    assert_eq!(site.home.status().number("generation"), 1);
}

#[test]
fn st_ends_the_old_one_with_its_sessions() {
    let site = Site::new();
    let mut old = site.start_haproxy("");
    let session = TcpStream::connect(site.addr(1)).unwrap();
    let _lb = site.home.start("lb", &format!("-db -f @DIR@/lb.toml -st {}", old.pid()));
    old.wait(HANG);
    let (_, ending) = read_to_end(&session);
    assert!(matches!(ending, Ending::Fin | Ending::Reset), "{ending:?}");
}

#[test]
fn the_admin_socket_of_another_lb_stays_its_own_once_the_old_one_is_replaced() {
    let site = Site::new();
    let mut old = site.start_haproxy("");
    let lb = site.home.start("lb", &format!("-db -f @DIR@/lb.toml -sf {}", old.pid()));
    old.wait(HANG);
    let path = site.home.path("lb.sock");
    fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    let id = fs::symlink_metadata(&path).unwrap().ino();
    lb.process.signal(Signal::SIGHUP);
    eventually(HANG, "a refusal", || lb.process.stderr().contains("another lb answers there").then_some(()));
    assert_eq!(fs::symlink_metadata(&path).unwrap().ino(), id);
    drop(other);
}

#[test]
fn a_process_that_is_no_haproxy_is_left_alone() {
    let site = Site::new();
    let mut other = Process::start("other", &site.home.path(""), std::process::Command::new("sleep").arg("1000"));
    let lb = site.home.start("lb", &format!("-db -f @DIR@/lb.toml -st {} 999999999", other.pid()));
    eventually(HANG, "the message", || lb.process.stderr().contains("is no haproxy").then_some(()));
    PingPong::start(site.addr(1), 1).finish().assert_unharmed();
    assert!(other.ended().is_none());
}

#[test]
fn the_unix_sockets_of_a_haproxy_are_taken_over_with_what_waits_in_them() {
    for (story, flags) in [("-x", "-x @DIR@/admin.sock "), ("by itself", "")] {
        let site = UnixSite::new();
        let mut old = site.start_haproxy();
        let mut session = site.session();
        let stopped = flags.is_empty();
        if stopped {
            old.stop();
        }
        let mut waiting: Vec<_> = [site.at_path(), site.abstract_name()].into_iter().map(connected).collect();
        let lb =
            site.home.start("lb", &format!("-db -f @DIR@/haproxy.cfg --socket @DIR@/lb.sock {flags}-sf {}", old.pid()));
        waiting.iter_mut().for_each(echoes);
        if stopped {
            old.signal(Signal::SIGCONT);
        }
        echoes(&mut session);
        drop((session, waiting));
        old.wait(HANG);
        for addr in [site.at_path(), site.abstract_name()] {
            echoes(&mut connected(addr));
        }
        let said = lb.process.stderr();
        assert!(!said.contains("handed down"), "{story}: {said}");
    }
}

#[test]
fn the_path_of_a_haproxy_whose_sockets_cannot_be_had_is_replaced_and_comes_back_if_the_start_fails() {
    let site = UnixSite::new();
    let cfg = fs::read_to_string(site.home.path("haproxy.cfg")).unwrap();
    site.home.write("path.cfg", &cfg.replace(&format!(" bind abns@{}\n", site.name()), ""));
    let mut old = site.start_haproxy();
    let started = |more: &str| {
        format!(
            "--bounding-set=-sys_ptrace --inh-caps=-sys_ptrace -- @DIR@/haproxy -db -f @DIR@/path.cfg {more} -sf {}",
            old.pid()
        )
    };
    // Its admin socket cannot be made, or its last port is taken.
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let more = format!("listen more\n bind {}\n server a 127.0.0.1:1\n", taken.local_addr().unwrap());
    site.home.write("more.cfg", &more);
    let failed = site.home.run_by(Path::new("setpriv"), &started("-f @DIR@/more.cfg --socket @DIR@/lb.sock"));
    let words = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert_eq!(failed.status.code(), Some(1), "{words}");
    let mut session = site.session();
    let lb = site.home.start_by(Path::new("setpriv"), "new", &started("--socket @DIR@/lb.sock"));
    assert!(lb.process.stderr().contains("only shared"), "{}", lb.process.stderr());
    echoes(&mut connected(site.at_path()));
    echoes(&mut session);
    drop(session);
    old.wait(HANG);
    echoes(&mut connected(site.at_path()));
}

/// A HAProxy that listens on unix sockets, in front of an echo.
struct UnixSite {
    home: AsHaproxy,
    echo: Origin,
}

impl UnixSite {
    fn new() -> Self {
        let site = Self { home: AsHaproxy::new(), echo: Origin::start(Behaviour::Echo) };
        site.home.write(
            "haproxy.cfg",
            &format!(
                "global\n stats socket @DIR@/admin.sock level admin expose-fd listeners\n\
                 defaults\n mode tcp\n timeout connect 5s\n timeout client 1m\n timeout server 1m\n\
                 listen echo\n bind unix@@DIR@/web.sock mode 0600\n bind abns@{}\n server a {}\n",
                site.name(),
                site.echo.server()
            ),
        );
        site
    }

    fn name(&self) -> String {
        format!("lb-test-{}", self.home.path("").display())
    }

    fn at_path(&self) -> unix::SocketAddr {
        unix::SocketAddr::from_pathname(self.home.path("web.sock")).unwrap()
    }

    fn abstract_name(&self) -> unix::SocketAddr {
        // HAProxy's abstract names have the full length.
        let padded: Vec<u8> = self.name().bytes().chain(std::iter::repeat(0)).take(107).collect();
        unix::SocketAddr::from_abstract_name(padded).unwrap()
    }

    fn start_haproxy(&self) -> Process {
        let process = self.home.start_real("old", "-db -f @DIR@/haproxy.cfg");
        eventually(HANG, "haproxy accepts", || UnixStream::connect_addr(&self.abstract_name()).ok());
        process
    }

    fn session(&self) -> UnixStream {
        let mut session = connected(self.at_path());
        echoes(&mut session);
        session
    }
}

#[track_caller]
fn connected(addr: unix::SocketAddr) -> UnixStream {
    let stream = UnixStream::connect_addr(&addr).unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream
}

#[track_caller]
fn echoes(stream: &mut UnixStream) {
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
}
