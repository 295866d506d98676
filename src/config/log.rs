//! `[global.log]`, and what a frontend says in its place: which session lines there are, in which form, and where they go.

use std::sync::Arc;

use super::change_log::ChangeLog;
use super::log_format::LogFormat;
use super::log_target::{LogTarget, targets};
use super::section::{Section, Shape, set};

/// The log of the process.
#[derive(Debug, Clone, PartialEq)]
pub struct Log {
    /// Session lines a second, process-wide; the rest is counted and announced. 0: no limit. Default 10,000.
    pub rate: u32,
    /// Of frontends that say nothing else.
    pub settings: Arc<LogSettings>,
    /// Of backends that say nothing else.
    pub changes: ChangeLog,
}

/// The lines of one frontend.
#[derive(Debug, Clone, PartialEq)]
pub struct LogSettings {
    /// One line a session. Default true.
    pub sessions: bool,
    /// Leave out sessions that carried no byte. Default false.
    pub dontlognull: bool,
    /// Leave out sessions that ended by themselves, without a retry. Default false.
    pub dontlog_normal: bool,
    /// The line is written once the session has its server, with what is known then. Default false.
    pub asap: bool,
    /// The line of a session that did not end by itself has the level `err`. Default false.
    pub separate_errors: bool,
    /// `None`: as HAProxy's tcplog.
    pub format: Option<LogFormat>,
    /// The name before the pid in syslog lines. Default `lb`.
    pub tag: String,
    /// At least one. Default: stdout.
    pub targets: Vec<LogTarget>,
}

impl Default for Log {
    fn default() -> Self {
        Self::of(LogSettings::default(), None)
    }
}

impl Default for LogSettings {
    fn default() -> Self {
        Self {
            sessions: true,
            dontlognull: false,
            dontlog_normal: false,
            asap: false,
            separate_errors: false,
            format: None,
            tag: "lb".to_owned(),
            targets: vec![LogTarget::stdout()],
        }
    }
}

impl Log {
    fn of(settings: LogSettings, changes: Option<bool>) -> Self {
        let changes = ChangeLog::of(&settings.targets, &settings.tag, changes);
        Self { rate: 10_000, settings: Arc::new(settings), changes }
    }

    pub(super) fn read(section: &Section<'_>) -> Self {
        let mut log = Self::of(LogSettings::default().overlaid(section), section.flag("changes"));
        set(&mut log.rate, section.number("rate", 0..=MAX_RATE));
        log
    }

    pub(super) const SHAPE: Shape = Shape {
        keys: &[
            "target",
            "sessions",
            "dontlognull",
            "dontlog_normal",
            "asap",
            "separate_errors",
            "format",
            "tag",
            "rate",
            "changes",
        ],
        foreign: &[("logasap", "write `asap`"), ("log_format", "write `format`"), ("log_tag", "write `tag`")],
    };
}

impl LogSettings {
    /// These, but for what the section says.
    pub(super) fn overlaid(&self, section: &Section<'_>) -> Self {
        let mut settings = self.clone();
        set(&mut settings.sessions, section.flag("sessions"));
        set(&mut settings.dontlognull, section.flag("dontlognull"));
        set(&mut settings.dontlog_normal, section.flag("dontlog_normal"));
        set(&mut settings.asap, section.flag("asap"));
        set(&mut settings.separate_errors, section.flag("separate_errors"));
        set(&mut settings.tag, section.filled_text("tag", "lb").map(str::to_owned));
        if let Some(value) = section.value("format")
            && let Some(text) = value.filled_text("%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts")
        {
            match LogFormat::parse(text) {
                _ if text == USUAL => settings.format = None,
                Ok(format) => settings.format = Some(format),
                Err(error) => value.wrong(error),
            }
        }
        set(&mut settings.targets, targets(section));
        settings
    }

    pub(super) const SHAPE: Shape = Shape {
        keys: &["target", "sessions", "dontlognull", "dontlog_normal", "asap", "separate_errors", "format", "tag"],
        foreign: &[
            ("rate", "write it in [global.log]"),
            ("changes", "write it in [backend.NAME.log] or [global.log]: servers are the backend's"),
            ("logasap", "write `asap`"),
            ("log_format", "write `format`"),
            ("log_tag", "write `tag`"),
        ],
    };
}

/// The usual line, where `[global.log]` has another one.
pub(super) const USUAL: &str = "tcplog";

const MAX_RATE: i64 = 1_000_000_000;
