//! Secrets in files: keys and passwords, read only when no other user can.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, getegid, geteuid, getgroups};

use crate::config::SlowFile;
use crate::sys::credentials::is_trusted_by;

/// Why a secret is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error(
        "{path} can be read or changed by others (mode {mode:04o}); make it 0600, or 0640 for the group of lb: chmod 600 {path}"
    )]
    Readable { path: PathBuf, mode: u32 },
    #[error("{path} belongs to uid {owner}; it must belong to root or to uid {us}, which runs this program")]
    Owner { path: PathBuf, owner: u32, us: u32 },
}

/// Reads a file that holds a secret. It must belong to us or root, be closed to others, and to every group but our own,
/// which may read it: so Kubernetes, Docker and systemd hand down secrets.
///
/// Files below `$CREDENTIALS_DIRECTORY` are exempt: systemd makes that directory for this service alone, and shows the
/// access list by which it lets us read as bits of the group.
pub(crate) fn read_secret(path: &Path) -> Result<Vec<u8>, SecretError> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    read_checked(path, &SecretReader::own(), credentials.as_deref())
}

/// The user and the groups of a process.
#[derive(Debug)]
struct SecretReader {
    user: Uid,
    groups: Vec<Gid>,
}

impl SecretReader {
    fn own() -> Self {
        // Without the list, the group of the process alone counts.
        let mut groups = getgroups().unwrap_or_default();
        groups.push(getegid());
        Self { user: geteuid(), groups }
    }

    /// The bits of a mode that let other users read or change a file of this group.
    fn forbidden(&self, group: u32) -> u32 {
        if self.groups.contains(&Gid::from_raw(group)) { 0o037 } else { 0o077 }
    }
}

fn read_checked(path: &Path, us: &SecretReader, credentials: Option<&Path>) -> Result<Vec<u8>, SecretError> {
    let failed = |source| SecretError::Read { path: path.to_owned(), source };
    let opened = SlowFile::open(path).map_err(failed)?;
    // Of the opened file, not of the path: what was checked is what is read.
    let facts = opened.file().metadata().map_err(failed)?;
    let exempt = credentials.is_some_and(|directory| directory.is_absolute() && path.starts_with(directory));
    if !exempt {
        let mode = facts.mode() & 0o7777;
        if mode & us.forbidden(facts.gid()) != 0 {
            return Err(SecretError::Readable { path: path.to_owned(), mode });
        }
        let (owner, us) = (facts.uid(), us.user.as_raw());
        if !is_trusted_by(owner, us) {
            return Err(SecretError::Owner { path: path.to_owned(), owner, us });
        }
    }
    opened.read(MAX).map_err(failed)
}

/// No key and no password is longer.
const MAX: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn secret(mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        fs::write(&path, "secret").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        (dir, path)
    }

    #[test]
    fn a_file_that_only_we_can_read_is_read() {
        let (_dir, path) = secret(0o600);
        assert_eq!(read_secret(&path).unwrap(), b"secret");
    }

    #[test]
    fn a_file_that_others_can_read_or_change_is_refused_with_the_remedy() {
        for mode in [0o604, 0o660, 0o620, 0o644, 0o601] {
            let (_dir, path) = secret(mode);
            let error = read_secret(&path).unwrap_err().to_string();
            assert!(error.contains("can be read or changed by others") && error.contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn the_own_group_may_read_and_no_other() {
        for mode in [0o440, 0o640] {
            let (_dir, path) = secret(mode);
            assert_eq!(read_secret(&path).unwrap(), b"secret");
            let stranger = SecretReader { groups: Vec::new(), ..SecretReader::own() };
            assert!(matches!(read_checked(&path, &stranger, None), Err(SecretError::Readable { .. })));
        }
    }

    #[test]
    fn a_file_of_another_user_is_refused_unless_it_is_roots() {
        let (_dir, path) = secret(0o600);
        let owner = fs::metadata(&path).unwrap().uid();
        let other = SecretReader { user: Uid::from_raw(owner + 1), groups: Vec::new() };
        let read = read_checked(&path, &other, None);
        if owner == 0 {
            read.unwrap();
        } else {
            assert!(read.unwrap_err().to_string().contains("belongs to uid"));
        }
    }

    #[test]
    fn what_has_no_end_is_refused() {
        let credentials = Some(Path::new("/dev"));
        assert!(read_checked(Path::new("/dev/zero"), &SecretReader::own(), credentials).is_err());
    }

    #[test]
    fn credentials_of_systemd_are_read_whatever_their_bits_show() {
        let (dir, path) = secret(0o440);
        let stranger = SecretReader { groups: Vec::new(), ..SecretReader::own() };
        assert!(read_checked(&path, &stranger, Some(dir.path())).is_ok());
        assert!(read_checked(&path, &stranger, Some(Path::new("/elsewhere"))).is_err());
    }
}
