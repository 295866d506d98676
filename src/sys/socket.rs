//! Stream sockets, always non-blocking and close-on-exec: how they are made, and the options they get.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::LazyLock;
use std::time::Duration;

use nix::libc;
use nix::sys::socket::{setsockopt, sockopt};
use rustix::io::Errno;
use rustix::net::sockopt::set_tcp_quickack;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, acceptfrom_with, recv, send};
use socket2::{Domain, Protocol, SockAddr, SockRef, TcpKeepalive, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::addr::Addr;
use crate::config::Liveness;

/// Registers a descriptor with the tokio runtime of the current thread.
pub(crate) fn watch(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: the `AsyncFd` owns the `OwnedFd`, which stays open and the same until it is given back or dropped.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}

/// Receives without waiting. `None`: nothing there yet. An empty read is the FIN.
pub(crate) fn try_recv(fd: BorrowedFd<'_>, buf: &mut [u8]) -> io::Result<Option<usize>> {
    match recv(fd, buf, RecvFlags::DONTWAIT) {
        Ok((_, len)) => Ok(Some(len)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Whether bytes wait to be received.
pub(crate) fn has_unread(fd: BorrowedFd<'_>) -> bool {
    matches!(recv(fd, &mut [0], RecvFlags::DONTWAIT | RecvFlags::PEEK), Ok((_, 1..)))
}

/// Sends without waiting. `None`: the kernel takes nothing now, or the connect is still under way.
pub(crate) fn try_send(fd: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<Option<usize>> {
    match send(fd, bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
        Ok(len) => Ok(Some(len)),
        Err(Errno::AGAIN | Errno::INTR | Errno::NOTCONN) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Bytes that the peer has not acknowledged yet.
pub(crate) fn unacknowledged(fd: BorrowedFd<'_>) -> usize {
    let mut bytes: libc::c_int = 0;
    // SAFETY: SIOCOUTQ (TIOCOUTQ) writes one int to the pointer, which outlives the call.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    if result == 0 { usize::try_from(bytes).unwrap_or(0) } else { 0 }
}

/// Nagle off; fails on unix sockets, which have no Nagle.
pub(crate) fn set_nodelay(fd: BorrowedFd<'_>) {
    match SockRef::from(&fd).set_tcp_nodelay(true) {
        Ok(()) | Err(_) => {}
    }
}

impl Liveness {
    /// Sets the options on a TCP socket; accepted sockets inherit them from their listener.
    pub fn apply(&self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let socket = SockRef::from(&fd);
        if let Some(idle) = self.keepalive {
            // Three probes, a sixth of the idle time apart: a dead peer is found in 1.5 times the idle time.
            let probe = TcpKeepalive::new().with_time(idle).with_interval((idle / 6).max(Duration::from_secs(1)));
            socket.set_tcp_keepalive(&probe.with_retries(3))?;
        }
        match self.user_timeout {
            Some(limit) => socket.set_tcp_user_timeout(Some(limit)),
            None => Ok(()),
        }
    }
}

/// How a listening socket is made.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListenOptions {
    pub backlog: u32,
    /// Accept after the first bytes have come; the kernel gives up waiting for them after about this many seconds.
    pub defer_accept: Option<Duration>,
    /// An IPv6 socket takes IPv4 clients too.
    pub v4v6: bool,
    pub liveness: Liveness,
    /// Only connections that come in through this interface.
    pub interface: Option<String>,
    /// TCP Fast Open.
    pub tfo: bool,
}

/// Binds. No connection comes before [`listen`]. `shared`: together with every socket of this user that is shared
/// (SO_REUSEPORT). If not, a process that listens there is an error, here or, should it begin to do so in between, in
/// [`listen`]: of two sockets that are bound with SO_REUSEADDR alone, the kernel lets one listen.
pub(crate) fn bind(addr: SocketAddr, options: &ListenOptions, shared: bool) -> io::Result<OwnedFd> {
    let socket = socket2::Socket::new(Domain::for_address(addr), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if addr.is_ipv6() {
        socket.set_only_v6(!options.v4v6)?;
    }
    if let Some(name) = &options.interface {
        socket.bind_device(Some(name.as_bytes()))?;
    }
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

/// Lets further sockets of this user be bound to the same address, each with a queue of its own.
pub(crate) fn share(fd: BorrowedFd<'_>) -> io::Result<()> {
    SockRef::from(&fd).set_reuse_port(true)
}

/// Listens, or gives a socket that listens already these options anew. Accepted sockets inherit them, which saves
/// their calls.
pub(crate) fn listen(fd: BorrowedFd<'_>, options: &ListenOptions) -> io::Result<()> {
    let socket = SockRef::from(&fd);
    socket.set_tcp_nodelay(true)?;
    options.liveness.apply(fd)?;
    let seconds = options.defer_accept.map_or(0, |wait| wait.as_secs().max(1));
    set_tcp(fd, libc::TCP_DEFER_ACCEPT, i32::try_from(seconds).unwrap_or(i32::MAX))?;
    let backlog = i32::try_from(options.backlog).unwrap_or(i32::MAX);
    match set_tcp(fd, libc::TCP_FASTOPEN, if options.tfo { backlog } else { 0 }) {
        // A kernel without it has nothing to switch off.
        Err(error) if options.tfo => return Err(error),
        Ok(()) | Err(_) => {}
    }
    // On a listening socket this changes the length of its queue and nothing else.
    socket.listen(backlog)
}

/// Takes one connection from the queue. `AGAIN` when it is empty.
pub fn accept(listener: BorrowedFd<'_>) -> rustix::io::Result<(OwnedFd, Option<SocketAddr>)> {
    let (fd, peer) = acceptfrom_with(listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    Ok((fd, peer.map(canonical)))
}

/// A dual-stack listener reports IPv4 clients as ::ffff:a.b.c.d; people and servers use the IPv4 form.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// Begins to connect. The socket may be usable at once or later; it becomes writable once the
/// connect has ended. Errors are those that need no answer from the network (no route, no free port, unix socket refused).
/// `speaks`: bytes are sent as soon as it is connected, and the handshake's last ACK waits for them: a segment less.
/// `source` as for [`bind_source`].
pub(crate) fn connect(addr: &Addr, source: Option<SocketAddr>, speaks: bool) -> io::Result<OwnedFd> {
    let (domain, target) = match addr {
        Addr::Ip(ip) => (Domain::for_address(*ip), SockAddr::from(*ip)),
        Addr::Unix(path) => (Domain::UNIX, SockAddr::unix(path)?),
    };
    let socket = socket2::Socket::new(domain, Type::STREAM.nonblocking(), None)?;
    if speaks && domain != Domain::UNIX {
        // tcp(7): not permanent; before connect it is the ACK of the SYN-ACK that is delayed.
        match set_tcp_quickack(&socket, false) {
            // Without it the ACK goes at once, which only costs a segment.
            Ok(()) | Err(_) => {}
        }
    }
    if let Some(source) = source.filter(|_| domain != Domain::UNIX) {
        bind_source(socket.as_fd(), source)?;
    }
    match socket.connect(&target) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(libc::EINPROGRESS) => {}
        Err(error) => return Err(error),
    }
    Ok(socket.into())
}

/// Lets a socket connect from this address of the machine. With port 0 the kernel chooses one when the other end is known
/// (ip(7), IP_BIND_ADDRESS_NO_PORT), so that connections to different places may have the same.
pub(crate) fn bind_source(fd: BorrowedFd<'_>, source: SocketAddr) -> io::Result<()> {
    if source.port() == 0 {
        setsockopt(&fd, sockopt::IpBindAddressNoPort, &true)?;
    } else {
        SockRef::from(&fd).set_reuse_address(true)?;
    }
    SockRef::from(&fd).bind(&source.into())
}

/// Fails if a socket that is connected to `addr` is its own other end, and resets it, so that the port is free at once. An
/// `addr` with port 0 stands for one with any.
///
/// While no process listens on a port of this host from which local ports are taken, a connect to it may get that port as
/// its own, and TCP then connects the socket with itself ("simultaneous open"): all that is sent comes back.
pub(crate) fn not_to_itself(fd: BorrowedFd<'_>, addr: &Addr) -> io::Result<()> {
    let Addr::Ip(addr) = addr else {
        return Ok(());
    };
    let actual = if addr.port() == 0 { peer(fd) } else { None };
    let addr = match &actual {
        Some(Addr::Ip(actual)) => actual,
        _ => addr,
    };
    // Another port cannot be given to a connect, which saves the call.
    if !LOCAL_PORTS.contains(&addr.port()) {
        return Ok(());
    }
    let itself = local_addr(fd)
        .is_ok_and(|own| own.port() == addr.port() && (own.ip() == addr.ip() || addr.ip().is_unspecified()));
    if !itself {
        return Ok(());
    }
    SockRef::from(&fd).set_linger(Some(Duration::ZERO))?;
    Err(io::Error::new(io::ErrorKind::ConnectionRefused, "no process listens there (it connected to itself)"))
}

/// The ports that the kernel gives to connects.
static LOCAL_PORTS: LazyLock<RangeInclusive<u16>> = LazyLock::new(|| {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_whitespace().map_while(|number| number.parse().ok());
    // Unreadable: any.
    numbers.next().unwrap_or(0)..=numbers.next().unwrap_or(u16::MAX)
});

/// The address that a listening socket is bound to.
pub(crate) fn local_addr(fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
    let addr = SockRef::from(&fd).local_addr()?;
    addr.as_socket().ok_or_else(|| io::Error::other("not an internet socket"))
}

/// The local address of an accepted connection, which PROXY headers name as its destination.
pub(crate) fn accepted_at(fd: BorrowedFd<'_>) -> Option<SocketAddr> {
    local_addr(fd).ok().map(canonical)
}

/// Where a socket is connected to. `None`: nowhere any more.
pub(crate) fn peer(fd: BorrowedFd<'_>) -> Option<Addr> {
    let peer = SockRef::from(&fd).peer_addr().ok()?;
    peer.as_socket().map(Addr::Ip).or_else(|| Some(Addr::Unix(peer.as_pathname()?.to_owned())))
}

/// An option of TCP whose value is an int.
fn set_tcp(fd: BorrowedFd<'_>, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    let len = size_of::<libc::c_int>() as libc::socklen_t;
    let value = (&raw const value).cast();
    // SAFETY: the pointer names a c_int of the given length that outlives the call.
    let result = unsafe { libc::setsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, option, value, len) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
