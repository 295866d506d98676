//! A real HAProxy: the balancer that `lb` is measured against, and an independent implementation of the PROXY protocol.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::port::Port;
use super::process::Process;
use super::wait::eventually;

#[derive(Debug)]
pub(crate) struct Haproxy {
    process: Process,
    port: Port,
    dir: TempDir,
}

impl Haproxy {
    /// Balances a port of 127.0.0.1 over `servers`, with `options` in the backend's section.
    #[track_caller]
    pub(crate) fn balance(servers: &[SocketAddr], options: &str) -> Self {
        Self::balance_within(&[], servers, options, "inter 2000")
    }

    /// As `balance`, run by the command `within`, with these options of each check.
    #[track_caller]
    pub(crate) fn balance_within(within: &[&str], servers: &[SocketAddr], options: &str, check: &str) -> Self {
        let port = Port::reserve();
        let mut text =
            format!("{BASICS}frontend web\n bind {}\n default_backend app\nbackend app\n {options}\n", port.addr());
        for (index, server) in servers.iter().enumerate() {
            text += &format!(" server s{index} {server} check {check} rise 2 fall 3\n");
        }
        Self::start(port, &text, within)
    }

    /// Balances a port of 127.0.0.1 by a backend `app` with these lines.
    #[track_caller]
    pub(crate) fn backend(lines: &str) -> Self {
        Self::backend_at("127.0.0.1:0".parse().unwrap(), lines)
    }

    /// As `backend`, at this address.
    #[track_caller]
    pub(crate) fn backend_at(addr: SocketAddr, lines: &str) -> Self {
        let port = Port::reserve_at(addr);
        let text = format!("{BASICS}frontend web\n bind {}\n default_backend app\nbackend app\n{lines}\n", port.addr());
        Self::start(port, &text, &[])
    }

    /// Runs this text, which listens on `port`, by the command `within`.
    #[track_caller]
    pub(crate) fn whole(port: Port, text: &str, within: &[&str]) -> Self {
        Self::start(port, text, within)
    }

    /// The status of a server of `app`, as `show stat` has it.
    #[track_caller]
    pub(crate) fn status(&self, server: &str) -> String {
        let stat = self.command("show stat");
        let row = stat.lines().find(|line| line.starts_with(&format!("app,{server},")));
        row.and_then(|row| row.split(',').nth(17)).unwrap_or_else(|| panic!("no {server} in {stat}")).to_owned()
    }

    /// Checks `servers` by `options`, in the backend's section and behind each server.
    #[track_caller]
    pub(crate) fn check(servers: &[SocketAddr], options: &str, server_options: &str) -> Self {
        let port = Port::reserve();
        let mut text = format!(
            "{BASICS}frontend ready\n bind {}\nbackend app\n option log-health-checks\n log stderr format raw daemon\n{options}\n",
            port.addr()
        );
        for (index, server) in servers.iter().enumerate() {
            text += &format!(" server s{index} {server} check {server_options}\n");
        }
        Self::start(port, &text, &[])
    }

    /// Whether the first check of the server with this index passed.
    #[track_caller]
    pub(crate) fn first_verdict(&self, server: usize) -> bool {
        let begin = format!("Health check for server app/s{server} ");
        eventually(Duration::from_secs(20), "a check by HAProxy", || {
            let log = self.process.stderr();
            log.split_once(&begin).map(|(_, rest)| rest.starts_with("succeeded"))
        })
    }

    /// Relays connections to `server`; `bind` and `server` options are in HAProxy's syntax.
    #[track_caller]
    pub(crate) fn relay(bind_options: &str, server: SocketAddr, server_options: &str) -> Self {
        let port = Port::reserve();
        let text = format!(
            "{BASICS}listen relay\n bind {} {bind_options}\n server s {server} {server_options}\n",
            port.addr()
        );
        Self::start(port, &text, &[])
    }

    /// Balances a port of 127.0.0.1, as frontend `web`, over one server `a` of the backend `app` without checks or
    /// retries; sessions with a byte are logged to `syslog`, in a form with options, by these lines of the frontend.
    #[track_caller]
    pub(crate) fn logging(server: SocketAddr, syslog: &str, frontend: &str) -> Self {
        let port = Port::reserve();
        let text = format!(
            "global\n log {syslog}\ndefaults\n mode tcp\n retries 0\n timeout connect 5s\n timeout client 50s\n timeout \
             server 50s\nfrontend web\n log global\n option dontlognull\n{frontend}\n bind {}\n default_backend app\nbackend app\n server a \
             {server}\n",
            port.addr()
        );
        Self::start(port, &text, &[])
    }

    #[track_caller]
    fn start(port: Port, text: &str, within: &[&str]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("haproxy.cfg");
        let socket = format!("global\n stats socket {} level admin\n", dir.path().join("admin.sock").display());
        fs::write(&file, socket + text).unwrap();
        let line = [within, &["haproxy", "-db"]].concat();
        let mut command = Command::new(line[0]);
        command.args(&line[1..]).arg("-f").arg(&file);
        let process = Process::start("haproxy", dir.path(), &command);
        eventually(Duration::from_secs(10), "haproxy accepts", || TcpStream::connect(port.addr()).ok());
        // It comes by its name only after the ports.
        let admin = dir.path().join("admin.sock");
        eventually(Duration::from_secs(10), "haproxy's socket", || UnixStream::connect(&admin).ok());
        Self { process, port, dir }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    #[track_caller]
    pub(crate) fn wait(&mut self, deadline: Duration) -> ExitStatus {
        self.process.wait(deadline)
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The answer of its admin socket.
    #[track_caller]
    pub(crate) fn command(&self, command: &str) -> String {
        let mut socket = UnixStream::connect(self.dir.path().join("admin.sock")).unwrap();
        writeln!(socket, "{command}").unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }

    /// A column of `show stat`, for a server of the backend `app` or for `BACKEND`.
    #[track_caller]
    pub(crate) fn stat(&self, server: &str, column: &str) -> u64 {
        let stat = self.command("show stat");
        let mut lines = stat.lines().map(|line| line.trim_start_matches("# ").split(',').collect::<Vec<_>>());
        let at = lines.next().and_then(|names| names.iter().position(|name| *name == column)).unwrap();
        let row =
            lines.find(|row| row.starts_with(&["app", server])).unwrap_or_else(|| panic!("no {server} in {stat}"));
        row[at].parse().unwrap()
    }
}

const BASICS: &str = "global\n maxconn 4096\n nbthread 2\ndefaults\n mode tcp\n balance roundrobin\n retries 3\n option redispatch\n \
                      timeout connect 5s\n timeout client 50s\n timeout server 50s\n";
