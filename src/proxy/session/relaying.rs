//! A session that has its server: bytes move until one of the sides, the time or an order ends it.

use std::future::{Future, poll_fn};
use std::os::fd::AsFd;
use std::task::{self, Poll, ready};
use std::time::{Duration, Instant};

use super::ending::AfterRelay;
use super::state::Session;
use crate::backend::Lease;
use crate::config::{self, Liveness, Timeouts};
use crate::proxy::relay::{Relay, RelayEnd};
use crate::runtime::timer::{self, Timer};

/// When a session has lasted so long its server connection gets keepalive, and its bytes are counted.
const SETTLED: Duration = Duration::from_secs(2);

impl Session {
    /// Relays until something ends it, and returns what follows from that.
    ///
    /// The future owns the relay, and concludes within its last poll: what crosses an `await` of the session is stored
    /// in the session's future, and a relay is a third of it.
    pub(super) fn relay<'a>(
        &'a mut self,
        relay: Relay,
        lease: Option<Lease>,
        settings: &'a config::Backend,
        may_retry: bool,
    ) -> impl Future<Output = AfterRelay> + use<'a> {
        let mut timer = Timer::at(timer::now() + SETTLED);
        let mut settled = false;
        let mut held = Some((relay, lease));
        poll_fn(move |cx| {
            let (relay, _) = held.as_mut().expect("a relay is not polled after its end");
            let end = ready!(self.drive(cx, relay, settings, &mut timer, &mut settled));
            let (relay, lease) = held.take().expect("a relay ends once");
            Poll::Ready(self.conclude(end, relay, lease, may_retry))
        })
    }

    /// Moves what can be moved, and looks at the time if need be.
    #[inline(always)]
    fn drive(
        &mut self,
        cx: &mut task::Context<'_>,
        relay: &mut Relay,
        settings: &config::Backend,
        timer: &mut Timer,
        settled: &mut bool,
    ) -> Poll<RelayEnd> {
        if let Poll::Ready(order) = self.poll_order(cx, || self.relaying(relay, settings)) {
            return Poll::Ready(RelayEnd::Ordered(order));
        }
        if let Poll::Ready(end) = relay.poll(cx, &mut self.context.scratch.borrow_mut()) {
            return Poll::Ready(end);
        }
        // Between these, the timer stands where it is and has its waker.
        if !relay.has_closed_more() && !timer.is_due() {
            return Poll::Pending;
        }
        let mut deadline = relay.deadline(&self.timeouts(settings));
        loop {
            if let Some((at, _)) = deadline
                && at < timer.due()
            {
                timer.reset(at);
            }
            ready!(timer.poll(cx));
            if !*settled {
                *settled = true;
                let own = self.permit.gate().and_then(|gate| gate.entry().user_timeout);
                settle(relay, settings.liveness, own);
            }
            self.count(relay.bytes());
            deadline = relay.deadline(&self.timeouts(settings));
            match deadline {
                Some((at, side)) if at <= Instant::now() => return Poll::Ready(RelayEnd::Idle(side)),
                _ => timer.reset(next_look(deadline.map(|(at, _)| at))),
            }
        }
    }

    /// Those of the backend, and of the frontend as it is now.
    pub(super) fn timeouts(&self, settings: &config::Backend) -> Timeouts {
        self.permit.frontend().route().settings.timeout.over(&settings.timeout)
    }
}

/// Lets the kernel find dead peers of a session that lasts. `own`: the client's user timeout, where its bind has one.
fn settle(relay: &Relay, liveness: Liveness, own: Option<Duration>) {
    let of_client = Liveness { user_timeout: own.or(liveness.user_timeout), ..liveness };
    for (socket, liveness) in [(&relay.client, of_client), (&relay.server, liveness)] {
        match liveness.apply(socket.as_fd()) {
            // Unix sockets have no such options; their peers do not vanish.
            Ok(()) | Err(_) => {}
        }
    }
}

/// The deadline, or an hour from now when there is none.
fn next_look(deadline: Option<Instant>) -> Instant {
    const NO_DEADLINE: Duration = Duration::from_secs(3600);
    deadline.unwrap_or_else(|| Instant::now() + NO_DEADLINE)
}
