//! Features: what travels besides the core protocol; each side offers a range of versions of each.
//!
//! The core (HELLO, LISTENER, PREPARED, GO, READY, ABORT, DONE) is frozen within a major version. Everything else
//! that travels is a feature: both sides state the oldest and the newest version that they support, and the lower of
//! the two newest is used. A feature without a common version is left out (sessions drain, counters start at zero);
//! it is never a reason to refuse an upgrade.

use std::fmt;

use crate::handoff::frame::MAJOR;
use crate::handoff::wire::{codes, record};

/// Version of the record that a supervisor leaves to the binary that replaces it.
pub(crate) const SUPERVISOR_STATE: u32 = 1;

/// First word of [`announcement`].
pub(crate) const ANNOUNCEMENT: &str = "lb-handoff";

/// The line that `lb engine --probe` prints when the configuration is good.
pub(crate) fn announcement() -> String {
    format!("{ANNOUNCEMENT} core={MAJOR} state={SUPERVISOR_STATE} version={}", env!("CARGO_PKG_VERSION"))
}

codes! {
    /// What can be handed over besides listeners.
    pub(crate) enum Feature {
        /// Open sessions: sockets, residue, timers; includes sessions that still wait for a server.
        Sessions = 1,
        /// Sums of frontends, backends and servers. From version 2 on they are complete before the new engine answers for
        /// both, and return to the old one if that has to continue.
        Counters = 2,
        /// Health with its position in rise and fall, administration, weight, slow start, history.
        Health = 3,
        /// Distributions of times.
        Histograms = 4,
        /// The last discovery set with its revision.
        Discovery = 5,
        /// Places within limits that the old engine's sessions have.
        Places = 8,
    }
}

record! {
    /// Versions of one feature that one side supports. A number rather than [`Feature`]: other versions may define more.
    pub struct Offer {
        1 => feature: u32,
        2 => oldest: u32,
        3 => newest: u32,
    }
}

/// What two sides have in common.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Agreed(Vec<(Feature, u32)>);

impl Agreed {
    /// The lower of the two newest versions of each feature, where both sides support it.
    pub(crate) fn between(ours: &[Offer], theirs: &[Offer]) -> Self {
        let find = |offers: &[Offer], feature: Feature| {
            offers.iter().find(|o| o.feature == feature as u32).map(|o| (o.oldest, o.newest))
        };
        let common = |feature: Feature| {
            let (our_oldest, our_newest) = find(ours, feature)?;
            let (their_oldest, their_newest) = find(theirs, feature)?;
            let version = our_newest.min(their_newest);
            (version > 0 && version >= our_oldest.max(their_oldest)).then_some((feature, version))
        };
        Self(Feature::ALL.iter().filter_map(|f| common(*f)).collect())
    }

    /// The version to use; `None`: this feature is left out.
    pub(crate) fn version(&self, feature: Feature) -> Option<u32> {
        self.0.iter().find(|(f, _)| *f == feature).map(|(_, version)| *version)
    }

    /// Whether the new engine's counts return to the old one.
    pub(crate) fn counts_return(&self) -> bool {
        self.version(Feature::Counters).is_some_and(|version| version >= COUNTERS_RETURN)
    }

    /// Whether a feature is handed over at all.
    pub(crate) fn has(&self, feature: Feature) -> bool {
        self.version(feature).is_some()
    }
}

impl fmt::Display for Agreed {
    /// `sessions 1, counters 1`: as the log shows it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("listeners only");
        }
        for (i, (feature, version)) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{} {version}", format!("{feature:?}").to_lowercase())?;
        }
        Ok(())
    }
}

/// What this binary offers.
pub(crate) fn offers() -> Vec<Offer> {
    let newest = |f| if f == Feature::Counters { COUNTERS_RETURN } else { 1 };
    let standard = Feature::ALL.iter().map(|f| Offer { feature: *f as u32, oldest: 1, newest: newest(*f) });
    adjusted(standard.collect(), BUILD_FEATURES.unwrap_or_default())
}

/// The version of [`Feature::Counters`] with counts that return.
const COUNTERS_RETURN: u32 = 2;

/// For tests of two versions against each other: `LB_HANDOFF_FEATURES="sessions=2-3,counters=0-0"` in the
/// environment *of the build* changes what the binary claims to support. Released binaries are built without it.
const BUILD_FEATURES: Option<&str> = option_env!("LB_HANDOFF_FEATURES");

fn adjusted(mut offers: Vec<Offer>, changes: &str) -> Vec<Offer> {
    for change in changes.split(',').filter(|c| !c.is_empty()) {
        let parsed = change.split_once('=').and_then(|(name, range)| {
            let (oldest, newest) = range.split_once('-')?;
            let feature = Feature::ALL.iter().find(|f| format!("{f:?}").eq_ignore_ascii_case(name))?;
            Some(Offer { feature: *feature as u32, oldest: oldest.parse().ok()?, newest: newest.parse().ok()? })
        });
        if let Some(offer) = parsed {
            offers.retain(|o| o.feature != offer.feature);
            offers.push(offer);
        }
    }
    offers
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(oldest: u32, newest: u32) -> Vec<Offer> {
        vec![Offer { feature: Feature::Sessions as u32, oldest, newest }]
    }

    #[test]
    fn the_lower_of_the_two_newest_is_used_if_both_support_it() {
        let cases = [
            ((1, 1), (1, 1), Some(1)),
            ((1, 3), (1, 2), Some(2)),
            ((1, 2), (2, 5), Some(2)),
            ((1, 1), (2, 3), None),
            ((3, 4), (1, 2), None),
            ((0, 0), (0, 0), None),
            ((5, 1), (1, 5), None),
        ];
        for (ours, theirs, expected) in cases {
            let agreed = Agreed::between(&offer(ours.0, ours.1), &offer(theirs.0, theirs.1));
            assert_eq!(agreed.version(Feature::Sessions), expected, "{ours:?} with {theirs:?}");
        }
        assert!(!Agreed::between(&offers(), &[]).has(Feature::Health));
    }

    #[test]
    fn a_feature_of_a_later_version_is_no_obstacle() {
        let mut theirs = offers();
        theirs.push(Offer { feature: 4711, oldest: 1, newest: 1 });
        assert!(Agreed::between(&offers(), &theirs).has(Feature::Discovery));
    }

    #[test]
    fn a_build_for_tests_can_claim_other_versions() {
        let changed = adjusted(offers(), "sessions=2-3,counters=0-0,rubbish");
        let agreed = Agreed::between(&changed, &adjusted(offers(), "sessions=1-9"));
        assert_eq!(agreed.version(Feature::Sessions), Some(3));
        assert!(!agreed.has(Feature::Counters));
        assert_eq!(agreed.to_string(), "sessions 3, health 1, histograms 1, discovery 1, places 1");
    }
}
