//! A directory for files that are believed later: no other user may change what is in it.
//!
//! Rules: the directory itself is opened once, without following a link, and judged as opened; what is read or written
//! lies directly in it and is reached through that descriptor, so that nothing can be exchanged in between. A file is read
//! only if it is a regular one, of a trusted owner and of a bounded length; it is replaced as a whole, by a new file.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use super::credentials::is_trusted;

/// The opened directory.
#[derive(Debug)]
pub(crate) struct PrivateDir(File);

/// Why a directory is not used.
#[derive(Debug, thiserror::Error)]
pub enum PrivateDirError {
    #[error("{path} cannot be made ({error}); make it with `install -d -m 0700 -o {} {path}`", geteuid())]
    Missing { path: PathBuf, error: io::Error },
    #[error("{path} is a symbolic link; write the directory that it leads to, {target}")]
    Link { path: PathBuf, target: PathBuf },
    #[error("{0} is not a directory; name one")]
    NotADirectory(PathBuf),
    #[error("{path} belongs to uid {owner}; it must belong to root or to uid {}, which runs lb", geteuid())]
    Owner { path: PathBuf, owner: u32 },
    #[error("others can write to {path} (mode {mode:04o}); take that from them with `chmod go-w {path}`")]
    Writable { path: PathBuf, mode: u32 },
    #[error("{path} cannot be opened: {error}")]
    Io { path: PathBuf, error: io::Error },
}

impl PrivateDirError {
    /// There is no such directory.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}

impl PrivateDir {
    /// Opens the directory, and makes it, with mode 0700, if only it itself is missing.
    pub(crate) fn make(path: &Path) -> Result<Self, PrivateDirError> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists && !path.exists() => {
                Err(PrivateDirError::Missing { path: path.into(), error })
            }
            Ok(()) | Err(_) => Self::open(path),
        }
    }

    /// Opens and judges the directory.
    pub(crate) fn open(path: &Path) -> Result<Self, PrivateDirError> {
        // A slash at the end would follow a link in spite of O_NOFOLLOW.
        let path: &Path = &path.components().collect::<PathBuf>();
        let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
        let opened = File::options().read(true).custom_flags(flags.bits()).open(path);
        let opened = opened.map_err(|error| refusal(path, error))?;
        let facts = opened.metadata().map_err(|error| refusal(path, error))?;
        if !is_trusted(facts.uid()) {
            return Err(PrivateDirError::Owner { path: path.into(), owner: facts.uid() });
        }
        if facts.mode() & OTHERS_WRITE != 0 {
            return Err(PrivateDirError::Writable { path: path.into(), mode: facts.mode() & 0o7777 });
        }
        Ok(Self(opened))
    }

    /// Reads a file of at most `limit` bytes. Never waits: a fifo or a device is refused.
    pub(crate) fn read(&self, name: &str, limit: u64) -> io::Result<Vec<u8>> {
        // Opening a fifo without O_NONBLOCK would wait for a writer.
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
        let opened = openat(self.0.as_fd(), name, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::ELOOP => io::Error::other("it is a symbolic link, not a regular file"),
            errno => errno.into(),
        })?;
        let file = File::from(opened);
        let facts = file.metadata()?;
        if !facts.is_file() {
            return Err(io::Error::other("it is not a regular file"));
        }
        if !is_trusted(facts.uid()) || facts.mode() & OTHERS_WRITE != 0 {
            let (uid, mode) = (facts.uid(), facts.mode() & 0o7777);
            return Err(io::Error::other(format!("others can change it (uid {uid}, mode {mode:04o})")));
        }
        let too_large = || io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {limit} bytes"));
        if facts.len() > limit {
            return Err(too_large());
        }
        let mut bytes = Vec::new();
        file.take(limit + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(bytes) }
    }

    /// Replaces a file as a whole, with mode 0600, by way of `temporary`: afterwards it is the old one or the new one,
    /// whatever happens in between. Blocks on the disk.
    pub(crate) fn replace(&self, name: &str, temporary: &str, bytes: &[u8]) -> io::Result<()> {
        let written = self.create(temporary).and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_all()?;
            self.rename(temporary, name)
        });
        if written.is_err() {
            // What was half written must not fill the disk; whether it can be removed changes nothing.
            self.remove(temporary).ok();
        }
        written?;
        // The rename itself is only on the disk once the directory is.
        self.0.sync_all()
    }

    /// Renames a file within the directory.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        Ok(renameat(self.0.as_fd(), from, self.0.as_fd(), to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        Ok(unlinkat(self.0.as_fd(), name, UnlinkatFlags::NoRemoveDir)?)
    }

    /// A new file: never one that is there, nor what a link leads to. One of that name was left by a process that died
    /// with this pid, as in a container, where pids repeat.
    fn create(&self, name: &str) -> io::Result<File> {
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let create = || openat(self.0.as_fd(), name, flags, Mode::S_IRUSR | Mode::S_IWUSR);
        let created = match create() {
            Err(Errno::EEXIST) => {
                self.remove(name)?;
                create()
            }
            created => created,
        };
        Ok(created?.into())
    }
}

fn refusal(path: &Path, error: io::Error) -> PrivateDirError {
    let path = path.to_owned();
    match fs::symlink_metadata(&path) {
        Ok(facts) if facts.is_symlink() => {
            let target = fs::canonicalize(&path).or_else(|_| fs::read_link(&path)).unwrap_or_default();
            PrivateDirError::Link { path, target }
        }
        Ok(facts) if !facts.is_dir() => PrivateDirError::NotADirectory(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => PrivateDirError::Missing { path, error },
        _ => PrivateDirError::Io { path, error },
    }
}

/// Of the group and of all others.
const OTHERS_WRITE: u32 = 0o022;

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;

    use nix::unistd::mkfifo;

    use super::*;

    fn refused(path: &Path) -> String {
        PrivateDir::make(path).unwrap_err().to_string()
    }

    #[test]
    fn a_directory_that_others_can_change_is_refused_with_its_remedy() {
        let dir = tempfile::tempdir().unwrap();
        for mode in [0o777, 0o1777, 0o770, 0o702] {
            fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
            assert!(refused(dir.path()).contains("chmod go-w"), "{mode:o}");
        }
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        PrivateDir::make(dir.path()).unwrap();
        symlink(dir.path(), dir.path().join("link")).unwrap();
        for path in ["link", "link/"] {
            assert!(refused(&dir.path().join(path)).contains("symbolic link"), "{path}");
        }
        fs::write(dir.path().join("file"), "").unwrap();
        assert!(refused(&dir.path().join("file")).contains("not a directory"));
        assert!(refused(&dir.path().join("none/of/these")).contains("install -d"));
    }

    #[test]
    fn a_missing_directory_is_made_for_the_own_user_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made");
        assert!(PrivateDir::open(&path).unwrap_err().is_missing());
        PrivateDir::make(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn only_a_short_regular_file_is_read_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let private = PrivateDir::open(dir.path()).unwrap();
        let at = |name: &str| dir.path().join(name);
        let refused = |name: &str| private.read(name, 10).unwrap_err().to_string();
        fs::write(at("good"), "0123456789").unwrap();
        assert_eq!(private.read("good", 10).unwrap(), b"0123456789");
        symlink(at("good"), at("link")).unwrap();
        assert!(refused("link").contains("symbolic link"));
        mkfifo(&at("fifo"), Mode::S_IRWXU).unwrap();
        assert!(refused("fifo").contains("regular"));
        fs::create_dir(at("directory")).unwrap();
        assert!(refused("directory").contains("regular"));
        File::create(at("sparse")).unwrap().set_len(3 << 30).unwrap();
        assert!(refused("sparse").contains("more than 10 bytes"));
        fs::set_permissions(at("good"), Permissions::from_mode(0o666)).unwrap();
        assert!(refused("good").contains("others can change it"));
    }

    #[test]
    fn a_planted_link_is_replaced_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let private = PrivateDir::open(dir.path()).unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "precious").unwrap();
        for name in ["state", "temporary"] {
            symlink(&victim, dir.path().join(name)).unwrap();
        }
        private.replace("state", "temporary", b"new").unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"precious");
        assert_eq!(private.read("state", 10).unwrap(), b"new");
        assert!(!dir.path().join("temporary").exists());
    }
}
