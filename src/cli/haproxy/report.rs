//! Messages in HAProxy's form: `[ALERT]    (PID) : config : …` on stderr, with the version and the program before the
//! first.

use std::env;

use super::version::version;
use crate::config::{Fate, Problems};
use crate::log::voice;

/// What is printed for the operator.
#[derive(Debug)]
pub(super) struct HaproxyReport {
    /// `-q`
    quiet: bool,
    begun: bool,
}

impl HaproxyReport {
    pub(super) fn new(quiet: bool) -> Self {
        Self { quiet, begun: false }
    }

    pub(super) fn alert(&mut self, text: &str) {
        self.message("[ALERT]", text);
    }

    pub(super) fn notice(&mut self, text: &str) {
        self.message("[NOTICE]", text);
    }

    /// What is done otherwise here.
    pub(super) fn fate(&mut self, fate: &Fate) {
        let remedy = if fate.remedy.is_empty() { String::new() } else { format!("; {}", fate.remedy) };
        self.notice(&format!("config : parsing [{}:{}] : {}{remedy}", fate.file, fate.at.line, fate.reason));
    }

    /// Why a configuration is not used.
    pub(super) fn problems(&mut self, problems: &Problems) {
        let mut files: Vec<&str> = Vec::new();
        for problem in problems {
            let (file, line) = (problem.file.as_str(), problem.line);
            let place = if line > 0 { format!("parsing [{file}:{line}]") } else { file.to_owned() };
            let what = problem.message.strip_prefix("error: ").unwrap_or(&problem.message);
            match problem.excerpt.as_str() {
                "" => self.alert(&format!("config : {place} : {what}")),
                excerpt => self.alert(&format!("config : {place}: {what}:\n{excerpt}")),
            }
            if !files.contains(&file) {
                files.push(file);
            }
        }
        for file in files {
            self.alert(&format!("config : Error(s) found in configuration file : {file}"));
        }
        self.alert("config : Fatal errors found in configuration.");
    }

    fn message(&mut self, label: &str, text: &str) {
        if self.quiet {
            return;
        }
        if !self.begun {
            self.begun = true;
            let program = env::current_exe().map(|program| program.display().to_string()).unwrap_or_default();
            self.notice(&format!("haproxy version is {}", version()));
            self.notice(&format!("path to executable is {program}"));
        }
        voice::write_all(&format!("{label:<10} ({}) : {text}\n", std::process::id()));
    }
}
