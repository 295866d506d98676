//! Programs that a test starts. Each ends with its test, together with its children, also when the test panics or the
//! test process is killed; its output is shown when the test fails.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::leftovers;
use super::proc;
use super::wait::eventually;

#[derive(Debug)]
pub(crate) struct Process {
    name: String,
    child: Child,
    ended: Option<ExitStatus>,
    out: PathBuf,
    err: PathBuf,
}

impl Process {
    /// Starts `command`; stdout and stderr go to files `NAME.out` and `NAME.err` in `dir`, appended to when it is
    /// started again.
    #[track_caller]
    pub(crate) fn start(name: &str, dir: &Path, command: &Command) -> Self {
        let (out, err) = (dir.join(format!("{name}.out")), dir.join(format!("{name}.err")));
        let append = |path: &Path| File::options().create(true).append(true).open(path).unwrap();
        let mut wrapped = with_parent_death(command);
        wrapped.stdin(Stdio::null()).stdout(append(&out)).stderr(append(&err));
        let child = spawn(wrapped).expect("setpriv(1) of util-linux is there");
        Self { name: name.to_owned(), child, ended: None, out, err }
    }

    pub(crate) fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }

    pub(crate) fn stdout(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.out).unwrap()).into_owned()
    }

    pub(crate) fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.err).unwrap()).into_owned()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// SIGSTOP. Its threads run on for a moment, in which they could still accept: waits until none does.
    #[track_caller]
    pub(crate) fn stop(&self) {
        self.signal(Signal::SIGSTOP);
        eventually(Duration::from_secs(10), "a stop", || proc::is_stopped(self.pid()).then_some(()));
    }

    /// `Some` once it has ended.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().unwrap();
        }
        self.ended
    }

    /// Waits for the end.
    #[track_caller]
    pub(crate) fn wait(&mut self, deadline: Duration) -> ExitStatus {
        let what = format!("the end of {} ({})", self.name, self.pid());
        eventually(deadline, &what, || self.ended())
    }

    /// SIGKILL, to this process alone.
    pub(crate) fn kill(&mut self) -> ExitStatus {
        if self.ended().is_none() {
            self.signal(Signal::SIGKILL);
        }
        self.wait(Duration::from_secs(10))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let children = proc::descendants(self.pid());
        if self.ended().is_none() {
            drop(self.child.kill());
            drop(self.child.wait());
        }
        for pid in children {
            proc::end(pid);
        }
        leftovers::remove(self.pid());
        if std::thread::panicking() {
            let status = self.ended.map_or_else(|| "was running".to_owned(), |status| status.to_string());
            eprintln!("--- {} ({status})", self.name);
            eprintln!("--- stdout\n{}--- stderr\n{}---", tail(&self.stdout()), tail(&self.stderr()));
        }
    }
}

/// The last part of an output.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let skipped = lines.len().saturating_sub(60);
    let mut shown = lines[skipped..].join("\n");
    if !shown.is_empty() {
        shown.push('\n');
    }
    shown
}

/// Runs a command to its end. For commands that answer at once; `deadline` is for the balancer's own, which may hang.
#[track_caller]
pub(crate) fn run(command: &Command, deadline: Duration) -> Output {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start("command", dir.path(), command);
    let status = process.wait(deadline);
    Output { status, stdout: fs::read(&process.out).unwrap(), stderr: fs::read(&process.err).unwrap() }
}

/// PR_SET_PDEATHSIG cannot be set between fork and exec without `unsafe`; setpriv(1) sets it and executes the program.
fn with_parent_death(command: &Command) -> Command {
    let mut wrapped = Command::new("setpriv");
    wrapped.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => wrapped.env(key, value),
            None => wrapped.env_remove(key),
        };
    }
    wrapped
}

/// PR_SET_PDEATHSIG refers to the *thread* that forked: so one thread that lives to the end starts all programs.
fn spawn(command: Command) -> io::Result<Child> {
    type Request = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<Mutex<mpsc::Sender<Request>>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (requests, inbox) = mpsc::channel::<Request>();
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                drop(answer.send(command.spawn()));
            }
        });
        Mutex::new(requests)
    });
    let (answer, child) = mpsc::channel();
    spawner.lock().unwrap().send((command, answer)).expect("the spawner lives as long as the process");
    child.recv().expect("the spawner answers each request")
}
