//! EtcdRegistration: the key, and the lease it is under.
//!
//! The key is put only while the check passes, and put again when the lease was lost or the key is found missing after a
//! reconnect. It is deleted only while it is under this lease: a key put anew under another lease stays.

use std::convert::Infallible;
use std::future::Future;
use std::time::{Duration, Instant};

use etcd_client::{Client, Compare, CompareOp, PutOptions, Txn, TxnOp};
use tokio::net::lookup_host;
use tokio::time::{sleep, timeout};

use super::message::complain;
use crate::config::{Address, Check, Etcd};
use crate::control::etcd::{EtcdError, connect, reconnects};
use crate::control::probe::probe;
use crate::sys::addr::Addr;

/// See the module.
#[derive(Debug)]
pub(super) struct EtcdRegistration {
    etcd: Etcd,
    key: String,
    addr: Address,
    ttl_s: i64,
    check: Check,
    /// The endpoint in use.
    endpoint: usize,
    lease: Option<i64>,
    /// The last error that was shown: each is shown once, not at each attempt.
    shown: Option<String>,
}

impl EtcdRegistration {
    /// `ttl_s` in seconds.
    pub(super) fn new(etcd: Etcd, key: String, addr: Address, ttl_s: i64, check: Check) -> Self {
        let endpoint = fastrand::usize(..etcd.endpoints.len().max(1));
        Self { etcd, key, addr, ttl_s, check, endpoint, lease: None, shown: None }
    }

    /// Registers and stays registered. Cancel safety: what has begun is undone by [`remove`](Self::remove) and
    /// [`end`](Self::end).
    pub(super) async fn keep(&mut self) -> Infallible {
        let mut backoff = reconnects();
        loop {
            let begun = Instant::now();
            let Err(error) = self.session().await;
            let error = error.to_string();
            if self.shown.as_ref() != Some(&error) {
                complain(&format!("etcd {}: {error}; trying again", self.endpoint()));
            }
            self.shown = Some(error);
            self.endpoint += 1;
            sleep(backoff.delay_after(begun.elapsed())).await;
        }
    }

    /// Deletes the key, if it is under this lease. Tries for [`REMOVAL`], then leaves the key to its lease.
    pub(super) async fn remove(&mut self) {
        let Some(lease) = self.lease else {
            return;
        };
        let removing = async {
            let mut backoff = reconnects();
            while let Err(error) = self.try_remove(lease).await {
                complain(&format!("etcd {}: cannot remove {}: {error}", self.endpoint(), self.key));
                self.endpoint += 1;
                sleep(backoff.delay()).await;
            }
        };
        match timeout(REMOVAL, removing).await {
            Ok(()) => complain(&format!("{} is removed", self.key)),
            Err(_) => complain(&format!("{} could not be removed and ends with its lease", self.key)),
        }
    }

    /// Ends the lease. Only after the drain: balancers query the lease to distinguish a deleted key from an expired one.
    pub(super) async fn end(&mut self) {
        let Some(lease) = self.lease.take() else {
            return;
        };
        let ending = async {
            let mut client = connect(&self.etcd, self.endpoint()).await?;
            client.lease_revoke(lease).await?;
            Ok::<(), EtcdError>(())
        };
        // When it fails the lease ends by itself.
        timeout(ANSWER, ending).await.ok();
    }

    async fn session(&mut self) -> Result<Infallible, EtcdError> {
        let mut client = connect(&self.etcd, self.endpoint()).await?;
        loop {
            if !self.is_registered(&mut client).await? {
                self.pass_the_check().await;
                self.register(&mut client).await?;
            }
            self.shown = None;
            self.keep_alive(&mut client).await?;
            complain("the lease was lost");
            self.lease = None;
        }
    }

    /// Whether the key exists, with this address and under this lease.
    async fn is_registered(&self, client: &mut Client) -> Result<bool, EtcdError> {
        let Some(lease) = self.lease else {
            return Ok(false);
        };
        let answer = in_time("reading the key", client.get(self.key.as_str(), None)).await?;
        let value = self.addr.to_string();
        Ok(answer.kvs().iter().any(|kv| kv.lease() == lease && kv.value() == value.as_bytes()))
    }

    async fn pass_the_check(&mut self) {
        let mut last = None;
        loop {
            let cause = match self.resolve().await {
                Ok(addr) => {
                    let result = probe(&self.check, &addr).await;
                    if result.status.is_ok() {
                        return;
                    }
                    result.to_string()
                }
                Err(error) => error,
            };
            // The status without its duration, which differs each time.
            let kind = cause.split(" in ").next().map(str::to_owned);
            if last != kind {
                complain(&format!("{} is not well yet: {cause}", self.addr));
                last = kind;
            }
            sleep(RECHECK).await;
        }
    }

    async fn resolve(&self) -> Result<Addr, String> {
        match &self.addr {
            Address::Ip(addr) => Ok(Addr::Ip(*addr)),
            Address::Unix(path) => Ok(Addr::Unix(path.clone())),
            Address::Host(host, port) => {
                let found = lookup_host((host.as_str(), *port)).await.map_err(|error| error.to_string())?;
                let first = { found }.next();
                first.map(Addr::Ip).ok_or_else(|| format!("{host} has no address"))
            }
        }
    }

    /// Puts the key, always under a new lease: an earlier one may have ended while etcd was away.
    async fn register(&mut self, client: &mut Client) -> Result<(), EtcdError> {
        let lease = in_time("asking for a lease", client.lease_grant(self.ttl_s, None)).await?;
        let lease = self.lease.insert(lease.id());
        let options = PutOptions::new().with_lease(*lease);
        let put = client.put(self.key.as_str(), self.addr.to_string(), Some(options));
        in_time("putting the key", put).await?;
        complain(&format!("{} = {} is registered", self.key, self.addr));
        Ok(())
    }

    /// Returns when the lease is lost.
    async fn keep_alive(&self, client: &mut Client) -> Result<(), EtcdError> {
        let Some(lease) = self.lease else {
            return Ok(());
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

    async fn try_remove(&self, lease: i64) -> Result<(), EtcdError> {
        let mut client = connect(&self.etcd, self.endpoint()).await?;
        let ours = Compare::lease(self.key.as_str(), CompareOp::Equal, lease);
        let delete = TxnOp::delete(self.key.as_str(), None);
        in_time("removing the key", client.txn(Txn::new().when([ours]).and_then([delete]))).await?;
        Ok(())
    }

    fn endpoint(&self) -> &str {
        &self.etcd.endpoints[self.endpoint % self.etcd.endpoints.len()]
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

/// Limit of deleting the key: container runtimes kill after ten seconds, of which COMMAND needs its share.
const REMOVAL: Duration = Duration::from_secs(3);

/// Between checks that fail.
const RECHECK: Duration = Duration::from_millis(500);
