//! Door: the path of `lb run --takeover`, where a successor that was started elsewhere asks for everything.
//!
//! Rules: nobody but the own user and root gets there (directory 0700, socket 0600, and the kernel's word on who is at the
//! other end before a byte is read); never the abstract namespace; nothing is removed but a socket that nobody answers at.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd::geteuid;

use crate::exit::ExitStatus;
use crate::supervisor::listeners::path_id;
use crate::sys::{fd, local};

/// The listening socket and its path.
#[derive(Debug)]
pub(crate) struct TakeoverSocket {
    path: PathBuf,
    socket: OwnedFd,
    /// Device and inode of the path, to remove only what is ours.
    id: Option<(u64, u64)>,
}

/// What is behind the path.
#[derive(Debug)]
pub(crate) enum Found {
    /// Nobody: now it is ours.
    Nobody(TakeoverSocket),
    /// A running `lb`, which has accepted this connection or will.
    Somebody(OwnedFd),
}

/// Why there is no way.
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
    /// The exit code of a process that ends for this.
    pub(crate) fn exit(&self) -> ExitStatus {
        match self {
            Self::Crowded(_) | Self::Locked(_) => ExitStatus::Busy,
            Self::Io { error, .. } if error.kind() != io::ErrorKind::InvalidInput => ExitStatus::Failed,
            _ => ExitStatus::BadInput,
        }
    }
}

impl TakeoverSocket {
    /// Looks who is behind `path`, and if that is nobody, listens there. Waits up to 5 s for others who look just now.
    pub(crate) fn find(path: &Path) -> Result<Found, TakeoverSocketError> {
        Self::find_by(path, Instant::now() + LOCK_LIMIT)
    }

    /// The same without waiting, for who has other things to do.
    pub(crate) fn find_at_once(path: &Path) -> Result<Found, TakeoverSocketError> {
        Self::find_by(path, Instant::now())
    }

    fn find_by(path: &Path, end: Instant) -> Result<Found, TakeoverSocketError> {
        // Of two that are started at once, the second finds the first.
        let _lock = lock(path, end)?;
        let failed = |error| failed(path, error);
        match fs::symlink_metadata(path) {
            Ok(facts) => {
                judge(path, &facts)?;
                match local::connect(path) {
                    Ok(socket) => {
                        let owner = fd::peer_credentials(socket.as_fd()).map_err(failed)?.uid();
                        if !is_trusted(owner) {
                            let path = path.into();
                            return Err(TakeoverSocketError::Stranger { path, owner });
                        }
                        return Ok(Found::Somebody(socket));
                    }
                    Err(error) => match error.kind() {
                        // Left by a process that is dead.
                        io::ErrorKind::ConnectionRefused => {
                            fs::remove_file(path).map_err(failed)?;
                        }
                        io::ErrorKind::NotFound => {}
                        io::ErrorKind::WouldBlock => return Err(TakeoverSocketError::Crowded(path.into())),
                        _ if error.raw_os_error() == Some(nix::libc::EPROTOTYPE) => {
                            return Err(TakeoverSocketError::NotASocket(path.into()));
                        }
                        _ => return Err(failed(error)),
                    },
                }
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        Self::open(path).map(Found::Nobody).map_err(failed)
    }

    fn open(path: &Path) -> io::Result<Self> {
        // Nobody can connect before it listens, and then the mode is right.
        let socket = local::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o600))?;
        local::listen(socket.as_fd(), BACKLOG)?;
        Ok(Self::restore(path.into(), socket))
    }

    /// A socket that a predecessor has opened at this path.
    pub(crate) fn restore(path: PathBuf, socket: OwnedFd) -> Self {
        let id = path_id(&path);
        Self { path, socket, id }
    }

    /// The next one who waits, if it may ask. `Ok(None)`: nobody waits.
    pub(crate) fn accept(&self) -> io::Result<Option<Result<OwnedFd, u32>>> {
        let Some(socket) = local::accept(self.socket.as_fd())? else {
            return Ok(None);
        };
        let uid = fd::peer_credentials(socket.as_fd())?.uid();
        Ok(Some(if is_trusted(uid) { Ok(socket) } else { Err(uid) }))
    }

    /// For a successor.
    pub(crate) fn duplicate(&self) -> io::Result<OwnedFd> {
        self.socket.try_clone()
    }

    /// Removes the path, if it is still the one that was opened.
    pub(crate) fn unlink(&self) {
        if self.id.is_some() && path_id(&self.path) == self.id {
            match fs::remove_file(&self.path) {
                Ok(()) | Err(_) => {}
            }
        }
    }
}

impl AsFd for TakeoverSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Judges the directory and locks it, for as long as the result lives. Tries once, and then until `end`.
fn lock(path: &Path, end: Instant) -> Result<Flock<File>, TakeoverSocketError> {
    let folder = match path.parent() {
        Some(folder) if path.is_absolute() => folder,
        _ => return Err(TakeoverSocketError::Relative(path.into())),
    };
    // One level, such as `/run/lb`, which a boot leaves empty. What hinders it shows when it is opened.
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
    let mut opened = opened;
    loop {
        match Flock::lock(opened, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err((file, nix::Error::EWOULDBLOCK)) if Instant::now() < end => {
                opened = file;
                thread::sleep(LOCK_PAUSE);
            }
            Err((_, nix::Error::EWOULDBLOCK)) => return Err(TakeoverSocketError::Locked(folder.into())),
            Err((_, errno)) => return Err(failed(folder, errno.into())),
        }
    }
}

/// What is at the path already.
fn judge(path: &Path, facts: &fs::Metadata) -> Result<(), TakeoverSocketError> {
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

fn is_trusted(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

fn failed(path: &Path, error: io::Error) -> TakeoverSocketError {
    let path = path.into();
    TakeoverSocketError::Io { path, error }
}

/// The most that wait to be accepted.
const BACKLOG: i32 = 8;
/// The lock is held for some system calls only.
const LOCK_LIMIT: Duration = Duration::from_secs(5);
const LOCK_PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;

    use tempfile::TempDir;

    use super::*;

    fn folder() -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
        let path = dir.path().join("handoff.sock");
        (dir, path)
    }

    fn door(path: &Path) -> TakeoverSocket {
        match TakeoverSocket::find(path).unwrap() {
            Found::Nobody(door) => door,
            Found::Somebody(_) => panic!("somebody is at {}", path.display()),
        }
    }

    #[test]
    fn the_first_opens_the_door_and_the_second_finds_the_first() {
        let (_dir, path) = folder();
        let first = door(&path);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(first.accept().unwrap().is_none());
        assert!(matches!(TakeoverSocket::find(&path), Ok(Found::Somebody(_))));
        assert!(matches!(first.accept(), Ok(Some(Ok(_)))));
        first.unlink();
        assert!(!path.exists());
    }

    #[test]
    fn what_a_dead_one_has_left_is_replaced_and_what_is_anothers_stays() {
        let (_dir, path) = folder();
        drop(door(&path));
        assert!(path.exists());
        let second = door(&path);
        fs::remove_file(&path).unwrap();
        fs::write(&path, "mine").unwrap();
        second.unlink();
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn of_many_that_are_started_at_once_one_opens_the_door() {
        let (_dir, path) = folder();
        let found: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| TakeoverSocket::find(&path))).collect();
            threads.into_iter().map(|t| t.join().unwrap()).collect()
        });
        let count = |wanted: fn(&Found) -> bool| found.iter().filter(|one| wanted(one.as_ref().unwrap())).count();
        assert_eq!(count(|found| matches!(found, Found::Nobody(_))), 1);
        assert_eq!(count(|found| matches!(found, Found::Somebody(_))), 7);
    }

    #[test]
    fn who_has_no_time_is_told_at_once_that_another_one_looks() {
        let (_dir, path) = folder();
        let held = lock(&path, Instant::now()).unwrap();
        let asked = Instant::now();
        let error = TakeoverSocket::find_at_once(&path).unwrap_err();
        assert!(matches!(error, TakeoverSocketError::Locked(_)), "{error}");
        assert!(asked.elapsed() < LOCK_LIMIT / 2);
        drop(held);
        assert!(matches!(TakeoverSocket::find_at_once(&path), Ok(Found::Nobody(_))));
    }

    #[test]
    fn a_directory_that_others_may_enter_is_refused_with_its_remedy() {
        let (dir, path) = folder();
        for mode in [0o755, 0o770, 0o701] {
            fs::set_permissions(dir.path(), Permissions::from_mode(mode)).unwrap();
            let error = TakeoverSocket::find(&path).unwrap_err();
            assert!(error.to_string().contains("chmod 0700"), "{error}");
            assert_eq!(error.exit(), ExitStatus::BadInput);
        }
        assert!(!path.exists());
    }

    #[test]
    fn links_and_other_files_are_refused() {
        let (dir, path) = folder();
        let refused = |path: &Path| {
            let error = TakeoverSocket::find(path).unwrap_err();
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
