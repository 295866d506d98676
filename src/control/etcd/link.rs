//! Link: one connection to one endpoint, in the words of `discovery`. What etcd's messages mean is known here only.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use etcd_client::{
    Client, Event as EtcdEvent, EventType, GetOptions, KeyValue, KvClient, ResponseHeader, WatchOptions,
    WatchRequestSender, WatchResponseStream,
};
use tokio::time::timeout;

use super::connect::connect;
use super::error::EtcdError;
use super::limits::REQUEST;
use crate::config;
use crate::control::discovery::{Event, Kv, Listing};

/// See the module.
pub(super) struct Link {
    client: Client,
    kv: KvClient,
    prefix: String,
}

impl Link {
    pub(super) async fn new(etcd: &config::Etcd, endpoint: &str, prefix: &str) -> Result<Self, EtcdError> {
        let client = connect(etcd, endpoint).await?;
        let kv = client.kv_client().max_decoding_message_size(MAX_MESSAGE);
        let prefix = prefix.to_owned();
        Ok(Self { client, kv, prefix })
    }

    /// Cluster and revision, by a read that a quorum agrees to.
    pub(super) async fn position(&mut self) -> Result<(u64, i64), EtcdError> {
        let options = GetOptions::new().with_prefix().with_count_only();
        let answer = self.kv.get(self.prefix.as_str(), Some(options));
        let answer = in_time("asking for the revision", answer).await?;
        position_of(answer.header())
    }

    /// The whole prefix at one revision, in pages that fit a message.
    pub(super) async fn list(&mut self) -> Result<Listing, EtcdError> {
        let mut from = self.prefix.clone().into_bytes();
        let end = prefix_end(&from);
        let mut listing: Option<Listing> = None;
        loop {
            let revision = listing.as_ref().map_or(0, |listing| listing.revision);
            let options = GetOptions::new().with_range(end.clone()).with_limit(PAGE).with_revision(revision);
            let answer = self.kv.get(from.clone(), Some(options));
            let mut answer = in_time("listing", answer).await?;
            let (cluster_id, revision) = position_of(answer.header())?;
            let more = answer.more();
            let kvs: Vec<Kv> = answer.take_kvs().into_iter().map(kv_of).collect();
            // The next page begins right after the last key of this one.
            if let Some(last) = kvs.last() {
                from = [last.key.as_slice(), &[0]].concat();
            }
            let all = listing.get_or_insert(Listing { cluster_id, revision, kvs: Vec::new() });
            all.kvs.extend(kvs);
            if !more {
                break;
            }
        }
        listing.ok_or(EtcdError::NoHeader)
    }

    /// Those of `leases` that are alive: their keys were deleted on purpose. Not knowing counts as not alive, which
    /// holds a server that passes its checks; so this may be bounded in number and time.
    pub(super) async fn alive(&mut self, leases: BTreeSet<i64>) -> BTreeSet<i64> {
        let mut alive = BTreeSet::new();
        let ask = async {
            for lease in leases.into_iter().take(MAX_LEASES) {
                match self.client.lease_time_to_live(lease, None).await {
                    Ok(answer) if answer.ttl() > 0 => alive.insert(lease),
                    Ok(_) => false,
                    Err(_) => break,
                };
            }
        };
        // Running out of time leaves what is known by then.
        timeout(LEASES, ask).await.ok();
        alive
    }

    /// A watch of the prefix from `revision` on.
    pub(super) async fn watch(
        &mut self,
        revision: i64,
    ) -> Result<(WatchRequestSender, WatchResponseStream), EtcdError> {
        let mut watch = self.client.watch_client().max_decoding_message_size(MAX_MESSAGE);
        let options = WatchOptions::new().with_prefix().with_start_revision(revision);
        let stream = watch.watch(self.prefix.as_str(), Some(options));
        Ok(in_time("starting the watch", stream).await?.split())
    }
}

/// Runs one request against the clock.
async fn in_time<T>(
    what: &'static str,
    request: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, EtcdError> {
    let answer = timeout(REQUEST, request).await;
    Ok(answer.map_err(|_| EtcdError::Timeout { what })??)
}

/// Cluster and revision of an answer.
pub(super) fn position_of(header: Option<&ResponseHeader>) -> Result<(u64, i64), EtcdError> {
    let header = header.ok_or(EtcdError::NoHeader)?;
    Ok((header.cluster_id(), header.revision()))
}

/// An event of a watch. `None`: it has no key, which etcd never sends.
pub(super) fn event_of(event: &EtcdEvent) -> Option<Event> {
    let kv = event.kv()?;
    Some(match event.event_type() {
        EventType::Put => Event::Put(kv_of(kv.clone())),
        EventType::Delete => Event::Delete { key: kv.key().to_vec(), mod_revision: kv.mod_revision() },
    })
}

fn kv_of(kv: KeyValue) -> Kv {
    let (mod_revision, lease) = (kv.mod_revision(), kv.lease());
    let (key, value) = kv.into_key_value();
    Kv { key, value, mod_revision, lease }
}

/// The first key after all that begin with `prefix`; a zero byte stands for "no end".
fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// Keys in one answer: with values of a sensible size far below a message.
const PAGE: i64 = 1000;

/// The largest message taken, 64 MiB: a thousand values of the largest size that is understood, and room for nonsense.
const MAX_MESSAGE: usize = 64 << 20;

/// Leases asked about after one change; more at once are a mass in any case.
const MAX_LEASES: usize = 64;

/// For all of them together: the change waits for it.
const LEASES: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::prefix_end;

    #[test]
    fn the_end_of_a_prefix_is_the_first_key_beyond_it() {
        assert_eq!(prefix_end(b"/app/"), b"/app0");
        assert_eq!(prefix_end(b"a\xff"), b"b");
        assert_eq!(prefix_end(b"\xff"), b"\0");
        assert_eq!(prefix_end(b""), b"\0");
    }
}
