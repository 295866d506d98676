//! What the engine's loop waits for: orders, notices, admin requests, discovered servers, and the results of its jobs.

use std::future::pending;
use std::panic::resume_unwind;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::{JoinSet, spawn_local};
use tokio::time::sleep;

use crate::config::Config;
use crate::engine::admin_socket::PendingRequest;
use crate::engine::pools::{Pools, PoolsNews};
use crate::engine::reload_queue::ReloadAsker;
use crate::engine::succession::HandoffStep;
use crate::engine::supervisor_link::{Orders, SupervisorOrder};
use crate::engine::workers::Pulse;
use crate::proxy::Notice;

/// Everything that comes in, except discovered servers, which [`Pools`] receives. Owned by the loop.
pub(super) struct Inputs {
    pub(super) orders: Orders,
    pub(super) notices: mpsc::Receiver<Notice>,
    pub(super) requests: mpsc::UnboundedReceiver<PendingRequest>,
    pub(super) jobs: Jobs,
}

/// What happened.
#[derive(Debug)]
pub(super) enum LoopEvent {
    Order(SupervisorOrder),
    Notice(Notice),
    Request(PendingRequest),
    Pools(PoolsNews),
    /// The workers were checked for GO.
    Checked {
        answer: bool,
    },
    /// No worker accepts any more, except from listeners that no other engine serves, if there are some.
    Parked {
        keeps_some: bool,
    },
    /// The places within limits are to be divided with the new engine.
    LendingDue,
    /// The counters of sessions are to be looked at.
    RatesDue,
    /// A heartbeat is due.
    Pulse(Pulse),
    Reload(ReloadStep),
    Handoff(Box<HandoffStep>),
    /// The counts of the engine before are not waited for any longer.
    CountsLate,
    /// For a stop: the queues of all listeners are served.
    ListenersClosed,
    /// The last admin requests are answered.
    Ended,
    /// Time has passed.
    Tick,
}

/// The result of a stretch of a reload.
#[derive(Debug)]
pub(super) enum ReloadStep {
    Read {
        asker: ReloadAsker,
        config: Result<Box<Config>, String>,
    },
    NamesFound {
        asker: ReloadAsker,
        config: Box<Config>,
    },
    /// It ended by a panic; the reply is dropped, which answers the client.
    Failed,
    /// The listeners that were left are closed. `done`: the outcome for people.
    Retired {
        asker: ReloadAsker,
        done: String,
    },
}

/// Futures that bring an event when they are over. They have no access to the engine. Dropped, all are abandoned.
#[derive(Default)]
pub(super) struct Jobs(JoinSet<LoopEvent>);

impl Jobs {
    /// Starts a job. It is driven to its end unless the engine ends before.
    pub(super) fn start(&mut self, job: impl Future<Output = LoopEvent> + 'static) {
        self.0.spawn_local(job);
    }

    /// Starts a job whose panic must not end the engine: `after_panic` is its result then.
    pub(super) fn start_apart(&mut self, job: impl Future<Output = LoopEvent> + 'static, after_panic: LoopEvent) {
        let job = spawn_local(job);
        self.start(async { job.await.unwrap_or(after_panic) });
    }

    /// The next result; waits for ever while there is no job. Cancel safe. A panic of a job of [`Jobs::start`]
    /// continues here: what the engine waits for would never come.
    async fn next(&mut self) -> LoopEvent {
        match self.0.join_next().await {
            Some(Ok(event)) => event,
            Some(Err(error)) => resume_unwind(error.into_panic()),
            None => pending().await,
        }
    }
}

impl Inputs {
    /// The next event. `orders`: orders are taken; `ticks`: time passes, which is reported every 20 ms.
    ///
    /// Cancel safety: nothing is lost when this is dropped while it waits, since every source is cancel safe.
    pub(super) async fn next(&mut self, pools: &mut Pools, orders: bool, ticks: bool) -> LoopEvent {
        tokio::select! {
            Some(notice) = self.notices.recv() => LoopEvent::Notice(notice),
            order = self.orders.next(), if orders => LoopEvent::Order(order),
            Some(request) = self.requests.recv() => LoopEvent::Request(request),
            news = pools.news() => LoopEvent::Pools(news),
            event = self.jobs.next() => event,
            () = sleep(TICK), if ticks => LoopEvent::Tick,
        }
    }
}

const TICK: Duration = Duration::from_millis(20);
