//! A stream socket of a worker, non-blocking and driven by readiness.
//!
//! [`Socket`] tries a write first and asks the reactor only after EAGAIN: most sends and many
//! connects succeed at once, and then cost nothing else. Readiness is edge-triggered, so a read that
//! stops before EAGAIN must either leave the readiness as it is or have emptied the queue for certain.
//! What is called for each message goes to the kernel without the C library, whose wrappers are thread cancellation
//! points and cost two atomic operations a call.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use socket2::SockRef;

use crate::runtime::reactor::Registration;
use crate::runtime::ready_set::ReadySet;
use crate::sys::pipe::Pipe;
use crate::sys::socket;

/// A connected (or connecting) stream socket registered with the reactor of this thread.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: Registration,
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Received {
    /// Bytes put into the buffer.
    pub len: usize,
    /// What follows these bytes, as far as it is known already.
    pub then: ReadEnd,
}

/// What follows received bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum ReadEnd {
    /// Perhaps more bytes.
    #[default]
    More,
    /// The peer's FIN.
    Fin,
    /// An error, RST in most cases. The kernel reports it once only, so it must not be lost.
    Broken,
}

impl Socket {
    /// Registers a connected `fd`, which must be non-blocking, with the reactor of the current thread.
    pub(crate) fn register(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { fd: Registration::new(fd)? })
    }

    /// As [`Socket::register`], where a connect is still under way.
    pub(crate) fn connecting(fd: OwnedFd) -> io::Result<Self> {
        Ok(Self { fd: Registration::connecting(fd)? })
    }

    /// Deregisters and gives the descriptor back, so that another process or thread can continue with it.
    pub(crate) fn into_fd(self) -> OwnedFd {
        self.fd.into_fd()
    }

    /// Ready when a read may bring something.
    #[inline]
    pub(crate) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.fd.poll_ready(cx, ReadySet::READ)
    }

    /// Receives into `buf`; `len` is 0 only at the end of the stream. When the FIN has come together with the last bytes,
    /// the result contains both, so that a FIN that is forwarded can travel with them in one segment.
    #[inline(always)]
    pub(crate) fn poll_recv(&self, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<Received>> {
        let received = |len, then| Poll::Ready(Ok(Received { len, then }));
        loop {
            ready!(self.poll_readable(cx));
            match recv(&self.fd, &mut *buf, RecvFlags::empty()) {
                Ok((_, 0)) => return received(0, ReadEnd::Fin),
                Ok((_, len)) if len == buf.len() => return received(len, ReadEnd::More),
                Ok((_, len)) if self.fd.is_ready(ReadySet::READ_CLOSED) => {
                    // FIN or RST has come, or urgent data cut the read short: another read distinguishes them.
                    return match recv(&self.fd, &mut buf[len..], RecvFlags::empty()) {
                        Ok((_, 0)) => received(len, ReadEnd::Fin),
                        Ok((_, more)) => received(len + more, ReadEnd::More),
                        Err(Errno::AGAIN | Errno::INTR) => received(len, ReadEnd::More),
                        Err(_) => received(len, ReadEnd::Broken),
                    };
                }
                Ok((_, len)) => {
                    // Short: the queue is empty, and the next byte raises a new edge. Or urgent data cut it short,
                    // and what is behind them has raised its edge already.
                    if !self.saw_urgent_data() {
                        self.fd.has_read_all();
                    }
                    return received(len, ReadEnd::More);
                }
                Err(Errno::AGAIN) => self.fd.has_read_all(),
                Err(Errno::INTR) => {}
                Err(errno) => return Poll::Ready(Err(errno.into())),
            }
        }
    }

    /// Moves bytes from the socket into `pipe`, at most its size. `Ok(0)`: only [`Socket::poll_recv`] can find out what
    /// comes next. It is the peer's FIN, or urgent data, which `splice` never passes: it reports that the queue is empty,
    /// or even that the stream has ended, however much lies behind them.
    /// `Pending` is only returned for an empty pipe: EAGAIN with bytes in the pipe means that the pipe is full, which
    /// reveals nothing about the socket, and then `WouldBlock` is returned with the readiness kept.
    pub(crate) fn poll_splice_in(&self, cx: &mut Context<'_>, pipe: &mut Pipe) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_readable(cx));
            match pipe.fill_from(self.as_fd()) {
                Err(Errno::AGAIN) if pipe.is_empty() && self.saw_urgent_data() => {
                    return Poll::Ready(Ok(0));
                }
                Err(Errno::AGAIN) if pipe.is_empty() => self.fd.has_read_all(),
                Err(Errno::INTR) => {}
                other => return Poll::Ready(other.map_err(Into::into)),
            }
        }
    }

    /// Whether the peer has ever sent urgent data. The urgent byte itself is dropped; the rest of the stream must not
    /// be.
    fn saw_urgent_data(&self) -> bool {
        self.fd.is_ready(ReadySet::URGENT)
    }

    /// Sends what the kernel takes of `bytes`. `more`: hold a partial segment back, something follows at once
    /// (the FIN, for example).
    #[inline(always)]
    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8], more: bool) -> Poll<io::Result<usize>> {
        let mut flags = SendFlags::NOSIGNAL;
        flags.set(SendFlags::MORE, more);
        self.poll_write(cx, |fd| send(fd, bytes, flags))
    }

    /// Moves bytes from `pipe`, which must not be empty, to the socket.
    pub(crate) fn poll_splice_out(&self, cx: &mut Context<'_>, pipe: &mut Pipe, more: bool) -> Poll<io::Result<usize>> {
        self.poll_write(cx, |fd| pipe.empty_into(fd, more))
    }

    /// Writes, unless a write before has met EAGAIN and nothing has changed since.
    #[inline(always)]
    fn poll_write(
        &self,
        cx: &mut Context<'_>,
        mut write: impl FnMut(BorrowedFd<'_>) -> rustix::io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.fd.poll_ready(cx, ReadySet::WRITE));
            match write(self.as_fd()) {
                Err(Errno::AGAIN) => self.fd.is_full()?,
                Err(Errno::INTR) => {}
                other => return Poll::Ready(other.map_err(Into::into)),
            }
        }
    }

    /// Waits until a connect has come to its end, one way or the other.
    pub(crate) fn poll_connected(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.fd.poll_ready(cx, ReadySet::WRITE));
        if !self.fd.is_ready(ReadySet::HANGUP) {
            // The kernel reports a failed connect as an error, too: here there is none to ask for.
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(match SockRef::from(&self.fd).take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        })
    }

    /// Ready once the peer has reset the connection or both directions are closed; a mere FIN is not enough.
    pub(crate) fn poll_hangup(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.fd.poll_ready(cx, ReadySet::HANGUP)
    }

    /// Ready once the peer has closed its half, or everything.
    pub(crate) fn poll_read_closed(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.fd.poll_ready(cx, ReadySet::READ_CLOSED)
    }

    /// Whether the connection has broken, by RST in most cases. The kernel reports it once only.
    pub(crate) fn is_broken(&self) -> bool {
        matches!(SockRef::from(&self.fd).take_error(), Ok(Some(_)))
    }

    /// Sends FIN. An error means that the peer is gone, which the next read or write reports.
    pub(crate) fn shutdown_write(&self) {
        match shutdown(&self.fd, Shutdown::Write) {
            Ok(()) | Err(_) => {}
        }
    }

    /// Bytes that the peer has not acknowledged yet.
    pub(crate) fn unacknowledged(&self) -> usize {
        socket::unacknowledged(self.as_fd())
    }

    /// Closes with RST: the peer sees that the stream broke off.
    pub(crate) fn reset(self) {
        let fd = self.into_fd();
        match SockRef::from(&fd).set_linger(Some(Duration::ZERO)) {
            // Without linger the close below sends FIN or RST, as the kernel sees fit.
            Ok(()) | Err(_) => drop(fd),
        }
    }

    /// Nagle off: what is written here are whole messages already.
    pub(crate) fn set_nodelay(&self) {
        socket::set_nodelay(self.as_fd());
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
