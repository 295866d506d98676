//! Credentials: which users are trusted with files and sockets.

use nix::unistd::geteuid;

/// Whether files and peers of this user are trusted: those of root and of the user of this process.
pub(crate) fn is_trusted(uid: u32) -> bool {
    is_trusted_by(uid, geteuid().as_raw())
}

/// The same for a process of the user `us`.
pub(crate) fn is_trusted_by(uid: u32, us: u32) -> bool {
    uid == 0 || uid == us
}
