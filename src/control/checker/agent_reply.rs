//! What an agent answers: one line of words, in any order. Pure.
//!
//! `up`, `down`, `stopped` and `fail` say how the server is, `ready`, `drain` and `maint` what is asked of it, `75%` which
//! part of its weight and `maxconn:30` how many sessions it is to have. What stands behind `#` is for people.

use crate::config::AdminState;

/// What is not named stays as it is.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct AgentReply {
    pub(super) up: Option<bool>,
    pub(super) admin: Option<AdminState>,
    /// Of the configured weight.
    pub(super) percent: Option<u32>,
    /// 0: no limit.
    pub(super) maxconn: Option<u32>,
    /// The word for its health, and the text behind `#`.
    pub(super) told: String,
    /// The first word that means nothing.
    pub(super) unknown: Option<String>,
}

impl AgentReply {
    /// Bytes of any origin; only the first line counts.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes);
        let line = text.split(['\r', '\n']).next().unwrap_or_default();
        let mut reply = Self::default();
        let mut rest = line;
        // A `#` within a word is a part of it.
        let description = loop {
            rest = rest.trim_start_matches(BETWEEN);
            if rest.is_empty() || rest.starts_with('#') {
                break rest.trim_start_matches('#').trim();
            }
            let (word, behind) = rest.split_at(rest.find(BETWEEN).unwrap_or(rest.len()));
            reply.take(word);
            rest = behind;
        };
        if !description.is_empty() {
            reply.told = format!("{} ({description})", reply.told).trim_start().to_owned();
        }
        reply
    }

    fn take(&mut self, word: &str) {
        let lower = word.to_ascii_lowercase();
        match lower.as_str() {
            "up" | "down" | "stopped" | "fail" => {
                self.up = Some(lower == "up");
                self.told.clone_from(&lower);
            }
            "ready" => self.admin = Some(AdminState::Ready),
            "drain" => self.admin = Some(AdminState::Drain),
            "maint" => self.admin = Some(AdminState::Maint),
            _ => {
                let percent = lower.strip_suffix('%').and_then(|number| number.parse().ok());
                let maxconn = lower.strip_prefix("maxconn:").and_then(|number| number.parse().ok());
                if percent.is_none() && maxconn.is_none() {
                    self.unknown.get_or_insert(lower);
                }
                self.percent = percent.or(self.percent);
                self.maxconn = maxconn.or(self.maxconn);
            }
        }
    }
}

const BETWEEN: [char; 3] = [' ', '\t', ','];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_come_in_any_order_and_what_is_not_named_stays() {
        let none = AgentReply::default;
        for (bytes, reply) in [
            (&b"up\n"[..], AgentReply { up: Some(true), told: "up".into(), ..none() }),
            (b"75%\r\nignored", AgentReply { percent: Some(75), ..none() }),
            (
                b"UP Ready, 50%,maxconn:30\n",
                AgentReply {
                    up: Some(true),
                    admin: Some(AdminState::Ready),
                    percent: Some(50),
                    maxconn: Some(30),
                    told: "up".into(),
                    ..none()
                },
            ),
            (
                b"stopped # for a backup, drain",
                AgentReply { up: Some(false), told: "stopped (for a backup, drain)".into(), ..none() },
            ),
            (b"down#x", AgentReply { unknown: Some("down#x".into()), ..none() }),
            (b"drain", AgentReply { admin: Some(AdminState::Drain), ..none() }),
            (
                b"bogus -5% maxconn:x fail\n",
                AgentReply { up: Some(false), told: "fail".into(), unknown: Some("bogus".into()), ..none() },
            ),
            (b"", none()),
            (b"\xff\n", AgentReply { unknown: Some("\u{fffd}".into()), ..none() }),
        ] {
            assert_eq!(AgentReply::parse(bytes), reply, "{bytes:?}");
        }
    }
}
