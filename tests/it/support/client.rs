//! `Client`: carries out a `Plan` from the client's side and checks every byte.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::SockRef;

use super::outcome::{Ending, Outcome};
use super::plan::{ClientEnd, Plan, ServerEnd};
use super::stream::{Verifier, fill};

/// Longer than any pause a session may have here; silence for this long is a hang.
pub(crate) const HANG: Duration = Duration::from_secs(20);

/// A session before an echoing server that has had an answer.
#[track_caller]
pub(crate) fn established(addr: SocketAddr) -> TcpStream {
    let mut stream = connect(addr).unwrap();
    stream.write_all(b"x").unwrap();
    stream.read_exact(&mut [0]).unwrap();
    stream
}

#[derive(Debug)]
pub(crate) struct Client {
    stream: TcpStream,
    plan: Plan,
    sent: Arc<AtomicU64>,
}

impl Client {
    /// Connects and sends the plan.
    pub(crate) fn connect(addr: SocketAddr, plan: Plan) -> io::Result<Self> {
        let mut stream = connect(addr)?;
        stream.write_all(&plan.encode())?;
        Ok(Self { stream, plan, sent: Arc::default() })
    }

    /// Connects and carries out the whole plan.
    pub(crate) fn run(addr: SocketAddr, plan: Plan) -> Outcome {
        match Self::connect(addr, plan) {
            Ok(client) => client.finish(|| {}),
            Err(error) => Outcome { sent: 0, received: 0, corrupt_at: None, ending: error.into() },
        }
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().unwrap()
    }

    /// Counts the bytes of the stream sent so far, while `finish` runs.
    pub(crate) fn sent(&self) -> Arc<AtomicU64> {
        self.sent.clone()
    }

    /// Carries out the plan, both directions at once; the first read waits for `before_reading`.
    pub(crate) fn finish(self, before_reading: impl FnOnce()) -> Outcome {
        let Self { stream, plan, sent } = self;
        let mut receiver =
            Receiver { stream: &stream, verifier: Verifier::new(!plan.seed), buffer: vec![0; 32 * 1024] };
        let early = plan.up_before_answer();
        let ending = std::thread::scope(|scope| {
            scope.spawn(|| {
                // A write that fails also shows in what is received.
                if send(&stream, &plan, &sent, early).is_ok() && plan.client == ClientEnd::HalfClose && !confirms(&plan)
                {
                    drop(stream.shutdown(Shutdown::Write));
                }
            });
            before_reading();
            receiver.read_until(plan.down_before_confirmation())
        });
        let ending = ending.unwrap_or_else(|| last_words(&stream, &plan, &sent, &mut receiver));
        let verifier = receiver.verifier;
        Outcome {
            sent: sent.load(Ordering::Relaxed),
            received: verifier.received(),
            corrupt_at: verifier.corrupt_at(),
            ending,
        }
    }
}

/// Whether the server waits for one more byte of the client before it resets.
fn confirms(plan: &Plan) -> bool {
    plan.server == ServerEnd::Reset
}

/// The rest of the plan once the first part of the answer has arrived: confirm, reset, or read on to the end.
fn last_words(stream: &TcpStream, plan: &Plan, sent: &AtomicU64, receiver: &mut Receiver<'_>) -> Ending {
    if plan.client == ClientEnd::Reset {
        let done = send(stream, plan, sent, plan.up);
        drop(SockRef::from(stream).set_linger(Some(Duration::ZERO)));
        return done.map_or_else(Ending::from, |()| Ending::Reset);
    }
    if confirms(plan)
        && let Err(error) = send(stream, plan, sent, plan.up + 1)
    {
        return error.into();
    }
    receiver.read_until(u64::MAX).expect("only an end ends this")
}

fn send(mut stream: &TcpStream, plan: &Plan, sent: &AtomicU64, until: u64) -> io::Result<()> {
    let mut offset = sent.load(Ordering::Relaxed);
    let mut buffer = vec![0; plan.up_chunk.max(1) as usize];
    while offset < until {
        let size = (until - offset).min(buffer.len() as u64) as usize;
        fill(plan.seed, offset, &mut buffer[..size]);
        stream.write_all(&buffer[..size])?;
        offset += size as u64;
        sent.store(offset, Ordering::Relaxed);
    }
    Ok(())
}

struct Receiver<'a> {
    stream: &'a TcpStream,
    verifier: Verifier,
    buffer: Vec<u8>,
}

impl Receiver<'_> {
    /// `None` once that many bytes have arrived, otherwise what ended the session before.
    fn read_until(&mut self, count: u64) -> Option<Ending> {
        while self.verifier.received() < count {
            match self.stream.read(&mut self.buffer) {
                Ok(0) => return Some(Ending::Fin),
                Ok(n) => self.verifier.take(&self.buffer[..n]),
                Err(error) => return Some(error.into()),
            }
        }
        None
    }
}

/// A connection whose silence ends in an error after `HANG`.
pub(crate) fn connect(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, HANG)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(HANG))?;
    stream.set_write_timeout(Some(HANG))?;
    Ok(stream)
}

/// Everything that arrives until the end, and how the connection ended.
pub(crate) fn read_to_end(mut stream: &TcpStream) -> (Vec<u8>, Ending) {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => (bytes, Ending::Fin),
        Err(error) => (bytes, error.into()),
    }
}

/// Connects, sends nothing, closes its direction, and returns what the server sent.
pub(crate) fn greeting(addr: SocketAddr) -> io::Result<String> {
    let stream = connect(addr)?;
    stream.shutdown(Shutdown::Write)?;
    match read_to_end(&stream) {
        (bytes, Ending::Fin) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        (_, ending) => Err(io::Error::other(format!("{ending:?}"))),
    }
}

/// As `greeting` of a server that speaks first, which the client awaits before it closes: HAProxy lets go of one that has
/// closed in silence before its server is connected.
pub(crate) fn patient_greeting(addr: SocketAddr) -> io::Result<String> {
    let mut bytes = [0; 256];
    let len = connect(addr)?.read(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes[..len]).into_owned())
}
