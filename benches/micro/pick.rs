//! A server picked, its session counted and returned, by 1 to 4 threads at the same time.
//!
//! Each server has a session already: with idle servers, `leastconn` would take the first and look no further. The time
//! is that of one pick on one thread, so that it stays the same where threads do not disturb each other, as far as
//! there are cores for them.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion};
use lb::internals::backend::{Backend, Hint, Lease};
use lb::internals::config::Balance;

use super::pool;

pub(crate) fn bench(criterion: &mut Criterion) {
    for (name, balance) in [
        ("roundrobin", Balance::RoundRobin),
        ("random", Balance::RANDOM),
        ("source", Balance::Source),
        ("leastconn", Balance::LeastConn),
    ] {
        let mut group = criterion.benchmark_group(format!("pick/{name}"));
        for servers in [3, 100, 1000] {
            let backend = pool::backend(balance, servers);
            let _busy = one_session_each(&backend);
            for threads in 1..=4 {
                let id = BenchmarkId::new(format!("{servers} servers"), format!("{threads} threads"));
                group.bench_function(id, |bencher| {
                    bencher.iter_custom(|picks| picking(&backend, threads, picks));
                });
            }
        }
        group.finish();
    }
}

fn one_session_each(backend: &Arc<Backend>) -> Vec<Lease> {
    let snapshot = Arc::clone(&backend.snapshot());
    let names = snapshot.members.iter().map(|member| &*member.server.name);
    names.filter_map(|name| backend.adopt(name, || unreachable!("it is a member"))).collect()
}

/// This many picks on each thread; returns the longest time that a thread needed.
fn picking(backend: &Arc<Backend>, threads: u8, picks: u64) -> Duration {
    let together = Barrier::new(usize::from(threads));
    thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                let together = &together;
                scope.spawn(move || {
                    together.wait();
                    let began = Instant::now();
                    for pick in 0..picks {
                        let [.., high, low] = pick.to_be_bytes();
                        let client = IpAddr::V4(Ipv4Addr::new(10, thread, high, low));
                        let hint = Hint { client: Some(client), ..Hint::default() };
                        drop(black_box(backend.pick(&hint)));
                    }
                    began.elapsed()
                })
            })
            .collect();
        let times = running.into_iter().filter_map(|thread| thread.join().ok());
        times.max().unwrap_or_default()
    })
}
