//! Secrets in files: keys and passwords, read only when no other user can.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, geteuid};

use crate::sys::credentials::is_trusted_by;

/// Why a secret is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("{path} can be read by others (mode {mode:04o}); make it 0600: chmod 600 {path}")]
    Readable { path: PathBuf, mode: u32 },
    #[error("{path} belongs to uid {owner}; it must belong to root or to uid {us}, which runs this program")]
    Owner { path: PathBuf, owner: u32, us: u32 },
    #[error("{path} has more than {MAX} bytes")]
    TooLong { path: PathBuf },
}

/// Reads a file that holds a secret. It must belong to us or root and be closed to group and others.
///
/// Files below `$CREDENTIALS_DIRECTORY` are exempt: systemd makes that directory for this service alone, and shows the
/// access list by which it lets us read as bits of the group.
pub(crate) fn read_secret(path: &Path) -> Result<Vec<u8>, SecretError> {
    let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    read_checked(path, geteuid(), credentials.as_deref())
}

fn read_checked(path: &Path, us: Uid, credentials: Option<&Path>) -> Result<Vec<u8>, SecretError> {
    let failed = |source| SecretError::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // Of the opened file, not of the path: what was checked is what is read.
    let facts = file.metadata().map_err(failed)?;
    let exempt = credentials.is_some_and(|directory| directory.is_absolute() && path.starts_with(directory));
    if !exempt {
        let mode = facts.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(SecretError::Readable { path: path.to_owned(), mode });
        }
        let owner = facts.uid();
        if !is_trusted_by(owner, us.as_raw()) {
            return Err(SecretError::Owner { path: path.to_owned(), owner, us: us.as_raw() });
        }
    }
    let mut bytes = Vec::new();
    file.take(MAX + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > MAX {
        return Err(SecretError::TooLong { path: path.to_owned() });
    }
    Ok(bytes)
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
    fn a_file_that_others_can_read_is_refused_with_the_remedy() {
        for mode in [0o640, 0o604, 0o660] {
            let (_dir, path) = secret(mode);
            let error = read_secret(&path).unwrap_err().to_string();
            assert!(error.contains("can be read by others") && error.contains("chmod 600"), "{error}");
        }
    }

    #[test]
    fn a_file_of_somebody_else_is_refused_unless_it_is_roots() {
        let (_dir, path) = secret(0o600);
        let owner = fs::metadata(&path).unwrap().uid();
        let other = Uid::from_raw(owner + 1);
        let read = read_checked(&path, other, None);
        if owner == 0 {
            read.unwrap();
        } else {
            assert!(read.unwrap_err().to_string().contains("belongs to uid"));
        }
    }

    #[test]
    fn credentials_of_systemd_are_read_whatever_their_bits_show() {
        let (dir, path) = secret(0o440);
        assert!(read_checked(&path, geteuid(), Some(dir.path())).is_ok());
        assert!(read_checked(&path, geteuid(), Some(Path::new("/elsewhere"))).is_err());
    }
}
