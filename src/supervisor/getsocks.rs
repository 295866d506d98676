//! The listening sockets of a running HAProxy, from its stats socket (`expose-fd listeners`): the request `_getsocks`.
//!
//! The exchange: a count in an int; then messages with at most 252 descriptors each, whose bytes (namespace, interface
//! and options of each socket) are not needed here; after each of them the number of sockets received so far is sent
//! back as an int, without which no further message comes.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::sys::fd::{self, RecvError};
use crate::sys::local::{self, LocalKind};

/// Why there are none.
#[derive(Debug, thiserror::Error)]
pub(crate) enum GetSocksError {
    #[error("Failed to connect to the old process socket '{0}': {1}")]
    Connect(String, io::Error),
    #[error(
        "Failed to get the sockets from the old process: {0}; its stats socket needs `level admin` and `expose-fd listeners`"
    )]
    Exchange(#[from] io::Error),
}

/// All of them.
pub(crate) fn get_sockets(path: &Path) -> Result<Vec<OwnedFd>, GetSocksError> {
    let socket = local::connect(path, LocalKind::Stream);
    let socket = socket.map_err(|error| GetSocksError::Connect(path.display().to_string(), error))?;
    let socket = socket.as_fd();
    let end = Instant::now() + LIMIT;
    fd::send(socket, b"_getsocks\n", &[])?;
    let mut count = [0; 4];
    match receive(socket, &mut count, end)? {
        (4, _) => {}
        // An answer in words: the request is unknown there, or not granted.
        _ => return Err(GetSocksError::Exchange(io::ErrorKind::InvalidData.into())),
    }
    let count = usize::try_from(i32::from_ne_bytes(count)).unwrap_or(0);
    if count > MOST {
        return Err(GetSocksError::Exchange(io::ErrorKind::InvalidData.into()));
    }
    let (mut sockets, mut bytes) = (Vec::new(), vec![0; MESSAGE]);
    while sockets.len() < count {
        let (_, more) = receive(socket, &mut bytes, end)?;
        if more.is_empty() || sockets.len() + more.len() > count {
            return Err(GetSocksError::Exchange(io::ErrorKind::InvalidData.into()));
        }
        sockets.extend(more);
        let so_far = i32::try_from(sockets.len()).unwrap_or(i32::MAX);
        match fd::send(socket, &so_far.to_ne_bytes(), &[]) {
            // It does not wait for the last one.
            Err(_) if sockets.len() >= count => {}
            sent => sent?,
        }
    }
    Ok(sockets)
}

fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8], end: Instant) -> io::Result<(usize, Vec<OwnedFd>)> {
    while Instant::now() < end {
        match fd::recv(socket, buffer) {
            Ok(received) => return Ok(received),
            Err(error) if error.would_block() => {}
            Err(RecvError::Io(error)) => return Err(error),
            Err(error) => return Err(io::Error::other(error)),
        }
        let left = PollTimeout::try_from(end.saturating_duration_since(Instant::now())).unwrap_or(PollTimeout::ZERO);
        poll(&mut [PollFd::new(socket, PollFlags::POLLIN)], left)?;
    }
    Err(io::ErrorKind::TimedOut.into())
}

/// For the whole exchange.
const LIMIT: Duration = Duration::from_secs(5);
/// More sockets than any HAProxy listens on.
const MOST: usize = 65_536;
/// Enough for 252 sockets with the longest names.
const MESSAGE: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// What comes of an exchange in which so many are announced, and so many come with each of some messages.
    fn exchange(announced: i32, messages: &'static [usize]) -> Result<usize, GetSocksError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            client.read_exact(&mut [0; 10]).unwrap();
            fd::send(client.as_fd(), &announced.to_ne_bytes(), &[]).unwrap();
            let socket = TcpListener::bind("127.0.0.1:0").unwrap();
            for number in messages {
                fd::send(client.as_fd(), b"0000", &vec![socket.as_fd(); *number]).unwrap();
                if client.read_exact(&mut [0; 4]).is_err() {
                    return;
                }
            }
        });
        let got = get_sockets(&path);
        server.join().unwrap();
        got.map(|sockets| sockets.len())
    }

    #[test]
    fn exactly_the_announced_sockets_are_taken() {
        for (announced, messages, expected) in [
            (0, &[][..], Some(0)),
            (3, &[2, 1], Some(3)),
            (1, &[2], None),
            (1, &[0, 1], None),
            (3, &[2, 2], None),
            (-1, &[], Some(0)),
        ] {
            assert_eq!(exchange(announced, messages).ok(), expected, "{announced} {messages:?}");
        }
    }
}
