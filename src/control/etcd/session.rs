//! Session: the life of one connection: where are we, list if need be, watch, and leave at the first doubt.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use etcd_client::WatchResponse;
use tokio::select;
use tokio::time::{Instant, interval_at, sleep_until, timeout};
use tracing::info;

use super::error::EtcdError;
use super::link::{Link, event_of, position_of};
use super::prefix::FollowedPrefix;
use crate::config;
use crate::control::discovery::{Event, Relist};

/// Follows the prefix until something is wrong with the connection.
pub(super) async fn run(
    followed: &FollowedPrefix,
    etcd: &config::Etcd,
    endpoint: &str,
) -> Result<Infallible, EtcdError> {
    let link = Link::new(etcd, endpoint, followed.prefix()).await?;
    let mut session = EtcdSession { followed, link, relist_at: soon() };
    let (cluster_id, revision) = session.link.position().await?;
    match followed.relist(cluster_id, revision) {
        Some(why) => session.list(&why.to_string()).await?,
        None => {
            info!("backend {}: etcd {endpoint}: continuing at revision {}", followed.backend(), followed.revision())
        }
    }
    followed.connected(endpoint);
    loop {
        let compacted = session.watch().await?;
        session.list(&format!("revisions before {compacted} were compacted away")).await?;
    }
}

struct EtcdSession<'a> {
    followed: &'a FollowedPrefix,
    link: Link,
    /// When to list again though nothing asks for it.
    relist_at: Instant,
}

impl EtcdSession<'_> {
    async fn list(&mut self, why: &str) -> Result<(), EtcdError> {
        let listing = self.link.list().await?;
        let (keys, revision) = (listing.kvs.len(), listing.revision);
        let leases = self.followed.fold_listing(listing);
        let alive = self.link.alive(leases).await;
        self.followed.settle(&alive, true);
        self.relist_at = later();
        info!("backend {}: {keys} keys listed at revision {revision} ({why})", self.followed.backend());
        Ok(())
    }

    /// Watches until the revisions it needs are gone; returns the first that is left.
    async fn watch(&mut self) -> Result<i64, EtcdError> {
        let (mut requests, mut answers) = self.link.watch(self.followed.revision() + 1).await?;
        let mut progress = interval_at(Instant::now() + PROGRESS, PROGRESS);
        let mut heard = Instant::now();
        loop {
            let hold_ends = self.followed.hold_ends();
            select! {
                answer = answers.message() => {
                    heard = Instant::now();
                    let answer = answer?.ok_or(EtcdError::Closed)?;
                    if let Some(compacted) = self.receive(&answer).await? {
                        return Ok(compacted);
                    }
                }
                _ = progress.tick() => {
                    // The request waits for room behind others only when the connection is stuck.
                    let asked = timeout(PROGRESS, requests.request_progress()).await;
                    asked.map_err(|_| EtcdError::Silent(PROGRESS))??;
                }
                () = sleep_until(heard + SILENCE) => return Err(EtcdError::Silent(SILENCE)),
                () = sleep_until(self.relist_at) => self.list_anew("as every ten minutes, and soon after reconnecting").await?,
                () = until(hold_ends) => self.list_anew("to end a hold").await?,
            }
        }
    }

    /// Lists under a running watch. What it delivers meanwhile is of revisions seen, and ignored.
    async fn list_anew(&mut self, why: &str) -> Result<(), EtcdError> {
        let (cluster_id, revision) = self.link.position().await?;
        match self.followed.relist(cluster_id, revision) {
            None => self.list(why).await,
            // The watch is one of another history.
            Some(why) => Err(EtcdError::Moved(why)),
        }
    }

    /// Takes in one message of the watch. `Some`: only a listing leads on from here.
    async fn receive(&mut self, answer: &WatchResponse) -> Result<Option<i64>, EtcdError> {
        if answer.compact_revision() != 0 {
            return Ok(Some(answer.compact_revision()));
        }
        if answer.canceled() {
            return Err(EtcdError::Canceled(answer.cancel_reason().to_owned()));
        }
        // Only the cluster is compared: the revision of a message may be older than a listing made meanwhile.
        let (cluster_id, _) = position_of(answer.header())?;
        if let Some(moved @ Relist::OtherCluster { .. }) = self.followed.relist(cluster_id, i64::MAX) {
            return Err(EtcdError::Moved(moved));
        }
        self.followed.heard();
        let events: Vec<Event> = answer.events().iter().filter_map(event_of).collect();
        if !events.is_empty() {
            let leases = self.followed.fold_events(events);
            let alive = self.link.alive(leases).await;
            self.followed.settle(&alive, false);
        }
        Ok(None)
    }
}

/// After a connection that continued without a listing: a watch does not show a restore whose revision has grown past
/// ours; the listing does.
fn soon() -> Instant {
    Instant::now() + Duration::from_millis(fastrand::u64(5000..10_000))
}

fn later() -> Instant {
    Instant::now() + Duration::from_millis(fastrand::u64(540_000..660_000))
}

async fn until(instant: Option<std::time::Instant>) {
    match instant {
        Some(instant) => sleep_until(instant.into()).await,
        None => pending().await,
    }
}

/// How often the watch is asked for a sign of life. etcd answers at once; without events it is silent for ten minutes.
const PROGRESS: Duration = Duration::from_secs(5);

/// So much silence ends a connection: a hung etcd keeps its sockets open and sends nothing.
const SILENCE: Duration = Duration::from_secs(10);
