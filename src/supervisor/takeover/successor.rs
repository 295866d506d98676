//! Successor: the side of a takeover that was started to continue the service. Its engine is the new one of an upgrade that
//! the old supervisor leads; the messages of these two are relayed here.
//!
//! Rules: the listening sockets are kept as they pass, so that the queues survive the death of the old supervisor. Until
//! HANDOVER, nothing of the old one is removed, whatever happens here.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::exit::ExitStatus;
use crate::fault;
use crate::handoff::channel::ChannelError;
use crate::handoff::control::{
    Abort, Commit, Control, EngineStarted, Listener, Mode, Phase, ProcessKind, Progress, Start, Taken, Takeover,
    UpgradePhase,
};
use crate::handoff::frame::DecodeError;
use crate::supervisor::connection::{Connection, ConnectionId};
use crate::supervisor::engine_process::{EngineProcess, hello};
use crate::supervisor::listeners::HeldListeners;
use crate::supervisor::options::TakeoverOptions;
use crate::supervisor::service::Service;
use crate::supervisor::stderr::print;
use crate::supervisor::takeover::socket::{Claimed, TakeoverSocket};
use crate::sys::clock::millis;

/// A takeover as the new supervisor sees it.
#[derive(Debug)]
pub(crate) struct Successor {
    /// To the old supervisor.
    connection: Connection,
    path: PathBuf,
    stage: TakeoverStage,
    /// When the old supervisor must have sent a message.
    by: Instant,
    /// The new engine has been READY.
    served: bool,
    /// It was sent COMMIT.
    committed: bool,
}

/// How a takeover ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TakeoverEnd {
    /// This is the only supervisor.
    Alone,
    /// The old supervisor serves; the exit code of this one.
    GivenUp(u8),
}

#[derive(Debug)]
enum TakeoverStage {
    /// The request was sent.
    Asked,
    /// The old supervisor leads the upgrade.
    Led,
    /// The new engine has failed; the old supervisor will send the outcome.
    Failed,
    /// The connection has ended without an outcome. The time until the next test whether the old supervisor is dead.
    Orphan(Duration),
    /// HANDOVER has come, with the takeover socket.
    Handed(Option<OwnedFd>),
}

impl Successor {
    /// Asks the `lb` at the other end of `socket`.
    pub(crate) fn ask(socket: OwnedFd, options: &TakeoverOptions, now: Instant) -> Self {
        print(format!("another lb runs: taking over from {}", options.path.display()));
        let mut successor = Self {
            connection: Connection::new(socket),
            path: options.path.clone(),
            stage: TakeoverStage::Asked,
            by: now + ANSWER_LIMIT,
            served: false,
            committed: false,
        };
        successor.send(&Control::Hello(hello()), vec![]);
        successor.send(&Control::Takeover(Takeover { probation_ms: options.probation.map(millis) }), vec![]);
        successor
    }

    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(crate) fn is_at(&self, id: ConnectionId) -> bool {
        self.connection.id() == id
    }

    /// When [`Self::on_time`] is due.
    pub(crate) fn wake_at(&self) -> Instant {
        self.by
    }

    /// Handles the messages of the old supervisor.
    pub(crate) fn on_predecessor(&mut self, service: &mut Service) -> Option<TakeoverEnd> {
        loop {
            let now = Instant::now();
            let end = match self.connection.flush().and_then(|()| self.connection.receive()) {
                Ok(Some((message, fds))) => self.on_message(message, fds, service, now),
                Ok(None) => return None,
                Err(error) => self.on_error(&error, service, now),
            };
            if end.is_some() {
                return end;
            }
        }
    }

    /// Relays a message of the new engine to the old supervisor.
    pub(crate) fn relay(&mut self, message: &Control, fds: Vec<OwnedFd>, service: &mut Service, now: Instant) {
        match (message, &mut service.engines.active) {
            (Control::Listener(listener), _) => keep(service, listener, &fds),
            (Control::Unlisten(gone), _) => service.listeners.decline(gone.cookie),
            (Control::Ready(ready), Some(engine)) => {
                engine.on_ready(ready, now);
                fault::point("taker.ready");
            }
            (Control::Heartbeat(beat), Some(engine)) => engine.on_beat(beat.clone(), now),
            _ => {}
        }
        self.served |= matches!(message, Control::Ready(_));
        self.send(message, fds.into_iter().map(Arc::new).collect());
    }

    /// The new engine has ended: the old supervisor will roll back.
    pub(crate) fn on_engine_exit(&mut self, how: &str, now: Instant) {
        if matches!(self.stage, TakeoverStage::Led) {
            self.fail(now);
        }
        let reason = format!("it {how}");
        self.send(&Control::Abort(Abort { reason }), vec![]);
    }

    /// Handles a limit that has passed.
    pub(crate) fn on_time(&mut self, service: &mut Service, now: Instant) -> Option<TakeoverEnd> {
        if now < self.by {
            return None;
        }
        let path = self.path.display();
        match self.stage {
            TakeoverStage::Orphan(pause) => return self.test_predecessor(pause, service, now),
            TakeoverStage::Handed(_) => {}
            TakeoverStage::Led if self.served => {}
            _ => {
                print(format!("not taken over: the lb at {path} does not answer"));
                return Some(give_up(service, self.exit_of_failure()));
            }
        }
        print(format!("the lb at {path} is silent: continuing without it"));
        Some(self.begin_alone(service, now))
    }

    /// TERM or INT. Before HANDOVER the old supervisor continues, and sessions that the new engine has accepted drain.
    pub(crate) fn stop(&mut self, service: &mut Service, now: Instant) {
        if matches!(self.stage, TakeoverStage::Handed(_)) {
            self.begin_alone(service, now);
            return;
        }
        let reason = "its supervisor is being stopped".to_owned();
        self.send(&Control::Abort(Abort { reason }), vec![]);
        if !self.served {
            service.engines.active.iter().for_each(EngineProcess::kill);
        }
        service.listeners = HeldListeners::default();
    }

    fn on_message(
        &mut self,
        message: Control,
        fds: Vec<OwnedFd>,
        service: &mut Service,
        now: Instant,
    ) -> Option<TakeoverEnd> {
        if matches!(self.stage, TakeoverStage::Led) {
            self.by = now + SILENCE_LIMIT;
        }
        match message {
            Control::Hello(hello) if hello.role == ProcessKind::Supervisor => self.on_hello(service, now),
            Control::Progress(Progress { request: 0, text, exit }) => {
                print(&text);
                match exit.map(|code| u8::try_from(code).unwrap_or(1)) {
                    None => service.manager.status(&text),
                    Some(code) => return Some(self.on_outcome(code, service, now)),
                }
            }
            Control::Abort(_) => {
                self.fail(now);
                service.engines.active.iter().for_each(EngineProcess::kill);
            }
            Control::Handover(_) => {
                fault::point("taker.handover");
                self.stage = TakeoverStage::Handed(fds.into_iter().next());
                self.by = now + HANDED_LIMIT;
                self.send(&Control::Taken(Taken {}), vec![]);
                fault::point("taker.taken");
            }
            message => self.relay_to_engine(&message, fds, service, now),
        }
        None
    }

    /// The old supervisor has accepted the request: starts the new engine.
    fn on_hello(&mut self, service: &mut Service, now: Instant) {
        if !matches!(self.stage, TakeoverStage::Asked) {
            return;
        }
        self.stage = TakeoverStage::Led;
        self.by = now + SILENCE_LIMIT;
        fault::point("taker.welcome");
        if let Err(reason) = self.start_engine(service, now) {
            self.fail(now);
            self.send(&Control::Abort(Abort { reason }), vec![]);
        }
        fault::point("taker.born");
    }

    fn start_engine(&mut self, service: &mut Service, now: Instant) -> Result<(), String> {
        let generation = service.generation;
        let mut engine = EngineProcess::start(&service.binary, &service.options, Mode::Upgrade, generation, now)
            .map_err(|error| error.to_string())?;
        engine.introduced = true;
        let pidfd = engine.pidfd().map_err(|error| error.to_string())?;
        let started = Control::EngineStarted(EngineStarted { pid: engine.pid });
        self.send(&started, vec![Arc::new(pidfd)]);
        service.engines.active = Some(engine);
        Ok(())
    }

    /// Relays a message of the old supervisor to the new engine.
    fn relay_to_engine(&mut self, message: &Control, fds: Vec<OwnedFd>, service: &mut Service, now: Instant) {
        match message {
            Control::Listener(listener) => keep(service, listener, &fds),
            Control::Start(start) => {
                continue_generation(service, start, now);
                fault::point("taker.start");
            }
            Control::Commit(_) => self.committed = true,
            _ => {}
        }
        if let Some(engine) = &mut service.engines.active {
            engine.send(message, fds.into_iter().map(Arc::new).collect());
        }
    }

    /// The old supervisor has sent the outcome.
    fn on_outcome(&mut self, code: u8, service: &mut Service, now: Instant) -> TakeoverEnd {
        let done = [ExitStatus::Done, ExitStatus::SessionsLeft].map(ExitStatus::code);
        if matches!(self.stage, TakeoverStage::Handed(_)) && done.contains(&code) {
            return self.begin_alone(service, now);
        }
        give_up_with(service, code)
    }

    /// The old supervisor has hung up, or sent a malformed message.
    fn on_error(&mut self, error: &ChannelError, service: &mut Service, now: Instant) -> Option<TakeoverEnd> {
        let path = self.path.display();
        match error {
            // Everything is here: whatever the old supervisor does after that, it drains.
            _ if matches!(self.stage, TakeoverStage::Handed(_)) => {
                print(format!("the lb at {path}: {error}: continuing without it"));
                Some(self.begin_alone(service, now))
            }
            ChannelError::Decode(DecodeError::Major { .. }) => {
                print(format!("not taken over: the lb at {path}: {error}"));
                Some(give_up(service, ExitStatus::Incompatible))
            }
            error if matches!(self.stage, TakeoverStage::Asked) || !error.is_closed() => {
                let perhaps = if error.is_closed() { "; it may run as another user" } else { "" };
                print(format!("not taken over: the lb at {path}: {error}{perhaps}"));
                Some(give_up(service, self.exit_of_failure()))
            }
            // It is dead, or it has given up this connection and serves.
            _ => self.test_predecessor(ORPHAN_PAUSE, service, now),
        }
    }

    /// Tests whether the old supervisor is dead, after the end of the connection. If it lives and this one continued alone,
    /// two would serve the same queues. The proof of its death is a path without a listener: it listens there while it
    /// lives. Tested several times, since a dying process does not close everything at once.
    fn test_predecessor(&mut self, pause: Duration, service: &mut Service, now: Instant) -> Option<TakeoverEnd> {
        let path = self.path.display();
        let lives = match TakeoverSocket::claim_at_once(&self.path) {
            Ok(Claimed::Ours(socket)) => {
                print("the old supervisor is gone: continuing with what it has handed over");
                service.predecessor.open(socket);
                return Some(self.begin_alone(service, now));
            }
            Ok(Claimed::Answered(_)) => {
                format!("the lb at {path} has broken off, and still answers there")
            }
            Err(error) => format!("the lb at {path} has broken off: {error}"),
        };
        if pause < LAST_ORPHAN_PAUSE {
            self.stage = TakeoverStage::Orphan(pause * 2);
            self.by = now + pause;
            return None;
        }
        print(format!("not taken over: {lives}"));
        Some(give_up(service, self.exit_of_failure()))
    }

    /// From here on this is the only supervisor.
    fn begin_alone(&mut self, service: &mut Service, now: Instant) -> TakeoverEnd {
        self.take_socket(service, now);
        service.listeners.confirm(&service.manager);
        match &mut service.engines.active {
            Some(engine) if engine.serving_since.is_some() => {
                engine.last_beat = now;
                if !self.committed {
                    engine.send(&Control::Commit(Commit {}), vec![]);
                }
                engine.send(&Control::Phase(Phase { phase: UpgradePhase::Idle }), vec![]);
                let pid = engine.pid;
                service.announce_ready(pid);
                return TakeoverEnd::Alone;
            }
            // It waits for messages that are lost: the next engine starts afresh, on the same queues.
            Some(engine) => engine.kill(),
            None => service.restart.at_once(now),
        }
        service.listeners.store(&service.manager);
        TakeoverEnd::Alone
    }

    /// Uses the takeover socket of the old supervisor, or claims the path.
    fn take_socket(&mut self, service: &mut Service, now: Instant) {
        let handed = match &mut self.stage {
            TakeoverStage::Handed(socket) => socket.take(),
            _ => None,
        };
        match handed {
            Some(socket) => service.predecessor.open(TakeoverSocket::restore(self.path.clone(), socket)),
            None if service.predecessor.socket().is_none() => service.predecessor.claim(&self.path, now),
            None => {}
        }
    }

    /// Sends to the old supervisor. The end of the connection shows when it is read.
    fn send(&mut self, message: &Control, fds: Vec<Arc<OwnedFd>>) {
        if let Err(error) = self.connection.send(message, fds) {
            print(format!("the lb at {}: {error}", self.path.display()));
        }
    }

    fn fail(&mut self, now: Instant) {
        self.stage = TakeoverStage::Failed;
        self.by = now + ANSWER_LIMIT;
    }

    /// The exit status if the old supervisor does not send one.
    fn exit_of_failure(&self) -> ExitStatus {
        if self.served { ExitStatus::RolledBack } else { ExitStatus::UpgradeFailed }
    }
}

fn keep(service: &mut Service, listener: &Listener, fds: &[OwnedFd]) {
    for socket in fds {
        let kept = socket.try_clone().and_then(|socket| service.listeners.keep(listener.clone(), socket, false));
        if let Err(error) = kept {
            print(format!("listener {} {}: {error}", listener.frontend, listener.bind));
        }
    }
}

fn continue_generation(service: &mut Service, start: &Start, now: Instant) {
    service.generation = start.generation;
    let age = Duration::from_millis(start.uptime_ms);
    service.began = now.checked_sub(age).unwrap_or(now);
    if let Some(engine) = &mut service.engines.active {
        engine.generation = start.generation;
    }
}

fn give_up(service: &mut Service, status: ExitStatus) -> TakeoverEnd {
    give_up_with(service, status.code())
}

fn give_up_with(service: &mut Service, code: u8) -> TakeoverEnd {
    service.engines.active.iter().for_each(EngineProcess::kill);
    // Not removed: the admin socket and the queues belong to the old supervisor.
    service.listeners = HeldListeners::default();
    TakeoverEnd::GivenUp(code)
}

/// How long the old supervisor may take for an answer that depends on no other process.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// How long it may take for the outcome. Longer than its own limit for this step: the side that leads must end it, or it
/// would take the end of the connection for a death and serve again.
const HANDED_LIMIT: Duration = Duration::from_secs(15);
/// The time to the second test whether the old supervisor is dead; twice as long each time.
const ORPHAN_PAUSE: Duration = Duration::from_millis(25);
/// The first pause that is not waited: 3.2 s after the first test.
const LAST_ORPHAN_PAUSE: Duration = Duration::from_millis(3200);
/// How long it may be silent while it leads: the longest of its own limits, probation, and a reserve.
const SILENCE_LIMIT: Duration = Duration::from_secs(90);
