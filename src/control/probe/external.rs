//! The check by a program: its exit code is the verdict, as of HAProxy's `external-check`.

use std::io;
use std::process::{ExitStatus, Stdio};

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::runtime::Handle;

use super::failure::ProbeFailure;
use super::progress::{Passed, ProbePhase, ProbeProgress};
use crate::backend::health::CheckStatus;
use crate::config::ExternalCheck;
use crate::sys::addr::Addr;
use crate::sys::process;

/// The server that a check is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProbedServer<'a> {
    pub(crate) backend: &'a str,
    pub(crate) name: &'a str,
    /// What its address was looked up by, if it was.
    pub(crate) host: Option<&'a str>,
    /// 0: no limit.
    pub(crate) maxconn: u32,
    /// Sessions now.
    pub(crate) sessions: u32,
}

/// Runs the program and waits for its end. HAProxy's arguments and variables; the address that clients connect to is
/// not known to a backend, which HAProxy too says by `NOT_USED`.
///
/// Cancel safety: dropping the future kills the program and what it has started.
pub(super) async fn ask(
    program: &ExternalCheck,
    place: &Addr,
    server: &ProbedServer<'_>,
    progress: &mut ProbeProgress<'_>,
) -> Result<Passed, ProbeFailure> {
    progress.phase = ProbePhase::Program;
    let (address, port) = match place {
        Addr::Ip(addr) => (addr.ip().to_string(), addr.port().to_string()),
        Addr::Unix(path) => (path.display().to_string(), NOT_USED.to_owned()),
    };
    let (maxconn, sessions) = (server.maxconn.to_string(), server.sessions.to_string());
    let mut command = Command::new(&program.command);
    command.args([NOT_USED, NOT_USED, &address, &port]).env_clear().env("PATH", &program.env_path);
    for (variable, value) in [
        ("HAPROXY_PROXY_NAME", server.backend),
        ("HAPROXY_PROXY_ADDR", NOT_USED),
        ("HAPROXY_PROXY_PORT", NOT_USED),
        ("HAPROXY_SERVER_NAME", server.name),
        ("HAPROXY_SERVER_ADDR", &address),
        ("HAPROXY_SERVER_PORT", &port),
        ("HAPROXY_SERVER_MAXCONN", &maxconn),
        ("HAPROXY_SERVER_CURCONN", &sessions),
        ("HAPROXY_SERVER_SSL", "0"),
        ("HAPROXY_SERVER_PROTO", "tcp"),
    ] {
        command.env(variable, value);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A group of its own, so that the end of the check is that of what the program has started too.
    process::unblock_signals(command.process_group(0).as_std_mut());
    let child = command.spawn().map_err(|error| ProbeFailure::starting(&error, &program.command))?;
    let mut running = RunningCheck { child: Some(child) };
    match running.ended().await {
        Ok(status) if status.success() => Ok(Passed::new(CheckStatus::L7Ok)),
        Ok(status) => Err(ProbeFailure::new(CheckStatus::L7Rsp, format!("{}: {status}", program.command.display()))),
        Err(error) => Err(ProbeFailure::new(CheckStatus::SockErr, format!("this host: {error}"))),
    }
}

/// The program, which is killed with its group unless it has ended, and reaped either way.
struct RunningCheck {
    child: Option<Child>,
}

impl RunningCheck {
    async fn ended(&mut self) -> io::Result<ExitStatus> {
        let ended = match &mut self.child {
            Some(child) => child.wait().await,
            None => Err(io::ErrorKind::NotFound.into()),
        };
        self.child = None;
        ended
    }
}

impl Drop for RunningCheck {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        if let Some(pid) = child.id() {
            // An error: the group has ended.
            killpg(Pid::from_raw(pid.cast_signed()), Signal::SIGKILL).ok();
        }
        // SIGCHLD is blocked here, on which tokio would look after children that were dropped. Without a runtime this
        // process ends, and its children are reaped elsewhere.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move { child.wait().await });
        }
    }
}

const NOT_USED: &str = "NOT_USED";
