//! Open sessions on their way out of the old engine, in batches that are committed one by one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::engine::succession::batch::BatchBuilder;
use crate::engine::succession::export::Export;
use crate::engine::succession::peer_link::PeerLinkError;
use crate::engine::workers::Workers;
use crate::fault;
use crate::handoff::peer::{BATCH, BatchCommit, PeerMessage};
use crate::proxy::frozen::Frozen;

/// A move under way. Dropped, it closes the sessions that it holds: it must be driven to its end.
#[derive(Debug)]
pub(super) struct Mover {
    export: Export,
    workers: Workers,
    until: Instant,
    /// True: no further batch is given away.
    ended: watch::Receiver<bool>,
    /// Number of the last batch.
    number: u64,
    moved: u64,
    kept: Vec<(usize, Frozen)>,
}

/// What a move has come to.
#[derive(Debug)]
pub(in crate::engine) struct MovedOut {
    pub(super) export: Export,
    /// Sessions given away.
    pub(super) moved: u64,
    /// Why sessions are left.
    pub(super) why: Option<String>,
    /// Frozen sessions that stay after all, with their workers.
    pub(super) kept: Vec<(usize, Frozen)>,
}

impl Mover {
    /// Moves sessions to the new engine of `export` until `until`, or until `ended` becomes true.
    pub(super) fn new(export: Export, workers: Workers, until: Instant, ended: watch::Receiver<bool>) -> Self {
        Self { export, workers, until, ended, number: 0, moved: 0, kept: Vec::new() }
    }

    /// Freezes and sends batch after batch until no session is left.
    pub(super) async fn run(mut self) -> MovedOut {
        let why = self.move_all().await.err().map(|error| error.to_string());
        MovedOut { export: self.export, moved: self.moved, why, kept: self.kept }
    }

    async fn move_all(&mut self) -> Result<(), PeerLinkError> {
        for message in std::mem::take(&mut self.export.behind) {
            self.export.link.send(&message).await?;
        }
        while !self.is_over() {
            let mut progress = false;
            for worker in 0..self.workers.count() {
                // Each time: sessions that freeze so late would be thawed at once.
                if self.is_over() {
                    return Ok(());
                }
                progress |= self.move_from(worker).await?;
            }
            if self.workers.sessions().await == 0 {
                return Ok(());
            }
            if !progress {
                sleep(AGAIN).await;
            }
        }
        Ok(())
    }

    /// Moves some sessions of a worker. Returns whether any could be frozen.
    async fn move_from(&mut self, worker: usize) -> Result<bool, PeerLinkError> {
        let (began, before) = (Instant::now(), self.moved);
        let frozen = self.freeze(worker).await;
        if frozen.is_empty() {
            return Ok(false);
        }
        let froze = began.elapsed();
        self.send(worker, frozen).await?;
        tracing::debug!(
            "hand-off: {} sessions of worker {worker} moved, frozen after {froze:?}, given away after {:?}",
            self.moved - before,
            began.elapsed()
        );
        Ok(true)
    }

    /// Whether no more sessions are to be given away: those that are here stay.
    fn is_over(&self) -> bool {
        *self.ended.borrow() || Instant::now() >= self.until
    }

    /// Some frozen sessions of one worker.
    async fn freeze(&self, worker: usize) -> Vec<Frozen> {
        let (sink, mut arrived) = mpsc::unbounded_channel();
        self.workers.nth(worker).freeze(BATCH, sink);
        let mut frozen = Vec::with_capacity(BATCH);
        let wait = self.until.saturating_duration_since(Instant::now());
        let all = async {
            while let Some(session) = arrived.recv().await {
                frozen.push(session);
            }
        };
        if timeout(wait, all).await.is_err() {
            // The sessions that came are not lost with a worker that hangs. Those that come later continue there.
            arrived.close();
            while let Some(session) = arrived.recv().await {
                frozen.push(session);
            }
        }
        frozen
    }

    /// Sends sessions, as many a message as it can hold; keeps those that were not committed. Sessions with little to
    /// carry go first, so that none of them waits for the bytes of others; a batch's bytes fit into the socket at once:
    /// on busy cores each wait of one engine for the other may cost tens of milliseconds.
    async fn send(&mut self, worker: usize, mut frozen: Vec<Frozen>) -> Result<(), PeerLinkError> {
        frozen.sort_by_key(Frozen::residue);
        let mut waiting = VecDeque::from(frozen);
        while !waiting.is_empty() {
            if self.is_over() {
                self.keep(worker, waiting);
                return Ok(());
            }
            let mut batch = BatchBuilder::new(self.number + 1);
            fill(&mut batch, &mut waiting);
            if let Err(error) = self.give(&mut batch).await {
                // Not committed, or the commit was not sent and never will be: they belong to this engine, and the
                // other one does not touch them while this one lives.
                self.keep(worker, batch.frozen);
                self.keep(worker, waiting);
                return Err(error);
            }
            fault::point("old.committed");
            // Given away, even if the other engine dies before it reads the commit: then they are lost, and that is the
            // contract of a crash.
            self.moved += batch.frozen.len() as u64;
        }
        Ok(())
    }

    /// Offers a batch, and commits it once it is accepted. On an error it was not given away.
    async fn give(&mut self, batch: &mut BatchBuilder) -> Result<(), PeerLinkError> {
        self.number += 1;
        let link = &mut self.export.link;
        for residue in std::mem::take(&mut batch.residues) {
            link.send(&PeerMessage::Residue(residue)).await?;
        }
        let message = PeerMessage::Batch(batch.take_message());
        link.send_with(&message, &batch.descriptors()).await?;
        fault::point("old.offered");
        match self.export.answer().await? {
            PeerMessage::Accept(accept) if accept.number == self.number => {}
            _ => return Err(PeerLinkError::OutOfTurn),
        }
        self.export.link.send(&PeerMessage::Commit(BatchCommit { number: self.number })).await
    }

    fn keep(&mut self, worker: usize, sessions: impl IntoIterator<Item = Frozen>) {
        self.kept.extend(sessions.into_iter().map(|session| (worker, session)));
    }
}

/// Fills a batch from the front.
fn fill(batch: &mut BatchBuilder, waiting: &mut VecDeque<Frozen>) {
    while let Some(session) = waiting.pop_front() {
        if let Err(session) = batch.add(session) {
            return waiting.push_front(*session);
        }
    }
}

/// Sessions that cannot be frozen just now are about to end; so long is waited before the next attempt.
const AGAIN: Duration = Duration::from_millis(20);
