//! One listening socket on one worker.
//!
//! Ready first, then a permit, then accept: a listener that waits for connections holds no permit, and one that has no
//! permit leaves the connection in the kernel's queue. Out of descriptors it pauses, and everything else continues.

use std::future::poll_fn;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::context::Context;
use super::frontend::{Frontend, Permit};
use super::gate::Gate;
use super::session;
use crate::pace::{Backoff, OncePerSecond};
use crate::runtime::executor::{spawn, yield_now};
use crate::runtime::reactor::Registration;
use crate::runtime::ready_set::ReadySet;
use crate::runtime::timer::Timer;
use crate::sys::socket;

/// Deregisters when it is dropped: the socket stays open by its duplicates elsewhere.
struct WatchedListener(Registration);

impl Drop for WatchedListener {
    fn drop(&mut self) {
        self.0.deregister();
    }
}

/// Accepts until the task is aborted, which deregisters the socket and closes this descriptor of it.
pub(super) async fn accept(context: Rc<Context>, frontend: Arc<Frontend>, gate: Arc<Gate>, listener: OwnedFd) {
    let listener = match Registration::new(listener) {
        Ok(listener) => WatchedListener(listener),
        Err(error) => {
            return tracing::error!("frontend {}: cannot watch its listener: {error}", frontend.name);
        }
    };
    let mut pause = AcceptPause::default();
    loop {
        poll_fn(|cx| listener.0.poll_ready(cx, ReadySet::READ)).await;
        if let Err(errno) = accept_burst(&context, &frontend, &gate, &listener.0).await {
            pause.after(errno, &frontend).await;
        } else {
            pause.backoff.reset();
        }
    }
}

/// Accepts until the queue is empty, or for a while.
async fn accept_burst(
    context: &Rc<Context>,
    frontend: &Arc<Frontend>,
    gate: &Arc<Gate>,
    listener: &Registration,
) -> Result<(), Errno> {
    for _ in 0..BURST {
        // Before there is a permit: its places must not be kept while time passes.
        while frontend.rate.is_limited()
            && let Some(wait) = frontend.rate.wait(Instant::now())
        {
            Timer::after(wait).await;
        }
        let permit = Permit::take(frontend, gate).await;
        match socket::accept(listener.as_fd()) {
            Ok((client, peer)) => {
                if frontend.rate.is_limited() {
                    frontend.rate.count(Instant::now());
                }
                spawn(session::serve(Rc::clone(context), permit, client, peer));
            }
            Err(Errno::AGAIN) => {
                listener.has_read_all();
                return Ok(());
            }
            // accept(2): errors of the connection at the head of the queue, which is then gone.
            Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO | Errno::NETDOWN | Errno::HOSTUNREACH) => {}
            Err(errno) => return Err(errno),
        }
    }
    // The other tasks of this worker have their turn; readiness is kept.
    yield_now().await;
    Ok(())
}

/// Serves what waits in the queue of a listener that is about to be closed; closing would reset it. Limits do not
/// apply: the kernel has completed these connections already.
pub(super) fn serve_queue(context: &Rc<Context>, frontend: &Arc<Frontend>, gate: &Arc<Gate>, listener: &OwnedFd) {
    loop {
        match socket::accept(listener.as_fd()) {
            Ok((client, peer)) => {
                spawn(session::serve(Rc::clone(context), Permit::force(frontend, Some(gate)), client, peer));
            }
            Err(Errno::CONNABORTED | Errno::INTR | Errno::PROTO) => {}
            Err(_) => return,
        }
    }
}

/// Connections accepted in a row before the sessions get their turn.
const BURST: usize = 32;

/// The wait after EMFILE and the like; logged once a second.
#[derive(Debug)]
struct AcceptPause {
    backoff: Backoff,
    messages: OncePerSecond,
}

impl Default for AcceptPause {
    fn default() -> Self {
        let backoff = Backoff::new(Duration::from_millis(10), Duration::from_millis(100)).jittered();
        Self { backoff, messages: OncePerSecond::default() }
    }
}

impl AcceptPause {
    async fn after(&mut self, errno: Errno, frontend: &Frontend) {
        if self.messages.is_due(Instant::now()) {
            tracing::warn!(
                "frontend {}: cannot accept: {}; connections wait (lower maxconn or raise LimitNOFILE)",
                frontend.name,
                nix::errno::Errno::from_raw(errno.raw_os_error()).desc()
            );
        }
        Timer::after(self.backoff.delay()).await;
    }
}
