//! `haproxy -c`

use super::line::HaproxyLine;
use super::reading::Reading;
use super::report::HaproxyReport;
use crate::cli::{ExitStatus, output};

/// Says whether the configuration can be used.
pub(super) fn check(line: &HaproxyLine, report: &mut HaproxyReport) -> Result<ExitStatus, String> {
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
