//! The load: clients that send the next request after each answer, and check every answer.
//!
//! Most use one connection a request, as `ab` does; some keep theirs, as browsers do. A request that fails is
//! not repeated, with the one exception of HTTP (RFC 9112, 9.3.1): on a kept connection that closes before the answer's
//! first byte, a GET is repeated on a new connection. That is counted too.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use hdrhistogram::Histogram;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::server::body;

/// Running clients.
#[derive(Debug)]
pub(super) struct Load {
    shared: Rc<LoadState>,
    clients: JoinSet<()>,
}

#[derive(Debug)]
struct LoadState {
    front: SocketAddr,
    begin: Instant,
    ending: Cell<bool>,
    tally: RefCell<Tally>,
}

/// What the clients saw.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    pub(super) elapsed: Duration,
    /// Answered rightly or failed.
    pub(super) requests: u64,
    pub(super) failed: u64,
    /// Repeated on a new connection, since a kept one had closed. Not failed.
    pub(super) repeated: u64,
    /// Answers of each server.
    pub(super) servers: BTreeMap<String, u64>,
    /// From before connect to the last byte, in microseconds.
    pub(super) times: Histogram<u64>,
    /// The first few, in words.
    pub(super) failures: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum RequestFailure {
    #[error("connect: {0}")]
    Connect(io::Error),
    /// Before any byte of the answer.
    #[error("closed without an answer: {0}")]
    Unanswered(io::Error),
    #[error("closed in the middle of the answer: {0}")]
    Cut(io::Error),
    #[error("no answer within {} s", DEADLINE.as_secs())]
    TooLate,
    #[error("a wrong answer: {0:?}")]
    Wrong(String),
}

impl Load {
    /// Starts the clients. Needs a runtime with `spawn_local`.
    pub(super) fn start(front: SocketAddr) -> Self {
        let tally = RefCell::new(Tally::new());
        let shared = Rc::new(LoadState { front, begin: Instant::now(), ending: Cell::new(false), tally });
        let mut clients = JoinSet::new();
        for _ in 0..SINGLE {
            clients.spawn_local(ask_once_each(Rc::clone(&shared)));
        }
        for _ in 0..KEEPING {
            clients.spawn_local(keep_asking(Rc::clone(&shared)));
        }
        Self { shared, clients }
    }

    /// The counts so far.
    pub(super) fn tally(&self) -> Tally {
        Tally { elapsed: self.shared.begin.elapsed(), ..self.shared.tally.borrow().clone() }
    }

    /// Waits until every client has its last answer.
    pub(super) async fn end(mut self) -> Tally {
        self.shared.ending.set(true);
        while self.clients.join_next().await.is_some() {}
        self.tally()
    }
}

impl LoadState {
    /// Counts one request.
    fn count(&self, begin: Instant, outcome: Result<String, RequestFailure>) {
        let mut tally = self.tally.borrow_mut();
        tally.requests += 1;
        match outcome {
            Ok(server) => {
                *tally.servers.entry(server).or_default() += 1;
                let time = u64::try_from(begin.elapsed().as_micros()).unwrap_or(u64::MAX);
                tally.times.saturating_record(time);
            }
            Err(failure) => {
                tally.failed += 1;
                if tally.failures.len() < FAILURES_SHOWN {
                    tally.failures.push(failure.to_string());
                }
            }
        }
    }
}

impl Tally {
    fn new() -> Self {
        let times = Histogram::new_with_max(60_000_000, 3).expect("1 to 60,000,000 with 3 digits is a valid range");
        Self {
            elapsed: Duration::ZERO,
            requests: 0,
            failed: 0,
            repeated: 0,
            servers: BTreeMap::new(),
            times,
            failures: Vec::new(),
        }
    }
}

async fn ask_once_each(shared: Rc<LoadState>) {
    while !shared.ending.get() {
        let begin = Instant::now();
        let outcome = within_deadline(async {
            let mut stream = connect(shared.front).await?;
            ask(&mut stream, false).await
        });
        shared.count(begin, outcome.await);
    }
}

async fn keep_asking(shared: Rc<LoadState>) {
    let mut kept: Option<TcpStream> = None;
    while !shared.ending.get() {
        let begin = Instant::now();
        let outcome = within_deadline(async {
            if let Some(stream) = kept.as_mut() {
                match ask(stream, true).await {
                    Err(RequestFailure::Unanswered(_)) => shared.tally.borrow_mut().repeated += 1,
                    answered => return answered,
                }
            }
            ask(kept.insert(connect(shared.front).await?), true).await
        });
        let outcome = outcome.await;
        // Now and then a new connection, so that a server that was drained runs empty.
        if outcome.is_err() || fastrand::u32(..REQUESTS_KEPT) == 0 {
            kept = None;
        }
        shared.count(begin, outcome);
    }
}

pub(super) async fn within_deadline<T>(
    work: impl Future<Output = Result<T, RequestFailure>>,
) -> Result<T, RequestFailure> {
    timeout(DEADLINE, work).await.unwrap_or(Err(RequestFailure::TooLate))
}

pub(super) async fn connect(front: SocketAddr) -> Result<TcpStream, RequestFailure> {
    let stream = TcpStream::connect(front).await.map_err(RequestFailure::Connect)?;
    stream.set_nodelay(true).map_err(RequestFailure::Connect)?;
    Ok(stream)
}

/// One request and its whole answer, checked to the last byte; returns the server's name.
pub(super) async fn ask(stream: &mut TcpStream, keep: bool) -> Result<String, RequestFailure> {
    let path = format!("/{:08x}", fastrand::u32(..));
    let connection = if keep { "keep-alive" } else { "close" };
    let request = format!("GET {path} HTTP/1.1\r\nHost: demo\r\nConnection: {connection}\r\n\r\n");
    stream.write_all(request.as_bytes()).await.map_err(RequestFailure::Unanswered)?;
    let mut answer = Vec::with_capacity(2048);
    loop {
        let count = match stream.read_buf(&mut answer).await {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            other => other,
        };
        if let Err(error) = count {
            return Err(if answer.is_empty() { RequestFailure::Unanswered(error) } else { RequestFailure::Cut(error) });
        }
        if let Some(server) = check(&answer, &path)? {
            break read_end(stream, keep).await.map(|()| server);
        }
    }
}

/// After `Connection: close` the server must close and send nothing more.
async fn read_end(stream: &mut TcpStream, keep: bool) -> Result<(), RequestFailure> {
    if keep {
        return Ok(());
    }
    match stream.read_u8().await {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        Err(error) => Err(RequestFailure::Cut(error)),
        Ok(byte) => Err(RequestFailure::Wrong(format!("byte {byte:#x} after the end"))),
    }
}

/// The server's name if this is the whole right answer, `None` if it may become that.
fn check(answer: &[u8], path: &str) -> Result<Option<String>, RequestFailure> {
    let text = String::from_utf8_lossy(answer);
    let Some((head, got)) = text.split_once("\r\n\r\n") else {
        return Ok(None);
    };
    let wrong = || RequestFailure::Wrong(text.chars().take(120).collect());
    let server = head.lines().find_map(|line| line.strip_prefix("Server: ")).ok_or_else(wrong)?;
    let expected = body(path, server);
    if !head.starts_with("HTTP/1.1 200 ") || !expected.starts_with(got) {
        return Err(wrong());
    }
    Ok((expected.len() == got.len()).then(|| server.to_owned()))
}

/// Clients with one connection a request, and clients that keep theirs.
const SINGLE: usize = 28;
const KEEPING: usize = 4;

/// Requests on a kept connection, about.
const REQUESTS_KEPT: u32 = 100;

/// For one request with everything; the balancer's own deadlines are shorter.
const DEADLINE: Duration = Duration::from_secs(10);

const FAILURES_SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_right_answer_counts() {
        let right = format!("HTTP/1.1 200 OK\r\nServer: anna\r\n\r\n{}", body("/1", "anna"));
        for cut in 0..right.len() {
            assert!(matches!(check(&right.as_bytes()[..cut], "/1"), Ok(None)), "{cut}");
        }
        assert_eq!(check(right.as_bytes(), "/1").unwrap().as_deref(), Some("anna"));
        let wrong = [
            right.replace("200 OK", "503 Service Unavailable"),
            right.replace("Server: anna", "Server: bert"),
            format!("{right}x"),
            right.replace("Server", "Baker"),
        ];
        for answer in wrong {
            assert!(matches!(check(answer.as_bytes(), "/1"), Err(RequestFailure::Wrong(_))), "{answer}");
        }
        assert!(check(right.as_bytes(), "/2").is_err());
    }
}
