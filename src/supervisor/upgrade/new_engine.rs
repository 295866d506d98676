//! New engine: the engine that an upgrade has started, until it serves alone: how it is introduced, what it sends, how
//! it is watched.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fault;
use crate::handoff::control::{Abort, Control, Peer, PeerSide, ProcessKind};
use crate::supervisor::engine_process::EngineProcess;
use crate::supervisor::service::Service;
use crate::supervisor::upgrade::machine::UpgradeEvent;
use crate::sys::fd;

/// The new engine.
#[derive(Debug)]
pub(crate) struct NewEngine {
    pub engine: EngineProcess,
    /// Since when connections wait although it has not accepted any.
    unserved_since: Option<Instant>,
}

impl NewEngine {
    pub(crate) fn new(engine: EngineProcess) -> Self {
        Self { engine, unserved_since: None }
    }

    /// Connects it with the old engine, if there is one, and sends it the listeners and START.
    pub(crate) fn introduce(&mut self, service: &mut Service) -> io::Result<()> {
        let new = &mut self.engine;
        let Some(old) = &mut service.engines.active else {
            // It hung and was killed.
            new.introduce(service.listeners.announced(), service.names.parts(), service.began.elapsed());
            return Ok(());
        };
        let (old_end, new_end) = fd::seqpacket_pair()?;
        let (old_pidfd, new_pidfd) = (old.pidfd()?, new.pidfd()?);
        let arcs = |a, b| vec![Arc::new(a), Arc::new(b)];
        old.send(&Control::Peer(Peer { side: PeerSide::Old, pid: new.pid }), arcs(old_end, new_pidfd));
        let count = new.send_listeners(service.listeners.announced());
        new.send(&Control::Peer(Peer { side: PeerSide::New, pid: old.pid }), arcs(new_end, old_pidfd));
        new.send_start(count, service.began.elapsed());
        fault::point("supervisor.introduce");
        Ok(())
    }

    /// Handles a message. One that is out of turn has no effect.
    pub(crate) fn on_message(
        &mut self,
        message: Control,
        fds: Vec<OwnedFd>,
        service: &mut Service,
        now: Instant,
    ) -> Option<UpgradeEvent> {
        match message {
            Control::EngineStarted(started) if self.engine.is_foreign() => {
                for pidfd in fds {
                    self.engine.foreign_started(started.pid, pidfd);
                }
                Some(UpgradeEvent::Started(started.pid))
            }
            Control::Hello(hello) if hello.role == ProcessKind::Engine => Some(UpgradeEvent::Hello),
            Control::Listener(listener) => {
                service.keep_listener(&listener, fds, true);
                None
            }
            Control::Unlisten(gone) => {
                service.listeners.decline(gone.cookie);
                None
            }
            Control::Prepared(_) => Some(UpgradeEvent::Prepared),
            Control::Ready(ready) => {
                self.engine.on_ready(&ready, now);
                Some(UpgradeEvent::Ready)
            }
            Control::Heartbeat(beat) => {
                self.engine.on_beat(beat.clone(), now);
                Some(UpgradeEvent::NewBeat(beat))
            }
            Control::Taken(_) => Some(UpgradeEvent::Taken),
            Control::Abort(abort) => Some(UpgradeEvent::NewFailed(abort.reason)),
            _ => None,
        }
    }

    /// The end of the connection. A child's exit is due; a foreign engine is lost with its supervisor.
    pub(crate) fn on_hang_up(&mut self, now: Instant) -> Option<UpgradeEvent> {
        if self.engine.is_foreign() {
            let why = "its supervisor has ended or sent a malformed message".to_owned();
            return Some(UpgradeEvent::NewFailed(why));
        }
        self.engine.on_hang_up(now);
        None
    }

    /// In probation: whether connections have waited too long for an engine that has not accepted any.
    pub(crate) fn leaves_queues_unserved(&mut self, service: &Service, now: Instant) -> bool {
        // A full one may accept none: the places are those of sessions in the old engine.
        let idle = self.engine.beat.as_ref().is_none_or(|beat| beat.accepted == 0 && !beat.full);
        if idle && service.listeners.has_waiting() {
            now >= *self.unserved_since.get_or_insert(now) + UNSERVED_LIMIT
        } else {
            self.unserved_since = None;
            false
        }
    }

    /// This process could not run for so long: not counted.
    pub(crate) fn forgive(&mut self, standstill: Duration) {
        if let Some(since) = &mut self.unserved_since {
            *since += standstill;
        }
    }

    /// Ends it, by ABORT and, if it is a child, by SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.engine.send_last(&Control::Abort(Abort { reason: "the upgrade failed".into() }));
        self.engine.kill();
    }
}

/// How long connections may wait for a new engine that has not accepted a single one.
const UNSERVED_LIMIT: Duration = Duration::from_millis(1500);
