//! The balancer of the hour and what surrounds it: servers, etcd, a small disk, and a stderr that a test reads or not.

use std::fs::{self, File};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

use super::ledger::Ledger;
use crate::support::config::Config;
use crate::support::dns::NameServer;
use crate::support::etcd::Etcd;
use crate::support::lb::{BINARY, Lb};
use crate::support::origin::{Behaviour, Origin};
use crate::support::process::run;
use crate::support::wait::{eventually, observe};

#[derive(Debug)]
pub(super) struct Stage {
    pub(super) lb: Lb,
    pub(super) etcd: Etcd,
    pub(super) dns: NameServer,
    /// Of `app`; they are killed and started again.
    pub(super) app: Vec<Origin>,
    /// Of all other backends.
    pub(super) steady: Origin,
    pub(super) words: Words,
}

/// The reading end of the balancer's stderr.
#[derive(Debug)]
pub(super) struct Words {
    reads: Arc<AtomicBool>,
    taken: Arc<AtomicU64>,
}

/// Gives the balancer a disk of its own for its state and its session log, and a pipe as its stderr.
const SURROUNDINGS: &str = r#" &&
    dir=${NOTIFY_SOCKET%/*} &&
    mkdir "$dir/disk" && mount -t tmpfs -o size=1m,mode=0755 none "$dir/disk" && mkdir -m 700 "$dir/disk/state" &&
    mkfifo "$dir/words" && exec 2<>"$dir/words" >>"$dir/disk/sessions" "$@"
"#;

impl Stage {
    pub(super) fn start() -> Self {
        let etcd = Etcd::start();
        let app: Vec<Origin> = (0..3).map(|_| Origin::start(Behaviour::Echo)).collect();
        let steady = Origin::start_everywhere(Behaviour::Echo);
        for number in 1..=4 {
            etcd.put(&format!("/found/{number}"), &found(&steady, number));
        }
        let dns = NameServer::start();
        dns.put("app.example", &[Ipv4Addr::LOCALHOST.into()]);
        let config = config(&etcd, &app, &steady);
        let script = dns.mounts() + SURROUNDINGS;
        let within = ["unshare", "--mount", "--", "bash", "-c", &script, "bash"];
        let lb = Lb::options().config(&config).within(&within).start();
        let words = Words::read(&lb);
        Self { lb, etcd, dns, app, steady, words }
    }

    pub(super) fn addr(&self, frontend: &str) -> SocketAddr {
        self.lb.addr(if frontend == "app" { "web" } else { frontend })
    }

    /// A path on the balancer's disk, as this process reaches it.
    pub(super) fn disk(&self, name: &str) -> PathBuf {
        let dir = self.lb.dir().strip_prefix("/").unwrap();
        PathBuf::from(format!("/proc/{}/root", self.lb.pid())).join(dir).join("disk").join(name)
    }

    /// Upgrades in the background and enters the result.
    pub(super) fn begin_upgrade(&self, ledger: &Ledger) -> JoinHandle<()> {
        let (socket, ledger) = (self.lb.socket(), ledger.clone());
        std::thread::spawn(move || {
            let from = Instant::now();
            let mut command = Command::new(BINARY);
            command.args(["upgrade", "--probation", "300ms", "--socket"]).arg(socket);
            let output = run(&command, Duration::from_secs(120));
            let words = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            ledger.upgraded(output.status.code(), words.into_owned(), from);
        })
    }

    /// Everything is back: the balancer answers, and all its servers are UP.
    pub(super) fn assert_calm(&self) {
        eventually(Duration::from_secs(40), "all servers UP", || {
            let output = self.lb.command(&["status", "--json"]);
            let text = String::from_utf8_lossy(&output.stdout);
            (output.status.success() && text.matches(r#""UP""#).count() >= 9).then_some(())
        });
    }
}

/// The address of a server found in etcd.
pub(super) fn found(steady: &Origin, number: u32) -> String {
    format!("127.0.0.{number}:{}", steady.addr().port())
}

fn config(etcd: &Etcd, app: &[Origin], steady: &Origin) -> Config {
    let (endpoint, port) = (etcd.endpoint(), steady.addr().port());
    let others: String = ["found", "named", "steady"]
        .map(|name| format!("[frontend.{name}]\nbind = \"127.0.0.1:0\"\nbackend = \"{name}\"\n"))
        .concat();
    let rest = format!(
        r#"
        [global.log]
        target = "stdout"
        {others}
        [backend.found]
        discovery = {{ etcd = "/found/" }}
        check = {{ inter = "200ms", rise = 1, fall = 3 }}
        [backend.named]
        check = {{ inter = "200ms", rise = 1, fall = 3 }}
        servers = {{ a = "app.example:{port}" }}
        [backend.steady]
        servers = {{ a = "127.0.0.1:{port}" }}
        [etcd]
        endpoints = ["{endpoint}"]
        guard_delay = "0"
        "#
    );
    Config::new().global("state_dir = \"@DIR@/disk/state\"\nwatchdog = \"3s\"").origins(app).table(&rest)
}

impl Words {
    fn read(lb: &Lb) -> Self {
        let path = lb.dir().join("words");
        let mut pipe = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).unwrap();
        let words = Self { reads: Arc::new(AtomicBool::new(true)), taken: Arc::default() };
        let (reads, taken) = (words.reads.clone(), words.taken.clone());
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                // 0: no writer is left; an error: nothing to read now.
                match if reads.load(Ordering::Relaxed) { pipe.read(&mut buffer) } else { Ok(1) } {
                    Ok(0) => return,
                    Ok(n) if reads.load(Ordering::Relaxed) => {
                        taken.fetch_add(n as u64, Ordering::Relaxed);
                    }
                    Ok(_) | Err(_) => observe(Duration::from_millis(20)),
                }
            }
        });
        words
    }

    pub(super) fn set_read(&self, reads: bool) {
        self.reads.store(reads, Ordering::Relaxed);
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

/// Fills the balancer's disk to the last byte.
pub(super) fn fill(stage: &Stage) {
    let mut file = File::create(stage.disk("filler")).unwrap();
    while std::io::Write::write(&mut file, &[0; 4096]).is_ok_and(|written| written > 0) {}
}

/// Makes room again.
pub(super) fn empty(stage: &Stage) {
    drop(fs::remove_file(stage.disk("filler")));
    File::create(stage.disk("sessions")).unwrap();
}
