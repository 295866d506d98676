//! The hand-off between two engines: the old one exports its state and, later, its sessions; the new one imports them.
//!
//! Each stretch of a hand-off that waits is a future without access to the engine. The loop polls it and gives its result
//! to [`Succession::advance`], which changes the engine and returns the next stretch.

mod batch;
mod export;
mod ghosts;
mod heritage;
mod import;
mod outgoing;
pub(crate) mod peer_link;
mod places;
mod receive;
mod returns;
mod send;
mod session_codec;
mod state;
mod step;
mod sums;

use std::time::{Duration, Instant};

use tokio::sync::watch;

use self::export::{export, finish};
use self::ghosts::Ghosts;
use self::heritage::Heritage;
use self::outgoing::Outgoing;
use self::peer_link::{PeerLink, PeerLinkError};
use self::places::Lending;
use self::receive::{Arrival, Incoming, OfferedBatch};
use self::send::{MovedOut, Mover};
use self::state::{gather, take_state};
pub(super) use self::step::{Circumstances, HandoffFuture, HandoffNext, HandoffStep};
use crate::config::counted;
use crate::engine::listeners::Listeners;
use crate::engine::pools::Pools;
use crate::engine::supervisor_link::PeerEnd;
use crate::engine::workers::Workers;
use crate::fault;
use crate::handoff::control::Done;
use crate::handoff::features::Feature;
use crate::handoff::peer::PeerMessage;
use crate::proxy::frozen::Frozen;

/// This engine's part in a hand-off. Lives on the control thread.
#[derive(Debug)]
pub(super) struct Succession {
    workers: Workers,
    /// Old engine.
    pub(super) outgoing: Outgoing,
    /// New engine.
    pub(super) heritage: Heritage,
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

impl Succession {
    pub(super) fn new(workers: Workers) -> Self {
        Self {
            workers,
            outgoing: Outgoing::default(),
            heritage: Heritage::default(),
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

    /// Old engine: divides the places within limits with the new one. Returns whether that is to be repeated.
    pub(super) fn lend(&mut self, listeners: &Listeners, pools: &Pools) -> bool {
        !self.is_moving() && self.outgoing.lend(listeners, pools)
    }

    /// Old engine: begins to hand over what can be handed over within `limit`.
    pub(super) fn hand_over(&mut self, limit: Duration, listeners: &Listeners, pools: &Pools) -> HandoffNext {
        self.lend(listeners, pools);
        let Some(export) = self.outgoing.export.take() else {
            let left = listeners.limit().used().into();
            let why = Some("there is no way to the new engine".to_owned());
            return HandoffNext::Report(Done { moved: 0, left, why });
        };
        if !export.agreed.has(Feature::Sessions) {
            let why = "the new binary takes no sessions from this one".to_owned();
            let moved = MovedOut { export, moved: 0, why: Some(why), kept: Vec::new() };
            return HandoffNext::Wait(self.last_counts(moved, false, listeners, pools));
        }
        if self.outgoing.lending.is_some() {
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

    /// New engine: begins to take sessions, if there is an old engine. For when it serves.
    pub(super) fn receive(&mut self) -> Option<HandoffFuture> {
        self.heritage.link.take().map(|link| arrival(Incoming::new(link)))
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
                self.outgoing.export = now.upgrading.then_some(export);
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
                self.heritage.expect_no_counts();
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
                self.heritage.settle();
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
        self.outgoing = Outgoing::default();
        places::release(listeners, pools);
        let why = "a bug of lb: the hand-off panicked, and stderr has the place";
        tracing::error!("hand-off: {why}");
        let left = listeners.limit().used().into();
        if moves { HandoffNext::Report(Done { moved: 0, left, why: Some(why.to_owned()) }) } else { HandoffNext::Over }
    }

    fn end(&mut self) {
        self.moving = Moving::No;
        self.heritage.settle();
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
