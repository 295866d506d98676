//! The beginning of a session: the PROXY header, and what the client says before a server is there.

use std::future::poll_fn;
use std::os::fd::AsFd;
use std::task::Poll;
use std::time::{Duration, Instant};

use crate::log::{By, During};
use crate::proxy::session::{Interrupt, Left, Session};
use crate::proxy_protocol::{self, Decoded};
use crate::runtime::stream::{ReadEnd, Socket};
use crate::sys::socket;

/// What the client has said before a server was there.
#[derive(Debug, Default)]
pub(super) struct Preamble {
    pub(super) bytes: Vec<u8>,
    /// The client's FIN follows them.
    pub(super) ended: bool,
    /// The PROXY header has been read, or none is to come.
    pub(super) introduced: bool,
}

impl Session {
    /// Reads the PROXY header, if there is to be one.
    pub(super) async fn introduce(&mut self, client: &Socket, opening: &mut Preamble) -> Result<(), Left> {
        if opening.introduced {
            return Ok(());
        }
        let until = Instant::now() + HEADER_LIMIT;
        while !opening.introduced {
            match proxy_protocol::decode(&opening.bytes) {
                Decoded::Header { len, src, dst } => {
                    opening.bytes.drain(..len);
                    opening.introduced = true;
                    self.record.client = src.or(self.record.client);
                    self.record.local = dst.map(Box::new).or_else(|| self.record.local.take());
                    break;
                }
                Decoded::Invalid(_) => return Err(Left::Ended(By::Proxy, During::Request)),
                Decoded::Incomplete => {}
            }
            let bytes = &mut opening.bytes;
            let read = poll_fn(|cx| {
                let mut desk = self.context.desk.borrow_mut();
                let received = std::task::ready!(client.poll_recv(cx, &mut desk.buf[..OPENING_BYTES]))?;
                bytes.extend_from_slice(&desk.buf[..received.len]);
                Poll::Ready(std::io::Result::Ok(received))
            });
            let received = match self.wait(client, until, read).await {
                Ok(Ok(received)) if received.len > 0 && received.then != ReadEnd::Broken => received,
                Ok(_) => return Err(Left::Ended(By::Client, During::Request)),
                Err(Interrupt::Time) => {
                    return Err(Left::Ended(By::ClientTimeout, During::Request));
                }
                Err(interrupt) => return Err(self.leave(interrupt, During::Request)),
            };
            opening.ended |= received.then == ReadEnd::Fin;
        }
        Ok(())
    }

    /// Reads what the client has sent by now: it can then travel with the connect.
    pub(super) fn read_first(&self, client: &Socket, opening: &mut Preamble) -> Result<(), Left> {
        if opening.ended || !opening.bytes.is_empty() {
            return Ok(());
        }
        let mut desk = self.context.desk.borrow_mut();
        match socket::try_recv(client.as_fd(), &mut desk.buf[..OPENING_BYTES]) {
            Ok(Some(0)) => opening.ended = true,
            Ok(Some(len)) => opening.bytes.extend_from_slice(&desk.buf[..len]),
            Ok(None) => {}
            Err(_) => return Err(Left::Ended(By::Client, During::Connect)),
        }
        Ok(())
    }
}

/// A PROXY header comes with the first segments, or the peer is no proxy. As in HAProxy it may take as long as a client
/// is waited for, but not without limit.
const HEADER_LIMIT: Duration = Duration::from_secs(10);

/// Read at most before a server is there. Sessions in the queue keep these bytes.
const OPENING_BYTES: usize = 16 * 1024;
