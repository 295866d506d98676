//! Two sockets and the two flows between them, polled by one task.
//!
//! The halves are equal: what holds for one direction holds for the other. How a relay ends by itself: both sides sent
//! FIN and everything was delivered, `Closed`; one side reset, `Broken` once what it had sent before is delivered, and
//! the other side then gets a reset too; the server went away before its first byte, `Replay` if that was asked for.
//! Time is not here: the caller asks for [`Relay::deadline`].

use std::io;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

use super::context::Scratch;
use super::flow::{Flow, FlowEnd};
use super::frozen::FrozenRelay;
use super::pump::{FlowDirection, Pump, SinkState};
use super::record::ByteCounts;
use super::registry::Order;
use super::replay::Replay;
use crate::config::Timeouts;
use crate::runtime::stream::{ReadEnd, Socket};
use crate::runtime::timer;

#[derive(Debug)]
pub(super) struct Relay {
    pub(super) client: Socket,
    pub(super) server: Socket,
    /// Client to server.
    up: Flow,
    /// Server to client.
    down: Flow,
    /// Boxed: most sessions have none.
    replay: Option<Box<Replay>>,
    /// Last read or write of either socket.
    client_active: Instant,
    server_active: Instant,
    /// The last bytes came from the client, so that the server is to answer.
    server_owes: bool,
    /// The client has sent bytes since the server's FIN.
    client_continued: bool,
    /// The result of [`Relay::half_closed`] when it was last asked for.
    known_closed: Option<(bool, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// How a relay ended. All but the last two it reports itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RelayEnd {
    Closed,
    /// This side reset; what it had sent was given to the other side's socket.
    Broken(Side),
    /// The server reset after the client was given all that it sent, FIN included, and when no bytes of the client's
    /// were under way to it: nothing is lost.
    ServerLeft,
    /// The server went away before its first byte; [`Relay::take_replay`] has what the client had sent.
    Replay,
    /// This side was silent for too long.
    Idle(Side),
    Ordered(Order),
}

impl Relay {
    /// Sockets that are connected; `up` holds what the client has sent so far.
    pub(super) fn new(client: Socket, server: Socket, up: Flow, replay: Option<Box<Replay>>, now: Instant) -> Self {
        let server_owes = up.received > 0;
        Self {
            client,
            server,
            up,
            down: Flow::default(),
            replay,
            client_active: now,
            server_active: now,
            // Until it has sent something, it is the client that is waited for.
            server_owes,
            client_continued: false,
            known_closed: None,
        }
    }

    /// Moves what can be moved. `Pending` after both directions wait for a socket or have had their share.
    pub(super) fn poll(&mut self, cx: &mut task::Context<'_>, scratch: &mut Scratch) -> Poll<RelayEnd> {
        let mut on = Pump {
            buf: &mut scratch.buf,
            pipes: &mut scratch.pipes,
            replay: &mut self.replay,
            direction: FlowDirection::ToServer,
            other_sink: self.down.sink(),
            read: false,
            wrote: false,
        };
        let up = self.up.pump(cx, &self.client, &self.server, &mut on);
        let (up_read, up_wrote) = (on.read, on.wrote);
        let other_sink = self.up.sink();
        on = Pump { direction: FlowDirection::ToClient, other_sink, read: false, wrote: false, ..on };
        let down = self.down.pump(cx, &self.server, &self.client, &mut on);
        let (down_read, down_wrote) = (on.read, on.wrote);
        self.client_continued |= up_read && self.down.source() != ReadEnd::More;
        if up_read || up_wrote || down_read || down_wrote {
            self.note_active(up_read || down_wrote, up_wrote || down_read);
            self.server_owes = !down_read && (up_read || self.server_owes);
        }
        self.judge(up, down)
    }

    fn note_active(&mut self, client: bool, server: bool) {
        let now = timer::now();
        if client {
            self.client_active = now;
        }
        if server {
            self.server_active = now;
        }
    }

    fn judge(&self, up: Poll<FlowEnd>, down: Poll<FlowEnd>) -> Poll<RelayEnd> {
        use FlowEnd::{Delivered, SinkGone, SourceBroken};
        let server_ended = matches!(down, Poll::Ready(Delivered | SourceBroken));
        if server_ended && self.replay.is_some() && self.down.received == 0 && up != Poll::Ready(SourceBroken) {
            return Poll::Ready(RelayEnd::Replay);
        }
        Poll::Ready(match (up, down) {
            (Poll::Ready(SourceBroken), _) => RelayEnd::Broken(Side::Client),
            (Poll::Pending, Poll::Ready(SourceBroken)) if self.is_all_exchanged() => RelayEnd::ServerLeft,
            (_, Poll::Ready(SourceBroken)) => RelayEnd::Broken(Side::Server),
            (Poll::Ready(Delivered), Poll::Ready(Delivered)) => RelayEnd::Closed,
            // A sink that is gone may have sent bytes before: the other direction is read to its end first.
            (Poll::Ready(SinkGone), Poll::Ready(Delivered)) => RelayEnd::Broken(Side::Server),
            (Poll::Ready(Delivered), Poll::Ready(SinkGone)) => RelayEnd::Broken(Side::Client),
            // Neither takes any more bytes, whichever was first.
            (Poll::Ready(SinkGone), Poll::Ready(SinkGone)) => RelayEnd::Broken(Side::Client),
            (Poll::Pending, _) | (_, Poll::Pending) => return Poll::Pending,
        })
    }

    /// The client was given everything including the FIN, has sent nothing since, and nothing of it is under way.
    fn is_all_exchanged(&self) -> bool {
        self.down.sink() == SinkState::FinSent && !self.client_continued && !self.up.has_undelivered()
    }

    /// What was moved so far, in both directions.
    pub(super) fn bytes(&self) -> ByteCounts {
        ByteCounts { from_client: self.up.received, to_client: self.down.sent }
    }

    /// Since the last byte of either side.
    pub(super) fn idle(&self) -> Duration {
        timer::now().saturating_duration_since(self.client_active.max(self.server_active))
    }

    /// Whether a side has closed its half since the last call, or this is the first one.
    pub(super) fn has_closed_more(&mut self) -> bool {
        let closed = Some(self.half_closed());
        std::mem::replace(&mut self.known_closed, closed) != closed
    }

    /// Which sides have closed their half or were sent the other's FIN: the client's, the server's.
    fn half_closed(&self) -> (bool, bool) {
        let closed = |from: &Flow, to: &Flow| from.source() == ReadEnd::Fin || to.sink() == SinkState::FinSent;
        (closed(&self.up, &self.down), closed(&self.down, &self.up))
    }

    /// When the session will have been idle for too long, and which side was silent. `None`: never. Only a half that is
    /// closed brings it nearer; all else moves it away.
    pub(super) fn deadline(&self, timeouts: &Timeouts) -> Option<(Instant, Side)> {
        let (client_closed, server_closed) = self.half_closed();
        let idle = timeouts.tunnel.or(timeouts.client);
        let client = if client_closed { timeouts.client_fin.or(idle) } else { idle };
        let idle = timeouts.tunnel.or(timeouts.server);
        let server = if server_closed { timeouts.server_fin.or(idle) } else { idle };
        let client = client.map(|limit| (self.client_active + limit, Side::Client));
        let server = server.map(|limit| (self.server_active + limit, Side::Server));
        match (client, server) {
            (Some(client), Some(server)) => {
                // With equal limits both run out together: the one that owes an answer is to blame.
                let apart = client.0.max(server.0) - client.0.min(server.0);
                if apart <= Duration::from_millis(1) {
                    return Some(if self.server_owes { server } else { client });
                }
                Some(if client.0 < server.0 { client } else { server })
            }
            (client, server) => client.or(server),
        }
    }

    /// What to send to another server: the client's bytes, and whether its FIN follows them.
    pub(super) fn take_replay(&mut self) -> Option<(Vec<u8>, bool)> {
        let replay = self.replay.take()?;
        Some((replay.into_bytes(), self.up.source() == ReadEnd::Fin))
    }

    /// Gives the pipes back to the worker.
    pub(super) fn release(&mut self, scratch: &mut Scratch) {
        self.up.release(&mut scratch.pipes);
        self.down.release(&mut scratch.pipes);
    }

    /// Takes everything apart between two system calls. What was kept for a replay is given up: the session continues
    /// like one that began without it.
    pub(super) fn freeze(mut self, scratch: &mut Scratch) -> FrozenRelay {
        let now = Instant::now();
        self.up.uncork(&self.server);
        self.down.uncork(&self.client);
        FrozenRelay {
            client: self.client.into_fd(),
            server: self.server.into_fd(),
            up: self.up.freeze(&mut scratch.pipes),
            down: self.down.freeze(&mut scratch.pipes),
            client_idle: now.saturating_duration_since(self.client_active),
            server_idle: now.saturating_duration_since(self.server_active),
            server_owes: self.server_owes,
        }
    }

    /// Continues where [`Relay::freeze`] stopped, perhaps in another process.
    pub(super) fn thaw(frozen: FrozenRelay, nagle: bool, scratch: &mut Scratch) -> io::Result<Self> {
        let now = Instant::now();
        let down = Flow::thaw(frozen.down, false, &mut scratch.pipes);
        Ok(Self {
            client: Socket::register(frozen.client)?,
            server: Socket::register(frozen.server)?,
            up: Flow::thaw(frozen.up, nagle, &mut scratch.pipes),
            // It may have: that was not recorded.
            client_continued: down.source() != ReadEnd::More,
            down,
            replay: None,
            client_active: now.checked_sub(frozen.client_idle).unwrap_or(now),
            server_active: now.checked_sub(frozen.server_idle).unwrap_or(now),
            server_owes: frozen.server_owes,
            known_closed: None,
        })
    }
}
