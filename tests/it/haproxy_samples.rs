//! The samples under lb and under the real HAProxy, with the same text and the same servers behind, which fail, leave and
//! come back: the same servers get sessions in the same shares, states change within the same times, and clients see the
//! same endings.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::support::beside::{Asking, Beside, Both, agree};
use crate::support::client::HANG;
use crate::support::figure::figure;
use crate::support::machine::Stopwatch;
use crate::support::sample::{Sample, SamplePool, SampleServer};
use crate::support::wait::eventually;

#[test]
fn samples_serve_as_under_haproxy() {
    let names = Sample::that_run();
    // The longest are the last.
    let next = AtomicUsize::new(0);
    let work = || {
        let mut refused = Vec::new();
        while let Some(name) = names.iter().rev().nth(next.fetch_add(1, Ordering::Relaxed)) {
            match Beside::start(name) {
                Some(beside) => Comparison { name, beside, apart: Duration::ZERO }.run(),
                None => refused.push(name.as_str()),
            }
        }
        refused
    };
    let mut refused: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    refused.sort_unstable();
    // HAProxy 2.6 refuses `nbproc`, `contimeout` and `default option tcplog`, which those before it took.
    assert_eq!(refused, ["h07-many-defaults.cfg", "h13-version-1.4.cfg", "s01-seed-http-redispatch.cfg"]);
}

struct Comparison<'n> {
    name: &'n str,
    beside: Beside,
    /// How far apart one change of a state was at most.
    apart: Duration,
}

impl Comparison<'_> {
    fn run(mut self) {
        for pool in std::mem::take(&mut self.beside.sample.pools) {
            let is_checked = pool.servers.iter().any(|server| server.checked);
            agree(&self.of(&pool, "first checks"), || self.beside.are_known(&pool), |known| *known);
            self.settle(&pool, &[]);
            self.compare_shares(&pool, "at first");
            self.compare_endings(&pool);
            if is_checked {
                self.one_fails(&pool)
            } else {
                self.all_fail_unchecked(&pool)
            }
            self.settle(&pool, &[]);
            self.compare_shares(&pool, "at last");
        }
        figure(&format!("{}: states of lb and HAProxy apart at most", self.name), format!("{:?}", self.apart));
    }

    fn of(&self, pool: &SamplePool, what: &str) -> String {
        format!("{}: {}: {what}", self.name, pool.name)
    }

    /// One server is in maint and one down, where there are so many; at last only the backups are left.
    fn one_fails(&mut self, pool: &SamplePool) {
        let active: Vec<_> = pool.servers.iter().filter(|server| !server.backup && !server.idle).collect();
        let [first, rest @ ..] = active.as_slice() else { return };
        let mut clients = self.beside.sessions(pool);
        let last = rest.last().map(|last| (last.name.as_str(), "MAINT"));
        if let [.., last] = rest {
            self.beside.set(pool, last, "maint");
            self.settle(pool, &[(&last.name, "MAINT")]);
            self.compare_sessions(pool, &mut clients, "one in maint");
        }
        let was_up = self.is_well(pool, first);
        self.turn(pool, first);
        self.compare_times(pool, first, if was_up { "DOWN" } else { "UP" });
        self.compare_sessions(pool, &mut clients, "one down");
        drop(clients);
        if self.settle(pool, last.as_slice()) {
            self.compare_shares(pool, "one down");
        }
        if pool.servers.iter().any(|server| server.backup) {
            rest.iter().for_each(|server| self.beside.set(pool, server, "maint"));
            let all: Vec<_> = rest.iter().map(|server| (server.name.as_str(), "MAINT")).collect();
            self.settle(pool, &all);
            self.compare_shares(pool, "the backup alone");
        }
        self.turn(pool, first);
        self.compare_times(pool, first, if was_up { "UP" } else { "DOWN" });
        rest.iter().for_each(|server| self.beside.set(pool, server, "ready"));
    }

    /// Without checks only clients notice.
    fn all_fail_unchecked(&mut self, pool: &SamplePool) {
        let first = &pool.servers[0];
        let mut clients = self.beside.sessions(pool);
        self.turn(pool, first);
        self.compare_sessions(pool, &mut clients, "its server is gone");
        drop(clients);
        let [ours, theirs] = self.beside.session_in_vain(pool);
        let what = self.of(pool, &format!("without a server: {ours:?}, HAProxy {theirs:?}"));
        // Here a session may be held longer, until `timeout queue`.
        assert!(ours.0 == theirs.0 && ours.1 + Duration::from_millis(500) > theirs.1, "{what}");
        self.turn(pool, first);
    }

    /// Stops a server or starts it again; one that is checked for its role takes the other one.
    fn turn(&mut self, pool: &SamplePool, server: &SampleServer) {
        let by_role = self.beside.sample.by_role();
        let site = self.beside.sample.sites.get_mut(&server.site).unwrap_or_else(|| panic!("no site in {}", pool.name));
        match (by_role, site.is_stopped()) {
            (true, _) => site.lead(!site.leads()),
            (false, true) => site.restart(),
            (false, false) => site.stop(),
        }
    }

    /// Whether its checks should pass.
    fn is_well(&self, pool: &SamplePool, server: &SampleServer) -> bool {
        let sample = &self.beside.sample;
        let site = &sample.sites[&server.site];
        !server.checked || !site.is_stopped() && (!sample.by_role() || (pool.name == "primary") == site.leads())
    }

    /// Waits until both say what is to be expected of servers that were set to these states, and of the others. Returns
    /// whether some server is left.
    fn settle(&self, pool: &SamplePool, set: &[(&str, &str)]) -> bool {
        let state = |server: &SampleServer| match set.iter().find(|(name, _)| *name == server.name) {
            Some((_, state)) => (*state).to_owned(),
            None => if self.is_well(pool, server) { "UP" } else { "DOWN" }.to_owned(),
        };
        let expected: Vec<_> = pool.servers.iter().map(state).collect();
        let what = self.of(pool, &format!("{expected:?}"));
        agree(&what, || self.beside.states(pool), |states| *states == expected);
        pool.servers.iter().zip(&expected).any(|(server, state)| state == "UP" && !server.idle)
    }

    /// Checks come at any moment of their interval: so much may lie between both.
    fn compare_times(&mut self, pool: &SamplePool, server: &SampleServer, state: &str) {
        let what = self.of(pool, &format!("{} is {state}", server.name));
        let (watch, mut times) = (Stopwatch::start(), [None, None]);
        let index = pool.servers.iter().position(|other| other.name == server.name).unwrap();
        eventually(HANG * 2, &what, || {
            for (time, states) in times.iter_mut().zip(self.beside.states(pool)) {
                *time = time.or_else(|| (states[index] == state).then(|| watch.elapsed()));
            }
            times.iter().all(Option::is_some).then_some(())
        });
        let [ours, theirs] = times.map(Option::unwrap);
        assert!(ours.abs_diff(theirs) < pool.inter + Duration::from_secs(1), "{what}: {ours:?}, HAProxy {theirs:?}");
        self.apart = self.apart.max(ours.abs_diff(theirs));
    }

    fn compare_shares(&self, pool: &SamplePool, when: &str) {
        let [ours, theirs] = self.beside.sessions(pool).map(|sessions| {
            let mut shares = BTreeMap::new();
            sessions.into_iter().for_each(|session| *shares.entry(session.who).or_insert(0_u32) += 1);
            shares
        });
        let what = self.of(pool, &format!("{when}: {ours:?}, HAProxy {theirs:?}"));
        assert!(ours.keys().eq(theirs.keys()), "{what}");
        // Each hashes in its own way.
        let alike = |(ours, theirs): (&u32, &u32)| ours.abs_diff(*theirs) <= 1;
        assert!(pool.balance == "source" || ours.values().zip(theirs.values()).all(alike), "{what}");
    }

    /// A server ends a session, one way and the other.
    fn compare_endings(&self, pool: &SamplePool) {
        let ends = |words| self.beside.session(pool).map(|session| session.unwrap().end(words));
        let [ours, theirs] = ends("CLOSE\n");
        assert_eq!(ours, theirs, "{}", self.of(pool, "its server has closed"));
        // Here they differ on purpose: HAProxy lets the client take a broken-off stream for a whole one.
        assert_eq!(ends("RESET\n"), ["ConnectionReset", "FIN"], "{}", self.of(pool, "its server has reset"));
    }

    /// Which sessions go on, and how others have ended. How many there are on each server is its share.
    fn compare_sessions(&self, pool: &SamplePool, clients: &mut Both<Vec<Asking>>, when: &str) {
        let ends = |clients: &mut Vec<Asking>| {
            let mut ends: Vec<_> = clients.iter_mut().map(Asking::now).collect();
            ends.sort();
            ends.dedup();
            ends
        };
        agree(&self.of(pool, when), || clients.each_mut().map(ends), |_| true);
    }
}

/// Most of the time they wait for checks.
const AT_ONCE: usize = 4;
