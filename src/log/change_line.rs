//! A line about a backend or a server of it that has changed, in HAProxy's words.

use std::time::SystemTime;

use crate::config::ChangeLog;

#[derive(Debug, Clone)]
pub(crate) struct ChangeLine {
    /// Of syslog.
    pub(crate) level: u8,
    pub(crate) text: String,
    pub(crate) at: SystemTime,
    /// Of its backend, when it was written.
    pub(crate) log: ChangeLog,
}

impl ChangeLine {
    pub(crate) const EMERG: u8 = 0;
    pub(crate) const ALERT: u8 = 1;
    pub(crate) const NOTICE: u8 = 5;
}
