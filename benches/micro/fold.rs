//! Discovery: a listing of 1,000 keys, and one change after it, folded and settled into the set that is applied.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion};
use lb::internals::control::{Discovery, Event, Kv, Leaving, Listing};

const KEYS: i64 = 1000;

pub(crate) fn bench(criterion: &mut Criterion) {
    let now = Instant::now();
    let mut group = criterion.benchmark_group("etcd fold");
    group.bench_function("first listing of 1,000 keys", |bencher| {
        let fresh = || (Discovery::new("/app/", GUARD), listing(1));
        let fold = |(mut discovery, listing): (Discovery, Listing)| {
            let leaving = discovery.listing(listing);
            settle(&mut discovery, leaving, true, now);
            discovery
        };
        bencher.iter_batched(fresh, fold, BatchSize::LargeInput);
    });
    group.bench_function("the same listing again", |bencher| {
        let mut discovery = listed(now);
        let fold = |listing| {
            let leaving = discovery.listing(listing);
            settle(&mut discovery, leaving, true, now)
        };
        bencher.iter_batched(|| listing(1), fold, BatchSize::LargeInput);
    });
    group.bench_function("one change among 1,000 keys", |bencher| {
        let mut discovery = listed(now);
        let mut revision = KEYS + 1;
        bencher.iter(|| {
            revision += 1;
            let leaving = discovery.events(vec![Event::Put(kv(7, revision))]);
            settle(&mut discovery, leaving, false, now)
        });
    });
    group.finish();
}

fn settle(discovery: &mut Discovery, leaving: Leaving, fresh: bool, now: Instant) -> bool {
    discovery.settle(leaving, &BTreeSet::new(), fresh, now, &|_| Some(true))
}

fn listed(now: Instant) -> Discovery {
    let mut discovery = Discovery::new("/app/", GUARD);
    let leaving = discovery.listing(listing(1));
    settle(&mut discovery, leaving, true, now);
    discovery
}

fn listing(cluster_id: u64) -> Listing {
    Listing { cluster_id, revision: KEYS + 1, kvs: (0..KEYS).map(|index| kv(index, index + 1)).collect() }
}

/// Half of the values are JSON; the port follows the revision, so that a later put is a change.
fn kv(index: i64, mod_revision: i64) -> Kv {
    let addr = format!("10.0.0.1:{}", 1 + mod_revision % 60_000);
    let value = match index % 2 {
        0 => addr,
        _ => format!("{{\"addr\": \"{addr}\", \"weight\": 2, \"maxconn\": 100}}"),
    };
    Kv { key: format!("/app/server-{index}").into_bytes(), value: value.into_bytes(), mod_revision, lease: index }
}

const GUARD: Duration = Duration::from_secs(30);
