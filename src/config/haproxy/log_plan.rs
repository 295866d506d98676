//! What a section says about its session lines.

use super::setting::Settings;
use super::spot::Spot;

/// `log` and the options about it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct LogPlan {
    /// `log global`.
    pub(super) global: Option<Spot>,
    /// Its own targets, as values of TOML.
    pub(super) targets: Vec<(String, Spot)>,
    /// The targets are those of the defaults.
    from_defaults: bool,
    /// Keys below `log` of [frontend.NAME].
    pub(super) settings: Settings,
}

impl LogPlan {
    /// `global`: the targets of the process.
    pub(super) fn goes_somewhere(&self, global: &[(String, Spot)]) -> bool {
        !self.targets.is_empty() || (self.global.is_some() && !global.is_empty())
    }

    pub(super) fn inherited(&mut self) {
        self.from_defaults = true;
    }

    /// `no log`.
    pub(super) fn clear(&mut self) {
        self.global = None;
        self.targets.clear();
    }

    /// The first `log` of a section replaces those of its defaults.
    pub(super) fn begin(&mut self) {
        if std::mem::take(&mut self.from_defaults) {
            self.clear();
        }
    }
}
