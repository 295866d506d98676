//! Where it is logged that servers of a backend go UP or DOWN, in HAProxy's words, beside the messages of the process.

use super::log_target::{LogPlace, LogTarget, targets};
use super::section::{Section, Shape, set};

/// The log of a backend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangeLog {
    /// Empty: its changes are messages of the process alone. Default: the targets of `[global.log]` but stdout, where
    /// session lines are expected.
    pub targets: Vec<LogTarget>,
    /// The name before the pid in syslog lines.
    pub tag: String,
    /// It has a frontend of its own with the same name: HAProxy's `listen`, which is a `proxy` in its lines.
    pub is_listen: bool,
}

impl ChangeLog {
    /// `all`: the targets of `[global.log]`; `wanted`: the key `changes`, if it is there.
    pub(super) fn of(all: &[LogTarget], tag: &str, wanted: Option<bool>) -> Self {
        let mut targets = all.to_vec();
        targets.retain(|target| wanted.unwrap_or(target.to != LogPlace::Stdout));
        Self { targets, tag: tag.to_owned(), is_listen: false }
    }

    /// What the table `log` of a backend says; the rest is as in `[global.log]`.
    pub(super) fn read(section: &Section<'_>, all: &[LogTarget], usual: &Self) -> Self {
        let wanted = section.flag("changes");
        let mut log = if wanted.is_some() { Self::of(all, &usual.tag, wanted) } else { usual.clone() };
        let own = targets(section);
        set(&mut log.targets, own.filter(|_| wanted != Some(false)));
        set(&mut log.tag, section.filled_text("tag", "lb").map(str::to_owned));
        log
    }

    pub(super) const SHAPE: Shape = Shape {
        keys: &["changes", "target", "tag"],
        foreign: &[
            ("sessions", "write it in [frontend.NAME.log]: session lines are the frontend's"),
            ("format", "write it in [frontend.NAME.log]: session lines are the frontend's"),
        ],
    };
}
