//! A server that tells what a check did to it: what it received, and how the connection ended.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::outcome::Ending;
use super::wait::{eventually, pause};

#[derive(Debug)]
pub(crate) struct Witness {
    addr: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// One connection to its end.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) received: Vec<u8>,
    pub(crate) peer: SocketAddr,
    pub(crate) ending: Ending,
}

/// What it answers after the first bytes, each piece after a pause, and whether it then closes its side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) pieces: &'static [&'static [u8]],
    pub(crate) pause: Duration,
    pub(crate) closes: bool,
}

impl Answer {
    pub(crate) const fn new(pieces: &'static [&'static [u8]]) -> Self {
        Self { pieces, pause: Duration::from_millis(40), closes: true }
    }

    /// It leaves it to the other side to close first.
    pub(crate) const fn open(self) -> Self {
        Self { closes: false, ..self }
    }
}

impl Witness {
    pub(crate) fn start(answer: Answer) -> Self {
        Self::start_on("127.0.0.1", answer)
    }

    /// Its threads end with the process of the tests.
    pub(crate) fn start_on(ip: &str, answer: Answer) -> Self {
        let listener = TcpListener::bind((ip, 0)).unwrap();
        let (addr, seen) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<Seen>>>::default());
        let record = Arc::clone(&seen);
        thread::spawn(move || {
            while let Ok((stream, peer)) = listener.accept() {
                let record = Arc::clone(&record);
                thread::spawn(move || {
                    let one = serve(&stream, peer, answer);
                    record.lock().unwrap().push(one);
                });
            }
        });
        Self { addr, seen }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The first connections that have ended.
    #[track_caller]
    pub(crate) fn first(&self, count: usize) -> Vec<Seen> {
        eventually(Duration::from_secs(20), "checks", || {
            let seen = self.seen.lock().unwrap();
            (seen.len() >= count).then(|| seen[..count].to_vec())
        })
    }
}

fn serve(stream: &TcpStream, peer: SocketAddr, answer: Answer) -> Seen {
    let mut received = Vec::new();
    let ending = match converse(stream, answer, &mut received) {
        Ok(()) => Ending::Fin,
        Err(error) => error.into(),
    };
    Seen { received, peer, ending }
}

fn converse(mut stream: &TcpStream, answer: Answer, received: &mut Vec<u8>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let mut first = [0; 4096];
    let len = stream.read(&mut first)?;
    received.extend_from_slice(&first[..len]);
    for piece in answer.pieces {
        stream.write_all(piece)?;
        pause(answer.pause);
    }
    if answer.closes {
        stream.shutdown(std::net::Shutdown::Write)?;
    }
    stream.read_to_end(received).map(drop)
}
