//! Follow: one session after another for as long as the backend lives, and what must go on without any.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::select;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{interval, sleep};

use super::session;
use super::shared::Shared;
use crate::config;

/// Connects, follows, and begins again with the next endpoint. Never returns.
pub(super) async fn follow(shared: Arc<Shared>, etcd: config::Etcd) {
    let first = fastrand::usize(..etcd.endpoints.len().max(1));
    let mut pause = Pause::default();
    for endpoint in etcd.endpoints.iter().cycle().skip(first) {
        let begun = Instant::now();
        let error = one_session(&shared, &etcd, endpoint).await;
        shared.lost(endpoint, error);
        sleep(pause.after(begun.elapsed())).await;
    }
}

/// In a task of its own: a panic in the library is one more way for a connection to end.
async fn one_session(shared: &Arc<Shared>, etcd: &config::Etcd, endpoint: &str) -> String {
    let (shared, etcd, endpoint) = (shared.clone(), etcd.clone(), endpoint.to_owned());
    let mut session = Ended(tokio::spawn(async move {
        session::run(&shared, &etcd, &endpoint).await
    }));
    match (&mut session.0).await {
        Ok(Err(error)) => error.to_string(),
        Ok(Ok(never)) => match never {},
        Err(panic) => format!("the connection's task ended by itself: {panic}"),
    }
}

/// A task that ends with its owner.
struct Ended<T>(JoinHandle<T>);

impl<T> Drop for Ended<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Keeps the disk and the holds up to date, connection or not. Never returns.
pub(super) async fn keep(shared: Arc<Shared>) {
    let mut ticks = interval(TICK);
    loop {
        select! {
            _ = ticks.tick() => shared.tick(),
            () = shared.unsaved() => {
                let shared = shared.clone();
                // A disk may stall for seconds: not on this thread. Changes meanwhile are written next, as one.
                spawn_blocking(move || shared.save()).await.ok();
            }
        }
    }
}

/// The growing pause between attempts.
#[derive(Debug)]
struct Pause {
    next: Duration,
}

impl Default for Pause {
    fn default() -> Self {
        Self { next: FIRST_PAUSE }
    }
}

impl Pause {
    /// The pause after a session that lasted so long, half of it by chance, so that many balancers do not come at once.
    fn after(&mut self, session: Duration) -> Duration {
        if session >= GOOD_SESSION {
            self.next = FIRST_PAUSE;
        }
        let pause = self.next.mul_f64(0.5 + fastrand::f64() / 2.0);
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// How often what is held for its checks is looked at.
const TICK: Duration = Duration::from_millis(500);

const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// Short enough that an etcd that is back is used within five seconds.
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// A session of this length was none of a row of failures: the longest a failing attempt takes is less.
const GOOD_SESSION: Duration = Duration::from_secs(15);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_bound_and_begin_anew_after_a_good_session() {
        let mut pause = Pause::default();
        let row: Vec<Duration> = (0..10).map(|_| pause.after(Duration::ZERO)).collect();
        assert!(row[0] >= FIRST_PAUSE / 2 && row[0] <= FIRST_PAUSE);
        assert!(row[9] >= LONGEST_PAUSE / 2 && row.iter().all(|pause| *pause <= LONGEST_PAUSE));
        assert!(pause.after(GOOD_SESSION) <= FIRST_PAUSE);
    }
}
