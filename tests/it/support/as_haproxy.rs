//! The binary under the name `haproxy`, beside the real one, with the same files.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use tempfile::TempDir;

use super::client::HANG;
use super::lb::{BINARY, copy_of_binary};
use super::leftovers;
use super::notify::Notify;
use super::proc;
use super::process::{Process, run};
use super::status::Status;
use super::wait::eventually;

/// A directory with the link and the files of its command lines, which write it `@DIR@`.
#[derive(Debug)]
pub(crate) struct AsHaproxy {
    dir: TempDir,
    link: PathBuf,
}

/// A process in the foreground, and what it has sent to the service manager.
#[derive(Debug)]
pub(crate) struct Foreground {
    // Dropped in this order.
    pub(crate) process: Process,
    pub(crate) notify: Notify,
}

/// A daemon, which ends with its test.
#[derive(Debug)]
pub(crate) struct Daemon(pub(crate) i32);

impl AsHaproxy {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let link = dir.path().join("haproxy");
        symlink(BINARY, &link).unwrap();
        Self { dir, link }
    }

    /// With a binary of its own, which can be replaced.
    pub(crate) fn with_own_binary() -> Self {
        let new = Self::new();
        fs::remove_file(&new.link).unwrap();
        symlink("lb", &new.link).unwrap();
        new.replace_binary();
        new
    }

    pub(crate) fn replace_binary(&self) {
        copy_of_binary(&self.path("lb"));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), self.at_home(text)).unwrap();
    }

    /// The text with the directory in it.
    pub(crate) fn at_home(&self, text: &str) -> String {
        text.replace("@DIR@", &self.dir.path().display().to_string())
    }

    /// Runs `haproxy LINE` to its end, by this binary.
    #[track_caller]
    pub(crate) fn run(&self, line: &str) -> Output {
        run(&self.command(&self.link, line), Duration::from_secs(60))
    }

    /// The same by the real one.
    #[track_caller]
    pub(crate) fn run_real(&self, line: &str) -> Output {
        self.run_by(Path::new("/usr/sbin/haproxy"), line)
    }

    /// The same by a program that becomes this binary.
    #[track_caller]
    pub(crate) fn run_by(&self, program: &Path, line: &str) -> Output {
        run(&self.command(program, line), Duration::from_secs(60))
    }

    /// Starts `haproxy LINE` in the foreground and waits until it serves.
    #[track_caller]
    pub(crate) fn start(&self, name: &str, line: &str) -> Foreground {
        self.start_by(&self.link, name, line)
    }

    /// Starts a program that becomes this binary, and waits until it serves.
    #[track_caller]
    pub(crate) fn start_by(&self, program: &Path, name: &str, line: &str) -> Foreground {
        let notify = Notify::bind(self.path(&format!("{name}.notify")));
        let mut command = self.command(program, line);
        command.env("NOTIFY_SOCKET", notify.path());
        let mut started = Foreground { process: Process::start(name, self.dir.path(), &command), notify };
        while !started.notify.wait_for(Duration::from_millis(50), |line| line == "READY=1") {
            assert!(started.process.ended().is_none(), "it ended: {}", started.process.stderr());
        }
        started
    }

    /// The real one in the foreground; its line has `-db`.
    #[track_caller]
    pub(crate) fn start_real(&self, name: &str, line: &str) -> Process {
        Process::start(name, self.dir.path(), &self.command(Path::new("/usr/sbin/haproxy"), line))
    }

    /// What a pid file says.
    #[track_caller]
    pub(crate) fn pid(&self, file: &str) -> i32 {
        fs::read_to_string(self.path(file)).unwrap().trim().parse().unwrap()
    }

    /// The status of the balancer whose admin socket is `lb.sock`.
    #[track_caller]
    pub(crate) fn status(&self) -> Status {
        let mut command = Command::new(BINARY);
        command.args(["status", "--json", "--socket"]).arg(self.path("lb.sock"));
        let output = run(&command, HANG);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Status::parse(&String::from_utf8(output.stdout).unwrap())
    }

    fn command(&self, program: &Path, line: &str) -> Command {
        let mut command = Command::new(program);
        command.args(self.at_home(line).split_whitespace());
        command
    }
}

impl Daemon {
    #[track_caller]
    pub(crate) fn wait(&self) {
        eventually(HANG, "the end of the daemon", || (!is_running(self.0)).then_some(()));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        for pid in proc::tree(self.0).into_iter().filter(|pid| is_running(*pid)) {
            proc::end(pid);
        }
        leftovers::remove(self.0);
    }
}

/// Whether the process exists and is no zombie, which the machine's first process may be slow to reap.
pub(crate) fn is_running(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && !line.contains('Z'))
}

/// What `pidof` looks for.
pub(crate) fn name_of(pid: i32) -> String {
    fs::read_to_string(format!("/proc/{pid}/comm")).unwrap().trim().to_owned()
}
