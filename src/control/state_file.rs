//! Files in `state_dir`: what this process knows and the next one is to begin with.
//!
//! A file begins with a line that names its format, its version and the checksum of the rest, which is checked before
//! anything is believed. It is replaced as a whole. One that cannot be believed is set aside, never used and never in the
//! way. [`PrivateDir`] has the rules for what is read and written at all.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use crate::pace::Backoff;
use crate::sys::private_dir::{PrivateDir, PrivateDirError};

/// One of them: `NAME.KIND`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StateFile<'a> {
    /// `state_dir` of the configuration.
    pub(crate) dir: &'a Path,
    pub(crate) name: &'a str,
    pub(crate) kind: &'a str,
}

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("state_dir: {0}")]
    Directory(PrivateDirError),
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} is damaged ({why}); it is kept as {aside}")]
    Damaged { path: PathBuf, why: Damage, aside: PathBuf },
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    #[error("it does not begin as such a file does")]
    NoHeader,
    #[error("its version is {0}, which this program does not know")]
    Version(String),
    #[error("its checksum is wrong")]
    Checksum,
    #[error("{0}")]
    Content(String),
}

/// It could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {source}")]
pub struct SaveError {
    pub path: PathBuf,
    pub source: io::Error,
}

/// When a failed save is tried again, and what is said of it: the first failure of a row, and its end.
#[derive(Debug)]
pub(crate) struct SaveRetry {
    backoff: Backoff,
    /// The last save failed.
    failing: bool,
    /// `None`: it held, or the next attempt has begun.
    due: Option<Instant>,
}

impl StateFile<'_> {
    /// Reads it. `None`: there is none yet. A damaged file is set aside, and said so.
    pub(crate) fn load<T>(&self, decode: impl FnOnce(&[u8]) -> Result<T, Damage>) -> Result<Option<T>, LoadError> {
        let (name, path) = (self.file_name(), self.path());
        let dir = match PrivateDir::open(self.dir) {
            Ok(dir) => dir,
            Err(error) if error.is_missing() => return Ok(None),
            Err(error) => return Err(LoadError::Directory(error)),
        };
        let bytes = match dir.read(&name, MAX_FILE) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LoadError::Read { path, source }),
        };
        let why = match decode(&bytes) {
            Ok(loaded) => return Ok(Some(loaded)),
            Err(why) => why,
        };
        let aside = format!("{}.damaged", self.name);
        // On a read-only disk it stays where it is, and is refused again next time.
        match dir.rename(&name, &aside) {
            Ok(()) => Err(LoadError::Damaged { path, why, aside: self.dir.join(aside) }),
            Err(_) => Err(LoadError::Damaged { aside: path.clone(), path, why }),
        }
    }

    /// Replaces it, in a directory that is made again where it was removed. Blocks on the disk.
    pub(crate) fn save(&self, bytes: &[u8]) -> Result<(), SaveError> {
        // In an upgrade two processes may write at once: each its own.
        let temporary = format!("{}.new-{}", self.name, std::process::id());
        let dir = PrivateDir::make(self.dir).map_err(io::Error::other);
        let saved = dir.and_then(|dir| dir.replace(&self.file_name(), &temporary, bytes));
        saved.map_err(|source| SaveError { path: self.path(), source })
    }

    fn file_name(&self) -> String {
        format!("{}.{}", self.name, self.kind)
    }

    fn path(&self) -> PathBuf {
        self.dir.join(self.file_name())
    }
}

impl Default for SaveRetry {
    fn default() -> Self {
        Self { backoff: Backoff::new(FIRST_RETRY, LONGEST_RETRY).jittered(), failing: false, due: None }
    }
}

impl SaveRetry {
    /// Takes the outcome of a save in. `what` was to be saved, for people.
    pub(crate) fn after(&mut self, what: &str, outcome: Result<(), SaveError>) {
        let failed_before = std::mem::replace(&mut self.failing, outcome.is_err());
        match outcome {
            Ok(()) => {
                self.due = None;
                self.backoff.reset();
                if failed_before {
                    info!("{what}: saved again");
                }
            }
            Err(error) => {
                if !failed_before {
                    warn!("{what}: {error}; this is tried again until it succeeds");
                }
                self.due = Some(Instant::now() + self.backoff.delay());
            }
        }
    }

    /// Waits until the next attempt is due: for ever after a save that held. Each is due once, also where nothing is to
    /// be saved any more. Cancel safe.
    pub(crate) async fn due(&mut self) {
        match self.due {
            Some(due) => sleep_until(due).await,
            None => std::future::pending().await,
        }
        self.due = None;
    }
}

/// Makes `state_dir` where it is missing, and refuses one that others can change.
pub(crate) fn prepare(state_dir: &Path) -> Result<(), PrivateDirError> {
    PrivateDir::make(state_dir).map(drop)
}

/// The bytes of a file with this body.
pub(crate) fn seal(magic: &str, version: &str, body: &[u8]) -> Vec<u8> {
    let sum = crc32fast::hash(body);
    [format!("{magic} {version} {sum:08x}\n").as_bytes(), body].concat()
}

/// The body of a file that [`seal`] made.
pub(crate) fn unseal<'b>(magic: &str, version: &str, bytes: &'b [u8]) -> Result<&'b [u8], Damage> {
    let end = bytes.iter().position(|b| *b == b'\n').ok_or(Damage::NoHeader)?;
    let (header, body) = (&bytes[..end], &bytes[end + 1..]);
    let header = std::str::from_utf8(header).map_err(|_| Damage::NoHeader)?;
    let mut words = header.split(' ');
    let (Some(first), Some(second), Some(sum), None) = (words.next(), words.next(), words.next(), words.next()) else {
        return Err(Damage::NoHeader);
    };
    if first != magic {
        return Err(Damage::NoHeader);
    }
    if second != version {
        return Err(Damage::Version(second.chars().take(20).collect()));
    }
    if sum != format!("{:08x}", crc32fast::hash(body)) {
        return Err(Damage::Checksum);
    }
    Ok(body)
}

/// Twice as many servers as a backend can have, each of the longest form, are far below.
const MAX_FILE: u64 = 16 << 20;
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test(flavor = "local")]
    async fn an_attempt_is_due_once_also_where_nothing_is_saved_any_more() {
        let mut retry = SaveRetry::default();
        let failed = SaveError { path: PathBuf::from("x"), source: io::ErrorKind::StorageFull.into() };
        retry.after("it", Err(failed));
        retry.due().await;
        assert!(timeout(Duration::from_millis(20), retry.due()).await.is_err());
    }
}
