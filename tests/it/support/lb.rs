//! `Lb`: the real binary as a process, ready when its notify socket reports READY=1.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output};
use std::time::Duration;

use lb::internals::sys::fd::inherit;
use nix::sys::signal::Signal;
use tempfile::TempDir;

use super::client::HANG;
use super::config::Config;
use super::figure::figure;
use super::machine::Stopwatch;
use super::notify::Notify;
use super::origin::{Behaviour, Origin};
use super::proc;
use super::process::{Process, run};
use super::status::Status;
use super::wait::{eventually, observe};

/// A running balancer, with its own directory for its files.
#[derive(Debug)]
pub(crate) struct Lb {
    // Dropped in this order: the process, then what it is connected to.
    process: Process,
    /// The command line.
    line: Vec<String>,
    notify: Notify,
    /// The admin socket.
    socket: PathBuf,
    dir: TempDir,
}

/// How to start a balancer.
#[derive(Debug, Default)]
pub(crate) struct LbOptions {
    config: Option<String>,
    flags: Vec<String>,
    /// Soft and hard RLIMIT_NOFILE.
    descriptors: Option<u64>,
    /// Run as this uid and gid, without capabilities.
    uid: Option<u32>,
    env: Vec<(String, String)>,
    /// The program that is run instead of the binary under test.
    binary: Option<PathBuf>,
    /// Replaces the one in the balancer's own directory.
    socket: Option<PathBuf>,
    /// A command that runs the balancer: its arguments come last.
    within: Vec<String>,
}

impl Lb {
    /// Starts `lb run -f FILE` with this text and waits until it is ready. `@DIR@` in the text is the balancer's
    /// directory.
    #[track_caller]
    pub(crate) fn start(config: &Config) -> Self {
        Self::options().config(config).start()
    }

    /// Starts `lb run FLAGS...`.
    /// Before one server that echoes, with this line in `[global]`; and where clients connect.
    #[track_caller]
    pub(crate) fn echoing(global: &str) -> (Origin, Self, SocketAddr) {
        let origin = Origin::start(Behaviour::Echo);
        let lb = Self::start(&Config::new().global(global).origins([&origin]));
        let addr = lb.addr("web");
        (origin, lb, addr)
    }

    #[track_caller]
    pub(crate) fn start_with_flags(flags: &[&str]) -> Self {
        let mut options = Self::options();
        options.flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        options.start()
    }

    pub(crate) fn options() -> LbOptions {
        LbOptions::default()
    }

    /// The pid of the serving engine, from status.
    #[track_caller]
    pub(crate) fn engine(&self) -> i32 {
        let engine = self.status().number("engine_pid");
        i32::try_from(engine).unwrap()
    }

    /// The pid of the process that was started: the supervisor.
    pub(crate) fn pid(&self) -> i32 {
        self.process.pid()
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn notify(&self) -> &Notify {
        &self.notify
    }

    /// Waits until this line has been sent to systemd.
    #[track_caller]
    pub(crate) fn wait_for_notice(&self, line: &str) {
        let seen = self.notify.wait_for(Duration::from_secs(20), |seen| seen == line);
        assert!(seen, "no {line} among {:?}", self.notify.lines());
    }

    pub(crate) fn stdout(&self) -> String {
        self.process.stdout()
    }

    pub(crate) fn stderr(&self) -> String {
        self.process.stderr()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Starts it again as systemd does after its main process was killed: same command line, same notify socket, and the
    /// sockets of the fd store as LISTEN_FDS. Waits until it is ready.
    #[track_caller]
    pub(crate) fn start_again_from_store(&mut self) {
        let store = self.notify.duplicates();
        let names: Vec<&str> = store.iter().map(|(name, _)| name.as_str()).collect();
        let moves = (3..).zip(&store).map(|(to, (_, from))| format!("exec {to}<&{from} {from}<&-;"));
        // LISTEN_PID is that of the shell, which becomes the balancer by exec.
        let script =
            format!("{} export LISTEN_FDS={} LISTEN_PID=$$; exec \"$@\"", moves.collect::<String>(), store.len());
        let mut command = Command::new("bash");
        command.args(["-c", &script, "bash"]).args(&self.line);
        command.env("NOTIFY_SOCKET", self.notify.path());
        command.env("LISTEN_FDNAMES", names.join(":"));
        let ready = self.notices("READY=1");
        self.process = Process::start("lb", self.dir.path(), &command);
        for (_, duplicate) in store {
            drop(inherit(duplicate).unwrap());
        }
        eventually(HANG, "ready again", || (self.notices("READY=1") > ready).then_some(()));
    }

    fn notices(&self, line: &str) -> usize {
        self.notify.lines().iter().filter(|seen| *seen == line).count()
    }

    /// Waits for its end; systemd then empties the fd store.
    #[track_caller]
    pub(crate) fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let status = self.process.wait(deadline);
        self.notify.clear_store();
        status
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.process.ended().is_none()
    }

    /// Runs `lb ARGS... --socket` against this balancer.
    #[track_caller]
    pub(crate) fn command(&self, args: &[&str]) -> Output {
        let mut command = Command::new(BINARY);
        command.args(args).arg("--socket").arg(self.socket());
        run(&command, Duration::from_secs(60))
    }

    /// As `command`, which must succeed; returns its stdout.
    #[track_caller]
    pub(crate) fn command_ok(&self, args: &[&str]) -> String {
        let output = self.command(args);
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "lb {args:?}: {}: {out}{err}", output.status);
        out.into_owned()
    }

    /// Rewrites the configuration file without a reload.
    pub(crate) fn write_config(&self, config: &str) {
        fs::write(self.dir().join("lb.toml"), with_dir(config, self.dir())).unwrap();
    }

    /// Rewrites the configuration file and reloads, which must succeed.
    #[track_caller]
    pub(crate) fn reload(&self, config: &Config) {
        self.write_config(&config.text());
        self.command_ok(&["reload"]);
    }

    #[track_caller]
    pub(crate) fn status(&self) -> Status {
        Status::parse(&self.command_ok(&["status", "--json"]))
    }

    /// The first address the frontend is bound to.
    #[track_caller]
    pub(crate) fn addr(&self, frontend: &str) -> SocketAddr {
        self.status().bound(frontend)[0]
    }

    /// CPU time used since it was started.
    pub(crate) fn cpu(&self) -> Duration {
        proc::cpu(self.pid())
    }

    /// For `span` it neither spins nor polls. The bounds are far above what a slow machine charges for doing nothing,
    /// and far below what either would take.
    #[track_caller]
    pub(crate) fn assert_at_rest(&self, story: &str, span: Duration) {
        let (cpu, sleeps) = (self.cpu(), proc::sleeps(self.pid()));
        observe(span);
        let (cpu, sleeps) = (self.cpu() - cpu, proc::sleeps(self.pid()) - sleeps);
        let text = format!("{cpu:?} of CPU in {span:?}, woken {sleeps} times");
        figure(story, &text);
        let each_second = sleeps / span.as_secs();
        assert!(cpu < span / 20 && each_second < 150, "{story}: {text}");
    }

    /// The admin socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.socket.clone()
    }
}

impl LbOptions {
    pub(crate) fn config(self, config: &Config) -> Self {
        self.text(&config.text())
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        self.config = Some(text.to_owned());
        self
    }

    pub(crate) fn descriptors(mut self, limit: u64) -> Self {
        self.descriptors = Some(limit);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: &Path) -> Self {
        self.env.push((name.to_owned(), value.display().to_string()));
        self
    }

    /// Runs this copy of the binary.
    pub(crate) fn binary(mut self, path: &Path) -> Self {
        self.binary = Some(path.to_owned());
        self
    }

    pub(crate) fn flags(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(|&flag| flag.to_owned()));
        self
    }

    /// With its admin socket at this path.
    pub(crate) fn socket(mut self, path: PathBuf) -> Self {
        self.socket = Some(path);
        self
    }

    /// Run by this command.
    pub(crate) fn within(mut self, command: &[&str]) -> Self {
        self.within = command.iter().map(|&word| word.to_owned()).collect();
        self
    }

    pub(crate) fn uid(mut self, uid: u32) -> Self {
        self.uid = Some(uid);
        self
    }

    /// # Panics
    /// When it is not ready within 20 s.
    #[track_caller]
    pub(crate) fn start(self) -> Lb {
        let mut lb = self.launch();
        let watch = Stopwatch::start();
        while !lb.notify.wait_for(Duration::from_millis(50), |line| line == "READY=1") {
            if let Some(status) = lb.process.ended() {
                panic!("lb ended before it was ready: {status}: {}", lb.stderr());
            }
            assert!(watch.elapsed() < HANG, "lb is not ready in time");
        }
        lb
    }

    /// Starts it without waiting for readiness.
    #[track_caller]
    pub(crate) fn launch(self) -> Lb {
        let dir = tempfile::tempdir().unwrap();
        let notify = Notify::bind(dir.path().join("notify.sock"));
        let binary = self.binary.as_deref().unwrap_or_else(|| Path::new(BINARY));
        let mut line = vec![binary.display().to_string(), "run".to_owned()];
        if let Some(text) = &self.config {
            let file = dir.path().join("lb.toml");
            fs::write(&file, with_dir(text, dir.path())).unwrap();
            line.extend(["-f".to_owned(), file.display().to_string()]);
        }
        line.extend(self.flags);
        let socket = self.socket.unwrap_or_else(|| dir.path().join("lb.sock"));
        line.extend(["--socket".to_owned(), socket.display().to_string()]);
        if let Some(uid) = self.uid {
            // This user may not have access to the checkout.
            let binary = dir.path().join("lb");
            fs::copy(BINARY, &binary).unwrap();
            line[0] = binary.display().to_string();
            for path in [dir.path(), notify.path()] {
                nix::unistd::chown(path, Some(uid.into()), Some(uid.into())).unwrap();
            }
            let id = uid.to_string();
            let drop = ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups", "--pdeathsig", "KILL", "--"];
            line.splice(0..0, drop.map(str::to_owned));
        }
        if let Some(limit) = self.descriptors {
            let prlimit = ["prlimit".to_owned(), format!("--nofile={limit}:{limit}"), "--".to_owned()];
            line.splice(0..0, prlimit);
        }
        line.splice(0..0, self.within);
        let mut command = Command::new(&line[0]);
        command.args(&line[1..]).env("NOTIFY_SOCKET", notify.path());
        command.envs(self.env);
        let process = Process::start("lb", dir.path(), &command);
        Lb { process, line, notify, socket, dir }
    }
}

/// A copy of the binary under test, which may be replaced or damaged.
pub(crate) fn copy_of_binary(to: &Path) {
    // A rename, as package managers do it: the running file is not written to.
    let fresh = to.with_extension("new");
    fs::copy(BINARY, &fresh).unwrap();
    fs::rename(&fresh, to).unwrap();
}

/// Runs `lb ARGS...` to its end; no balancer needs to run.
#[track_caller]
pub(crate) fn lb(args: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(args);
    run(&command, Duration::from_secs(60))
}

fn with_dir(config: &str, dir: &Path) -> String {
    config.replace("@DIR@", &dir.display().to_string())
}

pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_lb");
