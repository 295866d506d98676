//! `Knocker`: clients that connect, exchange bytes and close, one after the other, and record how each attempt ended.
//! Unlike `ab` it continues after a failure, so that refusals can be told from sessions that died with a killed
//! process.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::client::connect;
use super::machine::Stopwatch;

#[derive(Debug)]
pub(crate) struct Knocker {
    shared: Arc<Counters>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Counters {
    stop: AtomicBool,
    served: AtomicU64,
    refused: AtomicU64,
    broken: AtomicU64,
    /// The longest attempt that was served, in µs.
    longest: AtomicU64,
}

/// How the attempts ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Knocks {
    /// Echoed, byte by byte.
    pub(crate) served: u64,
    /// Could not connect.
    pub(crate) refused: u64,
    /// Connected, and then cut or answered wrongly.
    pub(crate) broken: u64,
    pub(crate) longest: Duration,
}

impl Knocker {
    /// Keeps `clients` busy with a balancer before an echoing server.
    pub(crate) fn start(addr: SocketAddr, clients: usize) -> Self {
        let shared = Arc::<Counters>::default();
        let threads = (0..clients).map(|_| {
            let shared = shared.clone();
            std::thread::spawn(move || {
                while !shared.stop.load(Ordering::Relaxed) {
                    knock(addr, &shared);
                }
            })
        });
        let threads = threads.collect();
        Self { shared, threads }
    }

    /// The result so far.
    pub(crate) fn served(&self) -> u64 {
        self.shared.served.load(Ordering::Relaxed)
    }

    pub(crate) fn finish(self) -> Knocks {
        self.shared.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            thread.join().unwrap();
        }
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Knocks {
            served: read(&self.shared.served),
            refused: read(&self.shared.refused),
            broken: read(&self.shared.broken),
            longest: Duration::from_micros(read(&self.shared.longest)),
        }
    }
}

fn knock(addr: SocketAddr, shared: &Counters) {
    let watch = Stopwatch::start();
    let outcome = match connect(addr) {
        Ok(mut stream) => ask(&mut stream).map_err(|_| &shared.broken),
        Err(_) => Err(&shared.refused),
    };
    match outcome {
        Ok(()) => {
            let took = u64::try_from(watch.elapsed().as_micros()).unwrap();
            shared.longest.fetch_max(took, Ordering::Relaxed);
            shared.served.fetch_add(1, Ordering::Relaxed);
        }
        Err(counter) => {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn ask(stream: &mut std::net::TcpStream) -> io::Result<()> {
    stream.write_all(b"hello there!")?;
    stream.shutdown(Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    if answer == b"hello there!" { Ok(()) } else { Err(io::ErrorKind::InvalidData.into()) }
}
