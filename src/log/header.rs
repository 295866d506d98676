//! What stands before a line, which each target has in its own form.

use std::fmt::Write as _;
use std::fs;
use std::sync::LazyLock;
use std::time::SystemTime;

use crate::config::{LogForm, LogTarget};
use crate::sys::clock;

/// What it says of a line.
#[derive(Debug, Clone, Copy)]
pub(super) struct LineHeader<'a> {
    pub(super) level: u8,
    /// Unless the target has one.
    pub(super) tag: &'a str,
    pub(super) at: SystemTime,
}

/// Writes it, unless the target does not want lines of this level. Returns whether it does.
pub(super) fn write_header(out: &mut String, header: LineHeader<'_>, target: &LogTarget) -> bool {
    let LineHeader { level, tag, at } = header;
    if level > target.level {
        return false;
    }
    let level = level.max(target.min_level);
    let priority = u32::from(target.facility) * 8 + u32::from(level);
    let tag = target.tag.as_deref().unwrap_or(tag);
    let pid = std::process::id();
    _ = match target.form {
        LogForm::Raw => Ok(()),
        LogForm::Local => write!(out, "<{priority}>{} {tag}[{pid}]: ", clock::syslog_time(at)),
        LogForm::Rfc3164 => write!(out, "<{priority}>{} {} {tag}[{pid}]: ", clock::syslog_time(at), host_name()),
        LogForm::Rfc5424 => write!(out, "<{priority}>1 {} {} {tag} {pid} - - ", clock::iso_time(at), host_name()),
        LogForm::Priority => write!(out, "<{priority}>"),
        LogForm::Short => write!(out, "<{level}>"),
        LogForm::Timed => write!(out, "<{level}>{} ", clock::iso_time(at)),
        LogForm::Iso => write!(out, "{} ", clock::iso_time(at)),
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
