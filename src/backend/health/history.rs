//! The last few results of a server, to show why it is DOWN.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::CheckResult;

/// The last [`HISTORY`] results of a server, newest last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "VecDeque<CheckResult>")]
pub struct History(VecDeque<CheckResult>);

impl History {
    /// Adds a result; the oldest makes room.
    pub fn push(&mut self, result: CheckResult) {
        if self.0.len() == HISTORY {
            self.0.pop_front();
        }
        self.0.push_back(result);
    }

    /// The newest result; `None`: never checked.
    pub fn newest(&self) -> Option<&CheckResult> {
        self.0.back()
    }

    /// Oldest first.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = &CheckResult> + ExactSizeIterator {
        self.0.iter()
    }
}

/// Takes the newest [`HISTORY`] of what another process kept.
impl From<VecDeque<CheckResult>> for History {
    fn from(mut results: VecDeque<CheckResult>) -> Self {
        results.drain(..results.len().saturating_sub(HISTORY));
        Self(results)
    }
}

/// Results kept for each server.
pub(crate) const HISTORY: usize = 16;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::backend::health::CheckStatus;

    #[test]
    fn keeps_the_last_16_results_newest_last_and_survives_a_hand_off() {
        let mut history = History::default();
        assert_eq!(history.newest(), None);
        for n in 1..=20u16 {
            history.push(CheckResult::new(CheckStatus::L7Ok, "", Duration::from_millis(1)).with_code(n));
        }
        assert!(history.iter().map(|result| result.code.unwrap()).eq(5..=20));
        assert_eq!(history.newest().unwrap().code, Some(20));
        let json = serde_json::to_string(&history).unwrap();
        assert!(json.starts_with(r#"[{"status":"L7OK","code":5,"cause":"","duration_us":1000,"source":"check"}"#));
        assert_eq!(serde_json::from_str::<History>(&json).unwrap(), history);
    }
}
