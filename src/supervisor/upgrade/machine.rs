//! Machine: the steps of one upgrade as a state machine. Pure: events and the time go in, actions come out.
//!
//! Rule: until the new engine is READY, every failure leaves the old one untouched; until the sessions have moved, every
//! failure of the new one makes the old one resume; each wait has a limit.

use std::time::{Duration, Instant};

use crate::handoff::control::{Done, Heartbeat, UpgradePhase as Phase};
use crate::supervisor::upgrade::outcome::{Outcome, UpgradeKind};

/// The machine.
#[derive(Debug)]
pub(crate) struct UpgradeMachine {
    kind: UpgradeKind,
    phase: Phase,
    began: Instant,
    deadline: Instant,
    probation: Duration,
    new_pid: u32,
    parked: bool,
    /// The old engine hung and was killed.
    alone: bool,
    /// The time of probation has passed; PARKED or a heartbeat is missing.
    over: bool,
    /// The last heartbeat of the new engine.
    last_beat: Instant,
    /// Whether the new engine has sent a heartbeat since READY.
    beaten: bool,
    /// The old engine's report of sessions that stay, until the next heartbeat of the new engine.
    done: Option<Done>,
    /// The old engine's last counts before it parked.
    baseline: Option<Heartbeat>,
    /// In a takeover: everything was handed over, and this is the outcome once TAKEN has come.
    handed: Option<Outcome>,
}

/// An event of an upgrade.
#[derive(Debug)]
pub(crate) enum UpgradeEvent {
    /// The new binary accepted the configuration; the text names it.
    Probed(String),
    /// It did not, or is not `lb`.
    ProbeFailed(String),
    /// It uses another core protocol.
    Incompatible(String),
    /// The new engine was started.
    Started(u32),
    /// It could not be started.
    NotStarted(String),
    /// Messages of the new engine.
    Hello,
    Prepared,
    Ready,
    /// The old engine has stopped accepting.
    Parked,
    NewBeat(Heartbeat),
    OldBeat(Heartbeat),
    /// Connections wait in the queues and the new engine accepts none.
    NotServing,
    /// The old engine's report about the sessions.
    Done(Done),
    /// The other supervisor has received everything.
    Taken,
    /// The new engine has ended, given up, or sent a malformed message.
    NewFailed(String),
    /// The same of the old engine.
    OldFailed(String),
    /// The old engine hung and was killed. The new one continues without its state.
    OldHung,
    /// TERM or INT.
    Stop,
    /// Time has passed.
    Tick,
}

/// A step to carry out.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum UpgradeAction {
    Probe,
    Spawn,
    /// Send the listeners, the socket to the other engine, START.
    Introduce,
    Go,
    Park,
    Resume,
    Commit,
    Move(Duration),
    KillNew,
    /// Send the other supervisor everything that it needs to continue alone.
    HandOver,
    /// The new engine serves; the old one drains.
    Promote,
    Report(String),
    End(Outcome),
}

impl UpgradeMachine {
    /// Begins with the check of the new binary.
    pub(crate) fn begin(probation: Duration, now: Instant) -> (Self, Vec<UpgradeAction>) {
        let upgrade = Self::new(UpgradeKind::Upgrade, Phase::Probe, PROBE_LIMIT, probation, now);
        (upgrade, vec![UpgradeAction::Probe])
    }

    /// Begins with another supervisor that is about to start the new engine.
    pub(crate) fn begin_takeover(probation: Duration, now: Instant) -> Self {
        Self::new(UpgradeKind::Takeover, Phase::Hello, HELLO_LIMIT, probation, now)
    }

    fn new(kind: UpgradeKind, phase: Phase, limit: Duration, probation: Duration, now: Instant) -> Self {
        Self {
            kind,
            phase,
            began: now,
            deadline: now + limit,
            probation,
            new_pid: 0,
            parked: false,
            alone: false,
            over: false,
            last_beat: now,
            beaten: false,
            done: None,
            baseline: None,
            handed: None,
        }
    }

    /// Sets the last heartbeat of the old engine: an upgrade may be over before its next one.
    pub(crate) fn with_baseline(mut self, beat: Option<Heartbeat>) -> Self {
        self.baseline = beat;
        self
    }

    pub(crate) fn kind(&self) -> UpgradeKind {
        self.kind
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// When `Tick` is due.
    pub(crate) fn wake_at(&self) -> Instant {
        match self.phase {
            _ if self.handed.is_some() => self.deadline,
            Phase::Probation if self.over => self.last_beat + SILENCE_LIMIT,
            Phase::Probation | Phase::Move => self.deadline.min(self.last_beat + SILENCE_LIMIT),
            _ => self.deadline,
        }
    }

    /// This process could not run for so long, and neither could the new engine: not counted as its silence.
    pub(crate) fn forgive(&mut self, standstill: Duration) {
        self.last_beat += standstill;
    }

    /// Handles an event: the only way to change the state.
    pub(crate) fn on(&mut self, event: UpgradeEvent, now: Instant) -> Vec<UpgradeAction> {
        if let Some(outcome) = self.handed.take_if(|_| matches!(event, UpgradeEvent::Taken)) {
            return vec![UpgradeAction::Promote, UpgradeAction::End(outcome)];
        }
        match event {
            // After the hand-over only these two and `Taken` have an effect.
            UpgradeEvent::NewFailed(why) => self.fail(why),
            UpgradeEvent::Tick => self.tick(now),
            _ if self.handed.is_some() => vec![],
            UpgradeEvent::Parked => {
                self.parked = true;
                self.passed(now)
            }
            UpgradeEvent::OldBeat(beat) => {
                if !self.parked {
                    self.baseline = Some(beat);
                }
                vec![]
            }
            event if matches!(self.phase, Phase::Probation | Phase::Move) => self.on_after_ready(event, now),
            event => self.on_before_ready(event, now),
        }
    }

    /// Every failure leaves the old engine untouched.
    fn on_before_ready(&mut self, event: UpgradeEvent, now: Instant) -> Vec<UpgradeAction> {
        match (self.phase, event) {
            (Phase::Probe, UpgradeEvent::Probed(what)) => {
                self.enter(Phase::Hello, HELLO_LIMIT, now);
                vec![UpgradeAction::Report(format!("checked: {what}")), UpgradeAction::Spawn]
            }
            (Phase::Probe, UpgradeEvent::ProbeFailed(why)) => {
                vec![UpgradeAction::End(Outcome::refused(self.kind, why))]
            }
            (Phase::Probe | Phase::Hello, UpgradeEvent::Incompatible(why)) => {
                vec![UpgradeAction::KillNew, UpgradeAction::End(Outcome::incompatible(self.kind, why))]
            }
            (Phase::Hello, UpgradeEvent::Started(pid)) => {
                self.new_pid = pid;
                vec![UpgradeAction::Report(format!("engine {pid} started"))]
            }
            (Phase::Hello, UpgradeEvent::NotStarted(why)) => {
                vec![UpgradeAction::End(Outcome::refused(self.kind, why))]
            }
            (Phase::Hello, UpgradeEvent::Hello) => {
                self.enter(Phase::Prepare, PREPARE_LIMIT, now);
                vec![UpgradeAction::Introduce]
            }
            (Phase::Prepare, UpgradeEvent::Prepared) => {
                self.enter(Phase::Activate, READY_LIMIT, now);
                vec![
                    UpgradeAction::Report(format!("engine {} has listeners and state", self.new_pid)),
                    UpgradeAction::Go,
                ]
            }
            // No engine could resume: it stays.
            (Phase::Activate, UpgradeEvent::Ready) if self.alone => {
                let outcome = self.old_lost(HUNG);
                self.conclude(vec![UpgradeAction::Commit], outcome, now)
            }
            (Phase::Activate, UpgradeEvent::Ready) => {
                self.enter(Phase::Probation, self.probation, now);
                self.last_beat = now;
                let seconds = self.probation.as_secs_f64();
                let text = format!("engine {} accepts; probation of {seconds} s", self.new_pid);
                vec![UpgradeAction::Park, UpgradeAction::Report(text)]
            }
            (_, UpgradeEvent::OldHung) => {
                self.alone = true;
                vec![UpgradeAction::Report(format!("the old engine: {HUNG}; the new one begins without its state"))]
            }
            (_, UpgradeEvent::OldFailed(why)) => self.fail(format!("the old engine was lost meanwhile: {why}")),
            (_, UpgradeEvent::Stop) => self.fail("the daemon is being stopped".into()),
            // Late or out of turn: a message without meaning in this phase has no effect.
            (_, _) => vec![],
        }
    }

    /// The new engine accepts connections; the old one may still resume.
    fn on_after_ready(&mut self, event: UpgradeEvent, now: Instant) -> Vec<UpgradeAction> {
        let event = match event {
            UpgradeEvent::OldHung => UpgradeEvent::OldFailed(HUNG.to_owned()),
            event => event,
        };
        match (self.phase, event) {
            (_, UpgradeEvent::NewBeat(beat)) => self.on_new_beat(&beat, now),
            (Phase::Probation, UpgradeEvent::NotServing) => self.fail("it accepts no connections".into()),
            (Phase::Move, UpgradeEvent::Done(done)) if done.left == 0 && done.why.is_none() => self.finish(&done, now),
            (Phase::Move, UpgradeEvent::Done(done)) => {
                // Sessions may stay because the new engine has died since its last heartbeat.
                self.done = Some(done);
                vec![]
            }
            (Phase::Move, UpgradeEvent::OldFailed(why)) => {
                let outcome = self.old_lost(&why);
                self.conclude(vec![], outcome, now)
            }
            (Phase::Probation, UpgradeEvent::OldFailed(why)) => {
                // No engine could resume: the new one stays.
                let outcome = self.old_lost(&why);
                self.conclude(vec![UpgradeAction::Commit], outcome, now)
            }
            (_, UpgradeEvent::Stop) => {
                let outcome = Outcome::some_left("the daemon is being stopped; sessions drain in both engines");
                self.conclude(vec![UpgradeAction::Commit], outcome, now)
            }
            // Late or out of turn, as above.
            (_, _) => vec![],
        }
    }

    fn on_new_beat(&mut self, beat: &Heartbeat, now: Instant) -> Vec<UpgradeAction> {
        self.last_beat = now;
        self.beaten = true;
        if let Some(done) = self.done.take() {
            return self.finish(&done, now);
        }
        if self.phase == Phase::Probation && self.fails_where_the_old_did_not(beat) {
            return self.fail("its connections fail where those of the old engine did not".into());
        }
        self.passed(now)
    }

    fn enter(&mut self, phase: Phase, limit: Duration, now: Instant) {
        self.phase = phase;
        self.deadline = now + limit;
    }

    fn tick(&mut self, now: Instant) -> Vec<UpgradeAction> {
        let watched = self.handed.is_none() && matches!(self.phase, Phase::Probation | Phase::Move);
        if watched && now >= self.last_beat + SILENCE_LIMIT {
            return self.fail(format!("it has been silent for {} s", SILENCE_LIMIT.as_secs()));
        }
        if now < self.deadline {
            return vec![];
        }
        let limit = |limit: Duration| format!("within {} s", limit.as_secs());
        match self.phase {
            Phase::Probe => self.fail(format!("the new binary did not finish its check {}", limit(PROBE_LIMIT))),
            Phase::Hello => self.fail(format!("it did not say hello {}", limit(HELLO_LIMIT))),
            Phase::Prepare => self.fail(format!("it did not get ready {}", limit(PREPARE_LIMIT))),
            Phase::Activate => self.fail(format!("it did not begin to serve {}", limit(READY_LIMIT))),
            Phase::Probation => self.passed(now),
            Phase::Move if self.handed.is_some() => self.retire_unconfirmed(),
            Phase::Move => {
                let pid = self.new_pid;
                let outcome =
                    Outcome::some_left(format!("engine {pid} serves, the old one does not answer and drains"));
                self.conclude(vec![], outcome, now)
            }
            Phase::Idle => vec![],
        }
    }

    /// Ends the probation if its time is over, the old engine has parked, and the new one is alive.
    fn passed(&mut self, now: Instant) -> Vec<UpgradeAction> {
        if self.phase != Phase::Probation || now < self.deadline {
            return vec![];
        }
        self.over = true;
        if !self.parked && now >= self.deadline + PARK_LIMIT {
            return self.fail("the old engine did not stop accepting".into());
        }
        let fresh = self.beaten && now < self.last_beat + FRESH;
        if !self.parked || !fresh {
            // Checked again with the next heartbeat or PARKED; silence has its own limit.
            return vec![];
        }
        self.enter(Phase::Move, MOVE_LIMIT + MOVE_GRACE, now);
        vec![UpgradeAction::Commit, UpgradeAction::Report("sessions move".into()), UpgradeAction::Move(MOVE_LIMIT)]
    }

    fn finish(&mut self, done: &Done, now: Instant) -> Vec<UpgradeAction> {
        let seconds = (now - self.began).as_secs_f64();
        let outcome = Outcome::done(self.kind, self.new_pid, done, seconds);
        self.conclude(vec![], outcome, now)
    }

    /// The new engine stays. In a takeover, its supervisor must first receive everything.
    fn conclude(&mut self, mut before: Vec<UpgradeAction>, outcome: Outcome, now: Instant) -> Vec<UpgradeAction> {
        match self.kind {
            UpgradeKind::Upgrade => before.extend([UpgradeAction::Promote, UpgradeAction::End(outcome)]),
            UpgradeKind::Takeover => {
                self.enter(Phase::Move, HAND_OVER_LIMIT, now);
                self.handed = Some(outcome);
                before.push(UpgradeAction::HandOver);
            }
        }
        before
    }

    /// The other supervisor is late to confirm. Its engine has the sessions: a roll-back now would cut them all.
    fn retire_unconfirmed(&mut self) -> Vec<UpgradeAction> {
        let Some(mut outcome) = self.handed.take() else {
            return vec![];
        };
        outcome.text.push_str("; its supervisor does not answer");
        vec![UpgradeAction::Promote, UpgradeAction::End(outcome)]
    }

    fn fail(&mut self, why: String) -> Vec<UpgradeAction> {
        match self.phase {
            Phase::Probation | Phase::Move => {
                let why = format!("the new engine {} failed: {why}", self.new_pid);
                vec![UpgradeAction::Resume, UpgradeAction::KillNew, UpgradeAction::End(Outcome::rolled_back(why))]
            }
            _ => vec![UpgradeAction::KillNew, UpgradeAction::End(Outcome::refused(self.kind, why))],
        }
    }

    fn old_lost(&self, why: &str) -> Outcome {
        Outcome::some_left(format!("engine {} serves, the old one was lost with its sessions: {why}", self.new_pid))
    }

    /// More than half of at least ten connections failed, while in the old engine it was less than a tenth.
    fn fails_where_the_old_did_not(&self, new: &Heartbeat) -> bool {
        let Some(old) = &self.baseline else {
            return false;
        };
        let old_total = old.served.saturating_add(old.failed);
        let new_total = new.served.saturating_add(new.failed);
        old_total >= 10
            && old.failed.saturating_mul(10) < old_total
            && new_total >= 10
            && new.failed.saturating_mul(2) > new_total
    }
}

const HUNG: &str = "it hung and was killed";
const PROBE_LIMIT: Duration = Duration::from_secs(10);
const HELLO_LIMIT: Duration = Duration::from_secs(5);
/// Transfer of listeners and state (10 s, which the engines watch themselves) and preparation (30 s).
const PREPARE_LIMIT: Duration = Duration::from_secs(40);
const READY_LIMIT: Duration = Duration::from_secs(10);
const MOVE_LIMIT: Duration = Duration::from_secs(30);
/// The old engine watches MOVE_LIMIT itself; this limit is for one that hangs.
const MOVE_GRACE: Duration = Duration::from_secs(3);
/// An engine in probation sends a heartbeat every 100 ms (`HEARTBEAT_FAST` in `engine::supervisor_link`).
const SILENCE_LIMIT: Duration = Duration::from_secs(2);
/// How long the old engine may take to park after the probation's end.
const PARK_LIMIT: Duration = Duration::from_secs(10);
/// How long the other supervisor may take to confirm that it has everything.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(5);
const FRESH: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
