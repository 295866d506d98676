//! One check of one server: connect, perhaps talk, and one phrase for what came of it.
//!
//! When to check and what a result means for the server is decided elsewhere (`backend::health`). Rules here: the
//! whole check is bounded by `check.timeout`, every byte from the server is hostile (no panic, no unbounded memory
//! or work), and a check costs little, since hundreds run in a second: nothing is resolved or compiled, and a TCP
//! check has no buffer.

mod conn;
mod failure;
mod http;
mod mismatch;
mod progress;
mod script;

use std::borrow::Cow;

use tokio::time::{Instant, timeout};

use self::conn::{Conn, Talk};
use self::failure::ProbeFailure;
use self::progress::{Passed, ProbePhase, ProbeProgress};
use crate::backend::health::{CheckResult, CheckStatus};
use crate::config::{Check, CheckKind};
use crate::sys::addr::Addr;

/// Checks the server at `addr` once; `check.addr` and `check.port` name another place to ask instead.
///
/// Cancel safety: dropping the future closes the connection by an RST; nothing else remains.
pub(crate) async fn probe(check: &Check, addr: &Addr) -> CheckResult {
    let start = Instant::now();
    let place = place(check, addr);
    let mut progress = ProbeProgress { phase: ProbePhase::Connecting, received: Vec::new() };
    let outcome = match timeout(check.timeout, ask(check, &place, &mut progress)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(progress.timed_out(check.timeout)),
    };
    let (status, code, cause) = match outcome {
        Ok(Passed { status, code }) => (status, code, Cow::Borrowed("")),
        Err(ProbeFailure { status, code, cause }) => (status, code, cause),
    };
    let result = CheckResult::new(status, &cause, start.elapsed());
    match code {
        Some(code) => result.with_code(code),
        None => result,
    }
}

async fn ask<'a>(check: &'a Check, place: &Addr, progress: &mut ProbeProgress<'a>) -> Result<Passed, ProbeFailure> {
    match &check.kind {
        CheckKind::Tcp => {
            let conn = Conn::open(place, Talk::Nothing, check.send_proxy).await?;
            if check.send_proxy.is_some() {
                conn.leave();
            }
            Ok(Passed { status: CheckStatus::L4Ok, code: None })
        }
        CheckKind::Http { method, path, host, status } => {
            let mut conn = Conn::open(place, Talk::Something, check.send_proxy).await?;
            let request = http::request(method, path, host.as_deref(), place);
            http::ask(&mut conn, &request, status, progress).await
        }
        CheckKind::Script(steps) => script::ask(steps, check, place, progress).await,
    }
}

/// Where a check goes. A unix socket has no port, so that it is replaced only by a whole address.
fn place<'a>(check: &Check, addr: &'a Addr) -> Cow<'a, Addr> {
    match (addr, check.addr, check.port) {
        (_, None, None) => Cow::Borrowed(addr),
        (_, Some(ip), Some(port)) => Cow::Owned(Addr::Ip((ip, port).into())),
        (Addr::Ip(own), Some(ip), None) => Cow::Owned(Addr::Ip((ip, own.port()).into())),
        (Addr::Ip(own), None, Some(port)) => {
            // Unlike a new address made of two parts, this keeps the scope of an IPv6 link-local one.
            let mut other = *own;
            other.set_port(port);
            Cow::Owned(Addr::Ip(other))
        }
        (Addr::Unix(_), _, _) => Cow::Borrowed(addr),
    }
}

#[cfg(test)]
mod tests;
