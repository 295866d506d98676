//! Commands that change several things, one request each: their answers as one.

use serde_json::{Map, Value};

use super::ExitStatus;
use super::ask::{AdminSocket, Refusal, show};
use crate::control::admin::Request;

/// Makes the requests one after the other. What the daemon refuses is said, and does not keep it from the others.
#[derive(Debug)]
pub(super) struct Changes {
    /// The answers of those that were done, as one.
    pub(super) answer: Map<String, Value>,
    /// The first refusal.
    refused: Option<ExitStatus>,
    done: bool,
}

impl Changes {
    pub(super) fn make(socket: &AdminSocket, requests: impl IntoIterator<Item = Request>) -> Self {
        let mut changes = Self { answer: Map::new(), refused: None, done: false };
        for request in requests {
            match socket.ask(&request) {
                Ok(Value::Object(answer)) => {
                    changes.done = true;
                    answer.into_iter().for_each(|(key, value)| add(&mut changes.answer, key, value));
                }
                // As an older daemon says it.
                Ok(text) => {
                    changes.done = true;
                    add(&mut changes.answer, "message".to_owned(), text);
                }
                Err(refusal) => {
                    changes.refused.get_or_insert(refusal.status);
                    refusal.show();
                }
            }
        }
        changes
    }

    /// The exit code so far.
    pub(super) fn status(&self) -> ExitStatus {
        self.refused.unwrap_or(ExitStatus::Done)
    }

    /// Prints the answer, unless everything was refused.
    pub(super) fn show(self, json: bool) -> ExitStatus {
        let refused = self.refused;
        if !self.done {
            return self.status();
        }
        let shown = show(Ok::<_, Refusal>(Value::Object(self.answer)), json);
        refused.unwrap_or(shown)
    }
}

/// Adds a field of one more answer: something is true if it is in one of them, numbers are added up, lists and lines are
/// put together.
fn add(to: &mut Map<String, Value>, key: String, value: Value) {
    let Some(so_far) = to.get_mut(&key) else {
        to.insert(key, value);
        return;
    };
    match (so_far, value) {
        (Value::Bool(so_far), Value::Bool(more)) => *so_far |= more,
        (Value::Array(so_far), Value::Array(more)) => so_far.extend(more),
        (Value::String(so_far), Value::String(more)) => *so_far = format!("{so_far}\n{more}"),
        (so_far @ Value::Number(_), Value::Number(more)) => {
            let sum = so_far.as_u64().unwrap_or(0).saturating_add(more.as_u64().unwrap_or(0));
            *so_far = sum.into();
        }
        (so_far, more) => *so_far = more,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_added_up() {
        let mut sum = Map::new();
        let answers = [
            json!({"changed": false, "message": "one", "killed": 1, "servers": ["a"]}),
            json!({"changed": true, "message": "two", "killed": 2, "servers": ["b"], "new": null}),
        ];
        for answer in answers {
            let Value::Object(answer) = answer else { unreachable!() };
            answer.into_iter().for_each(|(key, value)| add(&mut sum, key, value));
        }
        let expected = json!({"changed": true, "message": "one\ntwo", "killed": 3, "servers": ["a", "b"], "new": null});
        assert_eq!(Value::Object(sum), expected);
    }
}
