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
use std::path::{Path, absolute};

use super::ExitStatus;
use super::run::kept;
use crate::sys::process;
use line::{HaproxyLine, HaproxyTask, LineError};
use reading::Reading;
use report::HaproxyReport;

/// Whether this is a command line of HAProxy.
pub(super) fn is_meant(arguments: &[OsString]) -> bool {
    let is_flag = |word: &OsString| word.as_encoded_bytes().starts_with(b"-");
    process::is_haproxy() && arguments.get(1).is_none_or(is_flag)
}

/// Does what the line says.
pub(super) fn run(mut arguments: Vec<OsString>) -> ExitStatus {
    if let Some(name) = arguments.first_mut().filter(|name| Path::new(name).components().count() > 1)
        && let Ok(path) = absolute(&name)
    {
        // It is executed again, perhaps from another directory.
        *name = path.into();
    }
    let mut line = match HaproxyLine::read(arguments.iter().skip(1).cloned()) {
        Ok(line) => line,
        Err(LineError::Usage) => return version::show_usage(),
        Err(LineError::Wrong(what)) => {
            HaproxyReport::new(false).alert(&what);
            return ExitStatus::Failed;
        }
    };
    let mut report = HaproxyReport::new(line.quiet);
    let status = match &line.task {
        HaproxyTask::Version { features: false } => Ok(version::show()),
        HaproxyTask::Version { features: true } => Ok(version::show_features()),
        HaproxyTask::Check => enter(&line).and_then(|()| check::check(&line, &mut report)),
        HaproxyTask::Condition(text) => Ok(check::condition(text, &mut report)),
        HaproxyTask::Run => enter(&line).and_then(|()| start(&mut line, arguments, &mut report)),
    };
    status.unwrap_or_else(|what| {
        report.alert(&what);
        ExitStatus::Failed
    })
}

/// `-C`
fn enter(line: &HaproxyLine) -> Result<(), String> {
    // A daemon begins where the process that starts it is.
    let Some(folder) = line.folder.as_ref().filter(|_| !daemon::is_started()) else {
        return Ok(());
    };
    env::set_current_dir(folder).map_err(|error| format!("Could not change to directory {}: {error}", folder.display()))
}

/// Starts the supervisor, in this process or in one of its own.
fn start(line: &mut HaproxyLine, arguments: Vec<OsString>, report: &mut HaproxyReport) -> Result<ExitStatus, String> {
    let kept = kept(&line.files)?;
    match Reading::of(line, kept.as_ref(), report)? {
        Reading::Fine(words) => line.follow(&words),
        Reading::NoListener => {
            return Err(
                "[haproxy.main()] No enabled listener found (check for 'bind' directives) ! Exiting.".to_owned()
            );
        }
        Reading::Wrong => return Ok(ExitStatus::Failed),
    }
    if line.daemon && !daemon::is_started() {
        return daemon::start(arguments, kept);
    }
    start::start(line, kept, report)
}
