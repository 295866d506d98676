//! `haproxy -c` and `haproxy -cc`

use super::line::HaproxyLine;
use super::reading::Reading;
use super::report::HaproxyReport;
use crate::cli::{ExitStatus, output};
use crate::config;

/// Says whether the configuration can be used.
pub(super) fn check(line: &HaproxyLine, report: &mut HaproxyReport) -> Result<ExitStatus, String> {
    line.notices.iter().for_each(|notice| report.notice(notice));
    let (said, status) = match Reading::of(line, None, report)? {
        Reading::Fine(_) => ("Configuration file is valid\n", ExitStatus::Done),
        Reading::NoListener => {
            ("Configuration file has no error but will not start (no listener) => exit(2).\n", ExitStatus::BadInput)
        }
        Reading::Wrong => return Ok(ExitStatus::Failed),
    };
    if !line.quiet {
        output::print(said);
    }
    Ok(status)
}

/// Says whether the condition of an `.if` holds.
pub(super) fn condition(text: &str, report: &mut HaproxyReport) -> ExitStatus {
    match config::condition_holds(text) {
        Ok(true) => ExitStatus::Done,
        Ok(false) => ExitStatus::Failed,
        Err(what) => {
            report.alert(&format!("config : Failed to evaluate condition: {what}"));
            ExitStatus::BadInput
        }
    }
}
