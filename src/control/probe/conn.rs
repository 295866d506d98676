//! The connection of one check.
//!
//! How it ends matters: a server that is reset logs it, at every check, and the side that closes first keeps a TIME_WAIT
//! for a minute. A check that has its answer closes in order, see [`Farewell`](super::farewell::Farewell); one that is
//! given up is reset. Where nothing is to be said at all even a FIN is spared, see [`Talk::Nothing`].

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::timeout;

use super::failure::ProbeFailure;
use crate::backend::health::CheckStatus;
use crate::config::{Check, ProxyVersion};
use crate::proxy_protocol;
use crate::sys::addr::Addr;
use crate::sys::socket::{bind_source, not_to_itself};

/// An open connection; dropped, it is reset.
pub(super) enum Conn {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// What a connection is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Talk {
    /// Only to see that the server's kernel answers. The ACK of the handshake is then held back (TCP_QUICKACK
    /// off), and the RST comes instead of it: SYN, SYN-ACK, RST. The server's `accept` never sees the connection.
    Nothing,
    Something,
}

impl Conn {
    /// Connects, and sends the PROXY header of a connection of our own if one is wanted.
    pub(super) async fn open(addr: &Addr, talk: Talk, check: &Check) -> Result<Self, ProbeFailure> {
        let proxy = check.send_proxy;
        let talk = if proxy.is_some() { Talk::Something } else { talk };
        let mut conn = match addr {
            Addr::Ip(addr) => open_tcp(*addr, talk, check.source).await.map(Self::Tcp),
            Addr::Unix(path) => UnixStream::connect(path).await.map(Self::Unix),
        }
        .map_err(|err| ProbeFailure::connecting(&err))?;
        if let Some(version) = proxy {
            let header = conn.proxy_header(version);
            conn.send(&header).await?;
        }
        Ok(conn)
    }

    /// As in HAProxy: v1 names the ends of the check's own connection, since some servers refuse `UNKNOWN`; v2 has a
    /// word for a proxy that speaks for itself.
    fn proxy_header(&self, version: ProxyVersion) -> Vec<u8> {
        let ends = match (self, version) {
            (Self::Tcp(stream), ProxyVersion::V1) => stream.local_addr().ok().zip(stream.peer_addr().ok()),
            (Self::Tcp(_), ProxyVersion::V2) | (Self::Unix(_), _) => None,
        };
        let (src, dst) = ends.unzip();
        proxy_protocol::encode(version, src, dst)
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<(), ProbeFailure> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes).await,
            Self::Unix(stream) => stream.write_all(bytes).await,
        }
        .map_err(|err| ProbeFailure::broken(&err, "while sending"))
    }

    /// Waits for bytes and adds them to `received`, which stays below `limit` before and at most there afterwards.
    /// `Ok(0)`: the server has closed its side.
    ///
    /// Cancel safety: no bytes are lost.
    pub(super) async fn receive(&mut self, received: &mut Vec<u8>, limit: usize) -> Result<usize, ProbeFailure> {
        debug_assert!(received.len() < limit);
        let room = (limit - received.len()) as u64;
        if received.capacity() == 0 {
            received.reserve(FIRST_READ);
        }
        match self {
            Self::Tcp(stream) => stream.take(room).read_buf(received).await,
            Self::Unix(stream) => stream.take(room).read_buf(received).await,
        }
        .map_err(|err| ProbeFailure::broken(&err, "before the answer was complete"))
    }

    /// Reads and forgets what still comes, up to `most` bytes, until the server has closed its side or the connection
    /// has broken.
    pub(super) async fn drain(&mut self, most: u64) {
        let mut sink = tokio::io::sink();
        let read = match self {
            Self::Tcp(stream) => tokio::io::copy(&mut stream.take(most), &mut sink).await,
            Self::Unix(stream) => tokio::io::copy(&mut stream.take(most), &mut sink).await,
        };
        match read {
            Ok(_) | Err(_) => {}
        }
    }

    /// From now on it closes by a FIN, as long as everything that has come is read.
    pub(super) fn will_close_in_order(&self) {
        if let Self::Tcp(stream) = self {
            // Only a closed descriptor could make this fail; the bytes may then be lost with the connection.
            let _ended_anyway = SockRef::from(stream).set_linger(None);
        }
    }

    /// Says that nothing more comes from here.
    pub(super) fn shutdown_write(&self) {
        let done = match self {
            Self::Tcp(stream) => SockRef::from(stream).shutdown(Shutdown::Write),
            Self::Unix(stream) => SockRef::from(stream).shutdown(Shutdown::Write),
        };
        match done {
            // A connection that has broken meanwhile has nothing left to be said.
            Ok(()) | Err(_) => {}
        }
    }
}

/// Connects to `place` as the check says, within `connect_timeout`.
pub(super) async fn connect(check: &Check, place: &Addr, talk: Talk) -> Result<Conn, ProbeFailure> {
    let open = Conn::open(place, talk, check);
    let Some(limit) = check.connect_timeout else {
        return open.await;
    };
    let cause = || format!("no answer within {limit:?} (SYN unanswered)");
    timeout(limit, open).await.unwrap_or_else(|_| Err(ProbeFailure::new(CheckStatus::L4Tout, cause())))
}

async fn open_tcp(addr: SocketAddr, talk: Talk, source: Option<SocketAddr>) -> io::Result<TcpStream> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_zero_linger()?;
    match talk {
        Talk::Nothing => SockRef::from(&socket).set_tcp_quickack(false)?,
        // Steps of a script are small writes, which must not wait for each other's ACK.
        Talk::Something => socket.set_nodelay(true)?,
    }
    if let Some(source) = source {
        bind_source(socket.as_fd(), source)?;
    }
    let stream = socket.connect(addr).await?;
    not_to_itself(stream.as_fd(), &Addr::Ip(addr))?;
    Ok(stream)
}

/// Most answers are shorter; a longer one doubles the buffer up to its limit.
const FIRST_READ: usize = 512;
