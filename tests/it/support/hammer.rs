//! HTTP load that counts failures and continues. ab does not suit: even with `-r` it gives up after ten connections
//! that were reset before ab had noticed that they were established.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use super::client::{connect, read_to_end};
use super::outcome::Ending;

/// Clients that each make one request after the other, with a connection for each.
#[derive(Debug)]
pub(crate) struct Hammer {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

#[derive(Debug)]
pub(crate) struct Hammered {
    pub(crate) requests: u64,
    /// Failures by cause, with their number.
    pub(crate) failures: BTreeMap<String, u64>,
}

impl Hammer {
    pub(crate) fn start(addr: SocketAddr, clients: usize) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let client = |_| {
            let (stop, done) = (stop.clone(), done.clone());
            std::thread::spawn(move || {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    failures.extend(request(addr).err());
                    done.fetch_add(1, Ordering::Relaxed);
                }
                failures
            })
        };
        let clients = (0..clients).map(client).collect();
        Self { stop, done, clients }
    }

    pub(crate) fn finish(self) -> Hammered {
        self.stop.store(true, Ordering::Relaxed);
        let mut failures = BTreeMap::new();
        for failure in self.clients.into_iter().flat_map(|client| client.join().unwrap()) {
            *failures.entry(failure).or_default() += 1;
        }
        Hammered { requests: self.done.load(Ordering::Relaxed), failures }
    }
}

impl Hammered {
    pub(crate) fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

impl std::fmt::Display for Hammered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} requests failed {:?}", self.failed(), self.requests, self.failures)
    }
}

/// One request; an error describes what was wrong with the answer.
fn request(addr: SocketAddr) -> Result<(), String> {
    let mut stream = connect(addr).map_err(|error| format!("connect: {}", error.kind()))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").map_err(|error| format!("send: {}", error.kind()))?;
    match read_to_end(&stream) {
        (bytes, Ending::Fin) if bytes.starts_with(b"HTTP/1.1 200") => Ok(()),
        (bytes, Ending::Fin) if bytes.is_empty() => Err("no answer".to_owned()),
        (_, ending) => Err(format!("answer: {ending:?}")),
    }
}
