//! What follows from the end of a relay, and the ends that take time.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::state::Session;
use crate::backend::Lease;
use crate::log::{By, During, Termination};
use crate::proxy::frozen::Frozen;
use crate::proxy::preamble::Preamble;
use crate::proxy::record::ByteCounts;
use crate::proxy::registry::Order;
use crate::proxy::relay::{Relay, RelayEnd, Side};
use crate::runtime::stream::{ReadEnd, Received, Socket};
use crate::runtime::timer::Timer;

/// What a session does after its relay.
pub(super) enum AfterRelay {
    Over(Termination),
    Closing(Closing),
    /// The server went away before its first byte: the client can be tried with what it has sent on another one.
    Retry(Socket, Preamble),
    /// It was frozen. `Some`: its receiver is gone, so that it continues here.
    Moved(Option<Box<Frozen>>),
}

/// Ends that take time.
pub(super) enum Closing {
    /// One side is gone; this is the socket of the other one, and the side that broke off.
    FlushThenReset(Socket, By),
    /// The server is gone, and its client, which has got everything including the FIN, may be about to close.
    AwaitClientClose(Socket),
}

/// The longest time in which the end of a broken-off stream may reach the other side.
const FLUSH_LIMIT: Duration = Duration::from_secs(10);

/// The time in which a client that has an answer and its FIN closes, if it does at all. One on a busy machine needs it.
const CLIENT_CLOSE_LIMIT: Duration = Duration::from_secs(2);

impl Session {
    /// What follows from the end of a relay.
    pub(super) fn conclude(
        &mut self,
        end: RelayEnd,
        mut relay: Relay,
        lease: Option<Lease>,
        may_retry: bool,
    ) -> AfterRelay {
        self.count(relay.bytes());
        if end == RelayEnd::Ordered(Order::Freeze) {
            return AfterRelay::Moved(self.freeze_relay(relay, lease));
        }
        relay.release(&mut self.context.scratch.borrow_mut());
        let over = |by| AfterRelay::Over(Termination { by, during: During::Data });
        match end {
            RelayEnd::Closed => AfterRelay::Over(FINISHED),
            RelayEnd::Broken(Side::Client) => AfterRelay::Closing(Closing::FlushThenReset(relay.server, By::Client)),
            RelayEnd::Broken(Side::Server) => AfterRelay::Closing(Closing::FlushThenReset(relay.client, By::Server)),
            RelayEnd::ServerLeft => AfterRelay::Closing(Closing::AwaitClientClose(relay.client)),
            RelayEnd::Replay => match relay.take_replay().filter(|_| may_retry) {
                Some((bytes, ended)) => {
                    self.leave_server(lease);
                    AfterRelay::Retry(relay.client, Preamble { bytes, ended, introduced: true })
                }
                None => {
                    drop((lease, relay.server));
                    relay.client.reset();
                    over(By::Server)
                }
            },
            RelayEnd::Idle(Side::Client) => over(By::ClientTimeout),
            RelayEnd::Idle(Side::Server) => over(By::ServerTimeout),
            // As in HAProxy: no phase has failed.
            RelayEnd::Ordered(Order::Cut(by)) => {
                if by == By::Killed {
                    // Neither side must take what was broken off for a whole stream.
                    drop(lease);
                    relay.server.reset();
                    relay.client.reset();
                }
                AfterRelay::Over(Termination { by, during: During::Finished })
            }
            RelayEnd::Ordered(Order::Freeze) => unreachable!("a session that freezes has left this function above"),
        }
    }

    /// Prepares the record for a retry on another server.
    fn leave_server(&mut self, lease: Option<Lease>) {
        self.failed = lease.map(|lease| Arc::clone(lease.server()));
        self.record.retries += 1;
        self.record.bytes = ByteCounts::default();
        self.set_server(None);
    }

    /// Ends in one of the ways that take time.
    pub(super) async fn close(self, closing: Closing) {
        match closing {
            Closing::FlushThenReset(other, by) => {
                self.flush_then_reset(other).await;
                self.finish(Termination { by, during: During::Data });
            }
            Closing::AwaitClientClose(client) => self.await_client_close(client).await,
        }
    }

    /// A client that closes now has had a complete session. One that stays or sends more gets a reset: its server is gone.
    async fn await_client_close(self, client: Socket) {
        let until = Instant::now() + CLIENT_CLOSE_LIMIT;
        let mut byte = [0];
        let closes = poll_fn(|cx| client.poll_recv(cx, &mut byte));
        let received = tokio::select! {
            biased;
            received = closes => received.ok(),
            () = Timer::at(until) => None,
            // Cut, or ordered to freeze: nothing is left to move.
            _ = poll_fn(|cx| self.poll_order(cx, || self.closing(until))) => None,
        };
        if received == Some(Received { len: 0, then: ReadEnd::Fin }) {
            drop(client);
            return self.finish(FINISHED);
        }
        self.flush_then_reset(client).await;
        self.finish(Termination { by: By::Server, during: During::Data });
    }

    /// Waits until the other side has what was sent to it, and resets it then: it must not take a broken-off stream for
    /// a whole one. Whether a send queue is empty the kernel reports only on request.
    async fn flush_then_reset(&self, socket: Socket) {
        let until = Instant::now() + FLUSH_LIMIT;
        let mut pause = Duration::from_millis(1);
        while socket.unacknowledged() > 0 && Instant::now() < until {
            let order = poll_fn(|cx| self.poll_order(cx, || self.closing(until)));
            tokio::select! {
                biased;
                order = order => match order {
                    // Not worth moving: it ends within moments.
                    Order::Freeze => self.registered.decline(),
                    Order::Cut(_) => break,
                },
                () = Timer::after(pause) => pause = (pause * 2).min(Duration::from_millis(50)),
            }
        }
        socket.reset();
    }
}

/// Both sides sent FIN, and everything was delivered.
const FINISHED: Termination = Termination { by: By::Nobody, during: During::Finished };
