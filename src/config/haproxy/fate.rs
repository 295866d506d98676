//! What becomes of each line of an haproxy.cfg.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::super::report::one_line;
use super::spot::Spot;

/// How well a line is carried over, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// It means here what it means to HAProxy.
    Ok,
    /// It is taken, with a difference.
    Notice,
    /// It has no effect here, which harms nothing.
    Ignored,
    /// Its section cannot run here.
    Refused,
    /// HAProxy itself would not start.
    Error,
}

/// What is to be said of a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Fate {
    pub(crate) file: Arc<str>,
    #[serde(flatten)]
    pub(crate) at: Spot,
    pub(crate) verdict: Verdict,
    pub(crate) reason: String,
    /// Empty where nothing can be done, or the reason says it.
    pub(crate) remedy: String,
    /// Of a line that cannot be read: the line, and a mark below the place. Empty otherwise.
    #[serde(skip)]
    pub(crate) excerpt: String,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, at: Spot { line, column, .. }, verdict, reason, remedy, excerpt: _ } = self;
        write!(f, "{file}:{line}:{column}: {verdict}: {reason}")?;
        if !remedy.is_empty() {
            write!(f, "; {remedy}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Notice => "notice",
            Self::Ignored => "ignored",
            Self::Refused => "refused",
            Self::Error => "error",
        })
    }
}

/// The fates of all lines: those of `ok` lines are only counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Fates {
    files: Vec<Arc<str>>,
    fine: usize,
    told: Vec<Fate>,
}

impl Fates {
    /// `files`: the names of the sources, in their order.
    pub(crate) fn new<'a>(files: impl IntoIterator<Item = &'a str>) -> Self {
        Self { files: files.into_iter().map(Arc::from).collect(), ..Self::default() }
    }

    /// A line that means here what it means to HAProxy.
    pub(crate) fn ok(&mut self) {
        self.fine += 1;
    }

    pub(crate) fn notice(&mut self, at: Spot, reason: impl Into<String>, remedy: impl Into<String>) {
        self.add(Verdict::Notice, at, reason.into(), remedy.into());
    }

    pub(crate) fn ignored(&mut self, at: Spot, reason: impl Into<String>, remedy: impl Into<String>) {
        self.add(Verdict::Ignored, at, reason.into(), remedy.into());
    }

    pub(crate) fn refused(&mut self, at: Spot, reason: impl Into<String>, remedy: impl Into<String>) {
        self.add(Verdict::Refused, at, reason.into(), remedy.into());
    }

    pub(crate) fn error(&mut self, at: Spot, reason: impl Into<String>, remedy: impl Into<String>) {
        self.add(Verdict::Error, at, reason.into(), remedy.into());
    }

    /// An error of a line that has no words.
    pub(crate) fn unreadable(&mut self, at: Spot, reason: impl Into<String>, remedy: &str, excerpt: String) {
        self.add(Verdict::Error, at, reason.into(), remedy.into()).excerpt = excerpt;
    }

    /// Keeps them in the order of the sources; of one place in the order of coming.
    fn add(&mut self, verdict: Verdict, at: Spot, reason: String, remedy: String) -> &mut Fate {
        let file = self.files.get(at.file).cloned().unwrap_or_else(|| Arc::from(""));
        let index = self.told.partition_point(|fate| fate.at <= at);
        let end = reason.floor_char_boundary(LONGEST);
        let reason = one_line(if end < reason.len() { format!("{}…", &reason[..end]) } else { reason });
        let remedy = one_line(remedy);
        self.told.insert(index, Fate { file, at, verdict, reason, remedy, excerpt: String::new() });
        &mut self.told[index]
    }

    /// The number of `ok` lines.
    pub(crate) fn fine(&self) -> usize {
        self.fine
    }

    /// What is to be said, in the order of the sources.
    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Fate> {
        self.told.iter()
    }

    /// The worst of all.
    pub(crate) fn worst(&self) -> Verdict {
        self.told.iter().map(|fate| fate.verdict).max().unwrap_or(Verdict::Ok)
    }
}

/// One fate a line, without a newline at the end.
impl fmt::Display for Fates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fate) in self.told.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{fate}")?;
        }
        Ok(())
    }
}

/// Of a reason: it may quote a line that is as long as its file.
const LONGEST: usize = 1000;
