//! `FailingUpgrade`: a balancer under observation by clients while upgrades of it fail. Its new engines are the real
//! binary with a fault, or a misbehaving program (`fake_engine.c`).

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;

use super::config::Config;
use super::fault;
use super::knocker::Knocker;
use super::lb::{Lb, copy_of_binary};
use super::origin::{Behaviour, Origin};
use super::ping_pong::PingPong;
use super::proc;
use super::process::run;
use super::wait::{eventually, eventually_eq};

pub(crate) struct FailingUpgrade {
    pub(crate) lb: Lb,
    pub(crate) addr: SocketAddr,
    pub(crate) dir: TempDir,
    clients: Option<Knocker>,
    sessions: Option<PingPong>,
    engine: i32,
    before: Holdings,
    _origin: Origin,
}

impl FailingUpgrade {
    pub(crate) fn new() -> Self {
        let origin = Origin::start(Behaviour::Echo);
        let dir = tempfile::tempdir().unwrap();
        copy_of_binary(&dir.path().join("lb"));
        let lb = Lb::options()
            // Sockets of checks come and go; here descriptors are counted.
            .config(&Config::bare().backend("check = false").origins([&origin]))
            .env("LB_FAULT", &dir.path().join("fault"))
            .start();
        let addr = lb.addr("web");
        let before = Holdings::of(&lb);
        Self {
            engine: lb.engine(),
            clients: Some(Knocker::start(addr, 4)),
            sessions: Some(PingPong::start(addr, 4)),
            before,
            lb,
            addr,
            dir,
            _origin: origin,
        }
    }

    pub(crate) fn set_fault(&self, point: &str, way: &str) {
        fault::arm(&self.dir.path().join("fault"), point, way);
    }

    /// An upgrade to a copy of the real binary that fails at this point.
    #[track_caller]
    pub(crate) fn with_fault(&self, point: &str, way: &str) -> UpgradeResult {
        self.set_fault(point, way);
        let result = self.to(&self.dir.path().join("lb"));
        assert!(!self.dir.path().join("fault").exists(), "{point} was not reached: {}", result.text);
        result
    }

    /// An upgrade to a program that misbehaves in this way.
    #[track_caller]
    pub(crate) fn with_fake(&self, how: &str) -> UpgradeResult {
        self.with_fake_after(how, "10s")
    }

    #[track_caller]
    pub(crate) fn with_fake_after(&self, how: &str, probation: &str) -> UpgradeResult {
        let path = fake_engine(self.dir.path(), how);
        self.to_after(&path, probation)
    }

    #[track_caller]
    pub(crate) fn to(&self, path: &Path) -> UpgradeResult {
        self.to_after(path, "10s")
    }

    #[track_caller]
    fn to_after(&self, path: &Path, probation: &str) -> UpgradeResult {
        let path = path.to_str().unwrap();
        let arguments = ["upgrade", "--binary", path, "--probation", probation];
        self.lb.command(&arguments).into()
    }

    #[track_caller]
    pub(crate) fn wait_until_clients_are_served(&self) {
        let clients = self.clients.as_ref().unwrap();
        let served = clients.served();
        eventually(Duration::from_secs(20), "clients served", || (clients.served() > served + 50).then_some(()));
    }

    /// No client was refused or cut; the old engine continues and holds no more than before.
    #[track_caller]
    pub(crate) fn assert_untouched(self) {
        self.assert_only_cut_by(0);
    }

    /// As `assert_untouched`, but each of `killed` engines may have taken the connections it had accepted with it.
    #[track_caller]
    pub(crate) fn assert_only_cut_by(mut self, killed: u64) {
        let knocks = self.clients.take().unwrap().finish();
        assert_eq!(knocks.refused, 0, "{knocks:?}");
        assert!(knocks.broken <= killed * 4, "{knocks:?}");
        assert!(knocks.served > 0, "{knocks:?}");
        self.sessions.take().unwrap().finish().assert_unharmed();
        assert_eq!(self.lb.engine(), self.engine);
        assert_eq!(self.lb.status().number("generation"), 1);
        eventually_eq(Duration::from_secs(20), Vec::new(), || Holdings::of(&self.lb).beyond(&self.before));
    }
}

/// The result of an upgrade.
#[derive(Debug)]
pub(crate) struct UpgradeResult {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl From<Output> for UpgradeResult {
    fn from(output: Output) -> Self {
        let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        Self { code: output.status.code(), text }
    }
}

/// A program in `dir` that misbehaves in this way.
#[track_caller]
pub(crate) fn fake_engine(dir: &Path, how: &str) -> PathBuf {
    let program = dir.join("fake");
    if !program.exists() {
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/fake_engine.c");
        let mut cc = Command::new("cc");
        cc.args(["-O1", "-o"]).arg(&program).arg(source);
        let output = run(&cc, Duration::from_secs(60));
        assert!(output.status.success(), "{output:?}");
    }
    let path = dir.join(how);
    if !path.exists() {
        // Not a copy: a child of this process could still have the file open for writing.
        fs::hard_link(program, &path).unwrap();
    }
    path
}

impl UpgradeResult {
    /// The exit code, and one line at the end that contains these words.
    #[track_caller]
    pub(crate) fn assert(&self, kind: &str, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{kind}: {}", self.text);
        let last = self.text.lines().last().unwrap_or_default();
        assert!(last.contains(words), "{kind}: {}", self.text);
        let outcome = match code {
            6 => "rolled back, the old engine serves again: ",
            _ => "not upgraded, the old engine goes on: ",
        };
        assert!(last.contains(outcome), "{kind}: {}", self.text);
    }
}

/// The resources a balancer holds.
#[derive(Debug)]
struct Holdings {
    descriptors: Vec<String>,
    threads: usize,
    processes: usize,
}

impl Holdings {
    fn of(lb: &Lb) -> Self {
        Self {
            descriptors: proc::descriptors(lb.pid()),
            threads: proc::threads(lb.pid()),
            processes: proc::tree(lb.pid()).len(),
        }
    }

    /// The resources that have increased since `before`.
    fn beyond(&self, before: &Self) -> Vec<String> {
        let mut more = Vec::new();
        if self.descriptors.len() > before.descriptors.len() {
            let new = |target: &&String| !before.descriptors.contains(target);
            more.extend(self.descriptors.iter().filter(new).cloned());
        }
        if self.threads > before.threads || self.processes > before.processes {
            more.push(format!("{} threads, {} processes", self.threads, self.processes));
        }
        more
    }
}
