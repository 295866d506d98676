//! Options: the command line of `lb run` as its supervisor keeps it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// The command line of `lb run`.
#[derive(Debug, Clone)]
pub(crate) struct RunOptions {
    /// Arguments that engines get, too.
    pub args: Vec<OsString>,
    /// Arguments of the supervisor alone.
    pub takeover: Option<TakeoverOptions>,
}

/// `lb run --takeover`.
#[derive(Debug, Clone)]
pub(crate) struct TakeoverOptions {
    /// Where the predecessor listens, and where a successor will connect.
    pub path: PathBuf,
    /// How long the new engine must serve before open sessions move to it.
    pub probation: Option<Duration>,
    /// After everything was taken over, wait for TERM or INT: for service managers that restart whatever has ended.
    pub linger: bool,
}

impl RunOptions {
    /// The arguments of `lb` that start this supervisor again.
    pub(crate) fn words(&self) -> impl Iterator<Item = OsString> {
        let takeover = self.takeover.iter().flat_map(TakeoverOptions::words);
        ["run".into()].into_iter().chain(takeover).chain(self.args.iter().cloned())
    }

    /// Whether the process waits for TERM or INT after it was taken over.
    pub(crate) fn lingers(&self) -> bool {
        self.takeover.as_ref().is_some_and(|takeover| takeover.linger)
    }
}

impl TakeoverOptions {
    fn words(&self) -> Vec<OsString> {
        let mut words = vec!["--takeover".into(), self.path.clone().into()];
        if let Some(probation) = self.probation {
            let probation = format!("{}ms", probation.as_millis());
            words.extend(["--probation".into(), probation.into()]);
        }
        if self.linger {
            words.push("--linger".into());
        }
        words
    }
}
