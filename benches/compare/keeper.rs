//! The keeper of a balancer: its parent, which outlives this program for as long as it takes to end the balancer's
//! processes.
//!
//! A balancer has children (`lb`'s engine, nginx's workers), so a signal at its parent's death would not reach all of
//! them. Therefore this program starts itself once more for each balancer, in a new process group; this second process
//! adopts orphans (PR_SET_CHILD_SUBREAPER) and reads from a pipe that closes when this program ends, however it ends.
//! Then, or when the balancer ends by itself, the keeper kills all its descendants.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::prctl::set_child_subreaper;
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;

use super::meter::Meter;

/// The argument that turns this program into a keeper; the directory to remove, the balancer and its arguments follow.
pub(crate) const KEEP: &str = "--keep";

/// A balancer with its keeper. Dropping it ends the balancer and all its children.
#[derive(Debug)]
pub(crate) struct Kept {
    keeper: Child,
}

impl Kept {
    /// Starts `balancer`, with its stderr in `log`; `dir` is removed at the end.
    pub(crate) fn start(balancer: &Command, dir: &Path, log: Stdio) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(KEEP).arg(dir).arg(balancer.get_program()).args(balancer.get_args());
        for (name, value) in balancer.get_envs() {
            command.env(name, value.unwrap_or_default());
        }
        let keeper = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(log).process_group(0).spawn()?;
        Ok(Self { keeper })
    }

    /// Meters the balancer and all its children.
    pub(crate) fn meter(&self) -> Meter {
        Meter::new(self.keeper.id())
    }

    pub(crate) fn has_ended(&mut self) -> io::Result<bool> {
        Ok(self.keeper.try_wait()?.is_some())
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        // The keeper kills its descendants and ends.
        self.keeper.wait().ok();
    }
}

/// The main function of a keeper.
pub(crate) fn keep(args: impl Iterator<Item = OsString>) -> ExitCode {
    match try_keep(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("keeper: {error}");
            ExitCode::FAILURE
        }
    }
}

fn try_keep(mut args: impl Iterator<Item = OsString>) -> io::Result<()> {
    let (Some(dir), Some(program)) = (args.next(), args.next()) else {
        return Err(io::Error::other("a directory and a program are required"));
    };
    set_child_subreaper(true)?;
    let mut balancer = Command::new(program).args(args).stdin(Stdio::null()).spawn()?;
    let (over, end) = mpsc::channel();
    let by_itself = over.clone();
    thread::spawn(move || {
        balancer.wait().ok();
        by_itself.send(()).ok();
    });
    thread::spawn(move || {
        // Nothing is ever written: the read returns when the other end closes.
        io::copy(&mut io::stdin(), &mut io::sink()).ok();
        over.send(()).ok();
    });
    // An error: both threads have ended, and there is nothing to wait for.
    end.recv().ok();
    kill_all();
    std::fs::remove_dir_all(dir)
}

/// Repeats until nothing is left: a killed process may have started more in the meantime, and its orphans become
/// children of the keeper. The sleep between is its pace; a subreaper has no event for an orphan's arrival.
fn kill_all() {
    loop {
        let tree = Meter::own().below();
        if tree.is_empty() {
            return;
        }
        for pid in tree {
            let pid = Pid::from_raw(i32::try_from(pid).unwrap_or(i32::MAX));
            // It may have ended by itself.
            kill(pid, Signal::SIGKILL).ok();
        }
        while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status.pid().is_some()) {}
        thread::sleep(Duration::from_millis(1));
    }
}
