//! The check by a program: its exit code is the verdict, as of HAProxy's `external-check`.

use std::process::Stdio;

use tokio::process::Command;

use super::failure::ProbeFailure;
use super::progress::{Passed, ProbePhase, ProbeProgress};
use crate::backend::health::CheckStatus;
use crate::config::ExternalCheck;
use crate::sys::addr::Addr;

/// The server that a check is about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProbedServer<'a> {
    pub(crate) backend: &'a str,
    pub(crate) name: &'a str,
    /// What its address was looked up by, if it was.
    pub(crate) host: Option<&'a str>,
}

/// Runs the program and waits for its end. HAProxy's arguments and variables; the address that clients connect to is not
/// known to a backend, which HAProxy too says by `NOT_USED`.
///
/// Cancel safety: dropping the future kills the program.
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
    let mut command = Command::new(&program.command);
    command.args([NOT_USED, NOT_USED, &address, &port]).env_clear().env("PATH", &program.env_path);
    for (variable, value) in [
        ("HAPROXY_PROXY_NAME", server.backend),
        ("HAPROXY_PROXY_ADDR", NOT_USED),
        ("HAPROXY_PROXY_PORT", NOT_USED),
        ("HAPROXY_SERVER_NAME", server.name),
        ("HAPROXY_SERVER_ADDR", &address),
        ("HAPROXY_SERVER_PORT", &port),
        ("HAPROXY_SERVER_PROTO", "tcp"),
    ] {
        command.env(variable, value);
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
    let failure = |cause: String| ProbeFailure::new(CheckStatus::L7Rsp, cause);
    // That the program cannot be run is no news of the server, but HAProxy takes it for a failure, and an operator sees it.
    let mut child = command.spawn().map_err(|error| failure(format!("{}: {error}", program.command.display())))?;
    match child.wait().await {
        Ok(status) if status.success() => Ok(Passed::new(CheckStatus::L7Ok)),
        Ok(status) => Err(failure(format!("{}: {status}", program.command.display()))),
        Err(error) => Err(ProbeFailure::new(CheckStatus::SockErr, format!("this host: {error}"))),
    }
}

const NOT_USED: &str = "NOT_USED";
