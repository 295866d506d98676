//! Clients of all kinds, for as long as the hour lasts.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ledger::Ledger;
use super::stage::Stage;
use crate::support::client::{connect, read_to_end};
use crate::support::outcome::Ending;
use crate::support::stream::{Verifier, fill};
use crate::support::wait::observe;

#[derive(Debug)]
pub(super) struct Traffic {
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

/// One client: a thread that makes one connection after the other.
struct Client {
    backend: &'static str,
    addr: SocketAddr,
    ledger: Ledger,
    stop: Arc<AtomicBool>,
    seed: u64,
}

/// Sessions that stay open: as many to each backend with servers that are not killed.
const KEPT: u64 = 12;
/// Messages of such a session, one each [`BEAT`], before it is closed and another begins.
const MESSAGES: u64 = 400;
const BEAT: Duration = Duration::from_millis(50);
/// Between two short sessions of a client.
const PAUSE: Duration = Duration::from_millis(4);

impl Traffic {
    pub(super) fn start(stage: &Stage, ledger: &Ledger) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let client = |backend, seed, work: fn(&Client)| {
            let addr = stage.addr(backend);
            let client = Client { backend, addr, ledger: ledger.clone(), stop: stop.clone(), seed };
            std::thread::spawn(move || work(&client))
        };
        let mut clients = Vec::new();
        for backend in ["app", "app", "found", "named"] {
            clients.push(client(backend, 0, Client::short_ones));
        }
        clients.push(client("app", 0, Client::bulk));
        for seed in 0..KEPT {
            clients.push(client("steady", seed, Client::kept_ones));
            clients.push(client("found", seed, Client::kept_ones));
        }
        Self { stop, clients }
    }

    pub(super) fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
    }
}

impl Client {
    fn short_ones(&self) {
        self.repeat(|stream, _| exchange(stream, b"hello there!"));
    }

    /// 256 KiB there and back: too much for one buffer.
    fn bulk(&self) {
        let message: Vec<u8> = (0..=u8::MAX).cycle().take(256 * 1024).collect();
        self.repeat(|stream, _| exchange(stream, &message));
    }

    fn kept_ones(&self) {
        self.repeat(|stream, last| {
            let mut verifier = Verifier::new(self.seed);
            let mut sent = 0;
            let mut message = [0; 100];
            while sent < MESSAGES * 100 && !self.stop.load(Ordering::Relaxed) {
                fill(self.seed, sent, &mut message);
                stream.write_all(&message)?;
                sent += 100;
                while verifier.received() < sent {
                    match stream.read(&mut message)? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        n => verifier.take(&message[..n]),
                    }
                }
                *last = Instant::now();
                self.ledger.done(1);
                observe(BEAT);
            }
            stream.shutdown(Shutdown::Write)?;
            match (read_to_end(stream), verifier.corrupt_at()) {
                ((rest, Ending::Fin), None) if rest.is_empty() => Ok(()),
                (end, corrupt) => Err(io::Error::other(format!("{end:?}, corrupt at {corrupt:?}"))),
            }
        });
    }

    /// One session after the other; `session` notes the last moment at which all was well.
    fn repeat(&self, session: impl Fn(&mut TcpStream, &mut Instant) -> io::Result<()>) {
        while !self.stop.load(Ordering::Relaxed) {
            let mut last = Instant::now();
            match connect(self.addr) {
                Err(error) => {
                    // A reset comes after the handshake, and ends a session that a server was killed under; the thread was
                    // not back from connect(2) yet.
                    let refused = error.kind() != io::ErrorKind::ConnectionReset;
                    self.ledger.failed(self.backend, format!("connect: {error}"), refused, last);
                }
                Ok(mut stream) => match session(&mut stream, &mut last) {
                    Ok(()) => self.ledger.done(1),
                    Err(error) => {
                        let port = stream.local_addr().map_or(0, |addr| addr.port());
                        self.ledger.failed(self.backend, format!("port {port}: {error}"), false, last);
                    }
                },
            }
            observe(PAUSE);
        }
    }
}

/// Sends all, closes its direction, and expects all back.
fn exchange(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let mut answer = Vec::new();
    std::thread::scope(|scope| {
        let mut writing = &*stream;
        let write = scope.spawn(move || {
            writing.write_all(message)?;
            writing.shutdown(Shutdown::Write)
        });
        let mut reading = &*stream;
        let read = reading.read_to_end(&mut answer);
        write.join().unwrap()?;
        read
    })?;
    if answer == message {
        Ok(())
    } else {
        Err(io::Error::other(format!("{} bytes of {}", answer.len(), message.len())))
    }
}
