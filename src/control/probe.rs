//! One check of one server: connect, perhaps talk, and one phrase for what came of it.
//!
//! When to check and what a result means for the server is decided elsewhere (`backend::health`). Rules here: the
//! whole check is bounded by `check.timeout`, every byte from the server is hostile (no panic, no unbounded memory
//! or work), and a check costs little, since hundreds run in a second: nothing is resolved or compiled, and a TCP
//! check has no buffer.

mod conn;
mod external;
mod failure;
mod farewell;
mod http;
mod matcher;
mod mismatch;
mod progress;
mod script;

use std::borrow::Cow;

use tokio::time::{Instant, timeout};

use self::conn::{Conn, Talk, connect};
pub(crate) use self::external::ProbedServer;
use self::failure::ProbeFailure;
pub(crate) use self::farewell::Farewell;
use self::farewell::FirstToClose;
use self::progress::{Passed, ProbePhase, ProbeProgress};
use crate::backend::health::{CheckResult, CheckStatus};
use crate::config::{Check, CheckKind};
use crate::sys::addr::Addr;

/// Checks the server at `addr` once; `check.addr` and `check.port` name another place to ask instead.
///
/// Cancel safety: dropping the future closes the connection by an RST; nothing else remains.
pub(crate) async fn probe(check: &Check, addr: &Addr, server: &ProbedServer<'_>) -> (CheckResult, Farewell) {
    let start = Instant::now();
    let place = place(check, addr);
    let mut progress = ProbeProgress { phase: ProbePhase::Connecting, received: Vec::new() };
    let mut conn = None;
    let outcome = match timeout(check.timeout, ask(check, &place, server, &mut progress, &mut conn)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            // By an RST.
            drop(conn.take());
            Err(progress.timed_out(check.timeout))
        }
    };
    let (status, code, cause) = match outcome {
        Ok(Passed { status, code, cause }) => (status, code, Cow::Owned(cause)),
        Err(ProbeFailure { status, code, cause }) => (status, code, cause),
    };
    let result = CheckResult::new(status, &cause, start.elapsed());
    let result = match code {
        Some(code) => result.with_code(code),
        None => result,
    };
    let first = if matches!(check.kind, CheckKind::Http(_)) { FirstToClose::Server } else { FirstToClose::Check };
    (result, conn.map(|conn| Farewell::new(conn, first)).unwrap_or_default())
}

/// Leaves a connection that has been talked on in `conn`.
async fn ask<'a>(
    check: &'a Check,
    place: &Addr,
    server: &ProbedServer<'_>,
    progress: &mut ProbeProgress<'a>,
    conn: &mut Option<Conn>,
) -> Result<Passed, ProbeFailure> {
    match &check.kind {
        CheckKind::Tcp => {
            let open = connect(check, place, Talk::Nothing).await?;
            *conn = check.send_proxy.map(|_| open);
            Ok(Passed::new(CheckStatus::L4Ok))
        }
        CheckKind::Http(http) => {
            let conn = conn.insert(connect(check, place, Talk::Something).await?);
            // A check that goes to another address does not ask for this server.
            let name = if check.addr.is_some() { None } else { server.host };
            let host = http.host.as_ref().map_or_else(|| http::host(place, name), Clone::clone);
            http::ask(conn, http, &host, progress).await
        }
        CheckKind::Script(steps) => script::ask(steps, check, place, progress, conn).await,
        CheckKind::External(program) => external::ask(program, place, server, progress).await,
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
