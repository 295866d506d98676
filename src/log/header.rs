//! What stands before a session line, which each target has in its own form.

use std::fmt::Write as _;
use std::fs;
use std::sync::LazyLock;

use super::line::SessionLine;
use crate::config::{LogForm, LogTarget};
use crate::sys::clock;

/// Writes it, unless the target does not want lines of this level. Returns whether it does.
pub(super) fn write_header(out: &mut String, line: &SessionLine, target: &LogTarget) -> bool {
    let level = if line.settings.separate_errors && line.is_error() { ERR } else { INFO };
    if level > target.level {
        return false;
    }
    let level = level.max(target.min_level);
    let priority = u32::from(target.facility) * 8 + u32::from(level);
    let tag = target.tag.as_deref().unwrap_or(&line.settings.tag);
    let (pid, ended) = (std::process::id(), line.ended());
    _ = match target.form {
        LogForm::Raw => Ok(()),
        LogForm::Local => write!(out, "<{priority}>{} {tag}[{pid}]: ", clock::syslog_time(ended)),
        LogForm::Rfc3164 => write!(out, "<{priority}>{} {} {tag}[{pid}]: ", clock::syslog_time(ended), host_name()),
        LogForm::Rfc5424 => write!(out, "<{priority}>1 {} {} {tag} {pid} - - ", clock::iso_time(ended), host_name()),
        LogForm::Priority => write!(out, "<{priority}>"),
        LogForm::Short => write!(out, "<{level}>"),
        LogForm::Timed => write!(out, "<{level}>{} ", clock::iso_time(ended)),
        LogForm::Iso => write!(out, "{} ", clock::iso_time(ended)),
    };
    true
}

/// Of this host, as it was at the start.
pub(super) fn host_name() -> &'static str {
    static NAME: LazyLock<String> = LazyLock::new(|| {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let name = name.trim();
        if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
    });
    &NAME
}

/// The level of a session that did not end by itself, where that is told apart, and of all others.
const ERR: u8 = 3;
const INFO: u8 = 6;
