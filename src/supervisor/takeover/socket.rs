//! Takeover socket: the path of `lb run --takeover`, where a successor that was started elsewhere connects.
//!
//! Rules: only the own user and root have access (directory 0700, socket 0600, and the kernel's credentials of the peer
//! before a byte is read); never the abstract namespace; only a socket without a listener is removed.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

use crate::exit::ExitStatus;
use crate::sys::credentials::is_trusted;
use crate::sys::local::{Claim, ClaimError, DirectoryLock, LocalKind};
use crate::sys::{fd, local};

/// The listening socket and its path.
#[derive(Debug)]
pub(crate) struct TakeoverSocket {
    path: PathBuf,
    socket: OwnedFd,
    /// Identity of the path: only the path that was bound is removed.
    id: Option<local::PathId>,
}

/// What the path led to.
#[derive(Debug)]
pub(crate) enum Claimed {
    /// No process listened there: this one does now.
    Ours(TakeoverSocket),
    /// A running `lb`, which has accepted this connection or will.
    Answered(OwnedFd),
}

/// Why the takeover socket could not be claimed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TakeoverSocketError {
    #[error("--takeover: {0} is not an absolute path; write it from / on")]
    Relative(PathBuf),
    #[error("--takeover: {0} does not exist; create it with `install -d -m 0700 {0}`")]
    NoDirectory(PathBuf),
    #[error("--takeover: {0} is not a directory itself; give the path without symbolic links")]
    NotADirectory(PathBuf),
    #[error("--takeover: {path} belongs to uid {owner}; it must belong to root or to the user of lb")]
    DirectoryOwner { path: PathBuf, owner: u32 },
    #[error("--takeover: {path} has mode {mode:04o}; others must not enter it: chmod 0700 {path}")]
    DirectoryMode { path: PathBuf, mode: u32 },
    #[error("--takeover: {0} is there already and is no takeover socket; choose another path")]
    NotASocket(PathBuf),
    #[error("--takeover: {path} belongs to uid {owner}, and not to root or the user of lb; remove it")]
    SocketOwner { path: PathBuf, owner: u32 },
    #[error("--takeover: {path} has mode {mode:04o}, so that it is none of lb; remove it")]
    SocketMode { path: PathBuf, mode: u32 },
    #[error("--takeover: at {path} answers uid {owner}, and not root or the user of lb; stop it")]
    Stranger { path: PathBuf, owner: u32 },
    #[error("--takeover: at {0} too many wait already; try again")]
    Crowded(PathBuf),
    #[error("--takeover: another lb is just being started at {0}; try again")]
    Locked(PathBuf),
    #[error("--takeover: {path}: {error}")]
    Io { path: PathBuf, error: io::Error },
}

impl TakeoverSocketError {
    /// The exit code of a process that ends because of this error.
    pub(crate) fn exit(&self) -> ExitStatus {
        match self {
            Self::Crowded(_) | Self::Locked(_) => ExitStatus::Busy,
            Self::Io { error, .. } if error.kind() != io::ErrorKind::InvalidInput => ExitStatus::Failed,
            _ => ExitStatus::BadInput,
        }
    }
}

impl TakeoverSocket {
    /// Listens at `path` unless another process does. Waits up to 5 s for the lock, which other starting processes may
    /// hold.
    pub(crate) fn claim(path: &Path) -> Result<Claimed, TakeoverSocketError> {
        Self::claim_by(path, Instant::now() + LOCK_LIMIT)
    }

    /// The same without waiting for the lock, for a supervisor that serves.
    pub(crate) fn claim_at_once(path: &Path) -> Result<Claimed, TakeoverSocketError> {
        Self::claim_by(path, Instant::now())
    }

    fn claim_by(path: &Path, end: Instant) -> Result<Claimed, TakeoverSocketError> {
        let _lock = lock(path, end)?;
        match fs::symlink_metadata(path) {
            Ok(facts) => check_existing(path, &facts)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(path, error)),
        }
        match local::claim(path, LocalKind::Seqpacket, BACKLOG).map_err(|error| claim_failed(path, error))? {
            Claim::Bound(socket) => Ok(Claimed::Ours(Self::restore(path.into(), socket))),
            Claim::Answered(socket) => {
                let owner = fd::peer_credentials(socket.as_fd()).map_err(|error| failed(path, error))?.uid();
                if is_trusted(owner) {
                    Ok(Claimed::Answered(socket))
                } else {
                    Err(TakeoverSocketError::Stranger { path: path.into(), owner })
                }
            }
        }
    }

    /// A socket that another supervisor, or the former program, has opened at this path.
    pub(crate) fn restore(path: PathBuf, socket: OwnedFd) -> Self {
        let id = local::path_id(&path);
        Self { path, socket, id }
    }

    /// Whether no other user can have put a socket at this path.
    pub(crate) fn is_trustworthy(path: &Path) -> bool {
        let folder = path.parent().and_then(|folder| fs::symlink_metadata(folder).ok());
        let own = folder.is_some_and(|facts| facts.is_dir() && is_trusted(facts.uid()) && facts.mode() & 0o077 == 0);
        own && fs::symlink_metadata(path).is_ok_and(|facts| check_existing(path, &facts).is_ok())
    }

    /// The next connection, or the uid of a peer that is not trusted. `Ok(None)`: none waits.
    pub(crate) fn accept(&self) -> io::Result<Option<Result<OwnedFd, u32>>> {
        let Some(socket) = local::accept(self.socket.as_fd())? else {
            return Ok(None);
        };
        let uid = fd::peer_credentials(socket.as_fd())?.uid();
        Ok(Some(if is_trusted(uid) { Ok(socket) } else { Err(uid) }))
    }

    /// A duplicate for the successor.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone()
    }

    /// Removes the sockets in its directory that dead processes have left. Under the lock, since one that is just being
    /// claimed refuses a connection, too.
    pub(crate) fn sweep(&self) {
        let Ok(_lock) = lock(&self.path, Instant::now()) else {
            return;
        };
        let entries = self.path.parent().and_then(|folder| fs::read_dir(folder).ok()).into_iter().flatten().flatten();
        // A file that is no socket refuses a connection as well.
        let sockets = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_socket()));
        for path in sockets.take(SWEPT).map(|entry| entry.path()) {
            let refusal = local::connect(&path, LocalKind::Seqpacket).err().map(|error| error.kind());
            if refusal == Some(io::ErrorKind::ConnectionRefused)
                && let Some(id) = local::path_id(&path)
            {
                local::unlink(&path, id);
            }
        }
    }

    /// Moves the path, if it is still the one that was opened: the socket listens there from now on.
    pub(crate) fn rename(&mut self, path: &Path) -> io::Result<()> {
        if self.path != path && local::path_id(&self.path) == self.id {
            fs::rename(&self.path, path)?;
            self.path = path.to_owned();
        }
        Ok(())
    }

    /// Removes the path, if it is still the one that was opened.
    pub(crate) fn unlink(&self) {
        if let Some(id) = self.id {
            local::unlink(&self.path, id);
        }
    }
}

impl AsFd for TakeoverSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Checks the directory and locks it, for as long as the result lives. Tries once, and then until `end`.
fn lock(path: &Path, end: Instant) -> Result<DirectoryLock, TakeoverSocketError> {
    let folder = match path.parent() {
        Some(folder) if path.is_absolute() => folder,
        _ => return Err(TakeoverSocketError::Relative(path.into())),
    };
    // One level, such as `/run/lb`, which a boot leaves empty. An error shows when the directory is opened.
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) | Err(_) => {}
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let opened = File::options().read(true).custom_flags(flags.bits()).open(folder);
    let opened = opened.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => TakeoverSocketError::NoDirectory(folder.into()),
        // A symbolic link, too.
        io::ErrorKind::NotADirectory => TakeoverSocketError::NotADirectory(folder.into()),
        _ => failed(folder, error),
    })?;
    let facts = opened.metadata().map_err(|error| failed(folder, error))?;
    if !is_trusted(facts.uid()) {
        let (path, owner) = (folder.into(), facts.uid());
        return Err(TakeoverSocketError::DirectoryOwner { path, owner });
    }
    if facts.mode() & 0o077 != 0 {
        let (path, mode) = (folder.into(), facts.mode() & 0o7777);
        return Err(TakeoverSocketError::DirectoryMode { path, mode });
    }
    local::lock(opened, end).map_err(|error| claim_failed(folder, error))
}

/// Checks what is at the path already.
fn check_existing(path: &Path, facts: &fs::Metadata) -> Result<(), TakeoverSocketError> {
    if !facts.file_type().is_socket() {
        return Err(TakeoverSocketError::NotASocket(path.into()));
    }
    if !is_trusted(facts.uid()) {
        let (path, owner) = (path.into(), facts.uid());
        return Err(TakeoverSocketError::SocketOwner { path, owner });
    }
    if facts.mode() & 0o077 != 0 {
        let (path, mode) = (path.into(), facts.mode() & 0o7777);
        return Err(TakeoverSocketError::SocketMode { path, mode });
    }
    Ok(())
}

fn claim_failed(path: &Path, error: ClaimError) -> TakeoverSocketError {
    match error {
        ClaimError::NotASocket => TakeoverSocketError::NotASocket(path.into()),
        ClaimError::Crowded => TakeoverSocketError::Crowded(path.into()),
        ClaimError::Locked => TakeoverSocketError::Locked(path.into()),
        ClaimError::Io(error) => failed(path, error),
    }
}

fn failed(path: &Path, error: io::Error) -> TakeoverSocketError {
    let path = path.into();
    TakeoverSocketError::Io { path, error }
}

/// The most that wait to be accepted.
const BACKLOG: i32 = 8;
/// The most that are looked at.
const SWEPT: usize = 1000;
/// The lock is held for some system calls only.
const LOCK_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};
    use std::os::unix::net::UnixListener;
    use std::thread;

    use tempfile::TempDir;

    use super::*;

    fn folder() -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        let path = dir.path().join("handoff.sock");
        (dir, path)
    }

    fn claimed(path: &Path) -> TakeoverSocket {
        match TakeoverSocket::claim(path).unwrap() {
            Claimed::Ours(socket) => socket,
            Claimed::Answered(_) => panic!("another process listens at {}", path.display()),
        }
    }

    #[test]
    fn the_first_claims_the_path_and_the_second_connects_to_it() {
        let (_dir, path) = folder();
        let first = claimed(&path);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(first.accept().unwrap().is_none());
        assert!(matches!(TakeoverSocket::claim(&path), Ok(Claimed::Answered(_))));
        assert!(matches!(first.accept(), Ok(Some(Ok(_)))));
        first.unlink();
        assert!(!path.exists());
    }

    #[test]
    fn a_path_left_by_a_dead_process_is_replaced_and_a_foreign_one_stays() {
        let (_dir, path) = folder();
        drop(claimed(&path));
        assert!(path.exists());
        let second = claimed(&path);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        second.unlink();
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn what_dead_processes_have_left_is_swept_away() {
        let (dir, path) = folder();
        let (living, dead, other) = (dir.path().join("1.sock"), dir.path().join("2.sock"), dir.path().join("file"));
        let _living = claimed(&living);
        drop(claimed(&dead));
        fs::write(&other, "mine").unwrap();
        claimed(&path).sweep();
        assert!(living.exists() && other.exists() && !dead.exists());
    }

    #[test]
    fn of_many_that_are_started_at_once_one_claims_the_path() {
        let (_dir, path) = folder();
        let claims: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| TakeoverSocket::claim(&path))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let count = |wanted: fn(&Claimed) -> bool| claims.iter().filter(|one| wanted(one.as_ref().unwrap())).count();
        assert_eq!(count(|claimed| matches!(claimed, Claimed::Ours(_))), 1);
        assert_eq!(count(|claimed| matches!(claimed, Claimed::Answered(_))), 7);
    }

    #[test]
    fn claiming_at_once_fails_at_once_while_another_process_has_the_lock() {
        let (_dir, path) = folder();
        let held = lock(&path, Instant::now()).unwrap();
        let began = Instant::now();
        let error = TakeoverSocket::claim_at_once(&path).unwrap_err();
        assert!(matches!(error, TakeoverSocketError::Locked(_)), "{error}");
        assert!(began.elapsed() < LOCK_LIMIT / 2);
        drop(held);
        assert!(matches!(TakeoverSocket::claim_at_once(&path), Ok(Claimed::Ours(_))));
    }

    #[test]
    fn a_directory_that_others_may_enter_is_refused_with_its_remedy() {
        let (dir, path) = folder();
        for mode in [0o755, 0o770, 0o701] {
            fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
            let error = TakeoverSocket::claim(&path).unwrap_err();
            assert!(error.to_string().contains("chmod 0700"), "{error}");
            assert_eq!(error.exit(), ExitStatus::BadInput);
        }
        assert!(!path.exists());
    }

    #[test]
    fn only_a_socket_that_no_other_user_can_have_put_there_is_looked_for() {
        let (dir, path) = folder();
        let _socket = claimed(&path);
        assert!(TakeoverSocket::is_trustworthy(&path));
        assert!(!TakeoverSocket::is_trustworthy(&dir.path().join("other.sock")));
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        assert!(!TakeoverSocket::is_trustworthy(&path));
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        if nix::unistd::geteuid().is_root() {
            chown(dir.path(), Some(61_010), None).unwrap();
            assert!(!TakeoverSocket::is_trustworthy(&path));
        }
    }

    #[test]
    fn links_and_other_files_are_refused() {
        let (dir, path) = folder();
        let refused = |path: &Path| {
            let error = TakeoverSocket::claim(path).unwrap_err();
            assert_eq!(error.exit(), ExitStatus::BadInput, "{error}");
        };
        refused(Path::new("handoff.sock"));
        refused(&dir.path().join("none/of/these"));
        fs::write(&path, "a file").unwrap();
        refused(&path);
        refused(&path.join("below"));
        fs::remove_file(&path).unwrap();
        symlink("/nonexistent", &path).unwrap();
        refused(&path);
        fs::remove_file(&path).unwrap();
        let real = dir.path().join("real");
        DirBuilder::new().mode(0o700).create(&real).unwrap();
        symlink(&real, dir.path().join("link")).unwrap();
        refused(&dir.path().join("link/handoff.sock"));
        let _stream = UnixListener::bind(&path).unwrap();
        refused(&path);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        refused(&path);
        assert!(path.exists());
    }
}
