//! The daemon's end of the admin socket.
//!
//! The caller brings a listening socket (its path, mode and place in an upgrade are not this file's business)
//! and a handler that does what is asked. Rules: only root and the daemon's own user are answered; every wait
//! has a deadline and every size a bound, so that no client can hold the control thread; a client that asks for
//! nothing makes room for others; a client that goes away does not stop work that it began.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval_at, sleep, timeout};

use super::conversations::{Conversations, Place};
use super::protocol::{Answer, MAX_REQUEST, Request};
use crate::exit::ExitStatus;
use crate::pace::Backoff;
use crate::sys::credentials::is_trusted;

/// Shows the client how long work advances.
#[derive(Debug, Clone)]
pub struct ProgressSender(mpsc::Sender<String>);

impl ProgressSender {
    /// For a caller that shows none.
    pub(crate) fn silent() -> Self {
        Self(mpsc::channel(1).0)
    }

    /// Sends one line for people. Never waits: to a client that does not read, lines are lost.
    pub fn say(&self, line: impl Into<String>) {
        // A lost line of progress changes nothing: the last answer has the outcome.
        self.0.try_send(line.into()).ok();
    }
}

/// Answers requests on `listener` until dropped. What is being answered at that moment continues.
///
/// Needs a runtime with `spawn_local` (tokio's `LocalRuntime`); `handler` runs as a task of its own, and a panic
/// in it becomes an error answer.
pub async fn serve<H, F>(listener: UnixListener, conversations: Conversations, handler: H) -> Infallible
where
    H: Fn(Request, ProgressSender) -> F + 'static,
    F: Future<Output = Answer> + 'static,
{
    serve_within(Limits::default(), listener, conversations, handler).await
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    /// For the whole request line.
    request: Duration,
    /// For one answer line. A `status` of 1,000 servers is some megabytes, which a reader takes in parts.
    write: Duration,
    /// Silence after which a sign of life is sent.
    heartbeat: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { request: Duration::from_secs(5), write: Duration::from_secs(10), heartbeat: Duration::from_secs(2) }
    }
}

async fn serve_within<H, F>(
    limits: Limits,
    listener: UnixListener,
    conversations: Conversations,
    handler: H,
) -> Infallible
where
    H: Fn(Request, ProgressSender) -> F + 'static,
    F: Future<Output = Answer> + 'static,
{
    let handler = Rc::new(handler);
    let mut backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(100));
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                backoff.reset();
                let Some(uid) = trusted_user(&stream) else {
                    continue;
                };
                let (newcomer, handler) = (conversations.receive(uid).await, Rc::clone(&handler));
                tokio::task::spawn_local(async move {
                    let place = newcomer.admit().await;
                    if let Err(error) = converse(stream, limits, place, &*handler).await {
                        tracing::debug!(%error, "admin client lost");
                    }
                });
            }
            Err(error) => {
                // Mostly out of descriptors; at once again would spin.
                tracing::warn!(%error, "admin socket: cannot accept");
                sleep(backoff.delay()).await;
            }
        }
    }
}

/// The user at the other end, if it may ask.
fn trusted_user(stream: &UnixStream) -> Option<u32> {
    let uid = stream.peer_cred().ok()?.uid();
    if !is_trusted(uid) {
        tracing::warn!(uid, "admin socket: another user's connection is refused");
        return None;
    }
    Some(uid)
}

/// One connection, from its request to the last answer. Without a place it is refused.
async fn converse<H, F>(mut stream: UnixStream, limits: Limits, place: Option<Place>, handler: &H) -> io::Result<()>
where
    H: Fn(Request, ProgressSender) -> F,
    F: Future<Output = Answer> + 'static,
{
    let Some(place) = place else {
        let busy = Answer::busy("too many requests are being answered; try again in a moment");
        return send(&mut stream, limits, &busy).await;
    };
    let request = tokio::select! {
        line = timeout(limits.request, read_line(&mut stream)) => match line {
            Ok(line) => line?.and_then(|line| Request::parse(&line)),
            Err(_) => Err(Answer::bad_request(format!("no request came within {} s", limits.request.as_secs()))),
        },
        // Closed without a word: it has asked for nothing.
        () = place.evicted() => return Ok(()),
    };
    place.is_active();
    let last = match request {
        Ok(request) => work(&mut stream, limits, handler, request).await?,
        Err(answer) => answer,
    };
    send(&mut stream, limits, &last).await
}

/// Reads up to a newline or the end; `Ok(Err(answer))` when the line is too long.
async fn read_line(stream: &mut UnixStream) -> io::Result<Result<Vec<u8>, Answer>> {
    let mut line = Vec::with_capacity(512);
    loop {
        let searched = line.len();
        // One byte more than allowed, to tell "exactly full" from "too long".
        let room = MAX_REQUEST + 1 - searched;
        let count = (&mut *stream).take(room as u64).read_buf(&mut line).await?;
        if let Some(end) = line[searched..].iter().position(|&byte| byte == b'\n') {
            line.truncate(searched + end);
            return Ok(Ok(line));
        }
        if line.len() > MAX_REQUEST {
            return Ok(Err(Answer::bad_request(format!("the request is longer than {MAX_REQUEST} bytes"))));
        }
        if count == 0 {
            return Ok(Ok(line));
        }
    }
}

/// Lets the handler work in its own task, so that a client that does not read cannot hold it up, and passes on
/// its progress. Returns the last answer.
async fn work<H, F>(stream: &mut UnixStream, limits: Limits, handler: &H, request: Request) -> io::Result<Answer>
where
    H: Fn(Request, ProgressSender) -> F,
    F: Future<Output = Answer> + 'static,
{
    let (sender, mut lines) = mpsc::channel(64);
    let mut task = tokio::task::spawn_local(handler(request, ProgressSender(sender)));
    let mut heartbeat = interval_at(tokio::time::Instant::now() + limits.heartbeat, limits.heartbeat);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            Some(line) = lines.recv() => {
                heartbeat.reset();
                send(stream, limits, &Answer::Progress(line)).await?;
            }
            outcome = &mut task => {
                while let Ok(line) = lines.try_recv() {
                    send(stream, limits, &Answer::Progress(line)).await?;
                }
                return Ok(outcome.unwrap_or_else(|error| {
                    tracing::error!(%error, "admin request failed");
                    Answer::failed(ExitStatus::Failed, "the daemon failed while doing this; its log says more")
                }));
            }
            _ = heartbeat.tick() => send(stream, limits, &Answer::Heartbeat).await?,
        }
    }
}

async fn send(stream: &mut UnixStream, limits: Limits, answer: &Answer) -> io::Result<()> {
    timeout(limits.write, stream.write_all(&answer.to_line()))
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests;
