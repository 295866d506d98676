//! What failed, what was done meanwhile, and whether the one explains the other.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::support::figure::figure;

/// Shared by the traffic, the upgrades and the troubles.
#[derive(Clone, Default)]
pub(super) struct Ledger(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    failures: Vec<Failure>,
    troubles: Vec<(Trouble, Span)>,
    upgrades: Vec<(Option<i32>, String, Span)>,
    /// Exchanges and messages that went well.
    done: u64,
}

struct Failure {
    backend: &'static str,
    why: String,
    /// The connection could not be made: no trouble explains that.
    refused: bool,
    span: Span,
}

#[derive(Debug, Clone, Copy)]
struct Span(Instant, Instant);

/// What costs sessions by nature.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Killed or stopped, with all its sessions.
    Engine,
    /// A server of this backend was killed.
    Server(&'static str),
}

/// What a kill cuts shows within this time.
const AFTERMATH: Duration = Duration::from_secs(2);

impl Ledger {
    pub(super) fn done(&self, count: u64) {
        self.0.lock().unwrap().done += count;
    }

    pub(super) fn failed(&self, backend: &'static str, why: String, refused: bool, from: Instant) {
        let span = Span(from, Instant::now());
        self.0.lock().unwrap().failures.push(Failure { backend, why, refused, span });
    }

    /// A trouble from `from` to now.
    pub(super) fn trouble(&self, trouble: Trouble, from: Instant) {
        self.0.lock().unwrap().troubles.push((trouble, Span(from, Instant::now() + AFTERMATH)));
    }

    pub(super) fn upgraded(&self, exit: Option<i32>, words: String, from: Instant) {
        self.0.lock().unwrap().upgrades.push((exit, words, Span(from, Instant::now())));
    }

    /// Prints the totals.
    ///
    /// # Panics
    /// When a failure has no explanation.
    pub(super) fn assert_explained(&self) {
        let entries = self.0.lock().unwrap();
        let Entries { failures, upgrades, done, .. } = &*entries;
        let unexplained: Vec<String> = failures
            .iter()
            .filter(|failure| !entries.explains(failure))
            .map(|failure| entries.describe(failure))
            .collect();
        let engine_lost = |span: &Span| entries.troubles.iter().any(|(t, s)| *t == Trouble::Engine && s.overlaps(span));
        let failed: Vec<_> = upgrades.iter().filter(|(exit, _, span)| *exit != Some(0) && !engine_lost(span)).collect();
        let completed = upgrades.iter().filter(|(exit, ..)| *exit == Some(0)).count();
        figure("any hour: exchanges done", done);
        figure(
            "any hour: failures explained by a killed or stopped engine or server",
            failures.len() - unexplained.len(),
        );
        figure("any hour: failures unexplained", unexplained.len());
        figure("any hour: upgrades done / begun", format!("{completed} / {}", upgrades.len()));
        let refused = failures.iter().filter(|failure| failure.refused).count();
        figure("any hour: connections refused", refused);
        assert!(unexplained.is_empty(), "{unexplained:#?}");
        assert!(failed.is_empty(), "{failed:#?}");
        assert!(*done > 1000 && completed > upgrades.len() / 2, "{done} exchanges, {completed} upgrades");
    }
}

impl Entries {
    fn describe(&self, failure: &Failure) -> String {
        let begun = self.upgrades.first().map_or(failure.span.0, |(.., span)| span.0);
        let at = |moment: Instant| moment.saturating_duration_since(begun).as_secs_f64();
        let Span(from, to) = failure.span;
        let near: Vec<_> = self
            .troubles
            .iter()
            .filter(|(_, span)| span.overlaps(&failure.span))
            .map(|(trouble, span)| format!("{trouble:?} from {:.3} s", at(span.0)))
            .collect();
        format!("{} at {:.3} to {:.3} s: {}; near it: {near:?}", failure.backend, at(from), at(to), failure.why)
    }

    fn explains(&self, failure: &Failure) -> bool {
        let costs = |trouble: &Trouble| match trouble {
            Trouble::Engine => true,
            Trouble::Server(backend) => *backend == failure.backend,
        };
        !failure.refused && self.troubles.iter().any(|(trouble, span)| costs(trouble) && span.overlaps(&failure.span))
    }
}

impl Span {
    fn overlaps(&self, other: &Self) -> bool {
        self.0 <= other.1 && other.0 <= self.1
    }
}
