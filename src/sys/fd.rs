//! Descriptors that travel: SOCK_SEQPACKET pairs, SCM_RIGHTS in both directions, and what a socket reports about itself.
//!
//! Limits: at most [`MAX_FDS`] descriptors a message (the kernel's SCM_MAX_FD), every received descriptor is
//! close-on-exec from its first moment.
//! Rule: a message that the kernel cut short is an error. `recv` then closes every descriptor that came with it, so
//! that no count is trusted by mistake and no descriptor leaks.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::{SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::libc;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, UnixAddr, UnixCredentials, getsockname, getsockopt, socketpair,
    sockopt,
};
use nix::unistd::getppid;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{FdFlags, fcntl_setfd, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// Descriptors in one message at most: SCM_MAX_FD of the kernel.
pub const MAX_FDS: usize = 253;

/// Why nothing usable was received.
#[derive(Debug, thiserror::Error)]
pub enum RecvError {
    /// The other end is closed, and everything it had sent was read.
    #[error("the other end is closed")]
    Closed,
    /// Longer than the buffer (MSG_TRUNC). The message is gone, its descriptors are closed.
    #[error("a message longer than {0} bytes")]
    TooLong(usize),
    /// Fewer descriptors arrived than were sent (MSG_CTRUNC): RLIMIT_NOFILE is reached, or there were too many.
    #[error("descriptors of a message were lost: this process has none left, and its limit (RLIMIT_NOFILE) is too low")]
    LostDescriptors,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl RecvError {
    /// The queue is empty; try again when the descriptor is readable.
    pub fn would_block(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// A connected pair of SOCK_SEQPACKET sockets, which keep message boundaries and order and report EOF. Both are
/// close-on-exec and non-blocking.
pub fn seqpacket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    Ok(socketpair(AddressFamily::Unix, SockType::SeqPacket, None, flags)?)
}

/// Sends one message with copies of `fds`. Never blocks (`WouldBlock`), never raises SIGPIPE.
/// `ETOOMANYREFS` means that too many descriptors of this user are in flight: try again when some were received.
pub fn send(socket: BorrowedFd<'_>, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); CONTROL_SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if fds.len() > MAX_FDS || (!fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds))) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
    }
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    let sent = retry_on_intr(|| sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags))?;
    // A SEQPACKET message is sent whole or not at all; only a stream, which no caller passes, could send less.
    if sent == bytes.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Receives one message into `buffer`: its length, and the descriptors that came with it. Never blocks.
pub fn recv(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Result<(usize, Vec<OwnedFd>), RecvError> {
    let mut space = [MaybeUninit::uninit(); CONTROL_SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let received = retry_on_intr(|| recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut control, flags))
        .map_err(io::Error::from)?;
    // Owned before anything is judged: every early return below closes them.
    let fds = received_fds(&mut control);
    if received.flags.contains(ReturnFlags::CTRUNC) {
        return Err(RecvError::LostDescriptors);
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(RecvError::TooLong(buffer.len()));
    }
    // No message of this program is empty, so that zero bytes can only be the end.
    if received.bytes == 0 && fds.is_empty() {
        return Err(RecvError::Closed);
    }
    Ok((received.bytes, fds))
}

/// SO_COOKIE: the same number for every duplicate of a socket, in every process; never reused while the host runs.
pub fn cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(rustix::net::sockopt::socket_cookie(socket)?)
}

/// Pid, uid and gid of the process that made the other end.
pub fn peer_credentials(socket: BorrowedFd<'_>) -> io::Result<UnixCredentials> {
    Ok(getsockopt(&socket, sockopt::PeerCredentials)?)
}

/// Whether `listen()` was called on this socket.
pub fn is_listening(socket: BorrowedFd<'_>) -> io::Result<bool> {
    Ok(getsockopt(&socket, sockopt::AcceptConn)?)
}

/// Why a descriptor is no listening stream socket, in words; `None`: it is one.
pub fn not_listening(fd: BorrowedFd<'_>) -> Option<&'static str> {
    let Ok(kind) = getsockopt(&fd, sockopt::SockType) else {
        return Some("it is no socket; only listening TCP sockets can take clients");
    };
    if kind != SockType::Stream {
        return Some("it is a datagram (UDP) socket; only listening TCP sockets can take clients");
    }
    if rustix::net::getpeername(fd).is_ok_and(|peer| peer.is_some()) {
        return Some("it is a connected socket (Accept=yes?); only listening TCP sockets can take clients");
    }
    match is_listening(fd) {
        Ok(true) => None,
        _ => Some("it does not listen; only listening TCP sockets can take clients"),
    }
}

/// Where a socket is bound, as configurations write it: `ADDRESS:PORT`, the path of a unix socket, or `abns@NAME`.
pub fn bound_to(socket: BorrowedFd<'_>) -> io::Result<String> {
    let address: SockaddrStorage = getsockname(socket.as_raw_fd())?;
    if let Some(v4) = address.as_sockaddr_in() {
        return Ok(SocketAddrV4::from(*v4).to_string());
    }
    if let Some(v6) = address.as_sockaddr_in6() {
        return Ok(SocketAddrV6::from(*v6).to_string());
    }
    if let Some(name) = address.as_unix_addr().and_then(UnixAddr::as_abstract) {
        return Ok(format!("abns@{}", String::from_utf8_lossy(name).trim_end_matches('\0')));
    }
    let path = address.as_unix_addr().and_then(UnixAddr::path);
    let path = path.ok_or_else(|| io::Error::other("neither an internet socket nor one with a path"))?;
    Ok(path.display().to_string())
}

/// Connections that wait in a TCP listener's accept queue, and the most it holds.
pub fn accept_queue(listener: BorrowedFd<'_>) -> io::Result<(u32, u32)> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: `info` and `length` are live locals, and `length` is the size of `info`, which is plain data for which
    // all zeroes is a valid value: it is initialized however much of it the kernel writes.
    let (result, info) = unsafe {
        let (value, length) = (info.as_mut_ptr().cast(), &raw mut length);
        let result = libc::getsockopt(listener.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, value, length);
        (result, info.assume_init())
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // For a listening socket the kernel uses two fields that mean something else otherwise (tcp_get_info).
    Ok((info.tcpi_unacked, info.tcpi_sacked))
}

/// Whether a connection waits in a listener's accept queue.
pub fn has_waiting(listener: BorrowedFd<'_>) -> bool {
    let mut watched = [PollFd::new(&listener, PollFlags::IN)];
    poll(&mut watched, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Whether a descriptor survives `execve`.
pub fn set_inheritable(fd: BorrowedFd<'_>, inheritable: bool) -> io::Result<()> {
    let flags = if inheritable { FdFlags::empty() } else { FdFlags::CLOEXEC };
    Ok(fcntl_setfd(fd, flags)?)
}

/// O_NONBLOCK. It belongs to the description that all duplicates share: only for sockets that no other process reads.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(fd, FcntlArg::F_GETFL)?);
    fcntl(fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}

/// Takes ownership of a descriptor that was inherited under a number, and makes it close-on-exec again.
/// To be called once for each number, before this process has opened anything that could have got it.
pub fn inherit(number: RawFd) -> io::Result<OwnedFd> {
    if number <= libc::STDERR_FILENO {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not an inherited descriptor"));
    }
    // SAFETY: F_GETFD changes nothing; a number that is not open gives EBADF.
    let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
    if flags < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, this process inherited it, and by this function's contract no other owner of this number
    // exists here.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    set_inheritable(fd.as_fd(), false)?;
    Ok(fd)
}

/// Opens a file, pipe or terminal that the parent process has inherited under a number, for writing at its end. An engine
/// inherits only what it is to have, but its supervisor keeps what it was given.
pub(crate) fn reopen(number: u32) -> io::Result<File> {
    let parent = getppid();
    let info = fs::read_to_string(format!("/proc/{parent}/fdinfo/{number}"));
    let info = info.map_err(|_| io::Error::other(NOT_LEFT_OPEN))?;
    let flags = info.lines().find_map(|line| i32::from_str_radix(line.strip_prefix("flags:")?.trim(), 8).ok());
    // All that this program opens itself is close-on-exec.
    if flags.is_none_or(|flags| flags & OFlag::O_CLOEXEC.bits() != 0) {
        return Err(io::Error::other(NOT_LEFT_OPEN));
    }
    OpenOptions::new().append(true).open(format!("/proc/{parent}/fd/{number}"))
}

/// Leaves a descriptor from [`inherit`] open and inheritable, as it was found.
pub(crate) fn leave(fd: OwnedFd) {
    if set_inheritable(fd.as_fd(), true).is_ok() {
        let _stays_open = fd.into_raw_fd();
    }
}

/// Owns every descriptor that `recvmsg` installed, whatever else the message is worth.
fn received_fds(control: &mut RecvAncillaryBuffer<'_>) -> Vec<OwnedFd> {
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            fds.extend(rights);
        }
    }
    fds
}

const NOT_LEFT_OPEN: &str = "`lb run` was given no such file, pipe or terminal";

/// Room for the control message of [`MAX_FDS`] descriptors.
const CONTROL_SPACE: usize = rustix::cmsg_space!(ScmRights(MAX_FDS));

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::unix::net::UnixStream;

    use nix::fcntl::FdFlag;

    use super::*;

    fn pair() -> (OwnedFd, OwnedFd) {
        seqpacket_pair().unwrap()
    }

    #[test]
    fn a_message_arrives_whole_with_its_descriptors_close_on_exec() {
        let (a, b) = pair();
        let (mut near, far) = UnixStream::pair().unwrap();
        send(a.as_fd(), b"take this", &[far.as_fd()]).unwrap();
        drop(far);
        let mut buffer = [0; 64];
        let (length, mut fds) = recv(b.as_fd(), &mut buffer).unwrap();
        assert_eq!((&buffer[..length], fds.len()), (&b"take this"[..], 1));
        let flags = fcntl(fds[0].as_fd(), FcntlArg::F_GETFD).unwrap();
        assert_eq!(FdFlag::from_bits_retain(flags), FdFlag::FD_CLOEXEC);
        let mut far = UnixStream::from(fds.remove(0));
        near.write_all(b"x").unwrap();
        far.read_exact(&mut buffer[..1]).unwrap();
        assert_eq!(buffer[0], b'x');
    }

    #[test]
    fn two_hundred_and_fifty_three_descriptors_fit_and_one_more_is_refused() {
        let (a, b) = pair();
        let many = vec![a.as_fd(); MAX_FDS + 1];
        send(a.as_fd(), b"m", &many[..MAX_FDS]).unwrap();
        assert!(send(a.as_fd(), b"m", &many).is_err());
        let (_, fds) = recv(b.as_fd(), &mut [0; 8]).unwrap();
        assert_eq!(fds.len(), MAX_FDS);
    }

    #[test]
    fn a_truncated_message_is_an_error_and_closes_its_descriptors() {
        let (a, b) = pair();
        let (near, far) = UnixStream::pair().unwrap();
        send(a.as_fd(), &[7; 100], &[far.as_fd()]).unwrap();
        drop(far);
        assert!(matches!(recv(b.as_fd(), &mut [0; 99]), Err(RecvError::TooLong(99))));
        // The only copy left was the one in the message: the other end reads EOF.
        assert_eq!((&near).read(&mut [0; 1]).unwrap(), 0);
    }

    #[test]
    fn an_empty_queue_would_block_and_a_closed_end_follows_the_last_message() {
        let (a, b) = pair();
        let mut buffer = [0; 8];
        assert!(recv(b.as_fd(), &mut buffer).unwrap_err().would_block());
        send(a.as_fd(), b"last", &[]).unwrap();
        drop(a);
        assert_eq!(recv(b.as_fd(), &mut buffer).unwrap().0, 4);
        assert!(matches!(recv(b.as_fd(), &mut buffer), Err(RecvError::Closed)));
    }

    #[test]
    fn a_cookie_is_the_same_for_a_duplicate_and_another_for_another_socket() {
        let one = TcpListener::bind("127.0.0.1:0").unwrap();
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let copy = one.try_clone().unwrap();
        assert_eq!(cookie(one.as_fd()).unwrap(), cookie(copy.as_fd()).unwrap());
        assert_ne!(cookie(one.as_fd()).unwrap(), cookie(other.as_fd()).unwrap());
        assert_eq!(bound_to(one.as_fd()).unwrap(), one.local_addr().unwrap().to_string());
        assert!(bound_to(pair().0.as_fd()).is_err());
        assert!(is_listening(one.as_fd()).unwrap());
        assert!(!is_listening(pair().0.as_fd()).unwrap());
    }

    #[test]
    fn the_accept_queue_counts_what_waits() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(accept_queue(listener.as_fd()).unwrap().0, 1);
        let accepted = listener.accept().unwrap();
        assert_eq!(accept_queue(listener.as_fd()).unwrap().0, 0);
        drop((client, accepted));
    }

    #[test]
    fn the_peer_of_a_pair_is_this_process() {
        let (a, _b) = pair();
        let credentials = peer_credentials(a.as_fd()).unwrap();
        assert_eq!(credentials.pid() as u32, std::process::id());
    }

    #[test]
    fn standard_streams_and_closed_numbers_cannot_be_inherited() {
        assert!(inherit(2).is_err());
        assert_eq!(inherit(1_000_000).unwrap_err().raw_os_error(), Some(libc::EBADF));
    }
}
