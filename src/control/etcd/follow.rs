//! Follow: one session after another for as long as the backend lives, and what continues without any.

use std::convert::Infallible;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::select;
use tokio::task::{JoinHandle, spawn_blocking, spawn_local};
use tokio::time::{interval, sleep};

use super::error::EtcdError;
use super::limits::reconnects;
use super::prefix::FollowedPrefix;
use super::session;
use crate::config;
use crate::control::state_file::SaveRetry;

/// Connects, follows, and begins again with the next endpoint. Never returns.
pub(super) async fn follow(followed: Rc<FollowedPrefix>, etcd: config::Etcd) {
    let first = fastrand::usize(..etcd.endpoints.len().max(1));
    let mut backoff = reconnects();
    for endpoint in etcd.endpoints.iter().cycle().skip(first) {
        let begun = Instant::now();
        let error = one_session(&followed, &etcd, endpoint).await;
        followed.lost(endpoint, error);
        sleep(backoff.delay_after(begun.elapsed())).await;
    }
}

async fn one_session(followed: &Rc<FollowedPrefix>, etcd: &config::Etcd, endpoint: &str) -> String {
    let (followed, etcd, endpoint) = (followed.clone(), etcd.clone(), endpoint.to_owned());
    isolated(async move { session::run(&followed, &etcd, &endpoint).await }).await
}

/// Runs a session in a task of its own, so that a panic in the library is one more way for a connection to end; returns why
/// it ended.
async fn isolated(session: impl Future<Output = Result<Infallible, EtcdError>> + 'static) -> String {
    let mut task = Ended(spawn_local(session));
    match (&mut task.0).await {
        Ok(Err(error)) => error.to_string(),
        Ok(Ok(never)) => match never {},
        Err(panic) => format!("the connection ended by a fault of this program: {panic}"),
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
pub(super) async fn keep(followed: Rc<FollowedPrefix>) {
    let mut ticks = interval(TICK);
    let mut retry = SaveRetry::default();
    loop {
        select! {
            _ = ticks.tick() => followed.tick(),
            () = followed.unsaved() => save(&followed, &mut retry).await,
            () = retry.due() => save(&followed, &mut retry).await,
        }
    }
}

/// A disk may stall for seconds: not on this thread. Changes meanwhile are written next, as one.
async fn save(followed: &FollowedPrefix, retry: &mut SaveRetry) {
    if let Some(save) = followed.save()
        && let Ok(outcome) = spawn_blocking(save).await
    {
        retry.after(&format!("backend {}: last known servers", followed.backend()), outcome);
    }
}

/// How often what is held for its checks is looked at.
const TICK: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "local")]
    async fn a_panic_of_the_library_is_one_more_way_for_a_connection_to_end() {
        let text = isolated(async { panic!("unknown event 9") }).await;
        assert!(text.contains("unknown event 9"), "{text}");
        assert_eq!(isolated(async { Err(EtcdError::Closed) }).await, "the watch was closed");
    }
}
