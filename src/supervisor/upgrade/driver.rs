//! Driver: an upgrade in progress, and how the decisions of its state machine are carried out.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::fault;
use crate::handoff::control::{Commit, Control, Go, Handover, Mode, Move, Park, Phase, Resume, Unlisten, UpgradePhase};
use crate::handoff::features::SUPERVISOR_STATE;
use crate::supervisor::binary::Binary;
use crate::supervisor::children::ChildExit;
use crate::supervisor::connection::{Connection, ConnectionId};
use crate::supervisor::engine_process::EngineProcess;
use crate::supervisor::service::Service;
use crate::supervisor::upgrade::binary_check::{BinaryCheck, BinaryReport};
use crate::supervisor::upgrade::machine::{UpgradeAction, UpgradeEvent, UpgradeMachine};
use crate::supervisor::upgrade::new_engine::NewEngine;
use crate::supervisor::upgrade::outcome::{Outcome, UpgradeKind};
use crate::supervisor::upgrade::requester::{self, Requester};
use crate::sys::clock::millis;

/// An upgrade in progress.
#[derive(Debug)]
pub(crate) struct RunningUpgrade {
    machine: UpgradeMachine,
    /// `None`: it was requested by a signal.
    requester: Option<Requester>,
    binary: Rc<Binary>,
    check: Option<BinaryCheck>,
    report: Option<BinaryReport>,
    new_engine: Option<NewEngine>,
    /// The phase that the engines were sent last.
    phase_sent: UpgradePhase,
    aftermath: Aftermath,
}

/// What an event means for the role of the supervisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(crate) enum UpgradeStep {
    Continues,
    /// HANDOVER was sent.
    HandedOver,
    Ended(Aftermath),
}

/// The role of the supervisor after an upgrade.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Aftermath {
    /// It serves as before.
    Serve,
    /// It replaces itself by the new binary.
    Replace,
    /// Another supervisor has everything.
    Retire,
}

impl RunningUpgrade {
    /// An upgrade to `binary`; begins with [`Self::start`].
    pub(crate) fn upgrade(
        binary: Binary,
        requester: Option<Requester>,
        probation: Option<Duration>,
        service: &Service,
        now: Instant,
    ) -> Self {
        // The only action is the check of the binary, which `start` carries out.
        let (machine, _) = UpgradeMachine::begin(limited(probation), now);
        Self::new(machine, requester, Rc::new(binary), None, service)
    }

    /// A takeover by the supervisor at the other end of `connection`.
    pub(crate) fn takeover(
        connection: Connection,
        probation: Option<Duration>,
        service: &Service,
        now: Instant,
    ) -> Self {
        let machine = UpgradeMachine::begin_takeover(limited(probation), now);
        let requester = Requester { connection: connection.id(), request: 0 };
        let engine = EngineProcess::foreign(connection, service.generation + 1, now);
        Self::new(machine, Some(requester), Rc::clone(&service.binary), Some(NewEngine::new(engine)), service)
    }

    fn new(
        machine: UpgradeMachine,
        requester: Option<Requester>,
        binary: Rc<Binary>,
        new_engine: Option<NewEngine>,
        service: &Service,
    ) -> Self {
        let baseline = service.engines.active.as_ref().and_then(|engine| engine.beat.clone());
        Self {
            machine: machine.with_baseline(baseline),
            requester,
            binary,
            check: None,
            report: None,
            new_engine,
            phase_sent: UpgradePhase::Idle,
            aftermath: Aftermath::Serve,
        }
    }

    pub(crate) fn kind(&self) -> UpgradeKind {
        self.machine.kind()
    }

    /// The new engine.
    pub(crate) fn new_engine(&self) -> Option<&EngineProcess> {
        self.new_engine.as_ref().map(|new_engine| &new_engine.engine)
    }

    /// The new engine, if it is at this connection.
    pub(crate) fn new_engine_mut(&mut self, id: ConnectionId) -> Option<&mut EngineProcess> {
        self.new_engine.as_mut().map(|new_engine| &mut new_engine.engine).filter(|engine| engine.id() == id)
    }

    /// The pipe from the check of the binary, while it is open.
    pub(crate) fn check_output(&self) -> Option<BorrowedFd<'_>> {
        self.check.as_ref().and_then(BinaryCheck::output)
    }

    /// When [`Self::on_time`] is due.
    pub(crate) fn wake_at(&self) -> Instant {
        let new_engine = self.new_engine().and_then(|engine| engine.stop_by);
        let at = new_engine.into_iter().chain([self.machine.wake_at()]).min();
        let at = at.unwrap_or_else(|| self.machine.wake_at());
        match self.machine.phase() {
            UpgradePhase::Probation => at.min(Instant::now() + WATCH_QUEUES),
            _ => at,
        }
    }

    /// Begins.
    pub(crate) fn start(&mut self, service: &mut Service, now: Instant) -> UpgradeStep {
        let first = match self.kind() {
            UpgradeKind::Upgrade => vec![UpgradeAction::Probe],
            UpgradeKind::Takeover => vec![],
        };
        self.perform(first, service, now)
    }

    /// Passes an event to the state machine and carries out the result.
    pub(crate) fn on(&mut self, event: UpgradeEvent, service: &mut Service, now: Instant) -> UpgradeStep {
        let actions = self.machine.on(event, now);
        self.perform(actions, service, now)
    }

    /// Reads the output of the check.
    pub(crate) fn on_check_output(&mut self) {
        if let Some(check) = &mut self.check {
            check.read();
        }
    }

    /// The event of a message of the new engine.
    pub(crate) fn on_new_engine_message(
        &mut self,
        message: Control,
        fds: Vec<OwnedFd>,
        service: &mut Service,
        now: Instant,
    ) -> Option<UpgradeEvent> {
        self.new_engine.as_mut().and_then(|new_engine| new_engine.on_message(message, fds, service, now))
    }

    /// The event of the end of the new engine's connection.
    pub(crate) fn on_new_engine_hang_up(&mut self, now: Instant) -> Option<UpgradeEvent> {
        self.new_engine.as_mut().and_then(|new_engine| new_engine.on_hang_up(now))
    }

    /// The event of an ended process, if it was the check or the new engine.
    pub(crate) fn on_exit(&mut self, exit: &ChildExit) -> Option<UpgradeEvent> {
        if let Some(check) = self.check.take_if(|check| check.pid == exit.pid) {
            return Some(match check.finish(exit.code) {
                Ok(report) => {
                    let text = format!("lb {} at {}", report.version, self.binary.path.display());
                    self.report = Some(report);
                    UpgradeEvent::Probed(text)
                }
                Err(event) => event,
            });
        }
        let is_new_engine = |engine: &EngineProcess| engine.pid == exit.pid && !engine.is_foreign();
        self.new_engine
            .take_if(|new_engine| is_new_engine(&new_engine.engine))
            .map(|_| UpgradeEvent::NewFailed(format!("it {}", exit.how)))
    }

    /// This process could not run for so long: limits of other processes are extended.
    pub(crate) fn on_standstill(&mut self, standstill: Duration) {
        self.machine.forgive(standstill);
        if let Some(new_engine) = &mut self.new_engine {
            new_engine.forgive(standstill);
        }
    }

    /// The event that is due.
    pub(crate) fn on_time(&mut self, service: &Service, now: Instant) -> Option<UpgradeEvent> {
        if let Some(new_engine) = &mut self.new_engine {
            new_engine.engine.kill_if_late(now);
            if self.machine.phase() == UpgradePhase::Probation && new_engine.leaves_queues_unserved(service, now) {
                return Some(UpgradeEvent::NotServing);
            }
        }
        (now >= self.machine.wake_at()).then_some(UpgradeEvent::Tick)
    }

    fn perform(&mut self, actions: Vec<UpgradeAction>, service: &mut Service, now: Instant) -> UpgradeStep {
        self.send_phase(service);
        for action in actions {
            // Only the last action of a list has a result of its own.
            match self.perform_one(action, service, now) {
                Performed::Done => {}
                Performed::Event(event) => return self.on(event, service, now),
                Performed::Step(step) => return step,
            }
        }
        UpgradeStep::Continues
    }

    fn perform_one(&mut self, action: UpgradeAction, service: &mut Service, now: Instant) -> Performed {
        match action {
            UpgradeAction::Probe => return self.start_check(service),
            UpgradeAction::Spawn => return self.start_new_engine(service, now),
            UpgradeAction::Introduce => return self.introduce(service),
            UpgradeAction::Go => self.send_new_engine(&Control::Go(Go {}), "supervisor.go"),
            UpgradeAction::Commit => self.send_new_engine(&Control::Commit(Commit {}), "supervisor.commit"),
            UpgradeAction::Park => {
                let except = service.listeners.declined().into_iter().map(|cookie| Unlisten { cookie });
                let park = Park { except: except.collect() };
                send_active(service, &Control::Park(park), "supervisor.park");
            }
            UpgradeAction::Resume => send_active(service, &Control::Resume(Resume {}), "supervisor.resume"),
            UpgradeAction::Move(limit) => {
                send_active(service, &Control::Move(Move { limit_ms: millis(limit) }), "supervisor.move");
            }
            UpgradeAction::KillNew => self.kill_new(service),
            UpgradeAction::HandOver => return self.hand_over(service),
            UpgradeAction::Promote => self.promote(service, now),
            UpgradeAction::Report(text) => self.answer(&text, None, service),
            UpgradeAction::End(outcome) => return self.end(&outcome, service, now),
        }
        Performed::Done
    }

    fn start_check(&mut self, service: &Service) -> Performed {
        fault::point("supervisor.probe");
        match BinaryCheck::start(&self.binary, &service.options) {
            Ok(check) => {
                self.check = Some(check);
                Performed::Done
            }
            Err(error) => Performed::Event(UpgradeEvent::ProbeFailed(cannot_execute(&self.binary.path, &error))),
        }
    }

    fn start_new_engine(&mut self, service: &Service, now: Instant) -> Performed {
        let generation = service.generation + 1;
        Performed::Event(match EngineProcess::start(&self.binary, &service.options, Mode::Upgrade, generation, now) {
            Ok(engine) => {
                let pid = engine.pid;
                self.new_engine = Some(NewEngine::new(engine));
                UpgradeEvent::Started(pid)
            }
            Err(error) => UpgradeEvent::NotStarted(error.to_string()),
        })
    }

    fn introduce(&mut self, service: &mut Service) -> Performed {
        let introduced = match &mut self.new_engine {
            Some(new_engine) => new_engine.introduce(service),
            None => Err(io::Error::other("an engine is missing")),
        };
        match introduced {
            Ok(()) => Performed::Done,
            Err(error) => {
                let why = format!("it cannot be given what it needs: {error}");
                Performed::Event(UpgradeEvent::NewFailed(why))
            }
        }
    }

    fn send_new_engine(&mut self, message: &Control, point: &str) {
        fault::point(point);
        if let Some(new_engine) = &mut self.new_engine {
            new_engine.engine.send(message, vec![]);
        }
    }

    fn kill_new(&mut self, service: &mut Service) {
        if let Some(check) = &self.check {
            check.kill();
        }
        if let Some(new_engine) = &mut self.new_engine {
            new_engine.kill();
        }
        service.listeners.retract();
    }

    /// Sends the takeover socket, the last thing that the other supervisor lacks.
    fn hand_over(&mut self, service: &Service) -> Performed {
        fault::point("supervisor.handover");
        let socket = service.predecessor.socket().map(|socket| socket.duplicate());
        match (socket, &mut self.new_engine) {
            (Some(Ok(socket)), Some(new_engine)) => {
                new_engine.engine.send(&Control::Handover(Handover {}), vec![Arc::new(socket)]);
                Performed::Step(UpgradeStep::HandedOver)
            }
            (Some(Err(error)), _) => {
                Performed::Event(UpgradeEvent::NewFailed(format!("it can be given no more: {error}")))
            }
            _ => Performed::Event(UpgradeEvent::NewFailed("the takeover socket is closed".to_owned())),
        }
    }

    /// The new engine serves. The old one is ordered to drain after the final answer.
    fn promote(&mut self, service: &mut Service, now: Instant) {
        if self.kind() == UpgradeKind::Takeover {
            self.aftermath = Aftermath::Retire;
            return service.retire();
        }
        let Some(NewEngine { mut engine, .. }) = self.new_engine.take() else {
            return;
        };
        service.binary = Rc::clone(&self.binary);
        service.generation = engine.generation;
        let replaces = self.report.as_ref().is_some_and(|report| report.state >= SUPERVISOR_STATE);
        self.aftermath = if replaces { Aftermath::Replace } else { Aftermath::Serve };
        service.listeners.confirm(&service.manager);
        service.announce_ready(engine.pid);
        // From now on its heartbeats count for the watchdog.
        engine.last_beat = now;
        service.engines.retire_active();
        service.engines.active = Some(engine);
        fault::point("supervisor.promote");
    }

    fn end(&mut self, outcome: &Outcome, service: &mut Service, now: Instant) -> Performed {
        self.answer(&outcome.text, Some(outcome), service);
        for engine in service.engines.iter_mut() {
            engine.send(&Control::Phase(Phase { phase: UpgradePhase::Idle }), vec![]);
        }
        service.engines.drain_replaced(now);
        Performed::Step(UpgradeStep::Ended(self.aftermath))
    }

    /// Prints a line and sends it to the requester.
    fn answer(&mut self, text: &str, outcome: Option<&Outcome>, service: &mut Service) {
        requester::print_line(self.kind(), text);
        if let Some(requester) = self.requester {
            let new_engine = self.new_engine.as_mut().map(|new_engine| &mut new_engine.engine);
            let mut engines = service.engines.iter_mut().chain(new_engine);
            if let Some(engine) = engines.find(|engine| engine.id() == requester.connection) {
                requester.send(engine, text, outcome);
            }
        }
    }

    /// Sends a new phase to every engine, for `lb status` and to refuse a reload.
    fn send_phase(&mut self, service: &mut Service) {
        let phase = self.machine.phase();
        if self.phase_sent != phase {
            self.phase_sent = phase;
            let new_engine = self.new_engine.as_mut().map(|new_engine| &mut new_engine.engine);
            for engine in service.engines.iter_mut().chain(new_engine) {
                engine.send(&Control::Phase(Phase { phase }), vec![]);
            }
        }
    }
}

/// The result of an action.
enum Performed {
    Done,
    Event(UpgradeEvent),
    Step(UpgradeStep),
}

fn send_active(service: &mut Service, message: &Control, point: &str) {
    fault::point(point);
    if let Some(engine) = &mut service.engines.active {
        engine.send(message, vec![]);
    }
}

fn limited(probation: Option<Duration>) -> Duration {
    probation.unwrap_or(DEFAULT_PROBATION).min(LONGEST_PROBATION)
}

/// The kernel's words for a file that is not a program are misleading: a script by descriptor is "no such file".
fn cannot_execute(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.raw_os_error() {
        Some(nix::libc::ENOENT) => {
            format!("{path} cannot be executed: a script, or its loader is missing")
        }
        Some(nix::libc::ENOEXEC) => {
            format!("{path} cannot be executed: not a program for this machine")
        }
        Some(nix::libc::ETXTBSY) => format!("{path} cannot be executed: a process is writing it"),
        _ => format!("{path} cannot be executed: {error}"),
    }
}

const DEFAULT_PROBATION: Duration = Duration::from_secs(5);
const LONGEST_PROBATION: Duration = Duration::from_secs(60);
/// How often the accept queues are checked during probation.
const WATCH_QUEUES: Duration = Duration::from_millis(100);
