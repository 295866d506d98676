//! Processes of this binary that end with the demo.
//!
//! Three mechanisms, since each has a gap: the guard's `Drop` (misses SIGKILL of the demo), the parent-death signal
//! (which the kernel forgets if the binary has file capabilities), and a process group of their own, so that Ctrl-C
//! reaches the demo alone and it ends them in order.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::{CommandExt, parent_id};
use std::process::{ExitStatus as ProcessStatus, Stdio};
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::timeout;

use crate::cli::arguments::DemoChildArgs;
use crate::cli::{ExitStatus, output};

/// A running process; dropping it sends `last_signal`.
#[derive(Debug)]
pub(super) struct Child {
    process: tokio::process::Child,
    last_signal: Signal,
}

impl Child {
    /// Starts `lb ARGUMENTS`; it gets `last_signal` when this guard is dropped or the demo ends. `prepare` sets its
    /// environment, stdout and stderr, which are /dev/null otherwise.
    pub(super) fn start(
        arguments: &[OsString],
        last_signal: Signal,
        prepare: impl FnOnce(&mut Command),
    ) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("demo-child").arg("--parent").arg(std::process::id().to_string());
        command.arg("--signal").arg((last_signal as i32).to_string()).arg("--").args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.env_remove("NOTIFY_SOCKET").process_group(0);
        prepare(&mut command);
        Ok(Self { process: command.spawn()?, last_signal })
    }

    /// `None` once it has ended and was waited for.
    pub(super) fn pid(&self) -> Option<u32> {
        self.process.id()
    }

    pub(super) fn stdout(&mut self) -> Option<tokio::process::ChildStdout> {
        self.process.stdout.take()
    }

    /// Cancel safe.
    pub(super) async fn ended(&mut self) -> io::Result<ProcessStatus> {
        self.process.wait().await
    }

    /// SIGKILL, and waits until it is gone: from then on the kernel refuses connections to it.
    pub(super) async fn kill(&mut self) -> io::Result<()> {
        self.process.kill().await
    }

    /// SIGTERM, and SIGKILL after `patience`.
    pub(super) async fn end(mut self, patience: Duration) {
        self.signal(Signal::SIGTERM);
        if timeout(patience, self.process.wait()).await.is_err() {
            self.kill().await.ok();
        }
    }

    /// To the process as long as it has not been waited for; until then its pid is not reused.
    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.process.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It may have just ended by itself.
            kill(Pid::from_raw(pid), signal).ok();
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(self.last_signal);
    }
}

/// `lb demo-child`: hidden; returns only if it fails.
pub(in crate::cli) fn become_child(args: DemoChildArgs) -> ExitStatus {
    let fail = |error: io::Error| {
        output::complain(&format!("demo-child: {error}"));
        ExitStatus::Failed
    };
    let mortal = Signal::try_from(args.signal).and_then(set_pdeathsig);
    if let Err(error) = mortal {
        return fail(error.into());
    }
    // If the parent ended before that call, no signal comes.
    if parent_id() != args.parent {
        return ExitStatus::Failed;
    }
    match std::env::current_exe() {
        Ok(binary) => fail(std::process::Command::new(binary).args(args.arguments).exec()),
        Err(error) => fail(error),
    }
}
