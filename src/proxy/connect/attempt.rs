//! One attempt to connect a server, and the ways in which it fails.

use std::borrow::Cow;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::time::Instant;

use crate::backend::Lease;
use crate::config::{self, shifted};
use crate::log::During;
use crate::proxy::Finding;
use crate::proxy::session::state::{Ending, Interrupt, Session};
use crate::proxy::sighting::Wait;
use crate::proxy_protocol;
use crate::runtime::stream::Socket;
use crate::sys::addr::Addr;
use crate::sys::socket;

/// A connection that the server has accepted.
pub(super) struct ServerConnection {
    pub(super) socket: Socket,
    /// What is to be sent first: PROXY header, then the client's first bytes.
    pub(super) first: Vec<u8>,
    /// How much of it is sent already.
    pub(super) sent: usize,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) enum ConnectFailure {
    /// Refused by the server, or unreachable.
    Refused(io::Error),
    TimedOut,
    /// Not answered yet, but others are likely to be faster.
    Slow,
    /// This host could not even try: no port, no room in a unix socket's queue. Does not mean that the server is dead.
    Local(io::Error),
    /// This host has no descriptor or no memory for any attempt.
    Exhausted(io::Error),
}

/// What an attempt without a connection ends.
pub(super) enum Missed {
    Attempt(ConnectFailure),
    Session(Ending),
}

impl ServerConnection {
    /// Refuses one that leads to its own socket.
    fn not_to_itself(self, lease: &Lease) -> Result<Self, Missed> {
        let checked = socket::not_to_itself(self.socket.as_fd(), &lease.member().spec.addr);
        checked.map(|()| self).map_err(|error| Missed::Attempt(ConnectFailure::Refused(error)))
    }
}

impl Session {
    /// One attempt. `may_move_on`: it is given up early when the server is slow and another one is likely to be faster.
    pub(super) async fn dial(
        &mut self,
        client: &Socket,
        lease: &Lease,
        settings: &config::Backend,
        preamble: &[u8],
        may_move_on: bool,
    ) -> Result<ServerConnection, Missed> {
        lease.server().stats.connects.add(1);
        let mut first = match lease.member().spec.options.send_proxy {
            Some(version) => proxy_protocol::encode(version, self.record.client.addr(), self.local(client)),
            None => Vec::new(),
        };
        first.extend_from_slice(preamble);
        let socket = {
            let addr = self.target(client, lease);
            if let Addr::Ip(server) = &*addr
                && self.logs_ends()
            {
                self.record.ends_mut().server = Some(*server);
            }
            let source = lease.member().spec.options.source;
            let (socket, sent) = begin(&addr, source, &first).map_err(Missed::Attempt)?;
            if let Some(sent) = sent {
                return ServerConnection { socket, first, sent }.not_to_itself(lease);
            }
            socket
        };
        Box::pin(self.await_connected(client, lease, settings, &socket, may_move_on)).await?;
        ServerConnection { socket, first, sent: 0 }.not_to_itself(lease)
    }

    /// Where this session is to be connected: some servers have the port that the client came to.
    fn target<'l>(&mut self, client: &Socket, lease: &'l Lease) -> Cow<'l, Addr> {
        let spec = &lease.member().spec;
        match (spec.port_shift, &spec.addr) {
            (Some(shift), Addr::Ip(addr)) => {
                let mut addr = *addr;
                addr.set_port(shifted(self.local(client).map_or(0, |local| local.port()), shift));
                Cow::Owned(Addr::Ip(addr))
            }
            _ => Cow::Borrowed(&spec.addr),
        }
    }

    /// Waits until `socket` is connected.
    async fn await_connected(
        &self,
        client: &Socket,
        lease: &Lease,
        settings: &config::Backend,
        socket: &Socket,
        may_move_on: bool,
    ) -> Result<(), Missed> {
        let now = Instant::now();
        let deadline = now + settings.timeout.connect;
        let patience = (now + lease.server().patience()).min(deadline);
        let wait = |until| Wait::for_server(until, lease.server());
        let mut outcome = self.wait(client, wait(patience), poll_fn(|cx| socket.poll_connected(cx))).await;
        if matches!(outcome, Err(Interrupt::Time)) && patience < deadline {
            if lease.server().suspect() {
                self.notify(lease, Finding::Slow);
            }
            if may_move_on && settings.retry.redispatch && self.backend.has_trusted(lease.server().slot()) {
                return Err(Missed::Attempt(ConnectFailure::Slow));
            }
            outcome = self.wait(client, wait(deadline), poll_fn(|cx| socket.poll_connected(cx))).await;
        }
        match outcome {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(Missed::Attempt(ConnectFailure::Refused(error))),
            Err(Interrupt::Time) => Err(Missed::Attempt(ConnectFailure::TimedOut)),
            Err(interrupt) => Err(Missed::Session(self.ending_of(interrupt, During::Connect))),
        }
    }
}

/// Begins to connect, and sends at once: on a loopback or a LAN the connection often stands by then. `Some` bytes sent
/// mean that it does.
fn begin(addr: &Addr, source: Option<SocketAddr>, bytes: &[u8]) -> Result<(Socket, Option<usize>), ConnectFailure> {
    // Keepalive is set once a session lasts; most are over before it could matter.
    let speaks = !bytes.is_empty();
    let fd = socket::connect(addr, source, speaks).map_err(classify)?;
    let sent = match bytes {
        [] => None,
        bytes => socket::try_send(fd.as_fd(), bytes).map_err(classify)?,
    };
    let socket = match sent {
        Some(_) => Socket::register(fd),
        None => Socket::connecting(fd),
    };
    Ok((socket.map_err(ConnectFailure::Exhausted)?, sent))
}

fn classify(error: io::Error) -> ConnectFailure {
    use nix::libc::{EADDRINUSE, EADDRNOTAVAIL, EAGAIN, EMFILE, ENFILE, ENOBUFS, ENOMEM};
    match error.raw_os_error() {
        // EAGAIN: the accept queue of a unix socket is full. A busy server is not a dead one; over TCP the kernel would
        // have repeated the SYN.
        Some(EADDRINUSE | EADDRNOTAVAIL | EAGAIN) => ConnectFailure::Local(error),
        Some(EMFILE | ENFILE | ENOBUFS | ENOMEM) => ConnectFailure::Exhausted(error),
        _ => ConnectFailure::Refused(error),
    }
}
