//! A place that session lines go to, and the form that they have there.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::section::{Section, Shape, set};
use super::value::RawValue;

/// A place with the form of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogTarget {
    pub to: LogPlace,
    /// The number of RFC 5424. Default local0.
    pub facility: u8,
    /// The least urgent level that is written, from 0 (emerg) to 7 (debug). Default: debug, which is everything.
    pub level: u8,
    /// More urgent lines are written with this level. Default: emerg, so that they keep theirs.
    pub min_level: u8,
    /// Bytes of a line at most. `None`: no limit.
    pub length: Option<usize>,
    /// Default: raw for a stream, local for syslog.
    pub form: LogForm,
    /// `None`: as the log's.
    pub tag: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPlace {
    Stdout,
    Stderr,
    /// A file, pipe or terminal that the parent process has left open.
    Descriptor(u32),
    /// A datagram socket, e.g. `/dev/log`.
    SyslogUnix(PathBuf),
    /// Syslog over UDP, e.g. `127.0.0.1:514`.
    SyslogUdp(SocketAddr),
}

/// What stands before a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogForm {
    /// Nothing.
    Raw,
    /// Priority, time, tag and pid: RFC 3164 as local daemons read it.
    Local,
    /// The same with the name of the host.
    Rfc3164,
    Rfc5424,
    /// Facility and level as one number.
    Priority,
    /// The level alone.
    Short,
    /// The level and the time.
    Timed,
    /// The time alone.
    Iso,
}

impl LogTarget {
    pub(crate) fn stdout() -> Self {
        Self::new(LogPlace::Stdout)
    }

    /// With every default.
    pub(crate) fn new(to: LogPlace) -> Self {
        let form = match to {
            LogPlace::Stdout | LogPlace::Stderr | LogPlace::Descriptor(_) => LogForm::Raw,
            LogPlace::SyslogUnix(_) | LogPlace::SyslogUdp(_) => LogForm::Local,
        };
        Self { to, facility: 16, level: 7, min_level: 0, length: None, form, tag: None }
    }

    /// A text, or a table with options.
    pub(super) fn read(value: &RawValue<'_>) -> Option<Self> {
        if !value.is_table() {
            return place(value).map(Self::new);
        }
        let section = value.section("global.log.target".to_owned(), &Self::SHAPE, "{ to = \"stdout\" }")?;
        let mut target = Self::new(place(&section.required("to", "\"stdout\"")?)?);
        set(&mut target.facility, section.word("facility", &FACILITIES));
        set(&mut target.level, section.word("level", &LEVELS));
        set(&mut target.min_level, section.word("min_level", &LEVELS));
        target.length = section.number("length", 80..=65535);
        set(&mut target.form, section.word("format", &FORMS));
        target.tag = section.filled_text("tag", "lb").map(str::to_owned);
        Some(target)
    }

    pub(super) const SHAPE: Shape = Shape {
        keys: &["to", "facility", "level", "min_level", "length", "format", "tag"],
        foreign: &[("len", "write `length`"), ("max_level", "write `level`")],
    };
}

/// The key `target` of a log.
pub(super) fn targets(section: &Section<'_>) -> Option<Vec<LogTarget>> {
    let value = section.value("target")?;
    let list = value.list();
    if list.is_empty() {
        value.wrong("names no place; write e.g. `target = \"stdout\"`, or `sessions = false` for no session lines");
    }
    if list.len() > MOST_TARGETS {
        value.wrong(format!("names more than {MOST_TARGETS} places; write at most {MOST_TARGETS}"));
    }
    Some(list.iter().filter_map(LogTarget::read).collect())
}

fn place(value: &RawValue<'_>) -> Option<LogPlace> {
    let text = value.text("stdout")?;
    match text {
        "stdout" | "fd@1" => return Some(LogPlace::Stdout),
        "stderr" | "fd@2" => return Some(LogPlace::Stderr),
        _ => {}
    }
    if let Some(number) = text.strip_prefix("fd@").and_then(|number| number.parse().ok()).filter(|number| *number > 2) {
        return Some(LogPlace::Descriptor(number));
    }
    if text.starts_with('/') {
        return value.path("/dev/log").map(LogPlace::SyslogUnix);
    }
    match text.parse::<SocketAddr>() {
        Ok(addr) if addr.port() > 0 => Some(LogPlace::SyslogUdp(addr)),
        _ if text == "none" => {
            value.wrong("is no place; write `sessions = false` for no session lines");
            None
        }
        _ => {
            value.wrong(
                "is no place for words; write \"stdout\", \"stderr\", \"fd@3\", \"/dev/log\" or \"127.0.0.1:514\"",
            );
            None
        }
    }
}

pub(super) const LEVELS: [(&str, u8); 8] =
    [("emerg", 0), ("alert", 1), ("crit", 2), ("err", 3), ("warning", 4), ("notice", 5), ("info", 6), ("debug", 7)];

pub(super) const FACILITIES: [(&str, u8); 24] = [
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("auth2", 10),
    ("ftp", 11),
    ("ntp", 12),
    ("audit", 13),
    ("alert", 14),
    ("cron2", 15),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

pub(super) const FORMS: [(&str, LogForm); 8] = [
    ("raw", LogForm::Raw),
    ("local", LogForm::Local),
    ("rfc3164", LogForm::Rfc3164),
    ("rfc5424", LogForm::Rfc5424),
    ("priority", LogForm::Priority),
    ("short", LogForm::Short),
    ("timed", LogForm::Timed),
    ("iso", LogForm::Iso),
];

/// As in HAProxy's examples there are one or two; each line is written to all of them.
const MOST_TARGETS: usize = 8;
