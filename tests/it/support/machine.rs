//! Time that the machine withholds: a shared host may stop a virtual machine for a second although nothing in it is
//! wrong. On each CPU a thread that sleeps in small steps notices when it wakes too late; a `Stopwatch` does not count
//! that time.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::wait::pause;

/// Measures how long something takes, excluding standstills of the machine.
#[derive(Clone, Copy)]
pub(crate) struct Stopwatch {
    began: Instant,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        standstills();
        Self { began: Instant::now() }
    }

    /// The time since the start, without the time in which a CPU stood still.
    pub(crate) fn elapsed(&self) -> Duration {
        let now = Instant::now();
        (now - self.began).saturating_sub(standstills().within(self.began, now))
    }

    /// The time since the start, standstills included: for lower bounds.
    pub(crate) fn by_the_clock(&self) -> Duration {
        self.began.elapsed()
    }
}

impl std::fmt::Debug for Stopwatch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (running, total) = (self.elapsed(), self.by_the_clock());
        write!(f, "{running:?}")?;
        if total > running + Duration::from_millis(100) {
            write!(f, " and a standstill of {:?}", total - running)?;
        }
        Ok(())
    }
}

/// The standstills of CPUs observed so far.
#[derive(Debug, Default)]
struct Standstills(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// In the order of their ends.
    past: Vec<(Instant, Instant)>,
    /// When each of the watching threads is due to wake.
    due: Vec<Instant>,
}

/// How often a watching thread wakes.
const STEP: Duration = Duration::from_millis(5);

/// Waking later than this is a standstill; less is another thread's turn on the same CPU.
const USUAL: Duration = Duration::from_millis(5);

/// The standstills of this process. The first call starts the watching threads.
fn standstills() -> &'static Standstills {
    static STANDSTILLS: OnceLock<Standstills> = OnceLock::new();
    let mut first = false;
    let standstills = STANDSTILLS.get_or_init(|| {
        first = true;
        Standstills::default()
    });
    if first {
        let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
        for cpu in (0..CpuSet::count()).filter(|&cpu| allowed.is_set(cpu).unwrap()) {
            std::thread::spawn(move || standstills.watch(cpu));
        }
    }
    standstills
}

impl Standstills {
    fn watch(&self, cpu: usize) {
        let mut own = CpuSet::new();
        own.set(cpu).unwrap();
        sched_setaffinity(Pid::from_raw(0), &own).unwrap();
        let mut due = Instant::now() + STEP;
        let index = self.known(|known| {
            known.due.push(due);
            known.due.len() - 1
        });
        loop {
            pause(STEP);
            let woke = Instant::now();
            self.known(|known| {
                if woke > due + USUAL {
                    known.past.push((due, woke));
                }
                due = woke + STEP;
                known.due[index] = due;
            });
        }
    }

    /// For how much of this time at least one CPU stood still.
    fn within(&self, from: Instant, to: Instant) -> Duration {
        let mut found = self.known(|known| {
            let past = known.past.iter().rev();
            let past = past.take_while(|(_, end)| *end > from);
            let present = known.due.iter().filter(|due| **due + USUAL < to);
            past.copied().chain(present.map(|due| (*due, to))).collect::<Vec<_>>()
        });
        found.sort_unstable();
        let (mut total, mut counted) = (Duration::ZERO, from);
        for (begin, end) in found {
            let (begin, end) = (begin.max(counted), end.min(to));
            total += end.saturating_duration_since(begin);
            counted = counted.max(end);
        }
        total
    }

    fn known<T>(&self, access: impl FnOnce(&mut Known) -> T) -> T {
        access(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[test]
fn overlapping_standstills_count_once_and_only_what_lies_within() {
    let start = Instant::now();
    let at = |ms| start + Duration::from_millis(ms);
    let standstills = Standstills::default();
    standstills.known(|known| {
        known.past = vec![(at(0), at(10)), (at(15), at(30)), (at(20), at(40)), (at(60), at(80))];
        known.due = vec![at(95), at(120)];
    });
    let within = |from, to| standstills.within(at(from), at(to)).as_millis();
    assert_eq!(within(0, 90), 10 + 25 + 20);
    assert_eq!(within(5, 35), 5 + 20);
    assert_eq!(within(41, 59), 0);
    // The first of the threads still sleeps.
    assert_eq!(within(90, 110), 15);
}
