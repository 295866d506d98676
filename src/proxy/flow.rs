//! One direction of a session: from a source socket to a sink socket.
//!
//! Small messages are copied through a buffer that the worker lends for the length of one poll. A direction whose reads
//! fill that buffer is bulk: it goes through a pipe by `splice(2)` until it falls quiet. What the sink does not take is
//! the residue, in a buffer of the flow's own or in the pipe; only then does a flow own memory while it waits.
//! All its state is in the struct, so that it can be frozen whenever it is not being polled.

use std::io;
use std::task::{Context, Poll, ready};

use super::frozen::FrozenFlow;
use super::pump::{FlowDirection, Pump, SinkState};
use crate::runtime::stream::{ReadEnd, Received, Socket};
use crate::sys::pipe::{Pipe, Pipes};

#[derive(Debug, Default)]
pub(super) struct Flow {
    residue: ResidueBuffer,
    pipe: Option<Pipe>,
    /// What may still come from the source.
    source: ReadEnd,
    sink: SinkState,
    /// Bytes read from the source.
    pub(super) received: u64,
    /// Bytes given to the sink.
    pub(super) sent: u64,
    transfer: Transfer,
    /// The sink is TCP and still has Nagle on, which delays small writes after the first.
    pub(super) nagle: bool,
    /// The sink may hold back less than a segment: more was to follow at once.
    corked: bool,
}

/// How the next bytes are moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Transfer {
    #[default]
    Copy,
    /// Bulk: by splice, where a pipe can be had.
    Splice,
    /// splice(2) does not work between these two sockets.
    CopyOnly,
}

/// Bytes read but not yet written.
#[derive(Debug, Default)]
struct ResidueBuffer {
    bytes: Box<[u8]>,
    done: usize,
}

/// How a flow ended. A flow that waits for one of its sockets has not ended: `Pending`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FlowEnd {
    /// FIN received and everything delivered; forwarded too, if that was allowed.
    Delivered,
    /// The source broke, and everything received before was delivered.
    SourceBroken,
    /// The sink takes no more bytes.
    SinkGone,
}

/// Moved at most in one poll, so that one busy session does not starve the others of its worker.
const FAIR_BYTES: usize = 1024 * 1024;

/// A splicing flow that moved less than this before its source ran dry goes back to copying.
const QUIET_BYTES: usize = 16 * 1024;

impl Flow {
    /// A flow that begins with bytes read before, of which `sent` bytes have been delivered.
    pub(super) fn begun(first: &[u8], sent: usize, source: ReadEnd) -> Self {
        Self {
            residue: ResidueBuffer { bytes: first[sent..].into(), done: 0 },
            source,
            received: first.len() as u64,
            sent: sent as u64,
            ..Self::default()
        }
    }

    pub(super) fn source(&self) -> ReadEnd {
        self.source
    }

    pub(super) fn sink(&self) -> SinkState {
        self.sink
    }

    /// Moves what can be moved now.
    pub(super) fn pump(
        &mut self,
        cx: &mut Context<'_>,
        source: &Socket,
        sink: &Socket,
        on: &mut Pump<'_>,
    ) -> Poll<FlowEnd> {
        if self.sink == SinkState::Gone {
            return Poll::Ready(FlowEnd::SinkGone);
        }
        let mut moved = 0;
        loop {
            if self.has_undelivered() {
                if ready!(self.deliver(cx, sink, on)).is_err() {
                    self.abandon(on.pipes);
                    return Poll::Ready(FlowEnd::SinkGone);
                }
            } else if self.source == ReadEnd::More && !self.corked && source.poll_readable(cx).is_pending() {
                // Most polls of most flows: the session was woken for the other direction.
                return Poll::Pending;
            }
            if self.source != ReadEnd::More {
                return Poll::Ready(self.end(cx, source, sink, on));
            }
            if moved >= FAIR_BYTES {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let splice = self.transfer == Transfer::Splice && on.replay.is_none();
            let read = if splice { self.splice(cx, source, on, moved) } else { self.copy(cx, source, sink, on) };
            match read {
                Poll::Ready(bytes) => moved += bytes,
                Poll::Pending => {
                    self.uncork(sink);
                    return Poll::Pending;
                }
            }
        }
    }

    /// The end of a flow that has delivered everything from a source that has ended.
    fn end(&mut self, cx: &mut Context<'_>, source: &Socket, sink: &Socket, on: &Pump<'_>) -> FlowEnd {
        self.uncork(sink);
        if self.source == ReadEnd::Broken {
            return FlowEnd::SourceBroken;
        }
        self.forward_fin(sink, on);
        // No more bytes come after a FIN, but the source may still break. Without a read only this reports it.
        if on.other_sink != SinkState::FinSent && source.poll_hangup(cx).is_ready() && source.is_broken() {
            self.source = ReadEnd::Broken;
            return FlowEnd::SourceBroken;
        }
        FlowEnd::Delivered
    }

    /// Reads once into the worker's buffer and writes it straight on; what the sink does not take becomes the residue.
    #[inline(always)]
    fn copy(&mut self, cx: &mut Context<'_>, source: &Socket, sink: &Socket, on: &mut Pump<'_>) -> Poll<usize> {
        let received = ready!(source.poll_recv(cx, on.buf));
        let Received { len, then } = received.unwrap_or(Received { len: 0, then: ReadEnd::Broken });
        if self.transfer != Transfer::CopyOnly {
            self.transfer = if len == on.buf.len() { Transfer::Splice } else { Transfer::Copy };
        }
        self.source = then;
        if len > 0 {
            self.account(len, on);
            on.note_replay(len);
            let more = on.fin_follows(self.source);
            let sent = match self.write(cx, sink, &on.buf[..len], more, on.direction) {
                Poll::Ready(Ok(sent)) => sent,
                // `deliver` meets the same error with the residue and reports it.
                Poll::Ready(Err(_)) | Poll::Pending => 0,
            };
            on.wrote |= sent > 0;
            if sent < len {
                self.residue = ResidueBuffer { bytes: on.buf[sent..len].into(), done: 0 };
            }
        }
        Poll::Ready(len)
    }

    /// Fills the pipe once; `deliver` empties it.
    fn splice(&mut self, cx: &mut Context<'_>, source: &Socket, on: &mut Pump<'_>, moved: usize) -> Poll<usize> {
        let Some(mut pipe) = on.pipes.lend() else {
            // None left: this round is copied, the next may find one.
            self.transfer = Transfer::Copy;
            return Poll::Ready(0);
        };
        let filled = source.poll_splice_in(cx, &mut pipe);
        if let Poll::Ready(Ok(len @ 1..)) = filled {
            self.account(len, on);
            self.pipe = Some(pipe);
            return Poll::Ready(len);
        }
        on.pipes.give_back(pipe);
        match filled {
            // Only a read reports whether this is the end.
            Poll::Ready(Ok(_)) => self.transfer = Transfer::Copy,
            Poll::Ready(Err(error)) => match error.kind() {
                // EINVAL: not spliceable; ENOSYS: forbidden by a filter. Anything else is the source's end.
                io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported => self.transfer = Transfer::CopyOnly,
                _ => self.source = ReadEnd::Broken,
            },
            Poll::Pending => {
                if moved < QUIET_BYTES {
                    self.transfer = Transfer::Copy;
                }
                return Poll::Pending;
            }
        }
        Poll::Ready(0)
    }

    pub(super) fn has_undelivered(&self) -> bool {
        !self.residue.bytes.is_empty() || self.pipe.is_some()
    }

    /// Writes residue and pipe until both are empty.
    #[inline(never)] // Small messages go without it.
    fn deliver(&mut self, cx: &mut Context<'_>, sink: &Socket, on: &mut Pump<'_>) -> Poll<io::Result<()>> {
        ready!(self.deliver_residue(cx, sink, on))?;
        ready!(self.deliver_pipe(cx, sink, on))?;
        if let Some(pipe) = self.pipe.take() {
            on.pipes.give_back(pipe);
        }
        Poll::Ready(Ok(()))
    }

    fn deliver_residue(&mut self, cx: &mut Context<'_>, sink: &Socket, on: &mut Pump<'_>) -> Poll<io::Result<()>> {
        while self.residue.done < self.residue.bytes.len() {
            let residue = std::mem::take(&mut self.residue);
            let more = on.fin_follows(self.source);
            let wrote = self.write(cx, sink, &residue.bytes[residue.done..], more, on.direction);
            self.residue = residue;
            self.residue.done += ready!(wrote)?;
            on.wrote = true;
        }
        if !self.residue.bytes.is_empty() {
            self.residue = ResidueBuffer::default();
        }
        Poll::Ready(Ok(()))
    }

    fn deliver_pipe(&mut self, cx: &mut Context<'_>, sink: &Socket, on: &mut Pump<'_>) -> Poll<io::Result<()>> {
        while let Some(pipe) = self.pipe.as_mut().filter(|pipe| !pipe.is_empty()) {
            if on.direction == FlowDirection::ToServer && self.nagle {
                self.nagle = false;
                sink.set_nodelay();
            }
            // Behind a full pipe there is most likely more. What does not fill a segment waits for it: pipes are no
            // multiple of segments, and each small one costs as much as a large one.
            let more = pipe.is_full();
            let sent = ready!(sink.poll_splice_out(cx, pipe, more))?;
            on.wrote = true;
            self.sent += sent as u64;
            self.corked = more;
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
        direction: FlowDirection,
    ) -> Poll<io::Result<usize>> {
        // Accepted sockets have Nagle off from their listener. Towards the server the first write is never delayed, and
        // many sessions need no second one: the call is saved until then.
        if direction == FlowDirection::ToServer && self.nagle && self.sent > 0 {
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

    /// Sends what the sink holds back.
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
        if on.may_forward_fin() && self.sink != SinkState::FinSent {
            self.sink = SinkState::FinSent;
            if on.other_sink != SinkState::FinSent {
                sink.shutdown_write();
            }
        }
    }

    fn abandon(&mut self, pipes: &mut Pipes) {
        self.sink = SinkState::Gone;
        self.residue = ResidueBuffer::default();
        self.release(pipes);
    }

    /// Gives the pipe back, whatever is in it.
    pub(super) fn release(&mut self, pipes: &mut Pipes) {
        if let Some(pipe) = self.pipe.take() {
            pipes.give_back(pipe);
        }
    }

    /// Takes the flow apart, to continue elsewhere.
    pub(super) fn freeze(mut self, pipes: &mut Pipes) -> FrozenFlow {
        if let Some(pipe) = &self.pipe {
            pipes.forget(pipe);
        }
        FrozenFlow {
            residue: self.residue.bytes[self.residue.done..].to_vec(),
            pipe: self.pipe.take(),
            ended: self.source == ReadEnd::Fin,
            broken: self.source == ReadEnd::Broken,
            fin_sent: self.sink == SinkState::FinSent,
            sink_gone: self.sink == SinkState::Gone,
            received: self.received,
            sent: self.sent,
        }
    }

    /// Continues with the result of [`Flow::freeze`].
    pub(super) fn thaw(frozen: FrozenFlow, nagle: bool, pipes: &mut Pipes) -> Self {
        if let Some(pipe) = &frozen.pipe {
            pipes.adopted(pipe);
        }
        Self {
            residue: ResidueBuffer { bytes: frozen.residue.into(), done: 0 },
            pipe: frozen.pipe,
            source: match (frozen.broken, frozen.ended) {
                (true, _) => ReadEnd::Broken,
                (false, true) => ReadEnd::Fin,
                (false, false) => ReadEnd::More,
            },
            sink: match (frozen.sink_gone, frozen.fin_sent) {
                (true, _) => SinkState::Gone,
                (false, true) => SinkState::FinSent,
                (false, false) => SinkState::Open,
            },
            received: frozen.received,
            sent: frozen.sent,
            nagle,
            ..Self::default()
        }
    }
}
