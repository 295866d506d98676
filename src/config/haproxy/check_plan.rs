//! How the servers of a section are checked.

use super::setting::Settings;
use super::spot::Spot;

/// `option …chk`, `tcp-check` and `http-check`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct CheckPlan {
    /// The word of TOML for `type`, and where it was chosen; `None`: a connect.
    pub(super) kind: Option<(&'static str, Spot)>,
    /// Keys below `check`.
    pub(super) settings: Settings,
    /// Steps of `tcp-check`, as tables of TOML.
    pub(super) steps: Vec<(String, Spot)>,
    /// The section's own rules: `tcp-check` or `http-check`, what it does, and where.
    pub(super) rules: Vec<(&'static str, &'static str, Spot)>,
    /// The rules are those of the defaults.
    from_defaults: bool,
}

impl CheckPlan {
    pub(super) fn inherited(&mut self) {
        self.from_defaults = true;
        self.rules.clear();
    }

    /// The first rule of a section replaces those of its defaults. Returns whether this one does.
    pub(super) fn begin(&mut self) -> bool {
        let first = std::mem::take(&mut self.from_defaults);
        if first {
            self.steps.clear();
            self.settings.retain(|setting| !EXPECTED.contains(&setting.key) && setting.key != "check.port");
        }
        first
    }

    /// Whether rules of this word count: `tcp-check`, `http-check`.
    pub(super) fn follows(&self, word: &str) -> bool {
        let wanted = if word == "tcp-check" { "script" } else { "http" };
        self.kind.is_some_and(|(kind, _)| kind == wanted)
    }

    /// The rules themselves say which port is asked.
    pub(super) fn asks_port(&self) -> bool {
        self.settings.get("check.port").is_some()
            || self.steps.first().is_some_and(|(step, _)| step.contains("port = "))
    }
}

/// The keys that say what an http check expects.
pub(super) const EXPECTED: [&str; 6] = [
    "check.status",
    "check.status_regex",
    "check.expect_string",
    "check.expect_not",
    "check.expect_regex",
    "check.expect_not_regex",
];
