//! The listening sockets of a running HAProxy, from its stats socket (`expose-fd listeners`): the request `_getsocks`.
//!
//! The exchange: a count in an int; then messages with at most 252 descriptors each, whose bytes (namespace, interface and
//! options of each socket) are not needed here; after each of them the number of sockets received so far is sent back as an
//! int, without which no further message comes.

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
        // An answer in words: it does not know the request, or may not grant it.
        _ => return Err(GetSocksError::Exchange(io::ErrorKind::InvalidData.into())),
    }
    let count = usize::try_from(i32::from_ne_bytes(count)).unwrap_or(0);
    if count > MOST {
        return Err(GetSocksError::Exchange(io::ErrorKind::InvalidData.into()));
    }
    let (mut sockets, mut bytes) = (Vec::new(), vec![0; MESSAGE]);
    while sockets.len() < count {
        sockets.extend(receive(socket, &mut bytes, end)?.1);
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
    loop {
        match fd::recv(socket, buffer) {
            Ok(received) => return Ok(received),
            Err(error) if error.would_block() && Instant::now() < end => {}
            Err(RecvError::Io(error)) => return Err(error),
            Err(error) => return Err(io::Error::other(error)),
        }
        let left = PollTimeout::try_from(end.saturating_duration_since(Instant::now())).unwrap_or(PollTimeout::ZERO);
        poll(&mut [PollFd::new(socket, PollFlags::POLLIN)], left)?;
    }
}

/// For the whole exchange.
const LIMIT: Duration = Duration::from_secs(5);
/// More sockets than any HAProxy listens on.
const MOST: usize = 65_536;
/// Enough for 252 sockets with the longest names.
const MESSAGE: usize = 128 << 10;
