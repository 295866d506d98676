//! The server's key in etcd, and what is done to it. Nothing here touches what another client has put there: every write
//! compares the revision of what it replaces.

use std::future::Future;
use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, EventType, PutOptions, Txn, TxnOp, WatchOptions};
use serde_json::json;
use tokio::time::{sleep, timeout};

use crate::config::Address;
use crate::control::etcd::EtcdError;

/// See the module.
#[derive(Debug)]
pub(super) struct ServerKey {
    pub(super) name: String,
    addr: Address,
    ttl_s: i64,
    /// Under which this process has put the key. `None`: it has not, or the lease is known to have ended.
    lease: Option<i64>,
}

/// What is at the key.
#[derive(Debug)]
pub(super) enum KeyState {
    Missing,
    /// Put by this process; `drains`: it says that the server leaves.
    Own {
        mod_revision: i64,
        drains: bool,
    },
    Foreign {
        mod_revision: i64,
        value: String,
    },
}

impl ServerKey {
    /// `ttl_s` in seconds.
    pub(super) fn new(name: String, addr: Address, ttl_s: i64) -> Self {
        Self { name, addr, ttl_s, lease: None }
    }

    /// What it says while the server is well.
    pub(super) fn value(&self) -> String {
        self.addr.to_string()
    }

    /// What it says while the server leaves. Readers that do not know the field see the same server.
    fn draining(&self) -> String {
        json!({ "addr": self.addr.to_string(), "drain": true }).to_string()
    }

    /// Whether this process has put it, as far as it knows.
    pub(super) fn is_put(&self) -> bool {
        self.lease.is_some()
    }

    /// What is there, and at which revision.
    pub(super) async fn look(&self, client: &mut Client) -> Result<(KeyState, i64), EtcdError> {
        let answer = in_time("reading the key", client.get(self.name.as_str(), None)).await?;
        let revision = answer.header().ok_or(EtcdError::NoHeader)?.revision();
        let Some(kv) = answer.kvs().first() else {
            return Ok((KeyState::Missing, revision));
        };
        let mod_revision = kv.mod_revision();
        let drains = kv.value() == self.draining().as_bytes();
        let known = drains || kv.value() == self.value().as_bytes();
        let state = if known && self.lease == Some(kv.lease()) {
            KeyState::Own { mod_revision, drains }
        } else {
            KeyState::Foreign { mod_revision, value: String::from_utf8_lossy(kv.value()).into_owned() }
        };
        Ok((state, revision))
    }

    /// Puts the key, always under a new lease: an earlier one may have ended while etcd was away. `over`: the revision of
    /// what it replaces, 0 for nothing. `None`: another client was there first.
    pub(super) async fn put(&mut self, client: &mut Client, over: i64) -> Result<Option<i64>, EtcdError> {
        let lease = in_time("asking for a lease", client.lease_grant(self.ttl_s, None)).await?.id();
        let options = PutOptions::new().with_lease(lease);
        let put = TxnOp::put(self.name.as_str(), self.value(), Some(options));
        // Before the put, whose answer may not arrive.
        self.lease = Some(lease);
        self.replace(client, over, put, "putting the key").await
    }

    /// Says that the server leaves. `false`: the key is not one of this process.
    pub(super) async fn drain(&self, client: &mut Client) -> Result<bool, EtcdError> {
        loop {
            let (KeyState::Own { mod_revision, drains }, Some(lease)) = (self.look(client).await?.0, self.lease) else {
                return Ok(false);
            };
            let options = PutOptions::new().with_lease(lease);
            let put = TxnOp::put(self.name.as_str(), self.draining(), Some(options));
            if drains || self.replace(client, mod_revision, put, "changing the key").await?.is_some() {
                return Ok(true);
            }
        }
    }

    /// Deletes the key. It has to say first that the server leaves: a balancer may hold a mere deletion for an accident.
    /// `false`: it is not one of this process.
    pub(super) async fn delete(&self, client: &mut Client) -> Result<bool, EtcdError> {
        while self.drain(client).await? {
            let KeyState::Own { mod_revision, .. } = self.look(client).await?.0 else {
                return Ok(false);
            };
            let delete = TxnOp::delete(self.name.as_str(), None);
            if self.replace(client, mod_revision, delete, "removing the key").await?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Keeps the lease alive, and returns when it is lost. Without one never.
    pub(super) async fn keep_alive(&self, mut client: Client) -> Result<(), EtcdError> {
        let Some(lease) = self.lease else {
            return std::future::pending().await;
        };
        let start = client.lease_keep_alive(lease);
        let (mut keeper, mut answers) = in_time("keeping the lease", start).await?;
        let third = Duration::from_secs(self.ttl_s.unsigned_abs()) / 3;
        loop {
            in_time("keeping the lease", keeper.keep_alive()).await?;
            let answer = in_time("keeping the lease", answers.message()).await?;
            if answer.ok_or(EtcdError::Closed)?.ttl() <= 0 {
                return Ok(());
            }
            sleep(third).await;
        }
    }

    /// Waits for the first change after `revision`; with `deletion` for its deletion.
    pub(super) async fn changed(&self, mut client: Client, revision: i64, deletion: bool) -> Result<(), EtcdError> {
        let options = WatchOptions::new().with_start_revision(revision + 1);
        let start = client.watch(self.name.as_str(), Some(options));
        // Held to the end: dropping the sender ends the watch.
        let mut stream = in_time("starting the watch", start).await?;
        loop {
            let answer = stream.message().await?.ok_or(EtcdError::Closed)?;
            if answer.canceled() {
                return Err(EtcdError::Canceled(answer.cancel_reason().to_owned()));
            }
            let relevant = |event: &etcd_client::Event| !deletion || event.event_type() == EventType::Delete;
            if answer.events().iter().any(relevant) {
                return Ok(());
            }
        }
    }

    /// Whether the lease has ended, which takes the key along.
    pub(super) async fn has_expired(&self, client: &mut Client) -> Result<bool, EtcdError> {
        let Some(lease) = self.lease else {
            return Ok(true);
        };
        let answer = in_time("asking for the lease", client.lease_time_to_live(lease, None)).await?;
        Ok(answer.ttl() <= 0)
    }

    /// Ends the lease.
    pub(super) async fn end_lease(&mut self, client: &mut Client) -> Result<(), EtcdError> {
        if let Some(lease) = self.lease.take() {
            in_time("ending the lease", client.lease_revoke(lease)).await?;
        }
        Ok(())
    }

    /// `operation`, if what is at the key is still of this revision. Returns the new revision.
    async fn replace(
        &self,
        client: &mut Client,
        over: i64,
        operation: TxnOp,
        what: &'static str,
    ) -> Result<Option<i64>, EtcdError> {
        let unchanged = Compare::mod_revision(self.name.as_str(), CompareOp::Equal, over);
        let answer = in_time(what, client.txn(Txn::new().when([unchanged]).and_then([operation]))).await?;
        let revision = answer.header().ok_or(EtcdError::NoHeader)?.revision();
        Ok(answer.succeeded().then_some(revision))
    }
}

async fn in_time<T>(
    what: &'static str,
    request: impl Future<Output = Result<T, etcd_client::Error>>,
) -> Result<T, EtcdError> {
    let answer = timeout(ANSWER, request).await;
    Ok(answer.map_err(|_| EtcdError::Timeout { what })??)
}

/// Limit of any answer of etcd.
const ANSWER: Duration = Duration::from_secs(4);
