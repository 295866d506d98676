//! Open sessions on their way out of the old engine, in batches that are committed one by one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use crate::backend::Backend;
use crate::config;
use crate::engine::Engine;
use crate::engine::succession::Export;
use crate::engine::succession::batch::{BatchBuilder, Refused};
use crate::engine::succession::peer_link::{PeerLink, PeerLinkError};
use crate::fault;
use crate::handoff::control::Done;
use crate::handoff::features::Feature;
use crate::handoff::peer::{BATCH, Commit, End, PeerMessage};
use crate::proxy::frontend::Frontend;
use crate::proxy::frozen::{Frozen, Stage};

/// Sessions that cannot be frozen just now are about to end; so long is waited before they are asked again.
const AGAIN: Duration = Duration::from_millis(20);

/// Whether sessions are on their way between two engines, frozen and in no worker's hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::engine) enum Moving {
    #[default]
    No,
    Yes,
    /// Until the batch under way is decided.
    Ends,
}

impl Engine {
    /// Old engine: gives no further batch away.
    pub(in crate::engine) fn end_move(&self) {
        if self.moving.get() == Moving::Yes {
            self.moving.set(Moving::Ends);
        }
    }

    /// Whether sessions exist that no worker has.
    pub(in crate::engine) fn is_moving(&self) -> bool {
        self.moving.get() != Moving::No
    }

    /// Old engine: hands over what can be handed over within `limit`, then the last counts.
    pub(in crate::engine) async fn hand_over(&self, export: Export, limit: Duration) -> Done {
        let Export { mut bridge, agreed, told } = export;
        let (mut moved, mut why) = (0, None);
        if agreed.has(Feature::Sessions) {
            let until = Instant::now() + limit;
            self.moving.set(Moving::Yes);
            if let Err(error) = self.move_sessions(&mut bridge, until, &mut moved).await {
                why = Some(error.to_string());
            }
            self.moving.set(Moving::No);
        } else {
            why = Some("the new binary takes no sessions from this one".to_owned());
        }
        let left: usize = self.sessions().await;
        if left > 0 {
            why.get_or_insert_with(|| {
                if self.stopping.get() {
                    "this engine is being stopped".to_owned()
                } else {
                    "they could not be frozen in time".to_owned()
                }
            });
        }
        // Those that stay are counted by this engine to their end and then lost to the sums; the message says how many.
        let last = async {
            self.tell_state(&mut bridge, &agreed, &told).await?;
            bridge.send(&PeerMessage::End(End {}), Vec::new()).await
        };
        if let Err(error) = last.await {
            tracing::warn!("hand-off: the last counts were not handed over: {error}");
        }
        Done { moved, left: left as u64, why }
    }

    /// Freezes and sends batch after batch until nobody is left.
    async fn move_sessions(&self, bridge: &mut PeerLink, until: Instant, moved: &mut u64) -> Result<(), PeerLinkError> {
        let mut number = 0;
        while !self.ends_move(until) {
            let mut progress = false;
            for worker in 0..self.workers.len() {
                // Each time: those that are told to freeze so late would only come to be thawed.
                if self.ends_move(until) {
                    return Ok(());
                }
                let began = Instant::now();
                let frozen = self.freeze(worker, until).await;
                if frozen.is_empty() {
                    continue;
                }
                progress = true;
                let froze = began.elapsed();
                let count = self.send_batch(bridge, worker, frozen, &mut number, until).await?;
                tracing::debug!(
                    "hand-off: {count} sessions of worker {worker} moved, frozen after {froze:?}, given away after {:?}",
                    began.elapsed()
                );
                *moved += count;
            }
            if self.sessions().await == 0 {
                return Ok(());
            }
            if !progress {
                sleep(AGAIN).await;
            }
        }
        Ok(())
    }

    /// Whether no more sessions are to be given away: those that are here stay.
    fn ends_move(&self, until: Instant) -> bool {
        self.moving.get() != Moving::Yes || self.stopping.get() || Instant::now() >= until
    }

    /// A batch of frozen sessions of one worker.
    async fn freeze(&self, worker: usize, until: Instant) -> Vec<Frozen> {
        let (sink, mut arrived) = mpsc::unbounded_channel();
        self.workers[worker].freeze(BATCH, sink);
        let mut frozen = Vec::with_capacity(BATCH);
        let wait = until.saturating_duration_since(Instant::now());
        let all = async {
            while let Some(session) = arrived.recv().await {
                frozen.push(session);
            }
        };
        if timeout(wait, all).await.is_err() {
            // A worker that hangs is no reason to lose those that came. What comes later goes on there.
            arrived.close();
            while let Some(session) = arrived.recv().await {
                frozen.push(session);
            }
        }
        frozen
    }

    /// Sends sessions, as many a message as it can hold. Those that were not committed go on here. Sessions with little
    /// to carry go first, so that none of them waits for the bytes of others; a batch's bytes fit into the socket at
    /// once: on busy cores each wait of one engine for the other may cost tens of milliseconds.
    async fn send_batch(
        &self,
        bridge: &mut PeerLink,
        worker: usize,
        mut frozen: Vec<Frozen>,
        number: &mut u64,
        until: Instant,
    ) -> Result<u64, PeerLinkError> {
        frozen.sort_by_key(Frozen::residue);
        let mut waiting = frozen.into_iter();
        let mut kept: Option<Frozen> = None;
        let mut moved = 0;
        loop {
            if self.ends_move(until) {
                self.thaw_all(worker, kept.into_iter().chain(waiting));
                return Ok(moved);
            }
            let mut batch = BatchBuilder::new(*number + 1);
            while let Some(session) = kept.take().or_else(|| waiting.next()) {
                match batch.add(session) {
                    Ok(()) => {}
                    Err(Refused::Full(session)) => {
                        kept = Some(*session);
                        break;
                    }
                    Err(Refused::Failed(session, error)) => {
                        let ours = batch.frozen.into_iter().chain([*session]);
                        self.thaw_all(worker, ours.chain(waiting));
                        return Err(error.into());
                    }
                }
            }
            let BatchBuilder { frozen: batch, message, residues, fds, .. } = batch;
            if batch.is_empty() {
                return Ok(moved);
            }
            *number += 1;
            let sent = async {
                for residue in residues {
                    bridge.send(&PeerMessage::Residue(residue), Vec::new()).await?;
                }
                bridge.send(&PeerMessage::Batch(message), fds).await?;
                fault::point("old.offered");
                match bridge.answer().await? {
                    (PeerMessage::Accept(accept), _) if accept.number == *number => Ok(()),
                    _ => Err(PeerLinkError::OutOfTurn),
                }
            };
            if let Err(error) = sent.await {
                // Not committed: they are ours, and the other engine may not touch them.
                self.thaw_all(worker, batch.into_iter().chain(kept).chain(waiting));
                return Err(error);
            }
            let count = batch.len() as u64;
            let commit = bridge.send(&PeerMessage::Commit(Commit { number: *number }), Vec::new()).await;
            if let Err(error) = commit {
                // Not sent, and never will be: without it the other engine does not touch them while we live.
                self.thaw_all(worker, batch.into_iter().chain(kept).chain(waiting));
                return Err(error);
            }
            fault::point("old.committed");
            // Given away, whether the other engine lives to see it or not: should it have died before it read this,
            // nobody has them, and that is the contract of a crash.
            drop(batch);
            moved += count;
        }
    }

    /// Goes on with sessions that stay after all.
    fn thaw_all(&self, worker: usize, sessions: impl Iterator<Item = Frozen>) {
        for session in sessions {
            self.thaw(worker, session);
        }
    }

    /// Gives a frozen session to a worker.
    pub(super) fn thaw(&self, worker: usize, frozen: Frozen) {
        let backend = match &frozen.stage {
            Stage::Relaying { backend, .. } => Some(self.backend_or_ghost(backend)),
            Stage::Waiting { .. } => None,
        };
        let frontend = self.frontend_or_ghost(&frozen.frontend, backend.as_ref());
        let backend = backend.unwrap_or_else(|| Arc::clone(&frontend.route().backend));
        self.workers[worker % self.workers.len()].thaw(frozen, &frontend, backend);
    }

    /// The frontend of that name, or a stand-in for one that the new configuration has not: its sessions go on.
    fn frontend_or_ghost(&self, name: &str, backend: Option<&Arc<Backend>>) -> Arc<Frontend> {
        if let Some(served) = self.frontends.borrow().get(name) {
            return Arc::clone(&served.frontend);
        }
        let mut ghosts = self.ghosts.borrow_mut();
        let ghost = ghosts.frontends.entry(name.to_owned()).or_insert_with(|| {
            let backend = backend.map_or_else(|| empty_backend(""), Arc::clone);
            Frontend::new(config::Frontend::new(name, Vec::new(), ""), backend, Arc::clone(&self.global))
        });
        Arc::clone(ghost)
    }

    fn backend_or_ghost(&self, name: &str) -> Arc<Backend> {
        if let Some(backend) = self.backends.borrow().get(name) {
            return Arc::clone(backend);
        }
        let mut ghosts = self.ghosts.borrow_mut();
        Arc::clone(ghosts.backends.entry(name.to_owned()).or_insert_with(|| empty_backend(name)))
    }

    /// Sessions on all workers.
    pub(in crate::engine) async fn sessions(&self) -> usize {
        let mut sum = 0;
        for worker in self.workers.iter() {
            sum += worker.census().await.sessions;
        }
        sum
    }
}

fn empty_backend(name: &str) -> Arc<Backend> {
    Backend::new(Arc::new(config::Backend::new(name, Vec::new())))
}
