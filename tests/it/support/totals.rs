//! `Totals`: what a balancer has shown of everything that only grows.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::lb::Lb;
use super::status::Status;

/// What was shown last.
#[derive(Debug, Default)]
pub(crate) struct Totals(BTreeMap<String, u64>);

impl Totals {
    /// The status, none of whose totals is smaller than it was at any call before.
    #[track_caller]
    pub(crate) fn check(&mut self, lb: &Lb) -> Status {
        self.take(lb.status())
    }

    #[track_caller]
    fn take(&mut self, status: Status) -> Status {
        for (name, now) in status.totals() {
            let before = self.0.insert(name.clone(), now).unwrap_or(0);
            assert!(before <= now, "{name}: {before}, then {now}");
        }
        status
    }

    /// Plays the scene while the status is asked for again and again. Returns its result.
    #[track_caller]
    pub(crate) fn watch<R>(&mut self, lb: &Lb, scene: impl FnOnce() -> R) -> R {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let polls = scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    let output = lb.command(&["status", "--json"]);
                    // An engine that is killed may owe an answer.
                    if output.status.success() {
                        self.take(Status::parse(&String::from_utf8_lossy(&output.stdout)));
                    }
                }
                self.check(lb);
            });
            let result = scene();
            over.store(true, Ordering::Relaxed);
            polls.join().unwrap();
            result
        })
    }
}
