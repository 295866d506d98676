//! Sessions that stay open while the balancer changes: each sends small messages to an echo and checks the answers
//! until it is stopped.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::client::{connect, read_to_end};
use super::machine::Stopwatch;
use super::outcome::{Ending, Outcome};
use super::stream::{Verifier, fill};
use super::wait::eventually;

/// A number of sessions in the background.
#[derive(Debug)]
pub(crate) struct PingPong {
    shared: Arc<Progress>,
    threads: Vec<JoinHandle<Outcome>>,
}

#[derive(Debug, Default)]
struct Progress {
    stop: AtomicBool,
    /// Messages that completed a round trip.
    rounds: AtomicU64,
    /// Sessions with at least one answer.
    answered: AtomicU64,
    /// The longest round trip of a message, in µs.
    slowest: AtomicU64,
}

/// The result of the sessions.
#[derive(Debug)]
pub(crate) struct PingPongs {
    pub(crate) outcomes: Vec<Outcome>,
    /// The longest round trip of a message.
    pub(crate) slowest: Duration,
}

impl PingPong {
    /// Starts `count` sessions and returns once each has had an answer.
    pub(crate) fn start(addr: SocketAddr, count: u64) -> Self {
        let shared = Arc::new(Progress::default());
        let threads = (0..count)
            .map(|seed| {
                let shared = shared.clone();
                std::thread::spawn(move || Session::new(seed).run(addr, &shared))
            })
            .collect();
        eventually(Duration::from_secs(20), "an answer for every session", || {
            (shared.answered.load(Ordering::Relaxed) == count).then_some(())
        });
        Self { shared, threads }
    }

    /// Waits for `count` more round trips, so that the preceding step was under load.
    pub(crate) fn run_for(&self, count: u64) {
        let rounds = || self.shared.rounds.load(Ordering::Relaxed);
        let goal = rounds() + count;
        eventually(Duration::from_secs(30), "more rounds", || (rounds() >= goal).then_some(()));
    }

    /// The longest round trip of a message so far.
    pub(crate) fn slowest_so_far(&self) -> Duration {
        Duration::from_micros(self.shared.slowest.load(Ordering::Relaxed))
    }

    pub(crate) fn finish(self) -> PingPongs {
        self.shared.stop.store(true, Ordering::Relaxed);
        let outcomes = self.threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let slowest = Duration::from_micros(self.shared.slowest.load(Ordering::Relaxed));
        PingPongs { outcomes, slowest }
    }
}

impl PingPongs {
    /// # Panics
    /// When a session lost, changed or doubled a byte, or did not end in an orderly way.
    #[track_caller]
    pub(crate) fn assert_unharmed(&self) {
        for (seed, outcome) in self.outcomes.iter().enumerate() {
            assert!(outcome.is_whole(outcome.sent) && outcome.sent > 0, "session {seed}: {outcome:?}");
        }
    }
}

struct Session {
    seed: u64,
    sent: u64,
    verifier: Verifier,
}

impl Session {
    fn new(seed: u64) -> Self {
        Self { seed, sent: 0, verifier: Verifier::new(seed) }
    }

    fn run(mut self, addr: SocketAddr, shared: &Progress) -> Outcome {
        let ending = match connect(addr) {
            Ok(mut stream) => self.talk(&mut stream, shared),
            Err(error) => error.into(),
        };
        let (received, corrupt_at) = (self.verifier.received(), self.verifier.corrupt_at());
        Outcome { sent: self.sent, received, corrupt_at, ending }
    }

    fn talk(&mut self, stream: &mut TcpStream, shared: &Progress) -> Ending {
        while !shared.stop.load(Ordering::Relaxed) {
            let watch = Stopwatch::start();
            match self.round(stream) {
                Ok(None) => {}
                Ok(Some(ending)) => return ending,
                Err(error) => return error.into(),
            }
            let took = u64::try_from(watch.elapsed().as_micros()).unwrap();
            shared.slowest.fetch_max(took, Ordering::Relaxed);
            shared.rounds.fetch_add(1, Ordering::Relaxed);
            if self.sent == u64::from(MESSAGE) {
                shared.answered.fetch_add(1, Ordering::Relaxed);
            }
        }
        drop(stream.shutdown(Shutdown::Write));
        let (rest, ending) = read_to_end(stream);
        self.verifier.take(&rest);
        ending
    }

    /// One message there and back; `Some` when the server ended the session.
    fn round(&mut self, stream: &mut TcpStream) -> std::io::Result<Option<Ending>> {
        let mut message = [0; MESSAGE as usize];
        fill(self.seed, self.sent, &mut message);
        stream.write_all(&message)?;
        self.sent += u64::from(MESSAGE);
        while self.verifier.received() < self.sent {
            match stream.read(&mut message)? {
                0 => return Ok(Some(Ending::Fin)),
                n => self.verifier.take(&message[..n]),
            }
        }
        Ok(None)
    }
}

/// Not a multiple of eight, so that messages begin at every phase of the stream.
const MESSAGE: u16 = 100;
