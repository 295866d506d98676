//! One direction of a session: from a source socket to a sink socket.
//!
//! Small messages are copied through a buffer that the worker lends for the length of one poll. A direction whose reads
//! fill that buffer is bulk: it goes through a pipe by `splice(2)` until it falls quiet. What the sink does not take is
//! the residue, in a buffer of the flow's own or in the pipe; only then does a flow own memory while it waits.
//! All its state is in the struct, so that it can be frozen whenever it is not being polled.

use std::task::{Context, Poll};

use super::replay::Replay;
use crate::runtime::stream::{ReadEnd, Received, Socket};
use crate::sys::pipe::{Pipe, Pipes};

#[derive(Debug, Default)]
pub(super) struct Flow {
    residue: Residue,
    pipe: Option<Pipe>,
    source: Source,
    /// FIN was forwarded.
    pub(super) closed: bool,
    /// The sink is gone; what the source still sends is not read.
    pub(super) abandoned: bool,
    /// Bytes read from the source.
    pub(super) received: u64,
    /// Bytes given to the sink.
    pub(super) sent: u64,
    bulk: bool,
    /// The sink is TCP and still has Nagle on, which delays small writes after the first.
    pub(super) nagle: bool,
    /// splice(2) does not work between these two sockets.
    copy_only: bool,
    /// The sink may hold back less than a segment: more was to follow at once.
    corked: bool,
}

/// What may still come from the source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Source {
    #[default]
    Open,
    /// FIN was received.
    Ended,
    /// RST or another error was received.
    Broken,
}

/// Bytes read but not yet written.
#[derive(Debug, Default)]
struct Residue {
    bytes: Box<[u8]>,
    done: usize,
}

/// How far a flow has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pumped {
    /// Waits for one of its sockets.
    Blocked,
    /// FIN received and everything delivered; forwarded too, if that was allowed.
    Ended,
    /// The source broke, and everything received before was delivered.
    SourceBroken,
    /// The sink takes nothing any more.
    SinkGone,
}

/// What a flow needs for one poll, and what it reports back.
pub(super) struct Pump<'a> {
    pub(super) buf: &'a mut [u8],
    pub(super) pipes: &'a mut Pipes,
    /// Bytes of the client's kept until the server's first byte; the up flow adds, the down flow drops them.
    pub(super) replay: &'a mut Option<Box<Replay>>,
    pub(super) up: bool,
    /// The other direction found its sink gone: the session will end by a reset, so that no FIN may be forwarded.
    pub(super) hold_fin: bool,
    /// The other direction is closed already: closing the sockets says all that a FIN would.
    pub(super) last: bool,
    pub(super) read: bool,
    pub(super) wrote: bool,
}

impl Pump<'_> {
    /// A server that says goodbye before its first byte is not the end of a session that can be replayed.
    fn may_forward_fin(&self) -> bool {
        !self.hold_fin && (self.up || self.replay.is_none())
    }
}

/// The worker's buffer: a read that fills it marks a flow as bulk. Answers of up to this size are cheaper to copy than
/// to splice, since a pipe costs two more calls.
pub(crate) const COPY_BYTES: usize = 32 * 1024;

/// Moved at most in one poll, so that one busy session does not starve the others of its worker.
const FAIR_BYTES: usize = 1024 * 1024;

/// A splicing flow that moved less than this before its source ran dry goes back to copying.
const QUIET_BYTES: usize = 16 * 1024;

impl Flow {
    /// A flow whose first bytes are known already and `sent` bytes of which have been delivered.
    pub(super) fn begun(first: &[u8], sent: usize, source: Source) -> Self {
        Self {
            residue: Residue { bytes: first[sent..].into(), done: 0 },
            source,
            received: first.len() as u64,
            sent: sent as u64,
            ..Self::default()
        }
    }

    pub(super) fn source(&self) -> Source {
        self.source
    }

    /// Moves what can be moved now.
    pub(super) fn pump(&mut self, cx: &mut Context<'_>, source: &Socket, sink: &Socket, on: &mut Pump<'_>) -> Pumped {
        if self.abandoned {
            return Pumped::SinkGone;
        }
        let mut moved = 0;
        loop {
            if self.has_undelivered() {
                match self.deliver(cx, sink, on) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => {
                        self.abandon(on.pipes);
                        return Pumped::SinkGone;
                    }
                    Poll::Pending => return Pumped::Blocked,
                }
            } else if self.source == Source::Open && !self.corked && source.poll_readable(cx).is_pending() {
                // Most polls of most flows: the session was woken for the other direction.
                return Pumped::Blocked;
            }
            match self.source {
                Source::Open => {}
                Source::Ended => {
                    self.uncork(sink);
                    self.forward_fin(sink, on);
                    // The source has said all it has to say, but may still break. Without a reader nothing else tells.
                    if !on.last && source.poll_hangup(cx).is_ready() && source.is_broken() {
                        self.source = Source::Broken;
                        return Pumped::SourceBroken;
                    }
                    return Pumped::Ended;
                }
                Source::Broken => {
                    self.uncork(sink);
                    return Pumped::SourceBroken;
                }
            }
            if moved >= FAIR_BYTES {
                cx.waker().wake_by_ref();
                return Pumped::Blocked;
            }
            let splice = self.bulk && on.replay.is_none() && !self.copy_only;
            let read = if splice { self.splice(cx, source, on, moved) } else { self.copy(cx, source, sink, on) };
            match read {
                Poll::Ready(bytes) => moved += bytes,
                Poll::Pending => {
                    self.uncork(sink);
                    return Pumped::Blocked;
                }
            }
        }
    }

    /// Reads once into the worker's buffer and writes it straight on; what does not go becomes the residue.
    #[inline(always)]
    fn copy(&mut self, cx: &mut Context<'_>, source: &Socket, sink: &Socket, on: &mut Pump<'_>) -> Poll<usize> {
        let Received { len, then } = match source.poll_recv(cx, on.buf) {
            Poll::Ready(Ok(received)) => received,
            Poll::Ready(Err(_)) => Received { len: 0, then: ReadEnd::Broken },
            Poll::Pending => return Poll::Pending,
        };
        self.bulk = len == on.buf.len();
        self.source = match then {
            ReadEnd::More => Source::Open,
            ReadEnd::Fin => Source::Ended,
            ReadEnd::Broken => Source::Broken,
        };
        if len > 0 {
            self.account(len, on);
            let bytes = &on.buf[..len];
            if on.up {
                if on.replay.as_mut().is_some_and(|replay| !replay.keep(bytes)) {
                    *on.replay = None;
                }
            } else {
                *on.replay = None;
            }
            // The FIN rides with the last bytes: one segment less.
            let more = self.source == Source::Ended && on.may_forward_fin() && !on.last;
            let sent = match self.write(cx, sink, bytes, more, on.up) {
                Poll::Ready(Ok(sent)) => sent,
                // `deliver` meets the same error with the residue and reports it.
                Poll::Ready(Err(_)) | Poll::Pending => 0,
            };
            on.wrote |= sent > 0;
            if sent < len {
                self.residue = Residue { bytes: on.buf[sent..len].into(), done: 0 };
            }
        }
        Poll::Ready(len)
    }

    /// Fills the pipe once; `deliver` empties it.
    fn splice(&mut self, cx: &mut Context<'_>, source: &Socket, on: &mut Pump<'_>, moved: usize) -> Poll<usize> {
        let Some(mut pipe) = on.pipes.lend() else {
            // None left: this round is copied, the next may find one.
            self.bulk = false;
            return Poll::Ready(0);
        };
        match source.poll_splice_in(cx, &mut pipe) {
            Poll::Ready(Ok(0)) => {
                // A read tells whether this is the end.
                self.bulk = false;
                on.pipes.give_back(pipe);
                Poll::Ready(0)
            }
            Poll::Ready(Ok(len)) => {
                self.account(len, on);
                self.pipe = Some(pipe);
                Poll::Ready(len)
            }
            Poll::Ready(Err(error)) => {
                on.pipes.give_back(pipe);
                // EINVAL: not spliceable; ENOSYS: forbidden by a filter. Anything else is the source's end.
                match error.kind() {
                    std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Unsupported => self.copy_only = true,
                    _ => self.source = Source::Broken,
                }
                Poll::Ready(0)
            }
            Poll::Pending => {
                on.pipes.give_back(pipe);
                self.bulk = moved >= QUIET_BYTES;
                Poll::Pending
            }
        }
    }

    pub(super) fn has_undelivered(&self) -> bool {
        !self.residue.bytes.is_empty() || self.pipe.is_some()
    }

    /// Writes residue and pipe until both are empty.
    #[inline(never)] // Small messages go without it.
    fn deliver(&mut self, cx: &mut Context<'_>, sink: &Socket, on: &mut Pump<'_>) -> Poll<std::io::Result<()>> {
        while self.residue.done < self.residue.bytes.len() {
            let residue = std::mem::take(&mut self.residue);
            let more = self.source == Source::Ended && on.may_forward_fin() && !on.last;
            let wrote = self.write(cx, sink, &residue.bytes[residue.done..], more, on.up);
            self.residue = residue;
            match wrote {
                Poll::Ready(Ok(sent)) => {
                    on.wrote = true;
                    self.residue.done += sent;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if !self.residue.bytes.is_empty() {
            self.residue = Residue::default();
        }
        while let Some(pipe) = self.pipe.as_mut().filter(|pipe| !pipe.is_empty()) {
            if on.up && self.nagle {
                self.nagle = false;
                sink.set_nodelay();
            }
            // Behind a full pipe there is most likely more. What does not fill a segment waits for it: pipes are no
            // multiple of segments, and each small one costs as much as a large one.
            let more = pipe.is_full();
            match sink.poll_splice_out(cx, pipe, more) {
                Poll::Ready(Ok(sent)) => {
                    on.wrote = true;
                    self.sent += sent as u64;
                    self.corked = more;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        if let Some(pipe) = self.pipe.take() {
            on.pipes.give_back(pipe);
        }
        Poll::Ready(Ok(()))
    }

    #[inline(always)]
    fn write(
        &mut self,
        cx: &mut Context<'_>,
        sink: &Socket,
        bytes: &[u8],
        more: bool,
        up: bool,
    ) -> Poll<std::io::Result<usize>> {
        // Accepted sockets have Nagle off from their listener. Towards the server the first write is never delayed, and
        // many sessions need no second one: the call is saved until then.
        if up && self.nagle && self.sent > 0 {
            self.nagle = false;
            sink.set_nodelay();
        }
        let wrote = sink.poll_send(cx, bytes, more);
        if let Poll::Ready(Ok(sent)) = wrote {
            self.sent += sent as u64;
            self.corked &= more;
        }
        wrote
    }

    /// Lets go of what the sink holds back.
    pub(super) fn uncork(&mut self, sink: &Socket) {
        if std::mem::take(&mut self.corked) {
            // With Nagle off already this does nothing but send.
            sink.set_nodelay();
        }
    }

    fn account(&mut self, len: usize, on: &mut Pump<'_>) {
        self.received += len as u64;
        on.read = true;
    }

    fn forward_fin(&mut self, sink: &Socket, on: &Pump<'_>) {
        if on.may_forward_fin() && !self.closed {
            self.closed = true;
            if !on.last {
                sink.shutdown_write();
            }
        }
    }

    fn abandon(&mut self, pipes: &mut Pipes) {
        self.abandoned = true;
        self.residue = Residue::default();
        self.release(pipes);
    }

    /// Gives the pipe back, whatever is in it.
    pub(super) fn release(&mut self, pipes: &mut Pipes) {
        if let Some(pipe) = self.pipe.take() {
            pipes.give_back(pipe);
        }
    }

    /// Takes the flow apart, to go on elsewhere.
    pub(super) fn freeze(mut self, pipes: &mut Pipes) -> FrozenFlow {
        if let Some(pipe) = &self.pipe {
            pipes.forget(pipe);
        }
        FrozenFlow {
            residue: self.residue.bytes[self.residue.done..].to_vec(),
            pipe: self.pipe.take(),
            ended: self.source == Source::Ended,
            broken: self.source == Source::Broken,
            closed: self.closed,
            abandoned: self.abandoned,
            received: self.received,
            sent: self.sent,
        }
    }

    /// Goes on with what [`Flow::freeze`] gave.
    pub(super) fn thaw(frozen: FrozenFlow, nagle: bool, pipes: &mut Pipes) -> Self {
        if let Some(pipe) = &frozen.pipe {
            pipes.adopted(pipe);
        }
        Self {
            residue: Residue { bytes: frozen.residue.into(), done: 0 },
            pipe: frozen.pipe,
            source: match (frozen.broken, frozen.ended) {
                (true, _) => Source::Broken,
                (false, true) => Source::Ended,
                (false, false) => Source::Open,
            },
            closed: frozen.closed,
            abandoned: frozen.abandoned,
            received: frozen.received,
            sent: frozen.sent,
            bulk: false,
            nagle,
            copy_only: false,
            corked: false,
        }
    }
}

/// A flow at rest: everything that is not in its sockets.
#[derive(Debug, Default)]
pub struct FrozenFlow {
    /// Read but not yet written.
    pub residue: Vec<u8>,
    /// Read into a pipe but not yet written; comes after the residue.
    pub pipe: Option<Pipe>,
    /// FIN was received.
    pub ended: bool,
    /// RST was received.
    pub broken: bool,
    /// FIN was forwarded.
    pub closed: bool,
    /// The sink is gone.
    pub abandoned: bool,
    pub received: u64,
    pub sent: u64,
}
