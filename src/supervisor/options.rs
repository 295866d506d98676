//! Options: the command line of `lb run` as its supervisor keeps it.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use crate::handoff::channel::{CONFIG_VARIABLE, STARTER_VARIABLE, STATE_VARIABLE};
use crate::supervisor::once_serving::OnceServing;
use crate::sys::{fd, process};

/// The command line of `lb run`.
#[derive(Debug)]
pub(crate) struct RunOptions {
    /// Arguments that engines get, too.
    pub args: Vec<OsString>,
    /// Arguments of the supervisor alone.
    pub takeover: Option<TakeoverOptions>,
    pub config: Option<KeptConfig>,
    /// Listening sockets of another program that this one replaces.
    pub adopted: Vec<OwnedFd>,
    /// What is done once it serves.
    pub once_serving: Option<OnceServing>,
}

/// A configuration that came through a descriptor of this process, such as a pipe: read once, and kept for every engine.
#[derive(Debug, Clone)]
pub(crate) struct KeptConfig(Rc<OwnedFd>);

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

    /// Whether addresses are shared with a process that is to end once this one serves.
    pub(crate) fn shares_ports(&self) -> bool {
        self.once_serving.as_ref().is_some_and(|once_serving| !once_serving.old.is_empty())
    }

    /// Whether the process waits for TERM or INT after it was taken over.
    pub(crate) fn lingers(&self) -> bool {
        self.takeover.as_ref().is_some_and(|takeover| takeover.linger)
    }
}

impl KeptConfig {
    pub(crate) fn new(text: &[u8]) -> io::Result<Self> {
        let mut file = File::from(process::memfd("lb-config")?);
        file.write_all(text)?;
        Ok(Self(Rc::new(file.into())))
    }

    /// The one that the program before this one has kept, or the process that has started this daemon. To be asked once.
    pub(crate) fn inherited() -> Option<Self> {
        env::var_os(STATE_VARIABLE).or_else(|| env::var_os(STARTER_VARIABLE))?;
        let number = env::var(CONFIG_VARIABLE).ok()?.parse().ok()?;
        Some(Self(Rc::new(fd::inherit(number).ok()?)))
    }

    pub(crate) fn text(&self) -> io::Result<Vec<u8>> {
        process::contents(&File::from(self.0.try_clone()?))
    }

    /// What a process that inherits the descriptor needs in its environment.
    pub(crate) fn variable(&self) -> (OsString, OsString) {
        (CONFIG_VARIABLE.into(), self.0.as_raw_fd().to_string().into())
    }
}

impl AsFd for KeptConfig {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
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
