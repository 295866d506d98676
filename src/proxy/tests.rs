//! Live sessions frozen and thawed while bytes flow: every byte is checked, whatever the moment.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::context::WorkerResources;
use super::frontend::Frontend;
use super::gate::Gate;
use super::limit::Limit;
use super::session;
use super::worker::{ListenerId, Worker};
use crate::backend::{Backend, MemberOrigin, MemberSpec};
use crate::config;
use crate::log::SessionLog;
use crate::sys::addr::Addr;
use crate::sys::socket::{ListenOptions, bind, listen, local_addr};

/// What an open session costs in the first place: its future, beside two entries in the reactor.
#[test]
fn a_session_is_small() {
    let size = size_of_future(&session::serve);
    println!("figure: {size} bytes a session's future");
    assert!(size <= 576, "{size} bytes");
}

fn size_of_future<A, B, C, D, F: Future>(_: &impl Fn(A, B, C, D) -> F) -> usize {
    size_of::<F>()
}

mod endings;

struct Bench {
    workers: [Worker; 2],
    frontend: Arc<Frontend>,
    backend: Arc<Backend>,
    addr: SocketAddr,
    // Keeps the channel open.
    _notices: mpsc::Receiver<super::Notice>,
}

impl Bench {
    /// A frontend on the first worker, in front of `origin`.
    fn new(origin: SocketAddr, pipes: usize) -> Self {
        Self::with(config::Backend::new("app", Vec::new()), origin, pipes)
    }

    /// The same with settings of the backend.
    fn with(settings: config::Backend, origin: impl Into<Addr>, pipes: usize) -> Self {
        let settings = Arc::new(settings);
        let backend = Backend::new(Arc::clone(&settings));
        let spec = MemberSpec {
            name: "a".into(),
            addr: origin.into(),
            port_shift: None,
            host: None,
            weight: config::Weight::default(),
            maxconn: None,
            backup: false,
            disabled: false,
            options: Arc::clone(&settings.options),
            drain: false,
            origin: MemberOrigin::Static,
        };
        backend.apply(settings, vec![spec], Instant::now()).unwrap();
        let mut quiet = config::Frontend::new("web", Vec::new(), "app");
        quiet.log = Arc::new(config::LogSettings { sessions: false, ..config::LogSettings::default() });
        let frontend = Frontend::new(quiet, Arc::clone(&backend), Arc::new(Limit::new(10_000)));
        let log = SessionLog::start(0, Vec::new()).unwrap();
        let (notices, received) = mpsc::channel(8);
        let worker = |index| {
            Worker::start(index, WorkerResources { log: log.clone(), notices: notices.clone(), pipes }).unwrap()
        };
        let workers = [worker(0), worker(1)];
        let options = ListenOptions { backlog: 64, ..ListenOptions::default() };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let socket = bind(any, &options, false).unwrap();
        listen(std::os::fd::AsFd::as_fd(&socket), &options).unwrap();
        let addr = local_addr(std::os::fd::AsFd::as_fd(&socket)).unwrap();
        let gate = Gate::new(config::BindEntry::new(any.into()));
        workers[0].listen(ListenerId(0), Arc::clone(&frontend), gate, socket);
        Self { workers, frontend, backend, addr, _notices: received }
    }

    /// Waits until no session is left, and with it nothing that sessions hold, wherever they ended.
    fn await_end(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let left: usize = self.workers.iter().map(|worker| runtime.block_on(worker.stats()).sessions).sum();
            let counted = self.frontend.limit.used() + self.backend.sessions();
            if left == 0 && counted == 0 {
                break;
            }
            assert!(Instant::now() < deadline, "{left} sessions and {counted} counts are left");
            thread::yield_now();
        }
    }

    /// Moves all sessions from worker to worker and back until `done`. Returns how many were moved.
    fn shuffle(&self, moves: &AtomicU64, done: impl Fn() -> bool) -> usize {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut moved = 0;
        let mut from = 0;
        while !done() {
            let (sink, mut frozen) = mpsc::unbounded_channel();
            self.workers[from].freeze(usize::MAX, sink);
            runtime.block_on(async {
                while let Some(session) = frozen.recv().await {
                    self.workers[1 - from].thaw(session, &self.frontend, Arc::clone(&self.backend));
                    moved += 1;
                }
            });
            moves.fetch_add(1, SeqCst);
            from = 1 - from;
        }
        moved
    }
}

/// Bytes that are different at every place of every stream.
fn stream_byte(seed: u64, at: u64) -> u8 {
    let mixed = (at ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed.to_be_bytes()[1]
}

fn fill(seed: u64, at: u64, len: usize) -> Vec<u8> {
    (at..).take(len).map(|at| stream_byte(seed, at)).collect()
}

fn check(seed: u64, at: u64, bytes: &[u8]) {
    for (offset, byte) in (at..).zip(bytes) {
        assert_eq!(*byte, stream_byte(seed, offset), "byte {offset} of stream {seed}");
    }
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

fn echo_origin() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            thread::spawn(move || {
                let mut buf = vec![0; 48 * 1024];
                while let Ok(len @ 1..) = stream.read(&mut buf) {
                    if stream.write_all(&buf[..len]).is_err() {
                        return;
                    }
                }
            });
        }
    });
    addr
}

/// Sends and receives `total` bytes at once; `pace` is called between reads.
fn bulk(addr: SocketAddr, seed: u64, total: u64, mut pace: impl FnMut(u64)) {
    let mut stream = connect(addr);
    let mut writer = stream.try_clone().unwrap();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut at = 0;
            while at < total {
                let len = (total - at).min(30_000 + seed * 977);
                writer.write_all(&fill(seed, at, usize::try_from(len).unwrap())).unwrap();
                at += len;
            }
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut buf = vec![0; 40_000];
        let mut at = 0;
        loop {
            pace(at);
            let len = stream.read(&mut buf).unwrap();
            if len == 0 {
                break;
            }
            check(seed, at, &buf[..len]);
            at += len as u64;
        }
        assert_eq!(at, total, "stream {seed} ended early");
    });
}

fn ping_pong(addr: SocketAddr, seed: u64, rounds: u64) {
    let mut stream = connect(addr);
    let mut at = 0;
    for round in 0..rounds {
        let len = usize::try_from(1 + (round * 37 + seed) % 900).unwrap();
        stream.write_all(&fill(seed, at, len)).unwrap();
        let mut back = vec![0; len];
        stream.read_exact(&mut back).unwrap();
        check(seed, at, &back);
        at += len as u64;
    }
    stream.shutdown(Shutdown::Write).unwrap();
    assert_eq!(stream.read(&mut [0; 1]).unwrap(), 0);
}

fn move_live_sessions(pipes: usize) {
    let bench = Bench::new(echo_origin(), pipes);
    let addr = bench.addr;
    let moves = AtomicU64::new(0);
    let running = AtomicUsize::new(8);
    thread::scope(|scope| {
        let (moves, running) = (&moves, &running);
        let start = |work: Box<dyn FnOnce() + Send>| {
            scope.spawn(move || {
                // Counted down on panic too, or the shuffle would never end.
                struct CountDown<'a>(&'a AtomicUsize);
                impl Drop for CountDown<'_> {
                    fn drop(&mut self) {
                        self.0.fetch_sub(1, SeqCst);
                    }
                }
                let _done = CountDown(running);
                work();
            })
        };
        let mut clients = Vec::new();
        for seed in 1..=3 {
            clients.push(start(Box::new(move || bulk(addr, seed, 24 << 20, |_| ()))));
        }
        for seed in 4..=6 {
            clients.push(start(Box::new(move || ping_pong(addr, seed, 3000))));
        }
        // Readers that stall with full buffers until the session has been moved a few times more.
        for seed in 7..=8 {
            clients.push(scope.spawn(move || {
                let mut next = 0;
                bulk(addr, seed, 12 << 20, |at| {
                    if at >= next {
                        next += 3 << 20;
                        let until = moves.load(SeqCst) + 5;
                        while moves.load(SeqCst) < until {
                            thread::yield_now();
                        }
                    }
                });
                running.fetch_sub(1, SeqCst);
            }));
        }
        let moved = bench.shuffle(moves, || running.load(SeqCst) == 0);
        for client in clients {
            client.join().unwrap();
        }
        assert!(moved > 100, "only {moved} sessions were moved");
        println!("figure: freeze and thaw: {moved} moves of live sessions, {pipes} pipes a worker, 0 bytes corrupt");
    });
    bench.await_end();
}

#[test]
fn live_sessions_move_between_workers_without_losing_a_byte() {
    move_live_sessions(8);
}

#[test]
fn they_do_so_without_pipes_too() {
    move_live_sessions(0);
}

#[test]
fn a_frozen_session_without_a_receiver_continues_where_it_was() {
    let bench = Bench::new(echo_origin(), 0);
    let mut client = connect(bench.addr);
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    let (sink, frozen) = mpsc::unbounded_channel();
    drop(frozen);
    for byte in 0..10 {
        bench.workers[0].freeze(1, sink.clone());
        client.write_all(&[byte]).unwrap();
        let mut echo = [0];
        client.read_exact(&mut echo).unwrap();
        assert_eq!(echo, [byte]);
    }
    drop(client);
    bench.await_end();
}

#[test]
fn descriptors_move_with_a_session() {
    // A frozen session owns its sockets: dropping it is all it takes to end it.
    fn owned(_: &OwnedFd) {}
    let bench = Bench::new(echo_origin(), 0);
    let mut client = connect(bench.addr);
    client.write_all(b"x").unwrap();
    client.read_exact(&mut [0]).unwrap();
    let (sink, mut frozen) = mpsc::unbounded_channel();
    bench.workers[0].freeze(1, sink);
    let session = frozen.blocking_recv().unwrap();
    let super::frozen::Stage::Relaying { relay, server, .. } = session.stage else { panic!("not relaying") };
    assert_eq!(&*server, "a");
    assert_eq!((relay.up.received, relay.up.sent, relay.down.sent), (1, 1, 1));
    owned(&relay.client);
    drop(relay);
    assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
}
