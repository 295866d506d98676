//! Upgrade: the steps of one upgrade as a state machine. Pure: events and the time go in, actions come out.
//!
//! Rule: until the new engine is READY every failure leaves the old one as if nothing had been asked; until the
//! sessions have moved every failure of the new one brings the old one back; each wait has a limit.

use std::time::{Duration, Instant};

use crate::handoff::control::{Done, Heartbeat, UpgradePhase as Phase};
use crate::supervisor::upgrade::outcome::{Kind, Outcome};

/// The machine.
#[derive(Debug)]
pub(crate) struct Upgrade {
    kind: Kind,
    phase: Phase,
    began: Instant,
    deadline: Instant,
    probation: Duration,
    new_pid: u32,
    parked: bool,
    /// The time of probation has passed; what is missing is PARKED or a heartbeat.
    over: bool,
    /// When the new engine was last heard of.
    last_beat: Instant,
    /// Whether the new engine answered since it was READY.
    beaten: bool,
    /// The old engine's account of sessions that stay, until the new engine has shown that it lives.
    done: Option<Done>,
    /// What the old engine had done before it parked.
    baseline: Option<Heartbeat>,
    /// In a takeover: everything was handed over, and this will be the outcome when that has arrived.
    handed: Option<Outcome>,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Event {
    /// The new binary accepted the configuration; the text says what it is.
    Probed(String),
    /// It did not, or is no such thing.
    ProbeFailed(String),
    /// It speaks another core protocol.
    Incompatible(String),
    /// The new engine was started.
    Started(u32),
    /// It could not be.
    NotStarted(String),
    /// The new engine said it.
    Hello,
    Prepared,
    Ready,
    /// The old engine accepts no more.
    Parked,
    NewBeat(Heartbeat),
    OldBeat(Heartbeat),
    /// Connections wait in the queues and the new engine accepts none.
    NotServing,
    /// The old engine's account of the sessions.
    Done(Done),
    /// The other supervisor has what was handed over.
    Taken,
    /// The new engine ended, gave up, or talks nonsense.
    NewFailed(String),
    /// The old engine did.
    OldFailed(String),
    /// TERM or INT.
    Stop,
    /// Time has passed.
    Tick,
}

/// What is to be done, in this order.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Probe,
    Spawn,
    /// Send listeners, the way to the other engine, START.
    Introduce,
    Go,
    Park,
    Resume,
    Commit,
    Move(Duration),
    KillNew,
    /// Give the other supervisor what it needs to go on alone.
    HandOver,
    /// The new engine is the one that serves; the old one drains.
    Promote,
    Say(String),
    End(Outcome),
}

impl Upgrade {
    /// Begins: the new binary is to be probed.
    pub(crate) fn begin(probation: Duration, now: Instant) -> (Self, Vec<Action>) {
        let upgrade = Self::new(Kind::Upgrade, Phase::Probe, PROBE_LIMIT, probation, now);
        (upgrade, vec![Action::Probe])
    }

    /// Begins with another supervisor that is about to start the new engine.
    pub(crate) fn begin_takeover(probation: Duration, now: Instant) -> Self {
        Self::new(Kind::Takeover, Phase::Hello, HELLO_LIMIT, probation, now)
    }

    fn new(kind: Kind, phase: Phase, limit: Duration, probation: Duration, now: Instant) -> Self {
        Self {
            kind,
            phase,
            began: now,
            deadline: now + limit,
            probation,
            new_pid: 0,
            parked: false,
            over: false,
            last_beat: now,
            beaten: false,
            done: None,
            baseline: None,
            handed: None,
        }
    }

    /// The last heartbeat of the engine that serves: an upgrade may be quicker than its next one.
    pub(crate) fn beginning_with(mut self, beat: Option<Heartbeat>) -> Self {
        self.baseline = beat;
        self
    }

    /// Whether everything was handed over, and only the answer is missing.
    pub(crate) fn is_handed_over(&self) -> bool {
        self.handed.is_some()
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    /// When `Tick` is due at the latest.
    pub(crate) fn wake_at(&self) -> Instant {
        match self.phase {
            _ if self.handed.is_some() => self.deadline,
            Phase::Probation if self.over => self.last_beat + SILENCE_LIMIT,
            Phase::Probation | Phase::Move => self.deadline.min(self.last_beat + SILENCE_LIMIT),
            _ => self.deadline,
        }
    }

    /// This process was kept from running for so long: so was the new engine, and that is not its silence.
    pub(crate) fn forgive(&mut self, standstill: Duration) {
        self.last_beat += standstill;
    }

    /// The only way to change.
    pub(crate) fn on(&mut self, event: Event, now: Instant) -> Vec<Action> {
        if let Some(outcome) = self.handed.take_if(|_| matches!(event, Event::Taken)) {
            return vec![Action::Promote, Action::End(outcome)];
        }
        match (self.phase, event) {
            // From here on only three things can happen.
            (_, Event::NewFailed(why)) => self.fail(why),
            (_, Event::Tick) => self.tick(now),
            _ if self.handed.is_some() => vec![],
            (Phase::Probe, Event::Probed(what)) => {
                self.enter(Phase::Hello, HELLO_LIMIT, now);
                vec![Action::Say(format!("checked: {what}")), Action::Spawn]
            }
            (Phase::Probe, Event::ProbeFailed(why)) => {
                vec![Action::End(Outcome::refused(self.kind, why))]
            }
            (Phase::Probe | Phase::Hello, Event::Incompatible(why)) => {
                vec![Action::KillNew, Action::End(Outcome::incompatible(self.kind, why))]
            }
            (Phase::Hello, Event::Started(pid)) => {
                self.new_pid = pid;
                vec![Action::Say(format!("engine {pid} started"))]
            }
            (Phase::Hello, Event::NotStarted(why)) => {
                vec![Action::End(Outcome::refused(self.kind, why))]
            }
            (Phase::Hello, Event::Hello) => {
                self.enter(Phase::Prepare, PREPARE_LIMIT, now);
                vec![Action::Introduce]
            }
            (Phase::Prepare, Event::Prepared) => {
                self.enter(Phase::Activate, READY_LIMIT, now);
                vec![Action::Say(format!("engine {} has listeners and state", self.new_pid)), Action::Go]
            }
            (Phase::Activate, Event::Ready) => {
                self.enter(Phase::Probation, self.probation, now);
                self.last_beat = now;
                let seconds = self.probation.as_secs_f64();
                let text = format!("engine {} accepts; probation of {seconds} s", self.new_pid);
                vec![Action::Park, Action::Say(text)]
            }
            (_, Event::Parked) => {
                self.parked = true;
                self.passed(now)
            }
            (_, Event::OldBeat(beat)) => {
                if !self.parked {
                    self.baseline = Some(beat);
                }
                vec![]
            }
            (Phase::Probation | Phase::Move, Event::NewBeat(beat)) => {
                self.last_beat = now;
                self.beaten = true;
                if let Some(done) = self.done.take() {
                    return self.finish(&done, now);
                }
                if self.phase == Phase::Probation && self.fails_where_the_old_did_not(&beat) {
                    return self.fail("its connections fail where those of the old engine did not".into());
                }
                self.passed(now)
            }
            (Phase::Probation, Event::NotServing) => self.fail("it accepts no connections".into()),
            (Phase::Move, Event::Done(done)) if done.left == 0 && done.why.is_none() => self.finish(&done, now),
            (Phase::Move, Event::Done(done)) => {
                // That may be because the new engine is dead, of which its last heartbeat knows nothing.
                self.done = Some(done);
                vec![]
            }
            (Phase::Move, Event::OldFailed(why)) => {
                let outcome = self.old_lost(&why);
                self.conclude(vec![], outcome, now)
            }
            (Phase::Probation, Event::OldFailed(why)) => {
                // There is nobody to go back to: the new engine is what there is.
                let outcome = self.old_lost(&why);
                self.conclude(vec![Action::Commit], outcome, now)
            }
            (_, Event::OldFailed(why)) => self.fail(format!("the old engine was lost meanwhile: {why}")),
            (Phase::Probation | Phase::Move, Event::Stop) => {
                let outcome = Outcome::some_left("the daemon is being stopped; sessions drain in both engines");
                self.conclude(vec![Action::Commit], outcome, now)
            }
            (_, Event::Stop) => self.fail("the daemon is being stopped".into()),
            // Late or out of turn: a message that has no meaning in this phase changes nothing.
            (_, _) => vec![],
        }
    }

    fn enter(&mut self, phase: Phase, limit: Duration, now: Instant) {
        self.phase = phase;
        self.deadline = now + limit;
    }

    fn tick(&mut self, now: Instant) -> Vec<Action> {
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
            Phase::Move if self.handed.is_some() => self.retire_unheard(),
            Phase::Move => {
                let pid = self.new_pid;
                let outcome =
                    Outcome::some_left(format!("engine {pid} serves, the old one does not answer and drains"));
                self.conclude(vec![], outcome, now)
            }
            Phase::Idle => vec![],
        }
    }

    /// Ends the probation if its time is over, the old engine has parked, and the new one is alive just now.
    fn passed(&mut self, now: Instant) -> Vec<Action> {
        if self.phase != Phase::Probation || now < self.deadline {
            return vec![];
        }
        self.over = true;
        if !self.parked && now >= self.deadline + PARK_LIMIT {
            return self.fail("the old engine did not stop accepting".into());
        }
        let fresh = self.beaten && now < self.last_beat + FRESH;
        if !self.parked || !fresh {
            // Asked again with the next heartbeat or PARKED; silence has its own limit.
            return vec![];
        }
        self.enter(Phase::Move, MOVE_LIMIT + MOVE_GRACE, now);
        vec![Action::Commit, Action::Say("sessions move".into()), Action::Move(MOVE_LIMIT)]
    }

    fn finish(&mut self, done: &Done, now: Instant) -> Vec<Action> {
        let seconds = (now - self.began).as_secs_f64();
        let outcome = Outcome::done(self.kind, self.new_pid, done, seconds);
        self.conclude(vec![], outcome, now)
    }

    /// The new engine is the one. Its supervisor, if that is another one, must know what it has to know before.
    fn conclude(&mut self, mut before: Vec<Action>, outcome: Outcome, now: Instant) -> Vec<Action> {
        match self.kind {
            Kind::Upgrade => before.extend([Action::Promote, Action::End(outcome)]),
            Kind::Takeover => {
                self.enter(Phase::Move, HAND_OVER_LIMIT, now);
                self.handed = Some(outcome);
                before.push(Action::HandOver);
            }
        }
        before
    }

    /// What it needs is on its way to the other supervisor, which only is late. Its engine has the sessions: to call that
    /// off now would cut them all.
    fn retire_unheard(&mut self) -> Vec<Action> {
        let Some(mut outcome) = self.handed.take() else {
            return vec![];
        };
        outcome.text.push_str("; its supervisor does not answer");
        vec![Action::Promote, Action::End(outcome)]
    }

    fn fail(&mut self, why: String) -> Vec<Action> {
        match self.phase {
            Phase::Probation | Phase::Move => {
                let why = format!("the new engine {} failed: {why}", self.new_pid);
                vec![Action::Resume, Action::KillNew, Action::End(Outcome::rolled_back(why))]
            }
            _ => vec![Action::KillNew, Action::End(Outcome::refused(self.kind, why))],
        }
    }

    fn old_lost(&self, why: &str) -> Outcome {
        Outcome::some_left(format!("engine {} serves, the old one was lost with its sessions: {why}", self.new_pid))
    }

    /// More than half of at least ten connections came to nothing, while before it was less than a tenth.
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

const PROBE_LIMIT: Duration = Duration::from_secs(10);
const HELLO_LIMIT: Duration = Duration::from_secs(5);
/// Listeners and state (10 s, which the engines watch themselves) and what the new engine makes of them (30 s).
const PREPARE_LIMIT: Duration = Duration::from_secs(40);
const READY_LIMIT: Duration = Duration::from_secs(10);
const MOVE_LIMIT: Duration = Duration::from_secs(30);
/// The old engine watches MOVE_LIMIT itself; this is for one that hangs.
const MOVE_GRACE: Duration = Duration::from_secs(3);
/// An engine in probation says something every 100 ms (`HEARTBEAT_FAST` in `engine::supervisor_link`).
const SILENCE_LIMIT: Duration = Duration::from_secs(2);
/// How long the old engine may take to park after the probation's end.
const PARK_LIMIT: Duration = Duration::from_secs(10);
/// How long the other supervisor may take to say that it has everything.
const HAND_OVER_LIMIT: Duration = Duration::from_secs(5);
const FRESH: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests;
