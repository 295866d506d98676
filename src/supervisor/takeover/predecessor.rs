//! Giving: a supervisor that was started elsewhere asks through the door for everything, and gets it by the steps of an
//! upgrade: its engine is the new one.
//!
//! Rules: the kernel says who asks before a byte is read; one takeover at a time; who says nothing, or nonsense, is sent
//! away without effect.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::handoff::channel::ChannelError;
use crate::handoff::control::{Control, EngineStarted, Handover, ProcessKind, Progress, Takeover};
use crate::handoff::frame::DecodeError;
use crate::supervisor::connection::{Connection, ConnectionId};
use crate::supervisor::systemd::say;
use crate::supervisor::takeover::socket::{Found, TakeoverSocket, TakeoverSocketError};
use crate::supervisor::upgrade::driver::RunningUpgrade;
use crate::supervisor::upgrade::machine::Event;
use crate::supervisor::upgrade::outcome::{Kind, Outcome};
use crate::supervisor::{Supervisor, engine_process, fault};

/// Somebody who has come through the door and not said yet what it wants.
#[derive(Debug)]
pub(crate) struct Caller {
    pub(crate) line: Connection,
    introduced: bool,
    /// When it is sent away.
    by: Instant,
}

impl Supervisor {
    /// The door, unless too many stand in it.
    pub(crate) fn open_door(&self) -> Option<&TakeoverSocket> {
        let open = self.callers.len() < CALLERS && self.door_closed_until.is_none();
        self.door.as_ref().filter(|_| open)
    }

    pub(crate) fn door_wakes_at(&self) -> Option<Instant> {
        let callers = self.callers.iter().map(|caller| caller.by);
        callers.chain(self.door_closed_until).min()
    }

    pub(crate) fn on_door_time(&mut self, now: Instant) {
        let due = self.door_closed_until.take_if(|until| now >= *until);
        if due.is_some() && self.door.is_none() && !self.stopping && !self.retired {
            self.open_own_door(now);
        }
        self.callers.retain(|caller| {
            if now >= caller.by {
                say("takeover: somebody asked and then said nothing");
            }
            now < caller.by
        });
    }

    /// After a predecessor that has fallen silent in the middle of handing over. Should it come back to life, it keeps the
    /// path, and both serve the same queues. Neither can know which of the two is wanted, and to drain on a guess might
    /// leave nobody: this one goes on serving, says so, and leaves the path alone.
    pub(crate) fn open_own_door(&mut self, now: Instant) {
        let Some(takeover) = &self.takeover else {
            return;
        };
        match TakeoverSocket::find_at_once(&takeover.path) {
            Ok(Found::Nobody(door)) => self.door = Some(door),
            Ok(Found::Somebody(_)) | Err(TakeoverSocketError::Crowded(_) | TakeoverSocketError::Locked(_))
                if self.door_pause < LAST_PAUSE =>
            {
                self.door_closed_until = Some(now + self.door_pause);
                self.door_pause *= 2;
            }
            Ok(Found::Somebody(_)) => say(format!(
                "WARNING: another lb serves at {}, too; stop one of them, this one cannot be taken over",
                takeover.path.display()
            )),
            Err(error) => say(format!("{error}; this one cannot be taken over")),
        }
    }

    pub(crate) fn on_door(&mut self) {
        let now = Instant::now();
        while let Some(door) = self.open_door() {
            match door.accept() {
                Ok(Some(Ok(socket))) => self.callers.push(Caller {
                    line: Connection::new(socket),
                    introduced: false,
                    by: now + CALLER_LIMIT,
                }),
                Ok(Some(Err(uid))) => say(format!("takeover: uid {uid} may not ask for it")),
                Ok(None) => return,
                Err(error) => {
                    // Mostly out of descriptors; at once again would spin.
                    say(format!("takeover: {error}"));
                    self.door_closed_until = Some(now + DOOR_PAUSE);
                }
            }
        }
    }

    pub(crate) fn on_caller(&mut self, id: ConnectionId) {
        loop {
            let Some(place) = self.callers.iter().position(|c| c.line.id() == id) else {
                return;
            };
            let caller = &mut self.callers[place];
            match caller.line.receive() {
                Ok(None) => return,
                Ok(Some((Control::Hello(hello), _))) if hello.role == ProcessKind::Supervisor && !caller.introduced => {
                    caller.introduced = true;
                }
                Ok(Some((Control::Takeover(request), _))) if caller.introduced => {
                    let line = self.callers.remove(place).line;
                    return self.give(line, &request, Instant::now());
                }
                Ok(Some(_)) => {
                    say("takeover: somebody asked for it out of turn");
                    drop(self.callers.remove(place));
                }
                // It has only looked whether somebody is here.
                Err(error) if error.is_closed() && !caller.introduced => {
                    drop(self.callers.remove(place));
                }
                Err(error) => {
                    let mut caller = self.callers.remove(place);
                    say(format!("takeover: who asked for it has a problem: {error}"));
                    if let ChannelError::Decode(DecodeError::Major { .. }) = error {
                        let outcome = Outcome::incompatible(Kind::Takeover, error);
                        caller.line.send_last(&last_word(&outcome));
                    }
                }
            }
        }
    }

    fn give(&mut self, mut line: Connection, request: &Takeover, now: Instant) {
        if let Some(mut refusal) = self.refusal(Kind::Takeover) {
            if refusal.exit == crate::exit::ExitStatus::Busy {
                refusal.text = format!("not taken over: {}", refusal.text);
            }
            say(&refusal.text);
            return line.send_last(&last_word(&refusal));
        }
        say("takeover: another supervisor asks for everything");
        if let Err(error) = line.send(&Control::Hello(engine_process::hello()), vec![]) {
            return say(format!("takeover: {error}"));
        }
        let probation = request.probation_ms.map(Duration::from_millis);
        let generation = self.generation + 1;
        self.conduct = Some(RunningUpgrade::takeover(
            line,
            &self.binary,
            generation,
            probation,
            self.active.as_ref().and_then(|engine| engine.beat.clone()),
            now,
        ));
        fault::point("supervisor.welcome");
        self.perform(vec![], now);
    }

    /// The other supervisor has started its engine.
    pub(crate) fn on_birth(&mut self, id: ConnectionId, born: &EngineStarted, fds: Vec<OwnedFd>, now: Instant) {
        if let Some(engine) = self.engine_mut(id).filter(|engine| engine.is_foreign()) {
            for pidfd in fds {
                engine.is_born(born.pid, pidfd);
            }
            self.upgrade_event(Event::Started(born.pid), now);
        }
    }

    /// All that the other supervisor does not have yet.
    pub(crate) fn hand_over(&mut self, now: Instant) {
        fault::point("supervisor.handover");
        let door = self.door.as_ref().map(TakeoverSocket::duplicate);
        let candidate = self.conduct.as_mut().and_then(RunningUpgrade::candidate_mut);
        match (door, candidate) {
            (Some(Ok(door)), Some(engine)) => {
                self.handed_over = true;
                engine.send(&Control::Handover(Handover {}), vec![Arc::new(door)]);
            }
            (Some(Err(error)), _) => {
                self.upgrade_event(Event::NewFailed(format!("it can be given no more: {error}")), now);
            }
            _ => self.upgrade_event(Event::NewFailed("nobody is at the door".to_owned()), now),
        }
    }

    pub(crate) fn is_handed_over(&self) -> bool {
        self.conduct.as_ref().is_some_and(RunningUpgrade::is_handed_over)
    }

    /// The other supervisor has everything; what is left here drains.
    pub(crate) fn retire(&mut self) {
        fault::point("supervisor.retire");
        self.retired = true;
        self.restart_at = None;
        self.draining.extend(self.active.take());
        self.listeners.hand_on(&self.notify);
        self.door = None;
        self.callers.clear();
        self.notify.stopping("taken over, draining");
    }
}

fn last_word(outcome: &Outcome) -> Control {
    Control::Progress(Progress { request: 0, text: outcome.text.clone(), exit: Some(u32::from(outcome.exit.code())) })
}

/// The most that are listened to at once; others wait in the queue.
const CALLERS: usize = 4;
/// How long somebody may take to say what it wants.
const CALLER_LIMIT: Duration = Duration::from_secs(5);
/// How soon it is looked again whether the path is free; twice as long each time.
pub(crate) const AGAIN: Duration = Duration::from_millis(100);
/// The first pause that is not waited: 12.7 s after the first look.
const LAST_PAUSE: Duration = Duration::from_millis(12_800);
const DOOR_PAUSE: Duration = Duration::from_secs(1);
