//! The configuration that a line names, read once before anything is started.

use std::fs;

use super::line::HaproxyLine;
use super::report::HaproxyReport;
use crate::config;

/// What a configuration is worth.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Fine,
    NoListener,
    /// The report says why.
    Wrong,
}

impl Reading {
    /// Reads the configuration.
    pub(super) fn of(line: &HaproxyLine, report: &mut HaproxyReport) -> Result<Self, String> {
        for file in &line.files {
            if let Err(error) = fs::metadata(file) {
                return Err(format!(
                    "config : Cannot open configuration file/directory {} : {}",
                    file.display(),
                    plain(&error)
                ));
            }
        }
        let Err(problems) = config::load_files(&line.files, false) else {
            return Ok(Self::Fine);
        };
        if problems.iter().all(|problem| problem.message.starts_with("there is no frontend")) {
            return Ok(Self::NoListener);
        }
        report.problems(&problems);
        Ok(Self::Wrong)
    }
}

/// The words of the system without its number.
fn plain(error: &std::io::Error) -> String {
    error.to_string().split(" (os error").next().unwrap_or_default().to_owned()
}
