//! The beginning of a session: the PROXY header, and what the client sends before a server is connected.

use std::future::{pending, poll_fn};
use std::io;
use std::os::fd::AsFd;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use super::session::state::{Ending, Interrupt, Session};
use super::sighting::Wait;
use crate::log::{By, ClientName, During};
use crate::proxy_protocol::{self, Decoded};
use crate::runtime::stream::{ReadEnd, Received, Socket};
use crate::sys::socket;

/// What the client has sent before a server was connected.
#[derive(Debug, Default)]
pub(super) struct Preamble {
    pub(super) bytes: Vec<u8>,
    /// The client's FIN follows them.
    pub(super) ended: bool,
    /// The PROXY header has been read, or none is to come.
    pub(super) introduced: bool,
}

impl Preamble {
    /// Ready once the client has closed without having sent anything. As in HAProxy, no server gets to see it then; one
    /// that has sent something may have closed its half alone, and wait for the answer.
    pub(super) async fn closed_in_silence(&self, client: &Socket) {
        if !self.bytes.is_empty() {
            return pending().await;
        }
        if !self.ended {
            poll_fn(|cx| client.poll_read_closed(cx)).await;
            if socket::has_unread(client.as_fd()) {
                pending().await
            }
        }
    }
}

impl Session {
    /// Reads the PROXY header, if there is to be one.
    pub(super) async fn read_proxy_header(&mut self, client: &Socket, preamble: &mut Preamble) -> Result<(), Ending> {
        if preamble.introduced {
            return Ok(());
        }
        let until = Instant::now() + HEADER_LIMIT;
        while !self.take_header(preamble)? {
            let bytes = &mut preamble.bytes;
            let read = poll_fn(|cx| {
                let mut scratch = self.context.scratch.borrow_mut();
                let received = ready!(client.poll_recv(cx, &mut scratch.buf[..PREAMBLE_BYTES]))?;
                bytes.extend_from_slice(&scratch.buf[..received.len]);
                Poll::Ready(io::Result::Ok(received))
            });
            match self.wait(client, Wait::new(until, During::Request), read).await {
                Ok(Ok(Received { len: 1.., then })) if then != ReadEnd::Broken => {
                    preamble.ended |= then == ReadEnd::Fin;
                }
                Ok(_) => return Err(Ending::over(By::Client, During::Request)),
                Err(Interrupt::Time) => return Err(Ending::over(By::ClientTimeout, During::Request)),
                Err(interrupt) => return Err(self.ending_of(interrupt, During::Request)),
            }
        }
        // Only now has it come to a backend.
        self.backend.stats.sessions_total.add(1);
        Ok(())
    }

    /// Takes the PROXY header from the bytes received so far. `false`: it is not complete.
    fn take_header(&mut self, preamble: &mut Preamble) -> Result<bool, Ending> {
        match proxy_protocol::decode(&preamble.bytes) {
            Decoded::Header { len, src, dst } => {
                // A new vector: one that has held a long header keeps its memory for as long as the session waits.
                preamble.bytes = preamble.bytes.split_off(len);
                preamble.introduced = true;
                self.record.client = ClientName::or(src, self.record.client);
                if dst.is_some() || self.logs_ends() {
                    let handshake = self.record.started.elapsed();
                    let ends = self.record.ends_mut();
                    (ends.local, ends.handshake) = (dst.or(ends.local), handshake);
                }
                Ok(true)
            }
            Decoded::Invalid(_) => Err(Ending::over(By::Proxy, During::Request)),
            Decoded::Incomplete => Ok(false),
        }
    }

    /// Reads what the client has sent by now: it can then travel with the connect.
    pub(super) fn read_first(&self, client: &Socket, preamble: &mut Preamble) -> Result<(), Ending> {
        if preamble.ended || !preamble.bytes.is_empty() {
            return Ok(());
        }
        let mut scratch = self.context.scratch.borrow_mut();
        match socket::try_recv(client.as_fd(), &mut scratch.buf[..PREAMBLE_BYTES]) {
            Ok(Some(0)) => preamble.ended = true,
            Ok(Some(len)) => preamble.bytes.extend_from_slice(&scratch.buf[..len]),
            Ok(None) => {}
            Err(_) => return Err(Ending::over(By::Client, During::Connect)),
        }
        Ok(())
    }
}

/// A PROXY header comes with the first segments, or the peer is no proxy. As in HAProxy it may take as long as a client
/// is waited for, but not without limit.
const HEADER_LIMIT: Duration = Duration::from_secs(10);

/// Read at most before a server is connected. Sessions in the queue keep these bytes.
const PREAMBLE_BYTES: usize = 16 * 1024;
