//! The connection of one check.
//!
//! How it ends matters when hundreds are opened in a second: the side that closes first keeps a TIME_WAIT for a minute,
//! a port here or memory there. So, as HAProxy does, a check closes by an RST. The price: a server that is still
//! writing may log `connection reset by peer`. Where nothing is to be said at all even that is spared, see
//! [`Talk::Nothing`].

use std::io;
use std::net::SocketAddr;

use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

use super::failure::ProbeFailure;
use crate::config::ProxyVersion;
use crate::proxy_protocol;
use crate::sys::addr::Addr;

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
    pub(super) async fn open(addr: &Addr, talk: Talk, proxy: Option<ProxyVersion>) -> Result<Self, ProbeFailure> {
        let talk = if proxy.is_some() { Talk::Something } else { talk };
        let mut conn = match addr {
            Addr::Ip(addr) => open_tcp(*addr, talk).await.map(Self::Tcp),
            Addr::Unix(path) => UnixStream::connect(path).await.map(Self::Unix),
        }
        .map_err(|err| ProbeFailure::connecting(&err))?;
        if let Some(version) = proxy {
            conn.send(&proxy_protocol::encode(version, None, None)).await?;
        }
        Ok(conn)
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

    /// Closes in order, by a FIN: for a check that ends with sending, since an RST could overtake the bytes.
    pub(super) fn leave(self) {
        if let Self::Tcp(stream) = &self {
            // Only a closed descriptor could make this fail; the bytes may then be lost with the connection.
            let _ended_anyway = SockRef::from(stream).set_linger(None);
        }
    }
}

async fn open_tcp(addr: SocketAddr, talk: Talk) -> io::Result<TcpStream> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_zero_linger()?;
    match talk {
        Talk::Nothing => SockRef::from(&socket).set_tcp_quickack(false)?,
        // Steps of a script are small writes, which must not wait for each other's ACK.
        Talk::Something => socket.set_nodelay(true)?,
    }
    socket.connect(addr).await
}

/// Most answers are shorter; a longer one doubles the buffer up to its limit.
const FIRST_READ: usize = 512;
