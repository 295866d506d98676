//! Where the admin socket is: the one place that is named, or the first of the usual ones that can be had.

use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::config::{Config, SocketPlace};
use crate::engine::displaced::Displaced;
use crate::engine::launch::LaunchOptions;
use crate::sys::local::{self, Claim, ClaimError, LocalKind, PathId};
use crate::sys::private_dir::PrivateDir;
use crate::sys::process;

/// Where the admin socket may be.
#[derive(Debug, Clone)]
pub(super) enum AdminPlaces {
    /// The configuration or the command line names it.
    Named(PathBuf),
    /// In the order in which they are tried; commands look there in the same order.
    Usual(Vec<PathBuf>),
    Nowhere,
}

/// A socket that listens at its path.
#[derive(Debug)]
pub(super) struct AdminPath {
    pub(super) path: PathBuf,
    /// Only the path that was bound is removed.
    pub(super) id: Option<PathId>,
}

/// A new socket that listens.
#[derive(Debug)]
pub(super) struct AdminClaim {
    pub(super) path: PathBuf,
    pub(super) socket: OwnedFd,
    /// The path was another program's, and is again unless this one serves.
    pub(super) taken: Option<Displaced>,
}

/// Why there is no admin socket.
#[derive(Debug)]
pub(super) struct NoAdminSocket {
    /// The first place of all.
    pub(super) path: String,
    pub(super) problem: String,
    /// Another `lb` has it.
    pub(super) answered: bool,
}

impl AdminPlaces {
    /// `--socket` takes precedence over the configuration.
    pub(super) fn of(launch: &LaunchOptions, config: &Config) -> Self {
        match (&launch.socket, &config.global.socket) {
            (Some(path), _) | (None, SocketPlace::Path(path)) => Self::Named(path.clone()),
            (None, SocketPlace::Usual) => Self::Usual(launch.usual_sockets.clone()),
            (None, SocketPlace::Nowhere) => Self::Nowhere,
        }
    }

    pub(super) fn paths(&self) -> &[PathBuf] {
        match self {
            Self::Named(path) => std::slice::from_ref(path),
            Self::Usual(paths) => paths,
            Self::Nowhere => &[],
        }
    }

    /// The place at this path alone.
    pub(super) fn only(&self, path: &Path) -> Self {
        match self {
            Self::Usual(_) => Self::Usual(vec![path.to_owned()]),
            Self::Named(_) | Self::Nowhere => Self::Named(path.to_owned()),
        }
    }

    /// Whether an engine that cannot have it is not to start.
    pub(super) fn is_named(&self) -> bool {
        matches!(self, Self::Named(_))
    }

    /// Listens at the first place that can be had. Under HAProxy's name, which several processes of a host may have, a
    /// place that another `lb` has is passed over. `beside` another program, which ends, a named place is taken from it.
    pub(super) fn claim(&self, beside: bool) -> Result<AdminClaim, NoAdminSocket> {
        let (mut first, mut passed): (Option<NoAdminSocket>, Option<String>) = (None, None);
        for path in self.paths() {
            let refusal = match self.claim_at(path, beside && self.is_named()) {
                Ok(claim) => {
                    if let Some(passed) = passed {
                        let path = display_path(path);
                        tracing::warn!("another lb answers at {passed}: `lb status --socket {path}` asks this one");
                    }
                    return Ok(claim);
                }
                Err(refusal) => refusal,
            };
            if refusal.answered {
                if self.is_named() || !process::is_haproxy() {
                    return Err(refusal);
                }
                passed.get_or_insert_with(|| refusal.path.clone());
            }
            match &mut first {
                None => first = Some(NoAdminSocket { answered: false, ..refusal }),
                Some(first) => first.problem += &format!("; nor {}: {}", refusal.path, refusal.problem),
            }
        }
        Err(first.unwrap_or_else(|| NoAdminSocket::new(Path::new(""), "`socket = false`".to_owned())))
    }

    fn claim_at(&self, path: &Path, take: bool) -> Result<AdminClaim, NoAdminSocket> {
        let refused = |problem| NoAdminSocket::new(path, problem);
        let folder = folder(path);
        match self {
            // Any user can make directories of any name there.
            Self::Usual(_) if folder.starts_with("/tmp") => {
                PrivateDir::make(folder).map_err(|error| refused(error.to_string()))?;
            }
            _ => make_folder(folder),
        }
        claim(path, folder, take)
    }
}

impl AdminPath {
    pub(super) fn new(path: PathBuf) -> Self {
        let id = local::path_id(&path);
        Self { path, id }
    }

    /// Whether the path still leads to what was bound.
    pub(super) fn is_intact(&self) -> bool {
        self.id.is_some() && local::path_id(&self.path) == self.id
    }
}

impl NoAdminSocket {
    fn new(path: &Path, problem: String) -> Self {
        Self { path: display_path(path), problem, answered: false }
    }
}

/// A path as messages show it.
pub(super) fn display_path(path: &Path) -> String {
    path.display().to_string()
}

/// Whether a socket listens there. An inherited socket does, since the supervisor keeps it open, too.
pub(super) fn leads_somewhere(path: &Path) -> bool {
    match local::connect(path, LocalKind::Stream) {
        Ok(_) => true,
        // A full queue belongs to a listening socket, too.
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

/// Listens at the path, with the lock of its directory if that can be opened. Refuses when another process answers there,
/// since two would share the traffic, unless the path is to be taken from it.
fn claim(path: &Path, folder: &Path, take: bool) -> Result<AdminClaim, NoAdminSocket> {
    let lock = fs::File::open(folder).ok().map(|folder| local::lock(folder, Instant::now() + LOCK_LIMIT)).transpose();
    let claimed = lock.and_then(|_lock| match local::claim(path, LocalKind::Stream, BACKLOG)? {
        Claim::Answered(_) if take => {
            let taken = Displaced::new(path)?;
            Ok((local::claim(path, LocalKind::Stream, BACKLOG)?, Some(taken)))
        }
        claimed => Ok((claimed, None)),
    });
    let (problem, answered) = match claimed {
        Ok((Claim::Bound(socket), taken)) => return Ok(AdminClaim { path: path.to_owned(), socket, taken }),
        Ok((Claim::Answered(_), _)) | Err(ClaimError::Crowded) => {
            ("another lb answers there; stop it first, or give this one its own --socket".to_owned(), true)
        }
        Err(ClaimError::NotASocket) => {
            ("is there already and is no socket; remove it, or choose another path with --socket".to_owned(), false)
        }
        Err(ClaimError::Locked) => ("another lb is just being started there; try again".to_owned(), true),
        Err(ClaimError::Io(error)) => (advice(folder, &error), false),
    };
    Err(NoAdminSocket { answered, ..NoAdminSocket::new(path, problem) })
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// One level, such as `/run/lb`, which a boot leaves empty. A failure shows when the socket is bound.
fn make_folder(folder: &Path) {
    match fs::DirBuilder::new().mode(0o750).create(folder) {
        Ok(()) | Err(_) => {}
    }
}

fn advice(folder: &Path, error: &std::io::Error) -> String {
    let folder = display_path(folder);
    match error.kind() {
        ErrorKind::NotFound => format!("{folder} does not exist; create it, or choose another path with --socket"),
        ErrorKind::PermissionDenied => format!("may not be created in {folder}; choose another path with --socket"),
        _ => error.to_string(),
    }
}

const BACKLOG: i32 = 128;
/// The lock of the directory is held for some system calls only.
const LOCK_LIMIT: Duration = Duration::from_secs(5);
