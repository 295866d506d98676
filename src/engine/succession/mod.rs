//! The hand-off between two engines: the old one exports its state and, later, its sessions; the new one imports them.
//!
//! Each stretch of a hand-off that waits is a future without access to the engine. The loop polls it and gives its result
//! to [`Succession::advance`], which changes the engine and returns the next stretch.

mod batch;
mod export;
mod ghosts;
mod import;
pub(crate) mod peer_link;
mod places;
mod receive;
mod returns;
mod send;
mod session_codec;
mod state;
mod sums;

use std::pin::Pin;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use self::export::{Export, export, finish};
use self::ghosts::Ghosts;
use self::peer_link::{PeerLink, PeerLinkError};
use self::places::Lending;
use self::receive::{Arrival, Incoming, OfferedBatch};
use self::returns::Returns;
use self::send::{MovedOut, Mover};
use self::state::{gather, take_state};
use crate::config::{Config, counted};
use crate::engine::listeners::Listeners;
use crate::engine::pools::Pools;
use crate::engine::supervisor_link::PeerEnd;
use crate::engine::workers::Workers;
use crate::fault;
use crate::handoff::control::Done;
use crate::handoff::features::{Agreed, Feature};
use crate::handoff::peer::{CountsComplete, PeerMessage};
use crate::proxy::frozen::Frozen;

/// This engine's part in a hand-off. Lives on the control thread.
#[derive(Debug)]
pub(super) struct Succession {
    workers: Workers,
    /// Old engine: the new one has the state, and MOVE may come.
    exported: Option<Export>,
    /// New engine: the state is imported; sessions may come once it serves.
    imported: Option<PeerLink>,
    /// New engine: the old one may have to continue.
    returns: Option<Returns>,
    /// New engine: the old one has counts that it has answered with and this one has not.
    awaits_counts: bool,
    /// Old engine: the new one is about to accept, or does.
    lending: Option<Lending>,
    moving: Moving,
    ghosts: Ghosts,
}

/// Whether sessions are on their way between two engines, frozen and held by no worker.
#[derive(Debug)]
enum Moving {
    No,
    /// Old engine. Sending `true` ends the move after the batch under way.
    Out(watch::Sender<bool>),
    /// New engine: a batch is accepted and not yet committed.
    In,
}

/// What else the engine is doing while a hand-off advances.
#[derive(Debug, Clone, Copy)]
pub(super) struct Circumstances {
    pub(super) upgrading: bool,
    pub(super) stopping: bool,
}

/// The result of a stretch of a hand-off.
#[derive(Debug)]
pub(super) enum HandoffStep {
    Greeted(Result<(PeerLink, Agreed), PeerLinkError>),
    Exported(Result<Export, PeerLinkError>),
    MovedOut(MovedOut),
    /// The last step of the old engine: the answer to MOVE.
    HandedOver(Done),
    /// A stretch has panicked. What it held is lost.
    Panicked,
    Arrived(Result<(Incoming, Arrival), PeerLinkError>),
    /// The sessions of a batch belong to this engine now.
    Given(Result<(Incoming, Vec<Frozen>), PeerLinkError>),
}

/// A stretch of a hand-off. Not cancel safe: dropped, it ends the hand-off, and sessions that it holds are closed.
pub(super) type HandoffFuture = Pin<Box<dyn Future<Output = HandoffStep>>>;

/// How a hand-off continues.
pub(super) enum HandoffNext {
    Wait(HandoffFuture),
    /// MOVE is to be answered with this.
    Report(Done),
    Over,
}

impl HandoffStep {
    /// The counts in it, which are those of the other engine.
    pub(super) fn counts(&self) -> Option<&PeerMessage> {
        match self {
            Self::Arrived(Ok((_, Arrival::State(message)))) => Some(message),
            _ => None,
        }
    }
}

impl Succession {
    pub(super) fn new(workers: Workers) -> Self {
        Self {
            workers,
            exported: None,
            imported: None,
            returns: None,
            awaits_counts: false,
            lending: None,
            moving: Moving::No,
            ghosts: Ghosts::default(),
        }
    }

    /// Whether sessions exist that no worker holds.
    pub(super) fn is_moving(&self) -> bool {
        !matches!(self.moving, Moving::No)
    }

    /// Old engine: begins the export of its state.
    pub(super) fn export(end: PeerEnd) -> HandoffFuture {
        let greet = async {
            let mut link = PeerLink::new(end)?;
            let agreed = link.greet().await?;
            Ok((link, agreed))
        };
        Box::pin(async { HandoffStep::Greeted(greet.await) })
    }

    /// Old engine: the upgrade is over. The link to the new engine is of no more use.
    pub(super) fn forget_export(&mut self, listeners: &Listeners, pools: &Pools) {
        self.exported = None;
        self.reclaim(listeners, pools);
    }

    /// Old engine: the new one is about to accept. From now on [`Succession::lend`] is due every few milliseconds.
    pub(super) fn begin_lending(&mut self) {
        self.lending.get_or_insert_default();
    }

    /// Old engine: it is parked, except for listeners that the new one does not serve, if `keeps_some`.
    pub(super) fn parked(&mut self, keeps_some: bool) {
        if let Some(lending) = &mut self.lending {
            lending.parked = Some(if keeps_some { places::KEPT } else { 0 });
        }
    }

    /// Old engine: divides the places within limits with the new one. Returns whether that is to be repeated.
    pub(super) fn lend(&mut self, listeners: &Listeners, pools: &Pools) -> bool {
        let Some(lending) = self.lending.as_mut().filter(|_| matches!(self.moving, Moving::No)) else {
            return false;
        };
        let Some(export) = self.exported.as_mut().filter(|export| export.agreed.has(Feature::Places)) else {
            return false;
        };
        export.hear();
        // What waits is bounded: nothing further is given away until the new engine has heard of the last.
        if export.behind.is_empty() {
            export.behind.extend(lending.update(listeners, pools));
        }
        export.catch_up();
        true
    }

    /// Old engine: it is parked and answers no more. The new one gets what was counted since the export.
    pub(super) fn pass_counts(&mut self, listeners: &Listeners, pools: &Pools) {
        let Some(export) = self.exported.as_mut().filter(|export| export.agreed.counts_return()) else {
            return;
        };
        let now = gather(listeners, pools);
        export.behind.extend(now.messages_since(&export.sent, &export.agreed));
        export.behind.push_back(PeerMessage::Counted(CountsComplete {}));
        export.sent = now;
        export.catch_up();
    }

    /// Old engine: it continues, with what the new one has counted.
    pub(super) fn resume_counts(&mut self, listeners: &Listeners, pools: &Pools) {
        if let Some(export) = &mut self.exported {
            export.hear();
            std::mem::take(&mut export.heard).restore(&export.sent, listeners, pools);
        }
    }

    /// New engine: lets the old one know the counts that are about to be answered with.
    pub(super) fn report_counts(&mut self, listeners: &Listeners, pools: &Pools) {
        if let Some(returns) = &mut self.returns
            && returns.report(listeners, pools).is_err()
        {
            // The old engine is no more, or hands over already.
            self.returns = None;
        }
    }

    /// New engine: whether the counts are not complete yet that the old one has answered with.
    pub(super) fn awaits_counts(&self) -> bool {
        self.awaits_counts
    }

    /// New engine: answers without them.
    pub(super) fn expect_no_counts(&mut self) {
        self.awaits_counts = false;
    }

    /// Old engine: all places are its own again.
    pub(super) fn reclaim(&mut self, listeners: &Listeners, pools: &Pools) {
        if self.lending.take().is_some() {
            places::release(listeners, pools);
        }
    }

    /// Old engine: begins to hand over what can be handed over within `limit`.
    pub(super) fn hand_over(&mut self, limit: Duration, listeners: &Listeners, pools: &Pools) -> HandoffNext {
        self.lend(listeners, pools);
        let Some(export) = self.exported.take() else {
            let left = listeners.limit().used().into();
            let why = Some("there is no way to the new engine".to_owned());
            return HandoffNext::Report(Done { moved: 0, left, why });
        };
        if !export.agreed.has(Feature::Sessions) {
            let why = "the new binary takes no sessions from this one".to_owned();
            let moved = MovedOut { export, moved: 0, why: Some(why), kept: Vec::new() };
            return HandoffNext::Wait(self.last_counts(moved, false, listeners, pools));
        }
        if self.lending.is_some() {
            Lending::close_servers(pools);
        }
        let (end, ended) = watch::channel(false);
        self.moving = Moving::Out(end);
        let mover = Mover::new(export, self.workers.clone(), Instant::now() + limit, ended);
        HandoffNext::Wait(Box::pin(async { HandoffStep::MovedOut(mover.run().await) }))
    }

    /// Old engine: gives no further batch away.
    pub(super) fn end_move(&self) {
        if let Moving::Out(end) = &self.moving {
            end.send_replace(true);
        }
    }

    /// New engine: takes over the state of the old one. The servers of `config` must be there already. For the start:
    /// it takes seconds.
    pub(super) async fn import(
        &mut self,
        end: PeerEnd,
        config: &Config,
        listeners: &Listeners,
        pools: &mut Pools,
    ) -> Result<(), PeerLinkError> {
        let mut link = PeerLink::new(end)?;
        match import::import(&mut link, config, listeners, pools).await {
            Ok(agreed) => {
                self.awaits_counts = agreed.counts_return();
                self.returns = self.awaits_counts.then(|| Returns::new(link.sender(), listeners, pools));
                self.imported = Some(link);
            }
            // The supervisor ends an engine that hangs, and this one is to serve in its place.
            Err(error) if !matches!(error, PeerLinkError::Silent) && link.is_dead().await => {
                tracing::warn!("hand-off: {error}: serving without the state of the engine before this one");
                places::release(listeners, pools);
                import::begin_without(config, pools).await;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// New engine: begins to take sessions, if there is an old engine. For when it serves.
    pub(super) fn receive(&mut self) -> Option<HandoffFuture> {
        self.imported.take().map(|link| arrival(Incoming::new(link)))
    }

    /// Takes in what a stretch has brought.
    pub(super) fn advance(
        &mut self,
        step: HandoffStep,
        now: Circumstances,
        listeners: &Listeners,
        pools: &Pools,
    ) -> HandoffNext {
        match step {
            HandoffStep::Greeted(Ok((link, agreed))) => {
                tracing::info!("hand-off: both engines speak {agreed}");
                let counts = gather(listeners, pools);
                let mut messages = counts.first_messages(&agreed, pools);
                if agreed.has(Feature::Places) {
                    messages.extend(places::present(listeners, pools));
                }
                let exported = async { HandoffStep::Exported(export(link, agreed, messages, counts).await) };
                HandoffNext::Wait(Box::pin(exported))
            }
            HandoffStep::Exported(Ok(export)) => {
                self.exported = now.upgrading.then_some(export);
                HandoffNext::Over
            }
            // It fails the upgrade over there: this engine continues as it was.
            HandoffStep::Greeted(Err(error)) | HandoffStep::Exported(Err(error)) => {
                tracing::warn!("hand-off: {error}");
                HandoffNext::Over
            }
            HandoffStep::MovedOut(mut moved) => {
                for (worker, session) in moved.kept.drain(..) {
                    self.thaw(worker, session, listeners, pools);
                }
                HandoffNext::Wait(self.last_counts(moved, now.stopping, listeners, pools))
            }
            HandoffStep::HandedOver(done) => {
                // Not before: a stop waits for a move, and the last counts belong to it.
                self.moving = Moving::No;
                HandoffNext::Report(done)
            }
            HandoffStep::Panicked => self.panicked(listeners, pools),
            HandoffStep::Arrived(Ok((incoming, arrival))) => self.arrived(incoming, arrival, now, listeners, pools),
            HandoffStep::Given(Ok((mut incoming, sessions))) => {
                for session in sessions {
                    self.take_over(incoming.count(), session, listeners, pools);
                }
                places::refresh(pools, None);
                self.moving = Moving::No;
                HandoffNext::Wait(arrival(incoming))
            }
            HandoffStep::Arrived(Err(error)) | HandoffStep::Given(Err(error)) => {
                self.broken_off(&error, listeners, pools)
            }
        }
    }

    fn arrived(
        &mut self,
        incoming: Incoming,
        arrived: Arrival,
        now: Circumstances,
        listeners: &Listeners,
        pools: &Pools,
    ) -> HandoffNext {
        match arrived {
            Arrival::State(PeerMessage::Held(held)) => {
                places::leave(listeners, pools, &held);
                places::refresh(pools, Some(&held));
                HandoffNext::Wait(arrival(incoming))
            }
            Arrival::State(PeerMessage::Counted(_)) => {
                self.expect_no_counts();
                HandoffNext::Wait(arrival(incoming))
            }
            Arrival::State(message) => match take_state(listeners, pools, message) {
                Ok(()) => HandoffNext::Wait(arrival(incoming)),
                Err(error) => self.broken_off(&error, listeners, pools),
            },
            // Not accepted: the old engine drains them as this one would, without the pause of a move.
            Arrival::Offer(_) if now.stopping => self.broken_off(&PeerLinkError::Stopping, listeners, pools),
            Arrival::Offer(offer) => {
                fault::point("new.offered");
                self.moving = Moving::In;
                (self.returns, self.awaits_counts) = (None, false);
                HandoffNext::Wait(acceptance(incoming, offer))
            }
            Arrival::End => {
                self.end();
                places::release(listeners, pools);
                tracing::info!("hand-off: {} taken over", counted(incoming.taken() as u64, "session"));
                HandoffNext::Over
            }
        }
    }

    fn broken_off(&mut self, error: &PeerLinkError, listeners: &Listeners, pools: &Pools) -> HandoffNext {
        self.end();
        places::release(listeners, pools);
        tracing::warn!("hand-off: broken off: {error}");
        HandoffNext::Over
    }

    fn panicked(&mut self, listeners: &Listeners, pools: &Pools) -> HandoffNext {
        let moves = matches!(self.moving, Moving::Out(_));
        self.end();
        (self.exported, self.lending) = (None, None);
        places::release(listeners, pools);
        let why = "a bug of lb: the hand-off panicked, and stderr has the place";
        tracing::error!("hand-off: {why}");
        let left = listeners.limit().used().into();
        if moves { HandoffNext::Report(Done { moved: 0, left, why: Some(why.to_owned()) }) } else { HandoffNext::Over }
    }

    fn end(&mut self) {
        (self.moving, self.returns, self.awaits_counts) = (Moving::No, None, false);
    }

    /// Old engine: counts the sessions that stay and sends the counts since the export.
    fn last_counts(&self, moved: MovedOut, stopping: bool, listeners: &Listeners, pools: &Pools) -> HandoffFuture {
        let MovedOut { export, moved, mut why, .. } = moved;
        let messages = gather(listeners, pools).messages_since(&export.sent, &export.agreed);
        let workers = self.workers.clone();
        Box::pin(async move {
            let left = workers.sessions().await as u64;
            if left > 0 {
                let reason = if stopping { "this engine is being stopped" } else { "they could not be frozen in time" };
                why.get_or_insert_with(|| reason.to_owned());
            }
            // Those that stay are counted by this engine to their end and then lost to the sums; DONE has their number.
            if let Err(error) = finish(export, messages).await {
                tracing::warn!("hand-off: the last counts were not handed over: {error}");
            }
            HandoffStep::HandedOver(Done { moved, left, why })
        })
    }

    /// Gives a frozen session to a worker.
    fn thaw(&mut self, worker: usize, session: Frozen, listeners: &Listeners, pools: &Pools) {
        let (frontend, backend) = self.ghosts.places(&session, listeners, pools);
        self.workers.nth(worker).thaw(session, &frontend, backend);
    }

    /// Gives a session of the old engine to a worker.
    fn take_over(&mut self, worker: usize, session: Frozen, listeners: &Listeners, pools: &Pools) {
        let (frontend, backend) = self.ghosts.places(&session, listeners, pools);
        self.workers.nth(worker).take_over(session, &frontend, backend);
    }
}

fn arrival(incoming: Incoming) -> HandoffFuture {
    Box::pin(async { HandoffStep::Arrived(incoming.next().await) })
}

fn acceptance(incoming: Incoming, offer: OfferedBatch) -> HandoffFuture {
    Box::pin(async { HandoffStep::Given(incoming.accept(offer).await) })
}

#[cfg(test)]
mod tests;
