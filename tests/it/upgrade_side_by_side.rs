//! `lb upgrade` beside the equivalents of HAProxy and nginx, in one harness: short connections, and sessions that stay
//! open. Asserted is this balancer's row; the others' are printed.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::support::client::{HANG, connect};
use crate::support::config::Config;
use crate::support::figure::figure;
use crate::support::knocker::{Knocker, Knocks};
use crate::support::lb::Lb;
use crate::support::limits::alone;
use crate::support::origin::{Behaviour, Origin};
use crate::support::port::Port;
use crate::support::proc;
use crate::support::process::Process;
use crate::support::wait::{eventually, observe, within};

#[test]
fn new_connections_and_long_ones_through_upgrades_beside_haproxy_and_nginx() {
    let _alone = alone();
    let origin = Origin::start(Behaviour::Echo);
    let turn = Mutex::new(());
    let rows = std::thread::scope(|scope| {
        let subjects: [(&str, Start); 5] = [
            ("lb upgrade", |origin| Box::new(Ours::start(origin))),
            ("HAProxy reload", |origin| Box::new(ReloadedHaproxy::start(origin, ""))),
            ("HAProxy reload, hard-stop-after 5s", |origin| {
                Box::new(ReloadedHaproxy::start(origin, "hard-stop-after 5s"))
            }),
            ("nginx USR2", |origin| Box::new(UpgradedNginx::start(origin, ""))),
            ("nginx USR2, worker_shutdown_timeout 2s", |origin| {
                Box::new(UpgradedNginx::start(origin, "worker_shutdown_timeout 2s;"))
            }),
        ];
        let (origin, turn) = (&origin, &turn);
        let runs =
            subjects.map(|(name, start)| scope.spawn(move || (name, observe_upgrades(&mut *start(origin), turn))));
        runs.map(|run| run.join().unwrap())
    });
    figure(
        "upgrades side by side",
        "upgrades, new connections failed of made, sessions cut of 50, old processes 10 s later",
    );
    for (name, row) in &rows {
        let Row { upgrades, knocks, cut, left } = row;
        let failed = knocks.refused + knocks.broken;
        let made = failed + knocks.served;
        figure(name, format!("{upgrades} of {UPGRADES}; {failed} of {made}; {cut} of {SESSIONS}; {left}"));
    }
    let ours = &rows[0].1;
    assert_eq!((ours.upgrades, ours.cut, ours.left), (UPGRADES, 0, 0));
    assert_eq!((ours.knocks.refused, ours.knocks.broken), (0, 0), "{:?}", ours.knocks);
}

type Start = fn(&Origin) -> Box<dyn Subject>;

struct Row {
    upgrades: usize,
    knocks: Knocks,
    cut: usize,
    /// Processes beyond those of a freshly started balancer.
    left: usize,
}

/// A balancer that can be replaced while it runs.
trait Subject {
    fn addr(&self) -> SocketAddr;

    /// Begins the next upgrade, if possible, and returns when the new process accepts connections.
    fn upgrade(&mut self) -> bool;

    fn processes(&self) -> usize;
}

fn observe_upgrades(subject: &mut dyn Subject, turn: &Mutex<()>) -> Row {
    let addr = subject.addr();
    let mut sessions: Vec<_> = (0..SESSIONS).map(|_| connect(addr).unwrap()).collect();
    let living =
        |sessions: &mut Vec<TcpStream>| sessions.iter_mut().filter_map(|stream| echoes(stream).then_some(())).count();
    assert_eq!(living(&mut sessions), SESSIONS);
    let before = subject.processes();
    // The busy part of each, one at a time; the quiet ends run side by side.
    let busy = turn.lock().unwrap_or_else(PoisonError::into_inner);
    let clients = Knocker::start(addr, 8);
    let mut upgrades = 0;
    for _ in 0..UPGRADES {
        upgrades += usize::from(subject.upgrade());
        observe(Duration::from_millis(300));
    }
    let knocks = clients.finish();
    drop(busy);
    observe(Duration::from_secs(10));
    Row { upgrades, knocks, cut: SESSIONS - living(&mut sessions), left: subject.processes().saturating_sub(before) }
}

fn echoes(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    stream.write_all(b"x").is_ok() && stream.read_exact(&mut byte).is_ok()
}

struct Ours(Lb);

impl Ours {
    fn start(origin: &Origin) -> Self {
        // As for the others: the last sessions in turn stay silent for long.
        let timeouts = r#"timeout = { client = "5m", server = "5m" }"#;
        Self(Lb::start(&Config::new().backend(timeouts).origins([origin])))
    }
}

impl Subject for Ours {
    fn addr(&self) -> SocketAddr {
        self.0.addr("web")
    }

    fn upgrade(&mut self) -> bool {
        let output = self.0.command(&["upgrade", "--probation", "500ms"]);
        output.status.success()
    }

    fn processes(&self) -> usize {
        proc::tree(self.0.pid()).len()
    }
}

/// A reload replaces every process but the master, which executes itself anew: USR2 to it.
struct ReloadedHaproxy {
    process: Process,
    port: Port,
    _dir: TempDir,
}

impl ReloadedHaproxy {
    fn start(origin: &Origin, options: &str) -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), Port::reserve());
        let file = dir.path().join("haproxy.cfg");
        let text = format!(
            "global\n nbthread 2\n {options}\ndefaults\n mode tcp\n timeout connect 5s\n timeout client 5m\n timeout server 5m\n\
             listen relay\n bind {}\n server s {}\n",
            port.addr(),
            origin.addr()
        );
        fs::write(&file, text).unwrap();
        let mut command = Command::new("haproxy");
        let master_socket = format!("{},mode,600", dir.path().join("master").display());
        command.arg("-W").args(["-S", &master_socket]).arg("-f").arg(&file);
        let process = Process::start("haproxy", dir.path(), &command);
        wait_for(port.addr());
        eventually(HANG, "the first worker", || process.stderr().contains("Loading success").then_some(()));
        Self { process, port, _dir: dir }
    }
}

impl Subject for ReloadedHaproxy {
    fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    fn upgrade(&mut self) -> bool {
        // The last message of a reload. Some signals are lost on a machine that stands still now and then.
        let loaded = || self.process.stderr().matches("Loading success").count();
        let before = loaded();
        self.process.signal(Signal::SIGUSR2);
        within(Duration::from_secs(5), || loaded() > before)
    }

    fn processes(&self) -> usize {
        proc::tree(self.process.pid()).len()
    }
}

/// USR2 starts the new binary; QUIT to the old master ends its processes once their sessions have ended. Until then the
/// new master ignores USR2.
struct UpgradedNginx {
    process: Process,
    port: Port,
    dir: TempDir,
}

impl UpgradedNginx {
    fn start(origin: &Origin, options: &str) -> Self {
        let (dir, port) = (tempfile::tempdir().unwrap(), Port::reserve());
        let file = dir.path().join("nginx.conf");
        let text = format!(
            "load_module {STREAM};\nworker_processes 2;\n{options}\npid {dir}/nginx.pid;\nerror_log {dir}/error.log;\n\
             events {{ worker_connections 4096; }}\n\
             stream {{ server {{ listen {addr} backlog=4096; proxy_pass {origin}; proxy_half_close on; }} }}\n",
            dir = dir.path().display(),
            addr = port.addr(),
            origin = origin.addr()
        );
        fs::write(&file, text).unwrap();
        // This requires a background process that was started by its path. In a pid namespace the end of its init ends
        // them all.
        let mut command = Command::new("unshare");
        let script = format!("$(command -v nginx) -c {} && while :; do sleep 1; done", file.display());
        command.args(["--pid", "--fork", "--kill-child", "sh", "-c", &script]);
        let process = Process::start("nginx", dir.path(), &command);
        wait_for(port.addr());
        Self { process, port, dir }
    }

    fn pids(&self) -> Vec<i32> {
        let is_nginx = |pid: &i32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            status.contains("Name:\tnginx\n") && !status.contains("State:\tZ")
        };
        proc::descendants(self.process.pid()).into_iter().filter(is_nginx).collect()
    }

    /// The process with this pid in its own namespace, by the file that holds it.
    fn named_by(&self, file: &Path) -> Option<i32> {
        let inner = fs::read_to_string(file).ok()?;
        let has_it = |pid: &i32| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let line = status.lines().find(|line| line.starts_with("NSpid:"));
            line.and_then(|line| line.split_whitespace().last()) == Some(inner.trim())
        };
        self.pids().into_iter().find(has_it)
    }
}

impl Subject for UpgradedNginx {
    fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    fn upgrade(&mut self) -> bool {
        let (pid, old) = (self.dir.path().join("nginx.pid"), self.dir.path().join("nginx.pid.oldbin"));
        // Time for the previous one to end, if it does.
        if !within(Duration::from_secs(3), || !old.exists()) {
            return false;
        }
        let before = self.pids();
        let master = eventually(HANG, "the master", || self.named_by(&pid));
        kill(Pid::from_raw(master), Signal::SIGUSR2).unwrap();
        eventually(HANG, "new workers", || {
            let new = self.pids().iter().filter(|pid| !before.contains(pid)).count();
            (new >= 3 && old.exists()).then_some(())
        });
        kill(Pid::from_raw(master), Signal::SIGQUIT).unwrap();
        true
    }

    fn processes(&self) -> usize {
        self.pids().len()
    }
}

fn wait_for(addr: SocketAddr) {
    eventually(HANG, "it accepts", || TcpStream::connect(addr).ok());
}

const UPGRADES: usize = 5;
const SESSIONS: usize = 50;
const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";
