//! Bytes through a session of a real worker, between two socket pairs: small messages there and back, and bulk.
//!
//! The session enters the worker as in an upgrade, which needs no listener. The time includes waking the worker's
//! thread and this one. Bulk is also measured without `lb`, over one pair.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use criterion::{Criterion, Throughput};
use lb::internals::backend::Backend;
use lb::internals::config::{self, Balance};
use lb::internals::proxy::ClientName;
use lb::internals::proxy::Frontend;
use lb::internals::proxy::Limit;
use lb::internals::proxy::SessionLog;
use lb::internals::proxy::Worker;
use lb::internals::proxy::WorkerResources;
use lb::internals::proxy::{Frozen, FrozenFlow, FrozenRelay, Stage};
use tokio::sync::mpsc;

use super::pool;

pub(crate) fn bench(criterion: &mut Criterion) {
    let proxy = Proxy::start().expect("this machine has room for a thread and a log");
    let mut group = criterion.benchmark_group("relay");
    for bytes in [128, 4096] {
        let (mut client, mut server) = proxy.session().expect("there are descriptors left");
        let mut message = vec![0; bytes];
        group.throughput(Throughput::Bytes(2 * bytes as u64));
        group.bench_function(format!("{bytes} bytes there and back"), |bencher| {
            bencher.iter(|| {
                pass(&mut client, &mut server, &mut message)?;
                pass(&mut server, &mut client, &mut message)
            });
        });
    }
    let (client, mut server) = proxy.session().expect("there are descriptors left");
    group.throughput(Throughput::Bytes(BULK as u64));
    group.bench_function("bulk, a MiB", |bencher| {
        bencher.iter_custom(|blocks| bulk(&client, &mut server, blocks));
    });
    let (client, mut server) = UnixStream::pair().expect("there are descriptors left");
    group.bench_function("bulk, a MiB, without lb", |bencher| {
        bencher.iter_custom(|blocks| bulk(&client, &mut server, blocks));
    });
    group.finish();
}

const BULK: usize = 1024 * 1024;

fn pass(from: &mut UnixStream, to: &mut UnixStream, message: &mut [u8]) -> io::Result<()> {
    from.write_all(message)?;
    to.read_exact(message)
}

/// Writes blocks from a thread of its own and reads them here.
fn bulk(mut client: &UnixStream, server: &mut UnixStream, blocks: u64) -> Duration {
    thread::scope(|scope| {
        let began = Instant::now();
        scope.spawn(move || {
            let block = vec![1; BULK];
            (0..blocks).try_for_each(|_| client.write_all(&block))
        });
        let mut buf = vec![0; BULK];
        for _ in 0..blocks {
            server.read_exact(&mut buf).expect("the session stays open for as long as its client");
        }
        began.elapsed()
    })
}

/// A worker and the context of its sessions.
struct Proxy {
    worker: Worker,
    frontend: Arc<Frontend>,
    backend: Arc<Backend>,
}

impl Proxy {
    fn start() -> io::Result<Self> {
        let backend = pool::backend(Balance::RoundRobin, 1);
        let mut settings = config::Frontend::new("web", Vec::new(), "app");
        settings.log = Arc::new(config::LogSettings { sessions: false, ..config::LogSettings::default() });
        let frontend = Frontend::new(settings, Arc::clone(&backend), Arc::new(Limit::new(1000)));
        let log = SessionLog::start(0, Vec::new())?;
        // No connection is made, so that no state is reported.
        let (notices, _) = mpsc::channel(1);
        let resources = WorkerResources { log, notices, pipes: 8 };
        Ok(Self { worker: Worker::start(0, resources)?, frontend, backend })
    }

    /// The outer ends of a session: a client's and a server's.
    fn session(&self) -> io::Result<(UnixStream, UnixStream)> {
        let (client, near) = UnixStream::pair()?;
        let (far, server) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        let relay = FrozenRelay {
            client: near.into(),
            server: far.into(),
            up: FrozenFlow::default(),
            down: FrozenFlow::default(),
            client_idle: Duration::ZERO,
            server_idle: Duration::ZERO,
            server_owes: false,
        };
        let frozen = Frozen {
            frontend: Arc::clone(&self.frontend.name),
            client: ClientName::Unknown,
            local: None,
            accepted: SystemTime::now(),
            age: Duration::ZERO,
            stage: Stage::Relaying {
                relay: Box::new(relay),
                backend: Arc::clone(&self.backend.name),
                server: "s0".into(),
                queue: Duration::ZERO,
                connect: Duration::ZERO,
                retries: 0,
                redispatched: false,
            },
        };
        self.worker.thaw(frozen, &self.frontend, Arc::clone(&self.backend));
        Ok((client, server))
    }
}
