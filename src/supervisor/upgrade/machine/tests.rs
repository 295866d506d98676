use crate::exit::ExitStatus;
use crate::supervisor::upgrade::machine::*;

/// A machine with a clock of its own.
struct Run {
    upgrade: UpgradeMachine,
    now: Instant,
    last: Vec<UpgradeAction>,
}

const PROBATION: Duration = Duration::from_secs(5);

fn beat(served: u64, failed: u64) -> Heartbeat {
    Heartbeat { sessions: 0, accepted: served + failed, served, failed, full: false }
}

impl Run {
    /// Brings a new machine into `phase` by the shortest way.
    fn in_phase(phase: Phase) -> Self {
        let now = Instant::now();
        let (upgrade, last) = UpgradeMachine::begin(PROBATION, now);
        let mut run = Self { upgrade, now, last };
        for (reached, event) in [
            (Phase::Probe, UpgradeEvent::Probed("lb".into())),
            (Phase::Hello, UpgradeEvent::Hello),
            (Phase::Prepare, UpgradeEvent::Prepared),
            (Phase::Activate, UpgradeEvent::Ready),
            (Phase::Probation, UpgradeEvent::Parked),
        ] {
            if reached == phase {
                break;
            }
            run.on(event);
        }
        if phase == Phase::Move {
            run.live(PROBATION);
        }
        assert_eq!(run.upgrade.phase(), phase);
        run
    }

    fn on(&mut self, event: UpgradeEvent) -> &mut Self {
        self.last = self.upgrade.on(event, self.now);
        self
    }

    /// Time passes with a heartbeat every 100 ms.
    fn live(&mut self, time: Duration) -> &mut Self {
        let end = self.now + time;
        while self.now < end {
            self.now += Duration::from_millis(100);
            self.on(UpgradeEvent::NewBeat(beat(0, 0)));
            if !self.last.is_empty() {
                return self;
            }
        }
        self
    }

    /// Time passes in silence; ticks come when they are asked for.
    fn silent(&mut self, time: Duration) -> &mut Self {
        let end = self.now + time;
        while self.upgrade.wake_at() <= end && self.now < end {
            self.now = self.upgrade.wake_at();
            self.on(UpgradeEvent::Tick);
            if !self.last.is_empty() {
                return self;
            }
        }
        self.now = end;
        self
    }

    fn exit(&self) -> Option<ExitStatus> {
        self.last.iter().find_map(|action| match action {
            UpgradeAction::End(outcome) => Some(outcome.exit),
            _ => None,
        })
    }

    fn does(&self, action: &UpgradeAction) -> bool {
        self.last.contains(action)
    }
}

const BEFORE_READY: [Phase; 4] = [Phase::Probe, Phase::Hello, Phase::Prepare, Phase::Activate];

#[test]
fn every_step_follows_the_one_before() {
    assert_eq!(Run::in_phase(Phase::Probe).last, [UpgradeAction::Probe]);
    assert!(Run::in_phase(Phase::Hello).does(&UpgradeAction::Spawn));
    assert_eq!(Run::in_phase(Phase::Prepare).last, [UpgradeAction::Introduce]);
    assert!(Run::in_phase(Phase::Activate).does(&UpgradeAction::Go));
    let mut run = Run::in_phase(Phase::Activate);
    assert_eq!(run.on(UpgradeEvent::Ready).last[0], UpgradeAction::Park, "first of all the old engine parks");
    let mut run = Run::in_phase(Phase::Move);
    assert_eq!(run.last[0], UpgradeAction::Commit);
    run.on(UpgradeEvent::Done(Done { moved: 7, left: 0, why: None }));
    assert_eq!((&run.last[0], run.exit()), (&UpgradeAction::Promote, Some(ExitStatus::Done)));
}

#[test]
fn a_failure_before_ready_kills_the_new_engine_and_touches_nothing_else() {
    for phase in BEFORE_READY {
        let mut run = Run::in_phase(phase);
        run.on(UpgradeEvent::NewFailed("exited".into()));
        assert_eq!((&run.last[0], run.exit()), (&UpgradeAction::KillNew, Some(ExitStatus::UpgradeFailed)), "{phase:?}");
        assert_eq!(run.last.len(), 2);
    }
}

#[test]
fn each_wait_before_ready_has_its_limit() {
    for (phase, limit) in BEFORE_READY.into_iter().zip([10, 5, 40, 10]) {
        let mut run = Run::in_phase(phase);
        run.silent(Duration::from_secs(limit) - Duration::from_millis(1));
        assert!(run.exit().is_none(), "{phase:?}");
        run.silent(Duration::from_millis(1));
        assert_eq!(run.exit(), Some(ExitStatus::UpgradeFailed), "{phase:?}");
    }
}

#[test]
fn a_failure_after_ready_brings_the_old_engine_back_before_anything_else() {
    for phase in [Phase::Probation, Phase::Move] {
        let mut run = Run::in_phase(phase);
        run.on(UpgradeEvent::NewFailed("died of signal 9".into()));
        assert_eq!(run.last[..2], [UpgradeAction::Resume, UpgradeAction::KillNew], "{phase:?}");
        assert_eq!(run.exit(), Some(ExitStatus::RolledBack));
    }
}

#[test]
fn a_new_engine_that_falls_silent_is_rolled_back_after_two_seconds() {
    let mut run = Run::in_phase(Phase::Probation);
    run.live(Duration::from_secs(3)).silent(Duration::from_millis(1999));
    assert!(run.exit().is_none());
    run.silent(Duration::from_millis(1));
    assert_eq!(run.exit(), Some(ExitStatus::RolledBack));
}

#[test]
fn a_machine_that_stood_still_is_not_the_new_engines_silence() {
    for phase in [Phase::Probation, Phase::Move] {
        let mut run = Run::in_phase(phase);
        run.silent(Duration::from_millis(500));
        let standstill = Duration::from_secs(3);
        run.now += standstill;
        run.upgrade.forgive(standstill);
        run.on(UpgradeEvent::Tick);
        assert!(run.last.is_empty(), "{phase:?}: {:?}", run.last);
        run.silent(Duration::from_millis(1499));
        assert!(run.exit().is_none(), "{phase:?}");
        run.silent(Duration::from_millis(1));
        assert_eq!(run.exit(), Some(ExitStatus::RolledBack), "{phase:?}");
    }
}

#[test]
fn probation_does_not_end_before_its_time_nor_without_a_sign_of_life() {
    let mut run = Run::in_phase(Phase::Probation);
    run.on(UpgradeEvent::Parked).live(PROBATION - Duration::from_millis(700));
    assert_eq!(run.upgrade.phase(), Phase::Probation);
    run.silent(Duration::from_millis(1400));
    assert_eq!(run.upgrade.phase(), Phase::Probation, "no heartbeat for too long");
    run.on(UpgradeEvent::NewBeat(beat(0, 0)));
    assert_eq!(run.upgrade.phase(), Phase::Move);
}

#[test]
fn probation_does_not_end_before_the_old_engine_has_parked() {
    let mut run = Run::in_phase(Phase::Activate);
    run.on(UpgradeEvent::Ready).live(PROBATION * 2);
    assert_eq!(run.upgrade.phase(), Phase::Probation);
    run.on(UpgradeEvent::Parked);
    assert_eq!(run.upgrade.phase(), Phase::Move);
    let mut run = Run::in_phase(Phase::Activate);
    run.on(UpgradeEvent::Ready).live(PROBATION + PARK_LIMIT);
    assert_eq!(run.exit(), Some(ExitStatus::RolledBack), "it never parks");
}

#[test]
fn failing_connections_count_only_where_the_old_engine_had_none() {
    for (old, new, exit) in [
        (Some(beat(100, 1)), beat(4, 20), Some(ExitStatus::RolledBack)),
        (Some(beat(100, 1)), beat(20, 4), None),
        (Some(beat(100, 1)), beat(0, 5), None),
        (Some(beat(50, 50)), beat(0, 100), None),
        (None, beat(0, 100), None),
    ] {
        let mut run = Run::in_phase(Phase::Activate);
        if let Some(old) = old {
            run.on(UpgradeEvent::OldBeat(old));
        }
        run.on(UpgradeEvent::Ready).on(UpgradeEvent::NewBeat(new.clone()));
        assert_eq!(run.exit(), exit, "{new:?}");
    }
}

#[test]
fn sessions_that_stay_are_told_by_the_exit_code_and_the_reason() {
    let mut run = Run::in_phase(Phase::Move);
    run.on(UpgradeEvent::Done(Done { moved: 5, left: 2, why: Some("no descriptors".into()) }));
    assert!(run.last.is_empty(), "first the new engine shows that it lives");
    run.on(UpgradeEvent::NewBeat(beat(0, 0)));
    let Some(UpgradeAction::End(outcome)) = run.last.last() else { panic!("no end") };
    assert_eq!(outcome.exit, ExitStatus::SessionsLeft);
    assert!(outcome.text.contains("5 sessions moved, 2 left to drain (no descriptors)"), "{}", outcome.text);
}

#[test]
fn an_old_engine_that_dies_is_a_failure_before_ready_and_a_success_with_losses_after() {
    for phase in BEFORE_READY {
        let mut run = Run::in_phase(phase);
        run.on(UpgradeEvent::OldFailed("died".into()));
        assert_eq!((&run.last[0], run.exit()), (&UpgradeAction::KillNew, Some(ExitStatus::UpgradeFailed)), "{phase:?}");
    }
    for phase in [Phase::Probation, Phase::Move] {
        let mut run = Run::in_phase(phase);
        run.on(UpgradeEvent::OldFailed("died".into()));
        assert!(run.does(&UpgradeAction::Promote) && !run.does(&UpgradeAction::Resume));
        assert_eq!(run.exit(), Some(ExitStatus::SessionsLeft));
    }
}

#[test]
fn a_stop_aborts_before_ready_and_finishes_after() {
    for phase in BEFORE_READY {
        assert_eq!(Run::in_phase(phase).on(UpgradeEvent::Stop).exit(), Some(ExitStatus::UpgradeFailed), "{phase:?}");
    }
    for phase in [Phase::Probation, Phase::Move] {
        let mut run = Run::in_phase(phase);
        run.on(UpgradeEvent::Stop);
        assert!(run.does(&UpgradeAction::Promote), "{phase:?}");
    }
}

#[test]
fn an_old_engine_that_hangs_while_sessions_move_does_not_hold_the_new_one_up() {
    let mut run = Run::in_phase(Phase::Move);
    run.live(MOVE_LIMIT + MOVE_GRACE);
    run.on(UpgradeEvent::Tick);
    assert!(run.does(&UpgradeAction::Promote));
    assert_eq!(run.exit(), Some(ExitStatus::SessionsLeft));
}

#[test]
fn words_out_of_turn_change_nothing() {
    for phase in BEFORE_READY {
        let mut run = Run::in_phase(phase);
        for event in [
            UpgradeEvent::NewBeat(beat(1, 1)),
            UpgradeEvent::NotServing,
            UpgradeEvent::Done(Done { moved: 0, left: 0, why: None }),
        ] {
            run.on(event);
            assert_eq!((run.last.len(), run.upgrade.phase()), (0, phase));
        }
    }
}

#[test]
fn sessions_that_stay_since_the_new_engine_died_are_not_called_a_success() {
    let mut run = Run::in_phase(Phase::Move);
    run.on(UpgradeEvent::Done(Done { moved: 5, left: 2, why: Some("the other end is closed".into()) }));
    run.on(UpgradeEvent::NewFailed("it was ended by SIGKILL".into()));
    assert_eq!(run.last[0], UpgradeAction::Resume);
    assert_eq!(run.exit(), Some(ExitStatus::RolledBack));
}

/// A takeover whose sessions have moved.
fn handed_over() -> Run {
    let now = Instant::now();
    let upgrade = UpgradeMachine::begin_takeover(PROBATION, now);
    let last = Vec::new();
    let mut run = Run { upgrade, now, last };
    for event in [
        UpgradeEvent::Started(7),
        UpgradeEvent::Hello,
        UpgradeEvent::Prepared,
        UpgradeEvent::Ready,
        UpgradeEvent::Parked,
    ] {
        run.on(event);
    }
    run.live(PROBATION);
    assert!(run.does(&UpgradeAction::Commit));
    run.on(UpgradeEvent::Done(Done { moved: 7, left: 0, why: None }));
    assert_eq!(run.last, [UpgradeAction::HandOver]);
    run
}

#[test]
fn a_takeover_ends_when_the_other_supervisor_has_what_it_needs() {
    let mut run = handed_over();
    run.on(UpgradeEvent::Taken);
    assert_eq!((&run.last[0], run.exit()), (&UpgradeAction::Promote, Some(ExitStatus::Done)));
    let UpgradeAction::End(outcome) = &run.last[1] else { panic!("{:?}", run.last) };
    assert!(outcome.text.starts_with("taken over in"), "{outcome:?}");
}

#[test]
fn a_supervisor_that_takes_over_nothing_is_rolled_back() {
    let mut run = handed_over();
    run.on(UpgradeEvent::NewFailed("it is gone".into()));
    assert_eq!(run.exit(), Some(ExitStatus::RolledBack));
    assert!(run.does(&UpgradeAction::Resume) && run.does(&UpgradeAction::KillNew));
}

#[test]
fn a_supervisor_that_is_late_to_take_what_it_was_given_keeps_its_engine_and_the_sessions() {
    let mut run = handed_over();
    run.now += HAND_OVER_LIMIT;
    run.on(UpgradeEvent::Tick);
    assert_eq!(run.last[0], UpgradeAction::Promote);
    assert_eq!(run.exit(), Some(ExitStatus::Done));
    assert!(!run.does(&UpgradeAction::KillNew));
}

#[test]
fn between_handing_over_and_its_answer_nothing_else_decides() {
    let mut run = handed_over();
    for event in [
        UpgradeEvent::OldFailed("it died".into()),
        UpgradeEvent::Stop,
        UpgradeEvent::NewBeat(beat(0, 100)),
        UpgradeEvent::NotServing,
        UpgradeEvent::Tick,
    ] {
        run.on(event);
        assert_eq!(run.last, []);
    }
    assert_eq!(run.on(UpgradeEvent::Taken).exit(), Some(ExitStatus::Done));
}

#[test]
fn a_takeover_fails_before_ready_as_an_upgrade_does() {
    let now = Instant::now();
    let upgrade = UpgradeMachine::begin_takeover(PROBATION, now);
    let last = Vec::new();
    let mut run = Run { upgrade, now, last };
    run.silent(HELLO_LIMIT);
    assert_eq!(run.exit(), Some(ExitStatus::UpgradeFailed));
    let text = format!("{:?}", run.last);
    assert!(text.contains("not taken over, the old engine goes on"), "{text}");
}
