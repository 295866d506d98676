//! Taking: this supervisor was started to take everything over from one that runs. Its engine is the new one of an upgrade
//! that the old supervisor leads; what the two say to each other passes through here.
//!
//! Rules: the listening sockets are kept as they pass, so that the death of the old supervisor leaves somebody who serves.
//! Until everything was handed over, nothing of the other one's is removed, whatever happens here.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::exit::ExitStatus;
use crate::handoff::channel::ChannelError;
use crate::handoff::control::{
    Abort, Commit, Control, EngineStarted, Listener, Mode, Phase, ProcessKind, Progress, Taken, Takeover, UpgradePhase,
};
use crate::handoff::frame::DecodeError;
use crate::supervisor::children::stop_limit;
use crate::supervisor::connection::Connection;
use crate::supervisor::engine_process;
use crate::supervisor::engine_process::EngineProcess;
use crate::supervisor::listeners::Listeners;
use crate::supervisor::systemd::say;
use crate::supervisor::takeover::socket::{Found, TakeoverSocket};
use crate::supervisor::{Supervisor, fault};

/// A takeover as the new supervisor sees it.
#[derive(Debug)]
pub(crate) struct Successor {
    /// To the old supervisor.
    pub(crate) line: Connection,
    /// When it must have said something.
    pub(crate) by: Instant,
    path: PathBuf,
    stage: Stage,
    /// The new engine has served.
    served: bool,
    /// It was told that the old one will not come back.
    committed: bool,
    /// What HANDOVER brought.
    door: Option<OwnedFd>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It was asked.
    Asked,
    /// It leads the upgrade.
    Led,
    /// It has failed; the old supervisor will say how that ended.
    Failed,
    /// The line has ended without a last word. How long is waited before the next look whether the old supervisor is dead.
    Orphan(Duration),
    /// Everything was handed over.
    Handed,
}

impl Supervisor {
    /// Asks the `lb` at the other end of `socket`.
    pub(crate) fn ask_for_everything(&mut self, socket: OwnedFd, now: Instant) {
        let Some(takeover) = &self.takeover else {
            return;
        };
        say(format!("another lb runs: taking over from {}", takeover.path.display()));
        let probation_ms = takeover.probation.map(crate::supervisor::millis);
        let mut taking = Successor {
            line: Connection::new(socket),
            by: now + ANSWER_LIMIT,
            path: takeover.path.clone(),
            stage: Stage::Asked,
            served: false,
            committed: false,
            door: None,
        };
        taking.send(&Control::Hello(engine_process::hello()), vec![]);
        taking.send(&Control::Takeover(Takeover { probation_ms }), vec![]);
        self.taking = Some(taking);
    }

    /// What the old supervisor says.
    pub(crate) fn on_predecessor(&mut self) {
        while let Some(taking) = &mut self.taking {
            let now = Instant::now();
            let heard = taking.line.flush().and_then(|()| taking.line.receive());
            match heard {
                Ok(Some((message, fds))) => self.on_word(message, fds, now),
                Ok(None) => return,
                Err(error) => self.on_silence(&error, now),
            }
        }
    }

    fn on_word(&mut self, message: Control, fds: Vec<OwnedFd>, now: Instant) {
        let Some(taking) = &mut self.taking else {
            return;
        };
        if taking.stage == Stage::Led {
            taking.by = now + SILENCE_LIMIT;
        }
        match message {
            Control::Hello(hello) if hello.role == ProcessKind::Supervisor => self.on_welcome(now),
            Control::Progress(Progress { request: 0, text, exit }) => {
                say(&text);
                match exit.map(|code| u8::try_from(code).unwrap_or(1)) {
                    None => self.notify.status(&text),
                    Some(code) => self.end_taking(code, now),
                }
            }
            Control::Abort(_) => {
                taking.fails(now);
                self.active.iter().for_each(EngineProcess::kill);
            }
            Control::Handover(_) => {
                fault::point("taker.handover");
                taking.stage = Stage::Handed;
                taking.by = now + HANDED_LIMIT;
                taking.door = fds.into_iter().next();
                taking.send(&Control::Taken(Taken {}), vec![]);
                fault::point("taker.taken");
            }
            message => self.pass_to_engine(&message, fds, now),
        }
    }

    fn on_welcome(&mut self, now: Instant) {
        let Some(taking) = self.taking.as_mut().filter(|t| t.stage == Stage::Asked) else {
            return;
        };
        taking.stage = Stage::Led;
        taking.by = now + SILENCE_LIMIT;
        fault::point("taker.welcome");
        let generation = self.generation;
        let started = EngineProcess::start(&self.binary, &self.args, Mode::Upgrade, generation, now);
        let started = started.map_err(|error| error.to_string()).and_then(|mut engine| {
            engine.introduced = true;
            let pidfd = engine.pidfd().map_err(|error| error.to_string())?;
            let born = Control::EngineStarted(EngineStarted { pid: engine.pid });
            taking.send(&born, vec![Arc::new(pidfd)]);
            Ok(engine)
        });
        match started {
            Ok(engine) => self.active = Some(engine),
            Err(reason) => {
                taking.fails(now);
                taking.send(&Control::Abort(Abort { reason }), vec![]);
            }
        }
        fault::point("taker.born");
    }

    /// What the old supervisor says to the new engine.
    fn pass_to_engine(&mut self, message: &Control, fds: Vec<OwnedFd>, now: Instant) {
        match message {
            Control::Listener(listener) => self.keep(listener, &fds),
            Control::Start(start) => {
                self.generation = start.generation;
                let age = Duration::from_millis(start.uptime_ms);
                self.began = now.checked_sub(age).unwrap_or(now);
                if let Some(engine) = &mut self.active {
                    engine.generation = start.generation;
                }
                fault::point("taker.start");
            }
            Control::Commit(_) => self.taking.iter_mut().for_each(|t| t.committed = true),
            _ => {}
        }
        if let Some(engine) = &mut self.active {
            engine.send(message, fds.into_iter().map(Arc::new).collect());
        }
    }

    /// What the new engine says to the old supervisor.
    pub(crate) fn pass_on(&mut self, message: Control, fds: Vec<OwnedFd>, now: Instant) {
        if let (Control::Upgrade(request), Some(engine)) = (&message, &self.active) {
            // Refused, since this goes on.
            return self.request_upgrade(engine.id(), request, now);
        }
        match (&message, &mut self.active) {
            (Control::Listener(listener), _) => self.keep(listener, &fds),
            (Control::Unlisten(gone), _) => self.listeners.decline(gone.cookie),
            (Control::Ready(ready), Some(engine)) => {
                engine.serving_since = Some(now);
                engine.last_beat = now;
                engine.stop_limit = stop_limit(ready.stop_limit_ms);
                fault::point("taker.ready");
            }
            (Control::Heartbeat(beat), Some(engine)) => {
                engine.last_beat = now;
                engine.beat = Some(beat.clone());
            }
            _ => {}
        }
        if let Some(taking) = &mut self.taking {
            taking.served |= matches!(message, Control::Ready(_));
            taking.send(&message, fds.into_iter().map(Arc::new).collect());
        }
    }

    fn keep(&mut self, listener: &Listener, fds: &[OwnedFd]) {
        for socket in fds {
            let kept = socket.try_clone().and_then(|socket| self.listeners.keep(listener.clone(), socket, false));
            if let Err(error) = kept {
                say(format!("listener {} {}: {error}", listener.frontend, listener.bind));
            }
        }
    }

    /// Whether the engine that has ended was the new one of a takeover: the old supervisor will roll back.
    pub(crate) fn on_newborn_exit(&mut self, how: &str, now: Instant) -> bool {
        let Some(taking) = &mut self.taking else {
            return false;
        };
        if taking.stage == Stage::Led {
            taking.fails(now);
        }
        let reason = format!("it {how}");
        taking.send(&Control::Abort(Abort { reason }), vec![]);
        true
    }

    /// The old supervisor has said its last word.
    fn end_taking(&mut self, code: u8, now: Instant) {
        let done = [ExitStatus::Done, ExitStatus::SessionsLeft].map(ExitStatus::code);
        let handed = self.taking.as_ref().is_some_and(|t| t.stage == Stage::Handed);
        if handed && done.contains(&code) {
            self.begin_alone(now);
        } else {
            self.give_up_taking(code);
        }
    }

    /// The old supervisor has hung up, or talks nonsense.
    fn on_silence(&mut self, error: &ChannelError, now: Instant) {
        let Some(taking) = &mut self.taking else {
            return;
        };
        let path = taking.path.display();
        match error {
            // Everything is here: whatever it says after that, it drains.
            _ if taking.stage == Stage::Handed => {
                say(format!("the lb at {path}: {error}: going on without it"));
                self.begin_alone(now);
            }
            ChannelError::Decode(DecodeError::Major { .. }) => {
                say(format!("not taken over: the lb at {path}: {error}"));
                self.give_up_taking(ExitStatus::Incompatible.code());
            }
            error if taking.stage == Stage::Asked || !error.is_closed() => {
                let perhaps = if error.is_closed() { "; it may run as another user" } else { "" };
                say(format!("not taken over: the lb at {path}: {error}{perhaps}"));
                let exit = taking.exit_of_failure();
                self.give_up_taking(exit.code());
            }
            // It is dead, or it has had enough of this line and serves.
            _ => {
                taking.stage = Stage::Orphan(ORPHAN_PAUSE);
                self.look_who_lives(now);
            }
        }
    }

    /// After the end of the line: to go on alone beside a supervisor that lives would make two, on the same queues. Nobody
    /// at the path is the proof that it is dead: it listens there while it lives. Asked several times, since one that dies
    /// does not close everything at once.
    fn look_who_lives(&mut self, now: Instant) {
        let Some(taking) = &mut self.taking else {
            return;
        };
        let Stage::Orphan(pause) = taking.stage else {
            return;
        };
        let path = taking.path.display();
        let lives = match TakeoverSocket::find_at_once(&taking.path) {
            Ok(Found::Nobody(door)) => {
                say("the old supervisor is gone: going on with what it has handed over");
                self.door = Some(door);
                return self.begin_alone(now);
            }
            Ok(Found::Somebody(_)) => {
                format!("the lb at {path} has broken off, and still answers there")
            }
            Err(error) => format!("the lb at {path} has broken off: {error}"),
        };
        if pause < LAST_ORPHAN_PAUSE {
            taking.stage = Stage::Orphan(pause * 2);
            taking.by = now + pause;
            return;
        }
        say(format!("not taken over: {lives}"));
        let exit = taking.exit_of_failure();
        self.give_up_taking(exit.code());
    }

    pub(crate) fn on_taking_time(&mut self, now: Instant) {
        let Some(taking) = self.taking.as_ref().filter(|taking| now >= taking.by) else {
            return;
        };
        let exit = match taking.stage {
            Stage::Orphan(_) => return self.look_who_lives(now),
            Stage::Handed => None,
            Stage::Led if taking.served => None,
            _ => Some(taking.exit_of_failure()),
        };
        let path = taking.path.display().to_string();
        match exit {
            None => {
                say(format!("the lb at {path} is silent: going on without it"));
                self.begin_alone(now);
            }
            Some(exit) => {
                say(format!("not taken over: the lb at {path} does not answer"));
                self.give_up_taking(exit.code());
            }
        }
    }

    /// TERM or INT before the end: the old supervisor goes on, and what the new engine has accepted drains.
    pub(crate) fn stop_taking(&mut self, now: Instant) {
        let Some(taking) = &mut self.taking else {
            return;
        };
        if taking.stage == Stage::Handed {
            return self.begin_alone(now);
        }
        let reason = "its supervisor is being stopped".to_owned();
        taking.send(&Control::Abort(Abort { reason }), vec![]);
        if !taking.served {
            self.active.iter().for_each(EngineProcess::kill);
        }
        self.taking = None;
        self.listeners = Listeners::default();
    }

    fn give_up_taking(&mut self, code: u8) {
        self.active.iter().for_each(EngineProcess::kill);
        self.taking = None;
        // Not removed: the admin socket and the queues are the other one's.
        self.listeners = Listeners::default();
        self.exit = Some(code);
    }

    /// From here on this is the only supervisor.
    fn begin_alone(&mut self, now: Instant) {
        let Some(taking) = self.taking.take() else {
            return;
        };
        match taking.door {
            Some(socket) => self.door = Some(TakeoverSocket::restore(taking.path, socket)),
            None if self.door.is_none() => self.open_own_door(now),
            None => {}
        }
        self.listeners.confirm(&self.notify);
        self.listeners.store(&self.notify);
        match &mut self.active {
            Some(engine) if engine.serving_since.is_some() => {
                engine.last_beat = now;
                if !taking.committed {
                    engine.send(&Control::Commit(Commit {}), vec![]);
                }
                let phase = UpgradePhase::Idle;
                engine.send(&Control::Phase(Phase { phase }), vec![]);
                self.notify.ready(&format!("serving, engine {}", engine.pid));
                self.ready_told = true;
            }
            // It waits for words of which nobody knows what they were: its successor begins anew, on the same queues.
            Some(engine) => engine.kill(),
            None => self.restart_at = Some(now),
        }
    }
}

impl Successor {
    /// An end that is closed shows when it is read.
    fn send(&mut self, message: &Control, fds: Vec<Arc<OwnedFd>>) {
        if let Err(error) = self.line.send(message, fds) {
            say(format!("the lb at {}: {error}", self.path.display()));
        }
    }

    fn fails(&mut self, now: Instant) {
        self.stage = Stage::Failed;
        self.by = now + ANSWER_LIMIT;
    }

    /// Of an end of which the old supervisor does not say what it was.
    fn exit_of_failure(&self) -> ExitStatus {
        if self.served { ExitStatus::RolledBack } else { ExitStatus::UpgradeFailed }
    }
}

/// How long the old supervisor may take for an answer that needs nobody else.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long it may take for its last word. Longer than its own limit for this step: who leads must be the one to end it,
/// or it would take the end of the line for a death and serve again.
const HANDED_LIMIT: Duration = Duration::from_secs(15);
/// The time to the second look whether the old supervisor is dead; twice as long each time.
const ORPHAN_PAUSE: Duration = Duration::from_millis(25);
/// The first pause that is not waited: 3.2 s after the first look.
const LAST_ORPHAN_PAUSE: Duration = Duration::from_millis(3200);
/// How long it may be silent while it leads: the longest of its own limits, probation, and a reserve.
const SILENCE_LIMIT: Duration = Duration::from_secs(90);
