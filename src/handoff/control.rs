//! Messages between the supervisor and an engine.
//!
//! ```text
//! supervisor  HELLO LISTENER* START                 GO         PARK  RESUME  COMMIT  MOVE  STOP
//! engine      HELLO                LISTENER* PREPARED   READY  PARKED                DONE  (exit)
//! ```
//! A start, a restart and an upgrade are the same sequence; an upgrade adds PEER, the pair that connects the two
//! engines (`peer.rs`). ABORT may come from either side at any time before READY. HEARTBEAT comes from a READY
//! engine for as long as it lives. UPGRADE is a request that an engine passes on from its admin socket; PROGRESS
//! and PHASE are for the answers there.
//!
//! In a takeover the new engine is the child of another supervisor, which relays the messages of the old supervisor to
//! it and its answers back, and keeps a duplicate of every LISTENER. Between the two supervisors:
//!
//! ```text
//! new  HELLO TAKEOVER        STARTED ... from the engine ...                   TAKEN
//! old                 HELLO          ... to the engine ...  PROGRESS* HANDOVER       PROGRESS
//! ```
//! PROGRESS of request 0 is for the new supervisor itself, and so is ABORT, on which it kills its engine.
//!
//! Kinds 1–7 are the core: frozen. Descriptors: LISTENER has one (the socket), PEER two (the socket, and a pidfd of
//! the engine at its other end), STARTED one (a pidfd), HANDOVER one (the listening socket of the takeover path).

use crate::handoff::features::Offer;
use crate::handoff::wire::{codes, messages, record};

messages! {
    /// A message between a supervisor and an engine, or between two supervisors.
    pub enum Control {
        Hello(Hello) = 1 critical,
        Listener(Listener) = 2 critical,
        Prepared(Prepared) = 3 critical,
        Go(Go) = 4 critical,
        Ready(Ready) = 5 critical,
        Abort(Abort) = 6 critical,
        Done(Done) = 7 critical,
        Start(Start) = 16 critical,
        Unlisten(Unlisten) = 17 critical,
        Peer(Peer) = 18 critical,
        Park(Park) = 19 critical,
        Parked(Parked) = 20 critical,
        Resume(Resume) = 21 critical,
        Commit(Commit) = 22 critical,
        Move(Move) = 23 critical,
        Stop(Stop) = 24 critical,
        Heartbeat(Heartbeat) = 25,
        Upgrade(Upgrade) = 26,
        Progress(Progress) = 27,
        Phase(Phase) = 28,
        Reload(Reload) = 29,
        Status(StatusLine) = 30,
        Takeover(Takeover) = 31 critical,
        EngineStarted(EngineStarted) = 32 critical,
        Handover(Handover) = 33 critical,
        Taken(Taken) = 34 critical,
        Names(NamesPart) = 35,
    } with descriptors
}

fn descriptors(message: &Control) -> usize {
    match message {
        Control::Listener(_) | Control::EngineStarted(_) | Control::Handover(_) => 1,
        Control::Peer(_) => 2,
        _ => 0,
    }
}

codes! {
    /// Which kind of process sends.
    pub enum ProcessKind {
        Supervisor = 1,
        Engine = 2,
    }
}

codes! {
    /// What a listener is for.
    pub enum ListenerKind {
        /// Clients of a frontend.
        Traffic = 1,
        /// The admin socket.
        Admin = 2,
    }
}

codes! {
    /// Why an engine starts.
    pub enum Mode {
        /// The first one of this supervisor.
        Fresh = 1,
        /// The previous one died; the listeners are those that it had.
        Restart = 2,
        /// The previous one serves until this one is READY; PEER leads to it.
        Upgrade = 3,
    }
}

codes! {
    /// Which end of a hand-off an engine is.
    pub enum PeerSide {
        /// The old engine: it exports.
        Old = 1,
        /// The new engine: it imports.
        New = 2,
    }
}

codes! {
    /// How to stop.
    pub enum StopMode {
        /// Accept what is queued, then nothing; let open sessions continue up to the stop limit.
        Drain = 1,
        /// A short drain, then the end.
        Now = 2,
    }
}

codes! {
    /// Where a running upgrade is; the steps of the hand-off.
    pub enum UpgradePhase {
        /// None is running.
        Idle = 1,
        /// The new binary checks the configuration.
        Probe = 2,
        /// The new engine starts and says HELLO.
        Hello = 3,
        /// It takes listeners and state.
        Prepare = 4,
        /// It begins to accept.
        Activate = 5,
        /// It accepts new connections; the old engine can still resume.
        Probation = 6,
        /// Open sessions move.
        Move = 7,
    }
}

record! {
    /// The first message in each direction.
    pub struct Hello {
        1 => role: ProcessKind,
        2 => pid: u32,
        /// Of the binary; informational.
        3 => version: String,
        4 => offers: Vec<Offer>,
    }
}

record! {
    /// A listening socket and its purpose. One descriptor.
    pub struct Listener {
        1 => kind: ListenerKind,
        /// Name of the frontend; empty for the admin socket.
        2 => frontend: String,
        /// As configured, and the key by which it is found: a port of 0 stays 0 here.
        3 => bind: String,
        /// Which of the sockets of one address, from 0.
        4 => worker: u32,
        /// The address that the kernel assigned.
        5 => address: String,
        /// SO_COOKIE.
        6 => cookie: u64,
    }
}

record! {
    /// This listener is given up. From the engine that serves: the supervisor drops its duplicate. From a new engine
    /// before PREPARED: it will not serve it, and the duplicate is dropped with the old engine.
    pub struct Unlisten {
        1 => cookie: u64,
    }
}

record! {
    /// Ends the messages that come before an engine may prepare.
    pub struct Start {
        1 => mode: Mode,
        /// 1 at the start of the daemon, one more with each upgrade.
        2 => generation: u64,
        /// LISTENER messages that came before.
        3 => listeners: u32,
        /// Since the daemon was started.
        4 => uptime_ms: u64,
    }
}

record! {
    /// All listeners are bound and sent, all backends built. Nothing was accepted.
    pub struct Prepared {
        /// Listeners that this engine will serve.
        1 => listeners: u32,
    }
}

record! {
    /// Prepare to accept, run the self-check, send READY, then accept.
    pub struct Go {}
}

record! {
    /// From here on this engine serves. An engine accepts nothing before it has sent this.
    pub struct Ready {
        /// How long sessions may continue after STOP, in ms.
        1 => stop_limit_ms: u64,
        /// How long it may be silent before it counts as one that hangs, in ms; 0: for ever. `None`: 10 s.
        2 => watchdog_ms: Option<u64>,
    }
}

record! {
    /// The step failed; the sender ends, or expects the receiver to.
    pub struct Abort {
        1 => reason: String,
    }
}

record! {
    /// The old engine's final report about MOVE.
    pub struct Done {
        /// Sessions that the new engine has taken.
        1 => moved: u64,
        /// Sessions that stay and drain.
        2 => left: u64,
        /// Why they stay.
        3 => why: Option<String>,
    }
}

record! {
    /// The way to the other engine. Two descriptors: a connected SEQPACKET socket, a pidfd.
    pub struct Peer {
        1 => side: PeerSide,
        2 => pid: u32,
    }
}

record! {
    /// Stop accepting, deregister the listeners, keep them: RESUME may come.
    pub struct Park {
        /// Listeners that the new engine does not serve: the old one continues to accept from them until STOP.
        1 => except: Vec<Unlisten>,
    }
}

record! {
    /// The engine has stopped accepting.
    pub struct Parked {}
}

record! {
    /// The new engine failed: accept again, at once.
    pub struct Resume {}
}

record! {
    /// Probation is over; the old engine will not resume.
    pub struct Commit {}
}

record! {
    /// Hand the open sessions over.
    pub struct Move {
        /// What is not moved by then stays, in ms.
        1 => limit_ms: u64,
    }
}

record! {
    pub struct Stop {
        1 => mode: StopMode,
        /// With [`StopMode::Drain`]: only a limit that the configuration names cuts sessions, not the default one.
        2 => soft: bool,
    }
}

impl Stop {
    /// Open sessions continue to their end.
    pub(crate) const SOFT: Self = Self { mode: StopMode::Drain, soft: true };
    /// Open sessions continue up to the stop limit.
    pub(crate) const DRAIN: Self = Self { mode: StopMode::Drain, soft: false };
    pub(crate) const NOW: Self = Self { mode: StopMode::Now, soft: false };

    pub(crate) fn is_soft(&self) -> bool {
        self.mode == StopMode::Drain && self.soft
    }
}

record! {
    /// Every worker of this engine has answered since the last one.
    pub struct Heartbeat {
        /// Open sessions.
        1 => sessions: u64,
        /// Connections accepted since this engine's start.
        2 => accepted: u64,
        /// Of those, connected to a server.
        3 => served: u64,
        /// Of those, ended without one.
        4 => failed: u64,
        /// No place is free within a limit, so that connections wait; in an upgrade the other engine's sessions count, too.
        5 => full: bool,
    }
}

record! {
    /// A request for an upgrade.
    pub struct Upgrade {
        /// Chosen by the engine; PROGRESS carries it back.
        1 => request: u64,
        /// `None`: the path that the supervisor was started from.
        2 => binary: Option<String>,
        /// `None`: 5 s.
        3 => probation_ms: Option<u64>,
    }
}

record! {
    /// A line for the requester.
    pub struct Progress {
        1 => request: u64,
        2 => text: String,
        /// Set on the last line: the exit code of `lb upgrade`.
        3 => exit: Option<u32>,
    }
}

record! {
    /// A part of the last good addresses of host names, as `control::names` writes them. An engine sends all parts whenever
    /// they change; the supervisor gives them to an engine that starts without another one beside it, before START.
    pub struct NamesPart {
        /// From 0, which replaces what came before.
        1 => part: u32,
        2 => saved: Vec<u8>,
    }
}

record! {
    /// Where the upgrade is, for `lb status`; a reload is refused unless it is idle.
    pub struct Phase {
        1 => phase: UpgradePhase,
    }
}

record! {
    /// SIGHUP: read the configuration again.
    pub struct Reload {}
}

record! {
    /// One line for the service manager.
    pub struct StatusLine {
        1 => text: String,
        /// A reload has begun; the next STATUS without it ends it.
        2 => reloading: bool,
        /// As in READY, if that has changed.
        3 => stop_limit_ms: Option<u64>,
        /// The same.
        4 => watchdog_ms: Option<u64>,
    }
}

record! {
    /// Another supervisor asks to take over listeners and sessions.
    pub struct Takeover {
        /// `None`: 5 s.
        1 => probation_ms: Option<u64>,
    }
}

record! {
    /// The other supervisor has started the new engine. One descriptor: its pidfd.
    pub struct EngineStarted {
        /// In the pid namespace of the other supervisor; informational.
        1 => pid: u32,
    }
}

record! {
    /// Everything is handed over. One descriptor: the listening socket of the takeover path.
    pub struct Handover {}
}

record! {
    /// HANDOVER has arrived.
    pub struct Taken {}
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::handoff::frame::{DecodeError, Frame};
    use crate::handoff::wire::Messages;

    fn frame(message: &Control) -> Frame {
        let (kind, critical, body) = message.encode();
        Frame { kind, critical, fds: 0, sequence: 0, body }
    }

    #[test]
    fn an_unknown_kind_is_skipped_unless_it_is_critical() {
        let later = Frame { kind: 999, critical: false, fds: 0, sequence: 0, body: vec![] };
        assert_eq!(Control::decode(&later), Ok(None));
        let critical = Frame { critical: true, ..later };
        assert_eq!(Control::decode(&critical), Err(DecodeError::UnknownKind(999)));
    }

    #[test]
    fn a_missing_or_impossible_field_is_refused_by_its_number() {
        let start = Start { mode: Mode::Fresh, generation: 1, listeners: 0, uptime_ms: 0 };
        let mut frame = frame(&Control::Start(start));
        let body = frame.body.clone();
        frame.body = body[14..].to_vec();
        assert_eq!(Control::decode(&frame), Err(DecodeError::Missing(1)));
        frame.body = body;
        frame.body[6] = 77;
        assert_eq!(Control::decode(&frame), Err(DecodeError::Invalid(1)));
    }

    proptest! {
        #[test]
        fn every_message_is_read_as_it_was_written(seed: u64) {
            for message in Control::samples(&mut fastrand::Rng::with_seed(seed)) {
                prop_assert_eq!(Control::decode(&frame(&message)).unwrap(), Some(message));
            }
        }

        #[test]
        fn a_message_with_bytes_changed_is_read_or_refused_but_never_panics(seed: u64, at: usize, byte: u8, cut: usize) {
            for message in Control::samples(&mut fastrand::Rng::with_seed(seed)) {
                let mut frame = frame(&message);
                if !frame.body.is_empty() {
                    let length = frame.body.len();
                    frame.body[at % length] = byte;
                    drop(Control::decode(&frame));
                    frame.body.truncate(cut % length);
                    drop(Control::decode(&frame));
                }
            }
        }

        #[test]
        fn rubbish_under_any_kind_never_panics(kind in 0_u16..80, critical: bool, body: Vec<u8>) {
            drop(Control::decode(&Frame { kind, critical, fds: 0, sequence: 0, body }));
        }
    }
}
