//! Supervisor: the process behind `lb run` whose pid never changes. One thread, besides the one of its voice, no
//! traffic, no async runtime: it waits in
//! `poll` for signals, for messages, and for the next time limit.
//!
//! Its duties: an engine that dies is replaced on the same accept queues; a failed upgrade leaves the old engine serving;
//! signals are passed on; children are reaped (it may be PID 1); the service manager is notified.
//!
//! What it does as a whole is its [`role::Role`]; what it owns in every role is its [`service::Service`]. This file waits,
//! passes each event to the part that handles it, and changes the role by the result.
//!
//! An engine whose supervisor is gone drains and ends, as after TERM: no process could replace it, and a new engine would
//! share its ports. Under systemd the next supervisor finds the listening sockets in the fd store.

pub(crate) mod binary;
pub(crate) mod boot;
pub(crate) mod children;
pub(crate) mod connection;
pub(crate) mod engine_process;
pub(crate) mod getsocks;
pub(crate) mod handed_down;
pub(crate) mod kept_names;
pub(crate) mod listeners;
pub(crate) mod messages;
pub(crate) mod notify_queue;
pub(crate) mod old_processes;
pub(crate) mod once_serving;
pub(crate) mod options;
pub(crate) mod pid_file;
pub(crate) mod reexec;
pub(crate) mod restart;
pub(crate) mod role;
pub(crate) mod service;
pub(crate) mod signals;
pub(crate) mod stderr;
pub(crate) mod systemd;
pub(crate) mod takeover;
pub(crate) mod upgrade;
pub(crate) mod wakeup;
pub(crate) mod watchdog;

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

pub(crate) use getsocks::get_sockets;
pub(crate) use old_processes::{OldEnd, OldProcesses};
pub(crate) use once_serving::OnceServing;
pub(crate) use options::{KeptConfig, RunOptions, TakeoverOptions};
pub(crate) use pid_file::PidFile;

use binary::Binary;
use children::{ChildExit, EndedEngine};
use connection::{Connection, ConnectionId};
use engine_process::{EngineProcess, hello};
use messages::Consequence;
use role::{Role, RoleChange};
use service::Service;
use signals::{SignalQueue, SignalRequest};
use stderr::print;
use takeover::predecessor::TakeoverRequest;
use takeover::successor::TakeoverEnd;
use upgrade::driver::{RunningUpgrade, UpgradeStep};
use upgrade::machine::UpgradeEvent;
use upgrade::outcome::{Outcome, UpgradeKind};
use upgrade::requester::{Requester, print_line};
use wakeup::{PollSet, Wakeup};

use crate::exit::ExitStatus;
use crate::fault;
use crate::handoff::control::{self, Control, Reload, Stop};

/// A running supervisor.
struct Supervisor {
    signals: SignalQueue,
    role: Role,
    service: Service,
    /// HUP has come, and its reload is not ordered yet.
    reload_due: bool,
    /// The last order to stop that a signal gave.
    stopping: Option<Stop>,
    /// Set once: the exit code.
    exit: Option<u8>,
}

/// Runs `lb run`. Returns the exit code.
pub(crate) fn run(options: RunOptions) -> u8 {
    match Supervisor::new(options) {
        Ok(mut supervisor) => supervisor.serve(),
        Err(error) => {
            print(error.to_string());
            error.exit_code()
        }
    }
}

impl Supervisor {
    fn new(options: RunOptions) -> Result<Self, boot::BootError> {
        let signals = SignalQueue::block()?;
        let (role, service) = boot::boot(options, Instant::now())?;
        Ok(Self { signals, role, service, reload_due: false, stopping: None, exit: None })
    }

    fn serve(&mut self) -> u8 {
        loop {
            if let Some(code) = self.exit {
                if self.role.owns_paths() {
                    self.service.unlink_paths();
                }
                self.service.manager.finish();
                return code;
            }
            self.reload_if_possible();
            self.replace_if_possible();
            let asleep = Instant::now();
            let timeout = self.sleep_limit(asleep);
            let wakeups = self.wait(timeout);
            self.on_standstill(asleep.elapsed().saturating_sub(timeout));
            for wakeup in wakeups {
                self.on_wakeup(wakeup);
            }
            self.on_time(Instant::now());
        }
    }

    /// How long to sleep until the next time limit. Short in an upgrade: a longer sleep than asked for then shows that the
    /// machine stood still.
    fn sleep_limit(&self, now: Instant) -> Duration {
        let longest = if self.role.upgrade().is_some() { UPGRADE_SLEEP } else { LONGEST_SLEEP };
        // Rounded up: waking a moment early would only repeat the loop.
        let due = self.wake_at().map(|at| at.saturating_duration_since(now) + Duration::from_millis(1));
        due.map_or(longest, |due| due.min(longest))
    }

    /// Sleeps until an event, at most for `timeout`.
    fn wait(&self, timeout: Duration) -> Vec<Wakeup> {
        let mut set = PollSet::default();
        set.add(Wakeup::Signals, self.signals.as_fd());
        self.connections().for_each(|connection| set.add_connection(connection));
        if let Some(socket) = self.service.predecessor.accepting() {
            set.add(Wakeup::TakeoverSocket, socket.as_fd());
        }
        if let Some(output) = self.role.upgrade().and_then(RunningUpgrade::check_output) {
            set.add(Wakeup::BinaryCheck, output);
        }
        set.wait(timeout)
    }

    fn on_wakeup(&mut self, wakeup: Wakeup) {
        match wakeup {
            Wakeup::Signals => self.on_signals(),
            Wakeup::BinaryCheck => {
                if let Some(upgrade) = self.role.upgrade_mut() {
                    upgrade.on_check_output();
                }
            }
            Wakeup::TakeoverSocket => self.service.predecessor.accept(Instant::now()),
            Wakeup::Connection(id) => self.on_connection(id),
        }
    }

    /// The engines, with the new one of an upgrade.
    fn engines(&self) -> impl Iterator<Item = &EngineProcess> {
        let new_engine = self.role.upgrade().and_then(RunningUpgrade::new_engine);
        self.service.engines.iter().chain(new_engine)
    }

    fn engine_mut(&mut self, id: ConnectionId) -> Option<&mut EngineProcess> {
        match self.service.engines.find_mut(id) {
            Some(engine) => Some(engine),
            None => self.role.upgrade_mut().and_then(|upgrade| upgrade.new_engine_mut(id)),
        }
    }

    fn connections(&self) -> impl Iterator<Item = &Connection> {
        let predecessor = self.role.successor().map(|successor| successor.connection());
        let engines = self.engines().map(EngineProcess::connection);
        engines.chain(self.service.predecessor.connections()).chain(predecessor)
    }

    /// The next time limit.
    fn wake_at(&self) -> Option<Instant> {
        let Service { engines, restart, predecessor, manager, .. } = &self.service;
        let upgrade = self.role.upgrade().map(RunningUpgrade::wake_at);
        let successor = self.role.successor().map(|successor| successor.wake_at());
        let engines = engines.wake_at(self.role.upgrade().is_some());
        let service = [engines, restart.wake_at(), predecessor.wake_at(), manager.wake_at()];
        service.into_iter().chain([upgrade, successor]).flatten().min()
    }

    fn on_time(&mut self, now: Instant) {
        self.service.restart_if_due(now);
        self.service.engines.on_time(self.role.upgrade().is_some(), now);
        if let Some(upgrade) = self.role.upgrade_mut()
            && let Some(event) = upgrade.on_time(&self.service, now)
        {
            self.upgrade_event(event, now);
        }
        let path = self.service.options.takeover.as_ref().map(|takeover| takeover.path.as_path());
        let path = path.filter(|_| !self.role.is_stopping() && !matches!(self.role, Role::Retired));
        self.service.predecessor.on_time(path, now);
        if let Role::Succeeding(successor) = &mut self.role {
            let end = successor.on_time(&mut self.service, now);
            self.after_takeover(end);
        }
        let alive = self.service.engines.is_alive(now);
        self.service.manager.on_time(alive, now);
    }

    /// The machine, or at least this process, stood still for so long.
    fn on_standstill(&mut self, standstill: Duration) {
        if let Some(upgrade) = self.role.upgrade_mut() {
            upgrade.on_standstill(standstill);
        }
    }

    fn on_signals(&mut self) {
        while let Some(request) = self.signals.next() {
            let now = Instant::now();
            match request {
                SignalRequest::Reap => self.reap(now),
                SignalRequest::Stop(signal, order) => {
                    print(format!("{signal}: stopping"));
                    self.stop(order, now);
                }
                SignalRequest::Reload => self.reload(),
                SignalRequest::Upgrade => self.request_upgrade(None, None, None, now),
                SignalRequest::Renew => self.renew(now),
            }
        }
    }

    /// An upgrade reads the configuration, too.
    fn renew(&mut self, now: Instant) {
        match self.refusal(UpgradeKind::Upgrade) {
            None if self.service.binary.is_replaced() => self.request_upgrade(None, None, None, now),
            _ => self.reload(),
        }
    }

    fn reload(&mut self) {
        if self.role.is_ending() {
            return print("reload ignored: the daemon is being stopped");
        }
        let waits = std::mem::replace(&mut self.reload_due, true);
        if !waits && !self.can_reload() {
            print("reload: it is done as soon as an engine serves and no upgrade runs");
        }
    }

    /// The engine that an upgrade leaves may have read the file before the signal came; one that starts takes no orders.
    fn can_reload(&self) -> bool {
        matches!(self.role, Role::Serving | Role::Replacing) && self.service.engines.is_serving()
    }

    fn reload_if_possible(&mut self) {
        if self.reload_due
            && self.can_reload()
            && let Some(engine) = &mut self.service.engines.active
        {
            self.reload_due = false;
            engine.send(&Control::Reload(Reload {}), vec![]);
        }
    }

    /// Stops the engines. The exit follows when the last one has ended.
    fn stop(&mut self, order: Stop, now: Instant) {
        let order = match &self.stopping {
            Some(_) if order.is_soft() => return,
            Some(before) if before.is_soft() => order,
            // The second signal means: at once.
            Some(_) => Stop::NOW,
            None => order,
        };
        self.stopping = Some(order.clone());
        self.upgrade_event(UpgradeEvent::Stop, now);
        if let Role::Succeeding(successor) = &mut self.role {
            successor.stop(&mut self.service, now);
        }
        self.role.change(RoleChange::Stop);
        self.service.stop(&order, now);
        self.end_if_idle();
    }

    fn reap(&mut self, now: Instant) {
        while let Some(exit) = ChildExit::next() {
            self.on_exit(&exit, now);
            exit.reap();
        }
    }

    fn on_exit(&mut self, exit: &ChildExit, now: Instant) {
        let is_child = |engine: &&EngineProcess| engine.pid == exit.pid && !engine.is_foreign();
        // The messages that it sent before come first.
        let child = self.engines().find(is_child).map(EngineProcess::id);
        if let Some(id) = child {
            self.on_engine(id);
        }
        if let Some(event) = self.role.upgrade_mut().and_then(|upgrade| upgrade.on_exit(exit)) {
            return self.upgrade_event(event, now);
        }
        match self.service.engines.remove(exit.pid) {
            Some(EndedEngine::Active(engine)) => self.on_active_exit(&engine, exit, now),
            Some(EndedEngine::Draining) => {}
            None => return,
        }
        self.end_if_idle();
    }

    fn on_active_exit(&mut self, engine: &EngineProcess, exit: &ChildExit, now: Instant) {
        match &mut self.role {
            Role::Stopping(_) if exit.code == Some(0) => return,
            Role::Stopping(_) => {
                self.exit = Some(exit.exit_code());
                return;
            }
            Role::Succeeding(successor) => return successor.on_engine_exit(&exit.how, now),
            // The engine has printed why. No connection was served, so a second attempt gains nothing.
            Role::Starting => {
                self.exit = Some(exit.exit_code().max(1));
                return;
            }
            _ => {}
        }
        let event = if engine.hung { UpgradeEvent::OldHung } else { UpgradeEvent::OldFailed(exit.how.clone()) };
        self.upgrade_event(event, now);
        // Otherwise the new engine serves, or it soon will.
        if self.service.engines.active.is_none() && self.role.upgrade().is_none() {
            self.service.replace_engine(engine, &exit.how, now);
        }
    }

    fn on_connection(&mut self, id: ConnectionId) {
        if let Role::Succeeding(successor) = &mut self.role
            && successor.is_at(id)
        {
            let end = successor.on_predecessor(&mut self.service);
            self.after_takeover(end);
        } else if self.service.predecessor.is_caller(id) {
            if let Some(request) = self.service.predecessor.on_caller(id) {
                self.begin_takeover(request, Instant::now());
            }
        } else {
            self.on_engine(id);
        }
    }

    /// Handles all messages of an engine.
    fn on_engine(&mut self, id: ConnectionId) {
        while let Some(engine) = self.engine_mut(id) {
            engine.flush();
            let received = engine.receive();
            let connected = engine.is_connected();
            let now = Instant::now();
            match received {
                Some((message, fds)) => self.on_message(id, message, fds, now),
                None if connected => return,
                None => return self.on_hang_up(id, now),
            }
        }
    }

    fn on_hang_up(&mut self, id: ConnectionId, now: Instant) {
        if let Some(engine) = self.service.engines.find_mut(id) {
            engine.on_hang_up(now);
        } else if let Some(upgrade) = self.role.upgrade_mut()
            && let Some(event) = upgrade.on_new_engine_hang_up(now)
        {
            self.upgrade_event(event, now);
        }
    }

    fn on_message(&mut self, id: ConnectionId, message: Control, fds: Vec<OwnedFd>, now: Instant) {
        if let Control::Upgrade(request) = message {
            return self.on_upgrade_request(id, request, now);
        }
        if let Role::Succeeding(successor) = &mut self.role {
            successor.relay(&message, fds, &mut self.service, now);
        } else if self.service.engines.is_active(id) {
            match messages::on_active(&mut self.service, message, fds, now) {
                Consequence::None => {}
                Consequence::Ready => self.role.change(RoleChange::Ready),
                Consequence::Upgrade(event) => self.upgrade_event(event, now),
            }
        } else if let Some(engine) = self.service.engines.find_mut(id) {
            // Draining: its other messages come too late.
            if let Control::Heartbeat(beat) = message {
                engine.on_beat(beat, now);
            }
        } else if let Some(upgrade) = self.role.upgrade_mut()
            && let Some(event) = upgrade.on_new_engine_message(message, fds, &mut self.service, now)
        {
            self.upgrade_event(event, now);
        }
    }

    fn on_upgrade_request(&mut self, id: ConnectionId, request: control::Upgrade, now: Instant) {
        let requester = Requester { connection: id, request: request.request };
        let probation = request.probation_ms.map(Duration::from_millis);
        self.request_upgrade(Some(requester), request.binary.map(PathBuf::from), probation, now);
    }

    /// Begins an upgrade to the binary at `path`, or where this one was started from.
    fn request_upgrade(
        &mut self,
        requester: Option<Requester>,
        path: Option<PathBuf>,
        probation: Option<Duration>,
        now: Instant,
    ) {
        let path = path.unwrap_or_else(|| self.service.binary.path.clone());
        let refused = |error| Outcome::refused(UpgradeKind::Upgrade, error);
        let opened = match self.refusal(UpgradeKind::Upgrade) {
            Some(refusal) => Err(refusal),
            None => Binary::open(&path).map_err(refused),
        };
        match opened {
            Ok(binary) => {
                let upgrade = RunningUpgrade::upgrade(binary, requester, probation, &self.service, now);
                self.begin_upgrade(upgrade, now);
            }
            Err(outcome) => self.refuse_upgrade(requester, &outcome),
        }
    }

    fn refuse_upgrade(&mut self, requester: Option<Requester>, outcome: &Outcome) {
        let kind = self.role.upgrade().map_or(UpgradeKind::Upgrade, RunningUpgrade::kind);
        print_line(kind, &outcome.text);
        if let Some(requester) = requester
            && let Some(engine) = self.engine_mut(requester.connection)
        {
            requester.send(engine, &outcome.text, Some(outcome));
        }
    }

    fn begin_takeover(&mut self, request: TakeoverRequest, now: Instant) {
        if let Some(mut refusal) = self.refusal(UpgradeKind::Takeover) {
            if refusal.exit == ExitStatus::Busy {
                refusal.text = format!("not taken over: {}", refusal.text);
            }
            print(&refusal.text);
            return request.refuse(&refusal);
        }
        print("takeover: another supervisor asks to take over");
        let probation = request.probation;
        match request.accept(&Control::Hello(hello())) {
            Ok(connection) => {
                let upgrade = RunningUpgrade::takeover(connection, probation, &self.service, now);
                fault::point("supervisor.welcome");
                self.begin_upgrade(upgrade, now);
            }
            Err(error) => print(format!("takeover: {error}")),
        }
    }

    fn begin_upgrade(&mut self, upgrade: RunningUpgrade, now: Instant) {
        self.role.change(RoleChange::UpgradeBegun(Box::new(upgrade)));
        if let Some(upgrade) = self.role.upgrade_mut() {
            let step = upgrade.start(&mut self.service, now);
            self.after_upgrade(step, now);
        }
    }

    /// Why no upgrade or takeover can begin now.
    fn refusal(&self, kind: UpgradeKind) -> Option<Outcome> {
        match &self.role {
            Role::Retired | Role::Stopping(_) => Some(Outcome::busy("the daemon is being stopped")),
            Role::Succeeding(_) | Role::HandedOver(_) => Some(Outcome::busy("takeover in progress")),
            Role::Upgrading(upgrade) if upgrade.kind() == UpgradeKind::Takeover => {
                Some(Outcome::busy("takeover in progress"))
            }
            Role::Upgrading(_) | Role::Replacing => Some(Outcome::busy("upgrade in progress")),
            Role::Starting | Role::Serving if self.service.engines.is_serving() => None,
            Role::Starting | Role::Serving => Some(Outcome::refused(kind, "no engine serves at the moment")),
        }
    }

    /// Passes an event to the upgrade, if one is running.
    fn upgrade_event(&mut self, event: UpgradeEvent, now: Instant) {
        if let Some(upgrade) = self.role.upgrade_mut() {
            let step = upgrade.on(event, &mut self.service, now);
            self.after_upgrade(step, now);
        }
    }

    fn after_upgrade(&mut self, step: UpgradeStep, now: Instant) {
        match step {
            UpgradeStep::Continues => {}
            UpgradeStep::HandedOver => self.role.change(RoleChange::HandoverSent),
            UpgradeStep::Ended(aftermath) => {
                self.role.change(RoleChange::UpgradeEnded(aftermath));
                if self.service.engines.active.is_none() && !self.role.is_ending() {
                    // It was lost after HANDOVER, and then the other supervisor failed.
                    self.service.restart.at_once(now);
                }
                self.end_if_idle();
            }
        }
    }

    fn after_takeover(&mut self, end: Option<TakeoverEnd>) {
        match end {
            None => {}
            Some(TakeoverEnd::Alone) => self.role.change(RoleChange::SucceededAlone),
            Some(TakeoverEnd::GivenUp(code)) => {
                self.role.change(RoleChange::Stop);
                self.exit = Some(code);
            }
        }
    }

    /// Becomes the new program, once an upgrade has succeeded and no message is queued.
    fn replace_if_possible(&mut self) {
        let waiting = self.service.predecessor.has_callers() || self.engines().any(EngineProcess::has_queued);
        if matches!(self.role, Role::Replacing) && !waiting {
            fault::point("supervisor.replace");
            let error: io::Error = reexec::replace(&self.service);
            print(format!("the supervisor stays the old binary: {error}"));
            self.role.change(RoleChange::ReplaceFailed);
        }
    }

    /// Ends the process when no engine is left and none is to be started.
    fn end_if_idle(&mut self) {
        if !self.role.is_ending() || !self.service.engines.is_empty() {
            return;
        }
        if matches!(self.role, Role::Retired) && self.service.options.lingers() {
            print("taken over, nothing is left: waiting for TERM");
            self.service.manager.status("taken over, waiting for TERM");
        } else {
            self.exit.get_or_insert(0);
        }
    }
}

const LONGEST_SLEEP: Duration = Duration::from_secs(60);
const UPGRADE_SLEEP: Duration = Duration::from_millis(100);
