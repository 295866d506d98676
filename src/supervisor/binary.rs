//! Binary: a program that may become an engine, opened once, checked by its descriptor, executed through it.
//!
//! Rule: root or the own user owns it, and only its owner may write it. What the path names later does not matter.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

use crate::sys::credentials::is_trusted;

/// An opened program.
#[derive(Debug)]
pub(crate) struct Binary {
    fd: OwnedFd,
    /// Where it was found; its name in messages.
    pub path: PathBuf,
}

/// Why a file may not be executed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BinaryError {
    #[error("cannot open {path}: {error}")]
    Open { path: PathBuf, error: io::Error },
    #[error("{0} is not a regular file")]
    NotAFile(PathBuf),
    #[error("{0} is not executable")]
    NotExecutable(PathBuf),
    #[error("{path} belongs to uid {owner}; it must belong to root or to the user of the daemon")]
    Owner { path: PathBuf, owner: u32 },
    #[error("{0} can be written by others than its owner")]
    Writable(PathBuf),
}

impl Binary {
    /// Opens and checks `path`.
    pub(crate) fn open(path: &Path) -> Result<Self, BinaryError> {
        let failed = |errno: nix::Error| BinaryError::Open { path: path.into(), error: errno.into() };
        let fd = open(path, OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty()).map_err(failed)?;
        // O_PATH needs no right to read, and fstat and execveat work on it.
        let file = File::from(fd);
        let facts = file.metadata().map_err(|error| BinaryError::Open { path: path.into(), error })?;
        if !facts.is_file() {
            return Err(BinaryError::NotAFile(path.into()));
        }
        if facts.mode() & 0o111 == 0 {
            return Err(BinaryError::NotExecutable(path.into()));
        }
        if !is_trusted(facts.uid()) {
            return Err(BinaryError::Owner { path: path.into(), owner: facts.uid() });
        }
        if facts.mode() & 0o022 != 0 {
            return Err(BinaryError::Writable(path.into()));
        }
        Ok(Self { fd: file.into(), path: path.into() })
    }

    /// The program that this process runs, even if its file was replaced or deleted since; not checked.
    /// `path` is where a later version of it will be found.
    pub(crate) fn own(path: PathBuf) -> Result<Self, BinaryError> {
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        let own = open("/proc/self/exe", flags, Mode::empty());
        // Without /proc the path is the only way.
        match own.or_else(|_| open(&path, flags, Mode::empty())) {
            Ok(fd) => Ok(Self { fd, path }),
            Err(errno) => Err(BinaryError::Open { path, error: errno.into() }),
        }
    }

    /// A descriptor that was inherited across the supervisor's replacement.
    pub(crate) fn inherited(fd: OwnedFd, path: PathBuf) -> Self {
        Self { fd, path }
    }

    /// Whether its path leads to another program meanwhile.
    pub(crate) fn is_replaced(&self) -> bool {
        let own = self.fd.try_clone().and_then(|fd| File::from(fd).metadata());
        match (own, self.path.metadata()) {
            (Ok(own), Ok(now)) => (own.dev(), own.ino()) != (now.dev(), now.ino()),
            _ => false,
        }
    }

    /// The arguments of a process of this program: its name, then `args`.
    pub(crate) fn command_line(&self, args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
        [self.path.clone().into_os_string()].into_iter().chain(args).collect()
    }
}

impl AsFd for Binary {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// The path that this process was started from. Not `/proc/self/exe`, which follows symbolic links and names a deleted
/// file after a package update: a later version appears under the name that the operator used.
pub(crate) fn started_from() -> io::Result<PathBuf> {
    let exe = env::current_exe();
    let Some(name) = env::args_os().next() else {
        return exe;
    };
    let candidates = if name.as_bytes().contains(&b'/') {
        vec![std::path::absolute(&name)?]
    } else {
        let path = env::var_os("PATH").unwrap_or_default();
        env::split_paths(&path).map(|folder| folder.join(&name)).collect()
    };
    // argv[0] is chosen by the parent: used only if it names this very file, or without /proc, which alone could tell.
    let own = File::open("/proc/self/exe").and_then(|file| file.metadata());
    let is_own = |path: &PathBuf| match (&own, path.metadata()) {
        (Ok(own), Ok(other)) => (own.dev(), own.ino()) == (other.dev(), other.ino()),
        (Err(_), Ok(other)) => other.is_file(),
        (_, Err(_)) => false,
    };
    candidates.into_iter().find(is_own).map_or(exe, Ok)
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn only_a_file_that_no_other_user_can_change_is_executed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lb");
        let opened = |mode: u32| {
            fs::write(&path, "x").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            Binary::open(&path)
        };
        assert!(opened(0o755).is_ok());
        assert!(opened(0o711).is_ok());
        assert!(matches!(opened(0o644), Err(BinaryError::NotExecutable(_))));
        assert!(matches!(opened(0o775), Err(BinaryError::Writable(_))));
        assert!(matches!(opened(0o757), Err(BinaryError::Writable(_))));
        assert!(matches!(Binary::open(folder.path()), Err(BinaryError::NotAFile(_))));
        let missing = Binary::open(&folder.path().join("none")).unwrap_err();
        assert!(missing.to_string().contains("none: No such file"), "{missing}");
    }

    #[test]
    fn this_program_is_found_where_it_was_started_from() {
        let path = started_from().unwrap();
        assert!(path.is_absolute());
        assert_eq!(fs::canonicalize(path).unwrap(), fs::canonicalize(env::current_exe().unwrap()).unwrap());
    }
}
