//! The script check: send and expect, step by step.
//!
//! An expectation looks at everything received since the last send (or connect). A wanted one waits for more until it is
//! met. An unwanted one judges the whole answer, whose end only the server knows: an expectation
//! before it has found the end, the server has closed, or it has been silent, briefly behind a line and longer elsewhere.

use std::borrow::Cow;
use std::time::Duration;

use tokio::time::timeout;

use super::conn::{Conn, Talk, connect};
use super::failure::ProbeFailure;
use super::matcher::Matcher;
use super::mismatch::{unmet, wanted};
use super::progress::{Passed, ProbePhase, ProbeProgress};
use crate::backend::health::CheckStatus;
use crate::config::{Check, Expectation, ExpectedAnswer, ScriptAction, ScriptStep};
use crate::sys::addr::Addr;

/// Runs all steps; each `Connect` but the first begins a new connection. The last one is left in `last`, unless nothing
/// was to be said on it.
pub(super) async fn ask<'a>(
    steps: &'a [ScriptStep],
    check: &Check,
    place: &Addr,
    progress: &mut ProbeProgress<'a>,
    last: &mut Option<Conn>,
) -> Result<Passed, ProbeFailure> {
    let silent = steps.iter().all(|step| matches!(step.action, ScriptAction::Connect(_)));
    let talk = if silent { Talk::Nothing } else { Talk::Something };
    if !matches!(steps.first(), Some(ScriptStep { action: ScriptAction::Connect(_), .. })) {
        last.replace(connect(check, place, talk).await?);
    }
    // Whether the end of the answer is known.
    let mut ended = false;
    let mut passed = Passed::new(if silent { CheckStatus::L4Ok } else { CheckStatus::L7Ok });
    for step in steps {
        let done = match &step.action {
            ScriptAction::Connect(port) => {
                progress.phase = ProbePhase::Connecting;
                progress.received.clear();
                if let Some(before) = last.as_ref().filter(|_| !silent) {
                    before.will_close_in_order();
                }
                connect(check, &at_port(place, *port), talk).await.map(|conn| *last = Some(conn))
            }
            ScriptAction::Send(bytes) => {
                progress.phase = ProbePhase::Sending;
                progress.received.clear();
                conn_of(last).send(bytes).await
            }
            ScriptAction::Expect(answer) => {
                progress.phase = ProbePhase::Expecting(step, answer);
                let patience = if ended { None } else { Some(check.timeout / 2) };
                await_answer(answer, conn_of(last), &mut progress.received, patience).await
            }
        };
        done.map_err(|failure| failure.said_of(step))?;
        ended = matches!(&step.action, ScriptAction::Expect(answer) if !answer.expectation.unwanted);
        passed.cause = match &step.action {
            ScriptAction::Expect(answer) => answer.on_success.clone().unwrap_or_default(),
            ScriptAction::Connect(_) | ScriptAction::Send(_) => String::new(),
        };
    }
    if silent && check.send_proxy.is_none() {
        // By an RST, before the server's `accept` sees it.
        drop(last.take());
    }
    Ok(passed)
}

/// The connection that the steps before have opened.
fn conn_of(last: &mut Option<Conn>) -> &mut Conn {
    last.as_mut().expect("a script begins with a connect")
}

/// A unix socket has no port.
fn at_port(place: &Addr, port: Option<u16>) -> Cow<'_, Addr> {
    match (place, port) {
        (Addr::Ip(addr), Some(port)) => {
            let mut other = *addr;
            other.set_port(port);
            Cow::Owned(Addr::Ip(other))
        }
        _ => Cow::Borrowed(place),
    }
}

/// `patience`: for what may follow an answer that is to lack something, if its end is not known.
async fn await_answer(
    answer: &ExpectedAnswer,
    conn: &mut Conn,
    received: &mut Vec<u8>,
    patience: Option<Duration>,
) -> Result<(), ProbeFailure> {
    while received.len() < answer.min_recv && conn.receive(received, MAX_ANSWER).await? > 0 {}
    let mut matcher = Matcher::new(&answer.expectation);
    expect(&mut matcher, &answer.expectation, conn, received).await?;
    match patience.filter(|_| answer.expectation.unwanted) {
        Some(patience) => hear_out(&mut matcher, conn, received, patience).await,
        None => Ok(()),
    }
}

async fn expect(
    matcher: &mut Matcher<'_>,
    expectation: &Expectation,
    conn: &mut Conn,
    received: &mut Vec<u8>,
) -> Result<(), ProbeFailure> {
    // What an earlier expectation has read may be enough, even if the server has closed since.
    while !matcher.is_met(received)? {
        if received.len() == MAX_ANSWER {
            let cause = format!("no {} in the first 64k of the answer", wanted(expectation));
            return Err(ProbeFailure::new(CheckStatus::L7Rsp, cause));
        }
        if conn.receive(received, MAX_ANSWER).await? == 0 {
            let cause = match received.as_slice() {
                [] => "connection closed without an answer".to_owned(),
                some => format!("connection closed, {}", unmet(expectation, some).cause),
            };
            return Err(ProbeFailure::new(CheckStatus::L7Rsp, cause));
        }
    }
    Ok(())
}

/// Receives the rest of an answer that is to lack something, until the server closes or is silent.
async fn hear_out(
    matcher: &mut Matcher<'_>,
    conn: &mut Conn,
    received: &mut Vec<u8>,
    patience: Duration,
) -> Result<(), ProbeFailure> {
    while received.len() < MAX_ANSWER {
        let silence = if received.ends_with(b"\n") { patience.min(BEHIND_A_LINE) } else { patience };
        match timeout(silence, conn.receive(received, MAX_ANSWER)).await {
            Ok(Ok(1..)) => matcher.is_met(received)?,
            Ok(Err(broken)) => return Err(broken),
            Ok(Ok(0)) | Err(_) => break,
        };
    }
    Ok(())
}

/// Silence behind a line that ends an answer: its last packets may come apart.
const BEHIND_A_LINE: Duration = Duration::from_millis(100);

/// An answer is kept up to here.
const MAX_ANSWER: usize = 64 * 1024;
