//! Unix sockets that clients connect to: at a path, or in the abstract namespace.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use crate::config::{Bind, BindEntry};
use crate::engine::listeners::unix_place::{UnixFailure, UnixPlace};
use crate::sys::local::{self, LocalKind};
use crate::sys::port_holder::PortHolder;

/// A socket that does not listen yet. `own`: what listens at its path gives way. `patience`: how long to wait for a
/// process that is about to leave it.
pub(super) fn bind(
    entry: &BindEntry,
    own: bool,
    patience: Duration,
) -> Result<(OwnedFd, Option<UnixPlace>), UnixFailure> {
    let end = Instant::now() + patience;
    loop {
        let bound = match &entry.bind {
            Bind::Unix(path) => UnixPlace::bind(path, &entry.access, own).map(|(socket, place)| (socket, Some(place))),
            Bind::Abstract(name) => bind_abstract(&entry.to_string(), name).map(|socket| (socket, None)),
            Bind::Address(_) | Bind::Inherited(_) => unreachable!("not a unix socket"),
        };
        match bound {
            Err(UnixFailure::Taken(_)) if Instant::now() < end => thread::sleep(PAUSE),
            bound => return bound,
        }
    }
}

fn bind_abstract(shown: &str, name: &str) -> Result<OwnedFd, UnixFailure> {
    let address = local::abstract_address(name);
    local::bind(&address, LocalKind::Stream).map_err(|error| match error.kind() {
        io::ErrorKind::AddrInUse => {
            let of = local::occupant(&address).ok().flatten();
            UnixFailure::Taken(of.map(|of| PortHolder::of_unix(shown.to_owned(), of)))
        }
        _ => UnixFailure::Io(error),
    })
}

/// Starts to listen, or gives a socket that listens already another length of its queue.
pub(super) fn listen(socket: &OwnedFd, backlog: u32) -> io::Result<()> {
    local::listen(socket.as_fd(), i32::try_from(backlog).unwrap_or(i32::MAX))
}

/// Between two looks at a path that another process has.
const PAUSE: Duration = Duration::from_millis(100);
