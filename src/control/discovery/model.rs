//! A model of etcd and of the road to it, and thousands of seeded histories against which the fold is held.
//!
//! The store knows revisions, transactions, leases, compaction and restores; the road loses connections, repeats and
//! shuffles what was delivered before. The oracle of the guard is written from its description, not from its code.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::{Discovered, Discovery, Event, Kv, Leaving, Listing, Servers};

/// What a real etcd would hold.
#[derive(Clone)]
struct Store {
    cluster_id: u64,
    revision: i64,
    compacted: i64,
    keys: BTreeMap<String, Kv>,
    history: Vec<(i64, Event)>,
    leases: BTreeSet<i64>,
}

impl Store {
    fn new() -> Self {
        Self {
            cluster_id: 1,
            revision: 1,
            compacted: 0,
            keys: BTreeMap::new(),
            history: Vec::new(),
            leases: BTreeSet::new(),
        }
    }

    /// One revision with all these changes. `None` deletes.
    fn transact(&mut self, changes: Vec<(String, Option<(String, i64)>)>) {
        let mod_revision = self.revision + 1;
        for (name, change) in changes {
            let key = format!("/p/{name}").into_bytes();
            let event = match change {
                Some((value, lease)) => {
                    let value = value.into_bytes();
                    let kv = Kv { key, value, mod_revision, lease };
                    self.keys.insert(name, kv.clone());
                    Event::Put(kv)
                }
                None if self.keys.remove(&name).is_some() => Event::Delete { key, mod_revision },
                None => continue,
            };
            self.revision = mod_revision;
            self.history.push((mod_revision, event));
        }
    }

    fn expire(&mut self, lease: i64) {
        self.leases.remove(&lease);
        let attached = self.keys.iter().filter(|(_, kv)| kv.lease == lease);
        let changes = attached.map(|(name, _)| (name.clone(), None)).collect();
        self.transact(changes);
    }

    fn good(&self) -> Servers {
        let parsed = self.keys.iter().filter_map(|(name, kv)| {
            let (server, _) = Discovered::parse(&kv.value).ok()?;
            Some((name.clone(), server))
        });
        parsed.collect()
    }

    fn listing(&self) -> Listing {
        Listing { cluster_id: self.cluster_id, revision: self.revision, kvs: self.keys.values().cloned().collect() }
    }
}

/// One seeded history.
struct World {
    rng: Rng,
    store: Store,
    snapshots: Vec<Store>,
    discovery: Discovery,
    now: Instant,
    delay: Duration,
    bad_values: bool,
    failing: BTreeSet<String>,
    /// The watch continues at this revision. `None`: not connected.
    watch: Option<i64>,
    delivered: Vec<Event>,
    /// Every set that existed at some revision.
    real: HashSet<Servers>,
    /// When the names that are not in the view left it.
    left: BTreeMap<String, Instant>,
    next_lease: i64,
}

impl World {
    fn new(seed: u64, delay: Duration, bad_values: bool) -> Self {
        let store = Store::new();
        Self {
            rng: Rng::with_seed(seed),
            real: HashSet::from([store.good()]),
            snapshots: vec![store.clone()],
            store,
            discovery: Discovery::new("/p/", delay),
            now: Instant::now(),
            delay,
            bad_values,
            failing: BTreeSet::new(),
            watch: None,
            delivered: Vec::new(),
            left: BTreeMap::new(),
            next_lease: 100,
        }
    }

    fn run(&mut self) {
        for _ in 0..self.rng.usize(20..150) {
            match self.rng.u8(0..100) {
                0..=34 => self.write(),
                35..=39 => self.expire_some_lease(),
                40..=42 => self.store.compacted = self.rng.i64(0..=self.store.revision),
                43..=45 => self.snapshots.push(self.store.clone()),
                46..=47 => self.restore(),
                48..=54 => self.watch = None,
                55..=62 => self.toggle_health(),
                63..=64 => self.list(),
                65..=66 => self.accept(),
                67..=74 => self.tick(),
                _ => self.receive(),
            }
            self.real.insert(self.store.good());
            self.now += Duration::from_millis(self.rng.u64(0..3000));
        }
        self.settle_down();
    }

    fn a_name(&mut self) -> String {
        format!("s{}", self.rng.u8(0..8))
    }

    fn write(&mut self) {
        let mut changes = Vec::new();
        let several = if self.rng.u8(0..4) == 0 { 6 } else { 1 };
        let deleting = self.rng.u8(0..3) == 0;
        for _ in 0..self.rng.usize(1..=several) {
            let name = self.a_name();
            // etcd refuses a transaction that touches a key twice.
            if changes.iter().any(|(known, _)| *known == name) {
                continue;
            }
            let change = (!deleting).then(|| (self.a_value(), self.a_lease()));
            changes.push((name, change));
        }
        self.store.transact(changes);
    }

    fn a_value(&mut self) -> String {
        if self.bad_values && self.rng.u8(0..4) == 0 {
            return ["", "nonsense", "{\"addr\":3}", "unix@/x"][self.rng.usize(0..4)].to_owned();
        }
        let port = self.rng.u16(1..9);
        if self.rng.bool() {
            return format!("10.0.0.1:{port}");
        }
        let drain = self.rng.u8(0..4) == 0;
        format!("{{\"addr\":\"10.0.0.1:{port}\",\"weight\":{},\"drain\":{drain},\"x\":1}}", self.rng.u8(0..3))
    }

    fn a_lease(&mut self) -> i64 {
        match self.rng.u8(0..3) {
            0 => 0,
            1 if !self.store.leases.is_empty() => {
                let nth = self.rng.usize(0..self.store.leases.len());
                self.store.leases.iter().nth(nth).copied().unwrap()
            }
            _ => {
                self.next_lease += 1;
                self.store.leases.insert(self.next_lease);
                self.next_lease
            }
        }
    }

    fn expire_some_lease(&mut self) {
        if let Some(lease) = self.store.leases.first().copied() {
            self.store.expire(lease);
        }
    }

    /// An older snapshot becomes the truth. With the same cluster id it is noticed by its lower revision, and so before
    /// new writes hide it: what happens otherwise is for the listing that follows each reconnect.
    fn restore(&mut self) {
        let nth = self.rng.usize(0..self.snapshots.len());
        let old_id = self.store.cluster_id;
        self.store = self.snapshots[nth].clone();
        self.watch = None;
        if self.rng.bool() {
            self.store.cluster_id = self.rng.u64(1000..);
        } else {
            self.store.cluster_id = old_id;
            self.connect();
        }
        // Snapshots of the time that did not happen are gone with it.
        self.snapshots = vec![self.store.clone()];
    }

    fn toggle_health(&mut self) {
        let name = self.a_name();
        if !self.failing.remove(&name) {
            self.failing.insert(name);
        }
    }

    fn connect(&mut self) {
        let view = self.discovery.view();
        let header = view.relist(self.store.cluster_id, self.store.revision);
        let next = view.revision() + 1;
        if header.is_some() || next <= self.store.compacted {
            self.list();
        } else {
            self.watch = Some(next);
        }
    }

    fn list(&mut self) {
        let leaving = self.discovery.listing(self.store.listing());
        self.watch = Some(self.store.revision + 1);
        self.settle(leaving, true);
        let due = self.discovery.wants_listing(self.now);
        assert!(!due, "a listing ends every hold that is due");
    }

    fn receive(&mut self) {
        let Some(next) = self.watch else {
            return self.connect();
        };
        let mut events = self.repeats();
        let revisions = self.rng.i64(1..4);
        let last = self.store.revision.min(next + revisions - 1);
        let new = self.store.history.iter();
        let new = new.filter(|(revision, _)| (next..=last).contains(revision));
        let new: Vec<Event> = new.map(|(_, event)| event.clone()).collect();
        self.delivered.extend(new.iter().cloned());
        events.extend(new);
        self.watch = Some(last + 1);
        let leaving = self.discovery.events(events);
        self.settle(leaving, false);
    }

    /// Events delivered before, in any order. They are of this timeline only if their revision was seen since.
    fn repeats(&mut self) -> Vec<Event> {
        let seen = self.discovery.view().revision();
        let mut old = self.delivered.clone();
        old.retain(|event| event.mod_revision() <= seen);
        self.rng.shuffle(&mut old);
        old.truncate(self.rng.usize(0..4));
        old
    }

    fn tick(&mut self) {
        self.settle(Leaving::default(), false);
    }

    fn accept(&mut self) {
        self.discovery.accept();
        self.left.clear();
        assert!(self.discovery.held().is_empty());
        assert_eq!(**self.discovery.applied(), *self.discovery.view().servers());
    }

    fn settle(&mut self, leaving: Leaving, fresh: bool) {
        let asked = leaving.leases();
        let alive: BTreeSet<i64> = asked.intersection(&self.store.leases).copied().collect();
        let last_keys = leaving.servers.clone();
        let before = self.discovery.applied().clone();
        let held = self.discovery.held().clone();
        let failing = self.failing.clone();
        let passes = |name: &str| !failing.contains(name);
        let changed = self.discovery.settle(leaving, &alive, fresh, self.now, &|name| Some(passes(name)));
        assert_eq!(changed, before != *self.discovery.applied());
        if self.delay.is_zero() {
            return self.check_unguarded();
        }
        let wanted = self.discovery.view().servers();
        let applied = self.discovery.applied();
        let announced = |name: &str| last_keys.get(name).is_some_and(|key| key.drain);
        for name in before.keys().filter(|name| !wanted.contains_key(*name) && !announced(name)) {
            self.left.entry(name.clone()).or_insert(self.now);
        }
        self.left.retain(|name, _| !wanted.contains_key(name) && !announced(name));
        for (name, server) in wanted {
            assert_eq!(applied.get(name), Some(server), "what is wanted is applied");
        }
        for name in applied.keys() {
            let held = self.discovery.held().contains_key(name);
            assert_ne!(held, wanted.contains_key(name), "the rest is held: {name}");
        }
        for name in self.discovery.held().keys() {
            assert!(passes(name) && !announced(name), "{name} is held and fails its check, or said that it leaves");
        }
        let ten = Duration::from_secs(10);
        let gone = self.left.values().filter(|at| self.now - **at < ten).count();
        let stay = wanted.values().filter(|server| !server.drain).count();
        let mass = stay == 0 || gone > 2 && 2 * gone > gone + stay;
        for name in before.keys().filter(|name| !applied.contains_key(*name)) {
            match held.get(name) {
                Some(held) if fresh && self.now >= held.until => {}
                Some(_) if announced(name) => {}
                Some(_) => assert!(!passes(name), "{name} left a hold"),
                None if announced(name) || !passes(name) => {}
                None => {
                    assert!(!mass, "{name} was part of a mass");
                    let lease = last_keys.get(name).map_or(0, |key| key.lease);
                    let expired = lease != 0 && !alive.contains(&lease);
                    assert!(!expired, "{name} lost only its lease");
                }
            }
        }
    }

    fn check_unguarded(&self) {
        if !self.bad_values {
            assert!(self.real.contains(&**self.discovery.applied()) || **self.discovery.applied() == self.store.good());
        }
    }

    /// Everything is delivered, every hold runs out: what is applied is what the store has.
    fn settle_down(&mut self) {
        self.connect();
        while self.watch.is_some_and(|next| next <= self.store.revision) {
            self.receive();
        }
        self.compare(self.discovery.view().servers());
        self.now += self.delay;
        self.list();
        assert!(self.discovery.held().is_empty());
        self.compare(self.discovery.applied());
    }

    /// A key with a bad value may have any good value or none; all others are as in the store.
    fn compare(&self, servers: &Servers) {
        let mut servers = servers.clone();
        let good = self.store.good();
        servers.retain(|name, _| good.contains_key(name) || !self.store.keys.contains_key(name));
        assert_eq!(servers, good);
    }
}

fn run(seeds: std::ops::Range<u64>, delay: Duration, bad_values: bool) {
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| World::new(seed, delay, bad_values).run());
        assert!(outcome.is_ok(), "seed {seed}, delay {delay:?}, bad values {bad_values}");
    }
}

const DELAY: Duration = Duration::from_secs(30);

#[test]
fn random_histories_end_equal_and_apply_only_sets_that_existed() {
    run(0..3000, Duration::ZERO, false);
}

#[test]
fn random_histories_never_lose_more_than_the_guard_allows() {
    run(3000..6000, DELAY, false);
}

#[test]
fn random_histories_with_bad_values_keep_the_good_ones() {
    run(6000..8000, Duration::ZERO, true);
    run(8000..10_000, DELAY, true);
}
