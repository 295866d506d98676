//! EtcdRegistration: keeps the server's key in etcd while the server is well.
//!
//! The key is put when the check passes, removed when it fails, and put again when it was deleted, or lost with its
//! lease or with etcd's data. A key that another client has put over it is left alone until it is gone: two that write
//! the same key must not take it from each other for ever. At the end only this process's own key is deleted.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use etcd_client::Client;
use tokio::select;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout};

use super::key::{KeyState, ServerKey};
use super::message::complain;
use crate::config::Etcd;
use crate::control::etcd::{EtcdError, connect, reconnects};
use crate::pace::Backoff;

/// See the module.
#[derive(Debug)]
pub(super) struct EtcdRegistration {
    etcd: Etcd,
    key: ServerKey,
    well: watch::Receiver<bool>,
    /// The endpoint in use.
    endpoint: usize,
    /// It was put once. Only the first put may replace what another client has left there.
    began: bool,
    /// That another client has the key was said.
    told_foreign: bool,
    /// The last error that was shown: each is shown once, not at each attempt.
    shown: Option<String>,
    /// What is left of [`REMOVAL`].
    patience: Duration,
    /// The pauses between the loss of the key and its next put.
    again: Backoff,
    /// The end of the pause.
    put_from: Instant,
}

/// How a server leaves, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeaveStep {
    /// The key says that no new sessions are wanted.
    Drain,
    Delete,
}

impl EtcdRegistration {
    /// `well`: whether the server passes its check.
    pub(super) fn new(etcd: Etcd, key: ServerKey, well: watch::Receiver<bool>) -> Self {
        let endpoint = fastrand::usize(..etcd.endpoints.len().max(1));
        let (began, told_foreign, shown) = (false, false, None);
        let again = Backoff::new(Duration::from_millis(500), LONGEST_PAUSE).jittered().stable_after(STABLE);
        let put_from = Instant::now();
        Self { etcd, key, well, endpoint, began, told_foreign, shown, patience: REMOVAL, again, put_from }
    }

    /// Registers and stays registered. Cancel safety: what has begun is undone by [`leave`](Self::leave) and
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

    /// Keeps the lease alive and the key as it is.
    pub(super) async fn hold(&mut self) -> Infallible {
        let mut backoff = reconnects();
        loop {
            if let Ok(client) = connect(&self.etcd, self.endpoint()).await {
                // It ends with the connection or with the lease, and either way this is all that can be done.
                self.key.keep_alive(client).await.ok();
            }
            self.endpoint += 1;
            sleep(backoff.delay()).await;
        }
    }

    /// Takes one step of leaving. Tries for [`REMOVAL`] in all, then leaves the key to its lease.
    pub(super) async fn leave(&mut self, step: LeaveStep) {
        if !self.key.is_put() {
            return;
        }
        let (begun, patience) = (Instant::now(), self.patience.max(LEAST));
        let name = self.key.name.clone();
        match timeout(patience, self.persist_in(step)).await {
            Ok(true) if step == LeaveStep::Drain => complain(&format!("{name} says that the server drains")),
            Ok(true) => complain(&format!("{name} is removed")),
            Ok(false) => complain(&format!("{name} is not this server's any more and stays as it is")),
            Err(_) if step == LeaveStep::Drain => complain(&format!("{name} could not be changed")),
            Err(_) => complain(&format!("{name} could not be removed and ends with its lease")),
        }
        self.patience = patience.saturating_sub(begun.elapsed());
    }

    /// Ends the lease. Only after the drain: balancers query the lease to distinguish a deleted key from an expired one.
    pub(super) async fn end(&mut self) {
        if self.key.is_put() {
            // When it fails the lease ends by itself.
            timeout(ENDING, self.try_end()).await.ok();
        }
    }

    async fn try_end(&mut self) -> Result<(), EtcdError> {
        let mut client = connect(&self.etcd, self.endpoint()).await?;
        self.key.end_lease(&mut client).await
    }

    async fn persist_in(&mut self, step: LeaveStep) -> bool {
        let mut backoff = reconnects();
        loop {
            match self.try_leave(step).await {
                Ok(own) => return own,
                Err(error) => complain(&format!("etcd {}: {}: {error}", self.endpoint(), self.key.name)),
            }
            self.endpoint += 1;
            sleep(backoff.delay()).await;
        }
    }

    async fn try_leave(&self, step: LeaveStep) -> Result<bool, EtcdError> {
        let mut client = connect(&self.etcd, self.endpoint()).await?;
        match step {
            LeaveStep::Drain => self.key.drain(&mut client).await,
            LeaveStep::Delete => self.key.delete(&mut client).await,
        }
    }

    async fn session(&mut self) -> Result<Infallible, EtcdError> {
        let mut client = connect(&self.etcd, self.endpoint()).await?;
        loop {
            if !*self.well.borrow_and_update() {
                self.withdraw(&mut client).await?;
                // An error: the monitor is gone, and with it this process.
                self.well.changed().await.ok();
                continue;
            }
            self.stay(&mut client).await?;
        }
    }

    /// Removes the key of a server that is not well.
    async fn withdraw(&self, client: &mut Client) -> Result<(), EtcdError> {
        if self.key.is_put() && self.key.delete(client).await? {
            complain(&format!("{} is removed until the check passes again", self.key.name));
        }
        Ok(())
    }

    /// Has the key put, and watches over it until something changes.
    async fn stay(&mut self, client: &mut Client) -> Result<(), EtcdError> {
        let Some((own, revision)) = self.take(client).await? else {
            return Ok(());
        };
        self.shown = None;
        let begun = Instant::now();
        select! {
            _ = self.well.changed() => {
                self.well.mark_changed();
                return Ok(());
            }
            changed = self.key.changed(client.clone(), revision, !own) => changed?,
            lost = self.key.keep_alive(client.clone()), if own => lost?,
        }
        if own {
            self.put_from = Instant::now() + self.again.delay_after(begun.elapsed());
            self.tell_loss(client).await?;
        }
        Ok(())
    }

    /// Looks at the key and puts it where that is right. Returns whether it is this process's now, and the revision up to
    /// which that is known. `None`: the key or the server changed meanwhile.
    async fn take(&mut self, client: &mut Client) -> Result<Option<(bool, i64)>, EtcdError> {
        let (state, seen) = self.key.look(client).await?;
        let over = match state {
            KeyState::Own { drains: false, .. } => return Ok(Some((true, seen))),
            KeyState::Own { mod_revision, .. } => mod_revision,
            KeyState::Missing => 0,
            KeyState::Foreign { mod_revision, value } if !self.began => {
                if value != self.key.value() {
                    let name = &self.key.name;
                    complain(&format!("{name} was `{value}`, put by another client, and is overwritten"));
                }
                mod_revision
            }
            KeyState::Foreign { value, .. } => {
                self.tell_foreign(&value);
                return Ok(Some((false, seen)));
            }
        };
        if !self.pause(client, seen).await? {
            return Ok(None);
        }
        let Some(revision) = self.key.put(client, over).await? else {
            self.put_from = Instant::now() + self.again.delay();
            return Ok(None);
        };
        let again = if self.began { " again" } else { "" };
        complain(&format!("{} = {} is registered{again}", self.key.name, self.key.value()));
        (self.began, self.told_foreign) = (true, false);
        Ok(Some((true, revision)))
    }

    /// Waits until the key may be put. `false`: the key, last seen at this revision, or the server changed before.
    async fn pause(&mut self, client: &Client, seen: i64) -> Result<bool, EtcdError> {
        if Instant::now() >= self.put_from {
            return Ok(true);
        }
        select! {
            () = sleep_until(self.put_from.into()) => Ok(true),
            changed = self.key.changed(client.clone(), seen, false) => changed.map(|()| false),
            _ = self.well.changed() => {
                self.well.mark_changed();
                Ok(false)
            }
        }
    }

    fn tell_foreign(&mut self, value: &str) {
        if !self.told_foreign {
            let name = &self.key.name;
            complain(&format!("{name} is now `{value}`, put by another client; it is left alone until it is gone"));
        }
        self.told_foreign = true;
    }

    /// Says how the own key was lost. What was put over it is told by [`take`](Self::take).
    async fn tell_loss(&self, client: &mut Client) -> Result<(), EtcdError> {
        if self.key.has_expired(client).await? {
            complain("the lease was lost");
        } else if let (KeyState::Missing, _) = self.key.look(client).await? {
            complain(&format!("{} was deleted by another client", self.key.name));
        }
        Ok(())
    }

    fn endpoint(&self) -> &str {
        &self.etcd.endpoints[self.endpoint % self.etcd.endpoints.len()]
    }
}

/// Limit of saying that the server leaves and of deleting the key, together: container runtimes kill after ten seconds,
/// of which the drain and COMMAND need their share.
const REMOVAL: Duration = Duration::from_secs(3);

/// For the deletion when the step before it has used all of that: etcd may be back.
const LEAST: Duration = Duration::from_millis(500);

/// Limit of ending the lease.
const ENDING: Duration = Duration::from_secs(4);

/// Between the loss of the key and its next put: a healthy server is never missing for longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// A key that stayed so long was well put: the pauses before the next put begin anew.
const STABLE: Duration = Duration::from_secs(60);
