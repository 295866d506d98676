//! As `haproxy`: under this name the program takes HAProxy's command line. docs/haproxy.md has what each flag does.
//!
//! What begins with a word instead of a flag is a command of `lb`: the supervisor starts its engines that way.

mod check;
mod daemon;
mod line;
mod reading;
mod report;
mod start;
mod version;

use std::env;
use std::ffi::OsString;

use super::ExitStatus;
use crate::sys::process;
use line::{HaproxyLine, HaproxyTask, LineError};
use report::HaproxyReport;

/// Whether this is a command line of HAProxy.
pub(super) fn is_meant(arguments: &[OsString]) -> bool {
    let is_flag = |word: &OsString| word.as_encoded_bytes().starts_with(b"-");
    process::is_haproxy() && arguments.get(1).is_none_or(is_flag)
}

/// Does what the line says.
pub(super) fn run(arguments: Vec<OsString>) -> ExitStatus {
    let line = match HaproxyLine::read(arguments.iter().skip(1).cloned()) {
        Ok(line) => line,
        Err(LineError::Usage) => return version::show_usage(),
        Err(LineError::Wrong(what)) => {
            HaproxyReport::new(false).alert(&what);
            return ExitStatus::Failed;
        }
    };
    let mut report = HaproxyReport::new(line.quiet);
    let status = match line.task {
        HaproxyTask::Version { features: false } => Ok(version::show()),
        HaproxyTask::Version { features: true } => Ok(version::show_features()),
        HaproxyTask::Check => enter(&line).and_then(|()| check::check(&line, &mut report)),
        HaproxyTask::Run if daemon::is_wanted(&line) => daemon::start(&arguments),
        HaproxyTask::Run => enter(&line).and_then(|()| start::start(line, &mut report)),
    };
    status.unwrap_or_else(|what| {
        report.alert(&what);
        ExitStatus::Failed
    })
}

/// `-C`
fn enter(line: &HaproxyLine) -> Result<(), String> {
    let Some(folder) = &line.folder else {
        return Ok(());
    };
    env::set_current_dir(folder).map_err(|error| format!("Could not change to directory {}: {error}", folder.display()))
}
