//! Conduct: an upgrade in progress, and how the supervisor carries out what its state machine decides.

use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::handoff::control;
use crate::handoff::control::{
    Abort, Commit, Control, Go, Heartbeat, Mode, Move, Park, Peer, Phase, Progress, Resume, Side, Start, StopMode,
    Unlisten, UpgradePhase,
};
use crate::handoff::features::SUPERVISOR_STATE;
use crate::supervisor::binary::Binary;
use crate::supervisor::connection::{Connection, ConnectionId};
use crate::supervisor::engine_process::EngineProcess;
use crate::supervisor::systemd::say;
use crate::supervisor::upgrade::binary_check::{Probe, Report};
use crate::supervisor::upgrade::machine::{Action, Event, Upgrade};
use crate::supervisor::upgrade::outcome::{Kind, Outcome};
use crate::supervisor::{Supervisor, fault, millis, tell_to_stop};
use crate::sys::fd;

/// Who asked: an engine with the number of its request, or the supervisor of a takeover, whose number is 0.
type Asker = (ConnectionId, u64);

/// An upgrade in progress.
pub(crate) struct RunningUpgrade {
    machine: Upgrade,
    /// Line and number of the request to answer; `None`: it was a signal.
    asker: Option<Asker>,
    binary: Rc<Binary>,
    probe: Option<Probe>,
    report: Option<Report>,
    candidate: Option<EngineProcess>,
    /// The phase that was told last.
    told: UpgradePhase,
    /// Since when connections wait while the new engine has accepted none.
    unserved_since: Option<Instant>,
}

impl RunningUpgrade {
    /// A takeover, by the supervisor at the end of this line.
    pub(crate) fn takeover(
        line: Connection,
        binary: &Rc<Binary>,
        generation: u64,
        probation: Option<Duration>,
        old: Option<Heartbeat>,
        now: Instant,
    ) -> Self {
        Self {
            machine: Upgrade::begin_takeover(limited(probation), now).beginning_with(old),
            asker: Some((line.id(), 0)),
            binary: Rc::clone(binary),
            probe: None,
            report: None,
            candidate: Some(EngineProcess::foreign(line, generation, now)),
            told: UpgradePhase::Idle,
            unserved_since: None,
        }
    }

    fn kind(&self) -> Kind {
        match &self.candidate {
            Some(engine) if engine.is_foreign() => Kind::Takeover,
            _ => Kind::Upgrade,
        }
    }

    pub(crate) fn is_handed_over(&self) -> bool {
        self.machine.is_handed_over()
    }

    pub(crate) fn candidate(&self) -> Option<&EngineProcess> {
        self.candidate.as_ref()
    }

    pub(crate) fn candidate_mut(&mut self) -> Option<&mut EngineProcess> {
        self.candidate.as_mut()
    }

    pub(crate) fn probe_output(&self) -> Option<BorrowedFd<'_>> {
        self.probe.as_ref().and_then(Probe::output)
    }

    pub(crate) fn wake_at(&self) -> Instant {
        let at = self.machine.wake_at();
        match self.machine.phase() {
            UpgradePhase::Probation => at.min(Instant::now() + WATCH_QUEUES),
            _ => at,
        }
    }
}

impl Supervisor {
    /// SIGUSR2: the binary at the path that this one was started from.
    pub(crate) fn request_upgrade_by_signal(&mut self, now: Instant) {
        self.begin_upgrade(None, None, None, now);
    }

    /// A request that came through an engine's admin socket.
    pub(crate) fn request_upgrade(&mut self, engine: ConnectionId, request: &control::Upgrade, now: Instant) {
        let probation = request.probation_ms.map(Duration::from_millis);
        let binary = request.binary.as_ref().map(PathBuf::from);
        self.begin_upgrade(Some((engine, request.request)), binary, probation, now);
    }

    fn begin_upgrade(
        &mut self,
        asker: Option<Asker>,
        path: Option<PathBuf>,
        probation: Option<Duration>,
        now: Instant,
    ) {
        if let Some(refusal) = self.refusal(Kind::Upgrade) {
            self.answer(asker, &refusal.text, Some(&refusal));
            return;
        }
        let opened = Binary::open(path.as_deref().unwrap_or(&self.binary.path));
        let binary = match opened {
            Ok(binary) => Rc::new(binary),
            Err(error) => {
                let outcome = Outcome::refused(Kind::Upgrade, error);
                self.answer(asker, &outcome.text, Some(&outcome));
                return;
            }
        };
        let (machine, actions) = Upgrade::begin(limited(probation), now);
        let old = self.active.as_ref().and_then(|engine| engine.beat.clone());
        self.conduct = Some(RunningUpgrade {
            machine: machine.beginning_with(old),
            asker,
            binary,
            probe: None,
            report: None,
            candidate: None,
            told: UpgradePhase::Idle,
            unserved_since: None,
        });
        self.perform(actions, now);
    }

    /// Why there can be no upgrade now.
    pub(crate) fn refusal(&self, kind: Kind) -> Option<Outcome> {
        if self.stopping || self.retired {
            return Some(Outcome::busy("the daemon is being stopped"));
        }
        if self.taking.is_some() {
            return Some(Outcome::busy("takeover in progress"));
        }
        match &self.conduct {
            Some(conduct) if conduct.kind() == Kind::Takeover => {
                return Some(Outcome::busy("takeover in progress"));
            }
            None if !self.replace_due => {}
            _ => return Some(Outcome::busy("upgrade in progress")),
        }
        match &self.active {
            Some(engine) if engine.serving_since.is_some() => None,
            _ => Some(Outcome::refused(kind, "no engine serves at the moment")),
        }
    }

    /// Tells the state machine, and does what it says.
    pub(crate) fn upgrade_event(&mut self, event: Event, now: Instant) {
        if let Some(conduct) = &mut self.conduct {
            let actions = conduct.machine.on(event, now);
            self.perform(actions, now);
        }
    }

    pub(crate) fn perform(&mut self, actions: Vec<Action>, now: Instant) {
        self.tell_phase();
        for action in actions {
            match action {
                Action::Probe => self.start_probe(now),
                Action::Spawn => self.start_candidate(now),
                Action::Introduce => self.introduce_candidate(now),
                Action::Go => self.send_candidate(&Control::Go(Go {}), "supervisor.go"),
                Action::Park => {
                    let except = self.listeners.declined().into_iter().map(|cookie| Unlisten { cookie });
                    self.send_active(&Control::Park(Park { except: except.collect() }), "supervisor.park");
                }
                Action::Resume => self.send_active(&Control::Resume(Resume {}), "supervisor.resume"),
                Action::Commit => self.send_candidate(&Control::Commit(Commit {}), "supervisor.commit"),
                Action::Move(limit) => {
                    self.send_active(&Control::Move(Move { limit_ms: millis(limit) }), "supervisor.move");
                }
                Action::KillNew => self.kill_new(),
                Action::HandOver => self.hand_over(now),
                Action::Promote => self.promote(now),
                Action::Say(text) => self.answer(self.asker(), &text, None),
                Action::End(outcome) => self.end_upgrade(&outcome, now),
            }
        }
    }

    fn start_probe(&mut self, now: Instant) {
        let Some(conduct) = &mut self.conduct else {
            return;
        };
        fault::point("supervisor.probe");
        match Probe::start(&conduct.binary, &self.args) {
            Ok(probe) => conduct.probe = Some(probe),
            Err(error) => {
                let why = cannot_execute(&conduct.binary.path, &error);
                self.upgrade_event(Event::ProbeFailed(why), now);
            }
        }
    }

    pub(crate) fn on_probe_output(&mut self) {
        if let Some(probe) = self.conduct.as_mut().and_then(|conduct| conduct.probe.as_mut()) {
            probe.read();
        }
    }

    /// Whether that process was the probe.
    pub(crate) fn on_probe_exit(&mut self, pid: u32, code: Option<i32>, now: Instant) -> bool {
        let Some(conduct) = &mut self.conduct else {
            return false;
        };
        let Some(probe) = conduct.probe.take_if(|probe| probe.pid == pid) else {
            return false;
        };
        let event = match probe.finish(code) {
            Ok(report) => {
                let text = format!("lb {} at {}", report.version, conduct.binary.path.display());
                conduct.report = Some(report);
                Event::Probed(text)
            }
            Err(event) => event,
        };
        self.upgrade_event(event, now);
        true
    }

    fn start_candidate(&mut self, now: Instant) {
        let Some(conduct) = &mut self.conduct else {
            return;
        };
        let generation = self.generation + 1;
        let started = EngineProcess::start(&conduct.binary, &self.args, Mode::Upgrade, generation, now);
        let event = match started {
            Ok(engine) => {
                let pid = engine.pid;
                conduct.candidate = Some(engine);
                Event::Started(pid)
            }
            Err(error) => Event::NotStarted(error.to_string()),
        };
        self.upgrade_event(event, now);
    }

    /// Whether that process was the new engine.
    pub(crate) fn on_candidate_exit(&mut self, pid: u32, how: &str, now: Instant) -> bool {
        let Some(conduct) = &mut self.conduct else {
            return false;
        };
        if conduct.candidate.take_if(|engine| engine.pid == pid && !engine.is_foreign()).is_none() {
            return false;
        }
        self.upgrade_event(Event::NewFailed(format!("it {how}")), now);
        true
    }

    /// Listeners, the way to the other engine, START.
    fn introduce_candidate(&mut self, now: Instant) {
        let result = self.try_introduce_candidate();
        if let Err(error) = result {
            self.upgrade_event(Event::NewFailed(format!("it cannot be given what it needs: {error}")), now);
        }
    }

    fn try_introduce_candidate(&mut self) -> io::Result<()> {
        let new = self.conduct.as_mut().and_then(|conduct| conduct.candidate.as_mut());
        let (Some(old), Some(new)) = (&mut self.active, new) else {
            return Err(io::Error::other("an engine is missing"));
        };
        let (old_end, new_end) = fd::seqpacket_pair()?;
        let (old_pidfd, new_pidfd) = (old.pidfd()?, new.pidfd()?);
        let arcs = |a, b| vec![Arc::new(a), Arc::new(b)];
        old.send(&Control::Peer(Peer { side: Side::Old, pid: new.pid }), arcs(old_end, new_pidfd));
        let mut count = 0;
        for held in self.listeners.iter() {
            new.send(&Control::Listener(held.listener.clone()), vec![Arc::clone(&held.socket)]);
            count += 1;
        }
        new.send(&Control::Peer(Peer { side: Side::New, pid: old.pid }), arcs(new_end, old_pidfd));
        new.introduced = true;
        let uptime_ms = millis(self.began.elapsed());
        let start = Start { mode: Mode::Upgrade, generation: new.generation, listeners: count, uptime_ms };
        new.send(&Control::Start(start), vec![]);
        fault::point("supervisor.introduce");
        Ok(())
    }

    fn send_active(&mut self, message: &Control, name: &str) {
        fault::point(name);
        if let Some(engine) = &mut self.active {
            engine.send(message, vec![]);
        }
    }

    fn send_candidate(&mut self, message: &Control, name: &str) {
        fault::point(name);
        if let Some(engine) = self.conduct.as_mut().and_then(|conduct| conduct.candidate.as_mut()) {
            engine.send(message, vec![]);
        }
    }

    fn kill_new(&mut self) {
        let Some(conduct) = &mut self.conduct else {
            return;
        };
        if let Some(probe) = &conduct.probe {
            probe.kill();
        }
        if let Some(engine) = &mut conduct.candidate {
            engine.send_last(&Control::Abort(Abort { reason: "the upgrade failed".into() }));
            engine.kill();
        }
        self.listeners.retract();
    }

    /// The new engine is the one that serves. The old one is told to drain when the last word was said.
    fn promote(&mut self, now: Instant) {
        let Some(conduct) = &mut self.conduct else {
            return;
        };
        if conduct.kind() == Kind::Takeover {
            return self.retire();
        }
        let Some(new) = conduct.candidate.take() else {
            return;
        };
        self.binary = Rc::clone(&conduct.binary);
        self.generation = new.generation;
        self.replace_due = conduct.report.as_ref().is_some_and(|report| report.state >= SUPERVISOR_STATE);
        self.listeners.confirm(&self.notify);
        self.listeners.store(&self.notify);
        self.notify.ready(&format!("serving, engine {}", new.pid));
        self.draining.extend(self.active.replace(new));
        if let Some(engine) = &mut self.active {
            // It serves from now on as any other: heartbeats begin to count for the watchdog here.
            engine.last_beat = now;
        }
        fault::point("supervisor.promote");
    }

    fn end_upgrade(&mut self, outcome: &Outcome, now: Instant) {
        self.answer(self.asker(), &outcome.text, Some(outcome));
        self.conduct = None;
        // Rolled back: the paths are this one's again. One that stops cannot know, and leaves them to be found dead.
        self.handed_over &= self.stopping;
        self.tell_phase();
        for engine in self.draining.iter_mut().filter(|engine| engine.stop_by.is_none()) {
            tell_to_stop(engine, StopMode::Drain, now);
        }
        if self.active.is_none() && !self.stopping && !self.retired {
            // It was lost while another supervisor seemed to take over.
            self.restart_at.get_or_insert(now);
        }
        self.end_if_idle();
    }

    /// A line for who asked, and for the log.
    fn answer(&mut self, asker: Option<Asker>, text: &str, outcome: Option<&Outcome>) {
        let what = match &self.conduct {
            Some(conduct) if conduct.kind() == Kind::Takeover => "takeover",
            _ => "upgrade",
        };
        say(format!("{what}: {text}"));
        if let Some((id, request)) = asker
            && let Some(engine) = self.engine_mut(id)
        {
            let progress = Control::Progress(Progress {
                request,
                text: text.to_owned(),
                exit: outcome.map(|outcome| u32::from(outcome.exit.code())),
            });
            if engine.is_foreign() && outcome.is_some() {
                engine.send_last(&progress);
            } else {
                engine.send(&progress, vec![]);
            }
        }
    }

    fn asker(&self) -> Option<Asker> {
        self.conduct.as_ref().and_then(|conduct| conduct.asker)
    }

    /// Every engine knows where the upgrade is, for `lb status` and to refuse a reload.
    fn tell_phase(&mut self) {
        let phase = self.conduct.as_ref().map_or(UpgradePhase::Idle, |conduct| conduct.machine.phase());
        let candidate = match &mut self.conduct {
            Some(conduct) if conduct.told == phase => return,
            Some(conduct) => {
                conduct.told = phase;
                conduct.candidate.as_mut()
            }
            None => None,
        };
        for engine in self.active.iter_mut().chain(candidate).chain(&mut self.draining) {
            engine.send(&Control::Phase(Phase { phase }), vec![]);
        }
    }

    /// The machine stood still for so long, as far as this process can tell: nobody's silence counts meanwhile.
    pub(crate) fn on_standstill(&mut self, standstill: Duration) {
        if let Some(conduct) = &mut self.conduct {
            conduct.machine.forgive(standstill);
            if let Some(since) = &mut conduct.unserved_since {
                *since += standstill;
            }
        }
    }

    pub(crate) fn on_upgrade_time(&mut self, now: Instant) {
        if let Some(conduct) = &mut self.conduct
            && conduct.machine.phase() == UpgradePhase::Probation
            && let Some(new) = &conduct.candidate
        {
            let idle = new.beat.as_ref().is_none_or(|beat| beat.accepted == 0);
            if idle && self.listeners.anyone_waits() {
                let since = *conduct.unserved_since.get_or_insert(now);
                if now >= since + UNSERVED_LIMIT {
                    self.upgrade_event(Event::NotServing, now);
                }
            } else {
                conduct.unserved_since = None;
            }
        }
        let due = |conduct: &RunningUpgrade| now >= conduct.machine.wake_at();
        if self.conduct.as_ref().is_some_and(due) {
            self.upgrade_event(Event::Tick, now);
        }
    }
}

fn limited(probation: Option<Duration>) -> Duration {
    probation.unwrap_or(DEFAULT_PROBATION).min(LONGEST_PROBATION)
}

/// The kernel's words for a program that is none are misleading: a script by descriptor is "no such file".
fn cannot_execute(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    match error.raw_os_error() {
        Some(nix::libc::ENOENT) => {
            format!("{path} cannot be executed: a script, or its loader is missing")
        }
        Some(nix::libc::ENOEXEC) => {
            format!("{path} cannot be executed: not a program for this machine")
        }
        Some(nix::libc::ETXTBSY) => format!("{path} cannot be executed: somebody is writing it"),
        _ => format!("{path} cannot be executed: {error}"),
    }
}

const DEFAULT_PROBATION: Duration = Duration::from_secs(5);
const LONGEST_PROBATION: Duration = Duration::from_secs(60);
/// How often the accept queues are looked at during probation.
const WATCH_QUEUES: Duration = Duration::from_millis(100);
/// How long connections may wait for a new engine that has not accepted a single one.
const UNSERVED_LIMIT: Duration = Duration::from_millis(1500);
