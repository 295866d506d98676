//! The configuration that a line names, read once before anything is started.

use std::fs;
use std::path::PathBuf;

use super::line::{HaproxyLine, HaproxyTask};
use super::report::HaproxyReport;
use crate::config::{self, HaproxyReading, ProcessWords, Spelling, Verdict, shown_paths};
use crate::supervisor::KeptConfig;

/// What a configuration is worth, and what it says about the process.
#[derive(Debug)]
pub(super) enum Reading {
    Fine(ProcessWords),
    NoListener,
    /// The report says why.
    Wrong,
}

impl Reading {
    /// Reads the configuration, or what was `kept` of the one file, which cannot be read again.
    pub(super) fn of(
        line: &HaproxyLine,
        kept: Option<&KeptConfig>,
        report: &mut HaproxyReport,
    ) -> Result<Self, String> {
        let read = match kept {
            Some(kept) => {
                let text = kept.text().map_err(|error| format!("the configuration was not kept: {error}"))?;
                config::read_bytes(&shown_paths(&line.files), &text)
            }
            None => {
                line.files.iter().try_for_each(can_be_opened)?;
                config::read_files(&line.files)
            }
        };
        let problems = match read {
            Ok(Spelling::Haproxy(reading)) => return Ok(Self::of_haproxy(*reading, line, report)),
            Ok(Spelling::Toml(_)) => return Ok(Self::Fine(ProcessWords::default())),
            Err(problems) => problems,
        };
        if problems.iter().all(|problem| problem.message.starts_with("there is no frontend")) {
            return Ok(Self::NoListener);
        }
        report.problems(&problems);
        Ok(Self::Wrong)
    }

    /// An engine says the notices itself.
    fn of_haproxy(reading: HaproxyReading, line: &HaproxyLine, report: &mut HaproxyReport) -> Self {
        let mut notices = reading.fates.iter().filter(|fate| fate.verdict == Verdict::Notice).peekable();
        let warns = line.strict && notices.peek().is_some();
        if warns || line.task == HaproxyTask::Check {
            notices.for_each(|fate| report.fate(fate));
        }
        if reading.listens_nowhere() {
            return Self::NoListener;
        }
        let process = reading.process.clone();
        match reading.result(line.skip_refused) {
            Ok(_) if warns => {
                report.alert("config : Some warnings were found and 'zero-warning' is set. Aborting.");
                Self::Wrong
            }
            Ok(_) => Self::Fine(process),
            Err(problems) => {
                report.problems(&problems);
                Self::Wrong
            }
        }
    }
}

fn can_be_opened(file: &PathBuf) -> Result<(), String> {
    let opened = fs::metadata(file).map_err(|error| {
        // Without the number of the error.
        let reason = error.to_string().split(" (os error").next().unwrap_or_default().to_owned();
        format!("config : Cannot open configuration file/directory {} : {reason}", file.display())
    });
    opened.map(drop)
}
