//! An haproxy.cfg from its text to the typed configuration: its TOML goes through the one reader that there is, and
//! what that finds wrong is said of the line of the cfg that it comes from.

use std::collections::HashSet;

use super::super::problem::{Problem, Problems};
use super::super::words::counted;
use super::super::{Config, parse};
use super::document::Document;
use super::environment::Environment;
use super::fate::{Fate, Fates, Verdict};
use super::global_plan::ProcessWords;
use super::sources::Source;
use super::spot::Spot;
use super::translation::{Translation, translate};

/// What the sources say.
#[derive(Debug)]
pub(crate) struct HaproxyReading {
    /// The same configuration, of the sections that run.
    pub(crate) toml: String,
    pub(crate) fates: Fates,
    /// What the file says about the process.
    pub(crate) process: ProcessWords,
    /// `None`: something is wrong, or no frontend is left.
    config: Option<Config>,
    /// Nothing is wrong or refused, and no frontend is there.
    listens_nowhere: bool,
}

impl HaproxyReading {
    pub(crate) fn of(sources: &[Source], environment: Environment) -> Self {
        let mut beyond: Vec<(Spot, String)> = Vec::new();
        let (Translation { document, mut fates, process, frontends }, config) = loop {
            let translation = translate(sources, environment.clone(), &beyond);
            if translation.frontends == 0 {
                break (translation, None);
            }
            let problems = match parse("", &translation.document.toml) {
                Ok(read) => break (translation, Some(read)),
                Err(problems) => problems,
            };
            // What is wrong with a line in HAProxy's eyes may make its TOML wrong, too.
            let errors = translation.fates.iter().filter(|fate| fate.verdict == Verdict::Error);
            let said = errors.map(|fate| fate.at).chain(beyond.iter().map(|(at, _)| *at));
            let said: HashSet<_> = said.map(|at| (at.file, at.line)).collect();
            let known = beyond.len();
            for problem in &problems {
                let at = translation.document.origin(problem.line).unwrap_or(FIRST);
                if !said.contains(&(at.file, at.line)) {
                    beyond.push((at, in_words_of_cfg(&problem.message, &translation.document)));
                }
            }
            // Each round refuses sections; those that are left may have problems of their own.
            if beyond.len() == known {
                break (translation, None);
            }
        };
        let listens_nowhere = frontends == 0 && fates.worst() < Verdict::Refused;
        if listens_nowhere {
            fates.error(FIRST, "there is no frontend that listens", "add a `frontend` or `listen` with a `bind`");
        }
        Self { toml: document.toml, fates, process, config, listens_nowhere }
    }

    /// The configuration, if it can be used. `skip_refused`: without the sections that are refused.
    ///
    /// # Errors
    /// Every line that keeps it from running.
    pub(crate) fn result(self, skip_refused: bool) -> Result<(Config, Vec<Fate>), Problems> {
        let fatal = |fate: &&Fate| match fate.verdict {
            Verdict::Error => true,
            Verdict::Refused => !skip_refused || self.config.is_none(),
            Verdict::Ok | Verdict::Notice | Verdict::Ignored => false,
        };
        let mut problems: Vec<_> = self.fates.iter().filter(fatal).map(problem).collect();
        if !problems.is_empty() && self.fates.worst() == Verdict::Refused && self.config.is_some() {
            let file = problems[0].file.clone();
            let message = "sections are refused; `--skip-refused` runs the others".to_owned();
            problems.push(Problem { file, line: 0, column: 0, message, excerpt: String::new() });
        }
        let notices = self.fates.iter().filter(|fate| fate.verdict == Verdict::Notice).cloned().collect();
        match (Problems::from_list(problems), self.config) {
            (None, Some(config)) => Ok((config, notices)),
            (Some(problems), _) => Err(problems),
            (None, None) => Err(Problems::one("", 0, 0, NOTHING.to_owned())),
        }
    }

    /// Whether `result` would be one.
    pub(crate) fn is_usable(&self, skip_refused: bool) -> bool {
        let worst = if skip_refused { Verdict::Refused } else { Verdict::Ignored };
        self.config.is_some() && self.fates.worst() <= worst
    }

    /// How many lines have which fate: `12 lines ok, 2 notices, 1 refused`.
    pub(crate) fn summary(&self) -> String {
        let count = |verdict| self.fates.iter().filter(|fate| fate.verdict == verdict).count();
        let mut parts = vec![format!("{} ok", counted(self.fates.fine(), "line"))];
        for (verdict, word) in [(Verdict::Notice, "notice"), (Verdict::Error, "error")] {
            parts.extend(Some(count(verdict)).filter(|count| *count > 0).map(|count| counted(count, word)));
        }
        for verdict in [Verdict::Ignored, Verdict::Refused] {
            parts.extend(Some(count(verdict)).filter(|count| *count > 0).map(|count| format!("{count} {verdict}")));
        }
        parts.join(", ")
    }

    /// Whether nothing is wrong but that there is no frontend.
    pub(crate) fn listens_nowhere(&self) -> bool {
        self.listens_nowhere
    }

    pub(crate) fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }
}

/// Sections and lines of the TOML as those of the cfg that they come from.
fn in_words_of_cfg(message: &str, document: &Document) -> String {
    let mut text = message.to_owned();
    for kind in ["frontend", "backend"] {
        let start = format!("[{kind}.");
        while let Some(at) = text.find(&start) {
            let Some(end) = text[at..].find(']').map(|length| at + length) else {
                break;
            };
            let name = text[at + start.len()..end].trim_end_matches(".servers").trim_matches('"').to_owned();
            text.replace_range(at..=end, &format!("{kind} '{name}'"));
        }
    }
    if let Some((before, behind)) = message.split_once(" in line ") {
        let digits = behind.bytes().take_while(u8::is_ascii_digit).count();
        let origin = behind[..digits].parse().ok().and_then(|line| document.origin(line));
        if let Some(origin) = origin.filter(|_| !before.is_empty()) {
            let line = format!(" in line {}", &behind[..digits]);
            text = text.replace(&line, &format!(" in line {}", origin.line));
        }
    }
    text
}

fn problem(fate: &Fate) -> Problem {
    let remedy = if fate.remedy.is_empty() { String::new() } else { format!("; {}", fate.remedy) };
    let refused = if fate.verdict == Verdict::Refused { "refused: " } else { "" };
    Problem {
        file: fate.file.to_string(),
        line: fate.at.line,
        column: fate.at.column,
        message: format!("{refused}{}{remedy}", fate.reason),
        excerpt: fate.excerpt.clone(),
    }
}

/// Of a text as a whole.
const FIRST: Spot = Spot { file: 0, line: 1, column: 1 };
const NOTHING: &str = "no section is left that could run";
