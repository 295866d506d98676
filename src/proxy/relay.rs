//! Two sockets and the two flows between them, polled by one task.
//!
//! The halves are equal: what holds for one direction holds for the other. How a session ends:
//! both sides said FIN and all was delivered, `Closed`; one side reset, `Broken` once what it had sent before is
//! delivered, and the other side then gets a reset too; the server went away before its first byte, `Replay` if that
//! was asked for. Time is not here: the caller asks for [`Relay::deadline`].

use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::flow::{Flow, FrozenFlow, Pump, Pumped, Source};
use super::replay::Replay;
use super::worker::Scratch;
use crate::config::Timeouts;
use crate::runtime::stream::Socket;
use crate::runtime::timer;

#[derive(Debug)]
pub(super) struct Relay {
    pub(super) client: Socket,
    pub(super) server: Socket,
    /// Client to server.
    pub(super) up: Flow,
    /// Server to client.
    pub(super) down: Flow,
    /// Boxed: most sessions have none.
    replay: Option<Box<Replay>>,
    /// Last read or write of either socket.
    client_active: Instant,
    server_active: Instant,
    /// The last bytes came from the client, so that the server is to answer.
    server_owes: bool,
    /// The client has said something since the server's FIN.
    client_went_on: bool,
    /// What [`Relay::half_closed`] was when it was asked for last.
    known_closed: Option<(bool, bool)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// How a relay came to its end by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finish {
    Closed,
    /// This side reset; what it had sent was given to the other side's socket.
    Broken(Side),
    /// The server reset after the client was given all that it said, FIN included, and when nothing of the client's was
    /// under way to it: nothing is lost.
    ServerLeft,
    /// The server went away before its first byte; [`Relay::take_replay`] has what the client had sent.
    Replay,
}

impl Relay {
    /// Sockets that are connected; `up` holds what the client has sent so far.
    pub(super) fn new(client: Socket, server: Socket, up: Flow, replay: Option<Box<Replay>>, now: Instant) -> Self {
        Self {
            client,
            server,
            up,
            down: Flow::default(),
            replay,
            client_active: now,
            server_active: now,
            server_owes: true,
            client_went_on: false,
            known_closed: None,
        }
    }

    /// Moves what can be moved. `Pending` after both directions wait for a socket or have had their share.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, desk: &mut Scratch) -> Poll<Finish> {
        let mut on = Pump {
            buf: &mut desk.buf,
            pipes: &mut desk.pipes,
            replay: &mut self.replay,
            up: true,
            hold_fin: self.down.abandoned,
            last: self.down.closed,
            read: false,
            wrote: false,
        };
        let up = self.up.pump(cx, &self.client, &self.server, &mut on);
        let (up_read, up_wrote) = (on.read, on.wrote);
        on = Pump { up: false, hold_fin: self.up.abandoned, last: self.up.closed, read: false, wrote: false, ..on };
        let down = self.down.pump(cx, &self.server, &self.client, &mut on);
        let (down_read, down_wrote) = (on.read, on.wrote);
        self.client_went_on |= up_read && self.down.source() != Source::Open;
        if up_read || up_wrote || down_read || down_wrote {
            self.note(up_read || down_wrote, up_wrote || down_read);
            self.server_owes = !down_read && (up_read || self.server_owes);
        }
        self.judge(up, down)
    }

    fn note(&mut self, client: bool, server: bool) {
        let now = timer::now();
        if client {
            self.client_active = now;
        }
        if server {
            self.server_active = now;
        }
    }

    fn judge(&self, up: Pumped, down: Pumped) -> Poll<Finish> {
        let server_left = matches!(down, Pumped::Ended | Pumped::SourceBroken);
        if server_left && self.replay.is_some() && self.down.received == 0 && up != Pumped::SourceBroken {
            return Poll::Ready(Finish::Replay);
        }
        Poll::Ready(match (up, down) {
            (Pumped::SourceBroken, _) => Finish::Broken(Side::Client),
            (Pumped::Blocked, Pumped::SourceBroken)
                if self.down.closed && !self.client_went_on && !self.up.has_undelivered() =>
            {
                Finish::ServerLeft
            }
            (_, Pumped::SourceBroken) => Finish::Broken(Side::Server),
            (Pumped::Ended, Pumped::Ended) => Finish::Closed,
            // A sink that is gone may have spoken before it went: the other direction is read to its end first.
            (Pumped::SinkGone, Pumped::Ended) => Finish::Broken(Side::Server),
            (Pumped::Ended, Pumped::SinkGone) => Finish::Broken(Side::Client),
            // Neither takes anything any more, whoever was first.
            (Pumped::SinkGone, Pumped::SinkGone) => Finish::Broken(Side::Client),
            (Pumped::Blocked, _) | (_, Pumped::Blocked) => return Poll::Pending,
        })
    }

    /// Whether a side has closed its half since the last call, or this is the first one.
    pub(super) fn has_closed_more(&mut self) -> bool {
        let closed = Some(self.half_closed());
        std::mem::replace(&mut self.known_closed, closed) != closed
    }

    /// Which sides have closed their half or been told of the other's: the client's, the server's.
    fn half_closed(&self) -> (bool, bool) {
        (self.up.source() == Source::Ended || self.down.closed, self.down.source() == Source::Ended || self.up.closed)
    }

    /// When the session will have been idle for too long, and whose silence that is. `None`: never. Only a
    /// half that is closed brings it nearer; all else moves it away.
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
        Some((replay.into_bytes(), self.up.source() == Source::Ended))
    }

    /// Gives pipes back to the worker, unless they are to be frozen with their bytes.
    pub(super) fn release_unless(&mut self, frozen: bool, desk: &mut Scratch) {
        if !frozen {
            self.up.release(&mut desk.pipes);
            self.down.release(&mut desk.pipes);
        }
    }

    /// Takes everything apart between two system calls. What was kept for a replay is given up: the session goes on
    /// like one that began without it.
    pub(super) fn freeze(mut self, desk: &mut Scratch) -> FrozenRelay {
        let now = Instant::now();
        self.up.uncork(&self.server);
        self.down.uncork(&self.client);
        FrozenRelay {
            client: self.client.into_fd(),
            server: self.server.into_fd(),
            up: self.up.freeze(&mut desk.pipes),
            down: self.down.freeze(&mut desk.pipes),
            client_idle: now.saturating_duration_since(self.client_active),
            server_idle: now.saturating_duration_since(self.server_active),
            server_owes: self.server_owes,
        }
    }

    /// Goes on where [`Relay::freeze`] stopped, perhaps in another process.
    pub(super) fn thaw(frozen: FrozenRelay, nagle: bool, desk: &mut Scratch) -> std::io::Result<Self> {
        let now = Instant::now();
        let down = Flow::thaw(frozen.down, false, &mut desk.pipes);
        Ok(Self {
            client: Socket::register(frozen.client)?,
            server: Socket::register(frozen.server)?,
            up: Flow::thaw(frozen.up, nagle, &mut desk.pipes),
            // It may have: that was not written down.
            client_went_on: down.source() != Source::Open,
            down,
            replay: None,
            client_active: now.checked_sub(frozen.client_idle).unwrap_or(now),
            server_active: now.checked_sub(frozen.server_idle).unwrap_or(now),
            server_owes: frozen.server_owes,
            known_closed: None,
        })
    }
}

/// A relay at rest.
#[derive(Debug)]
pub struct FrozenRelay {
    pub client: std::os::fd::OwnedFd,
    pub server: std::os::fd::OwnedFd,
    pub up: FrozenFlow,
    pub down: FrozenFlow,
    pub client_idle: Duration,
    pub server_idle: Duration,
    pub server_owes: bool,
}
