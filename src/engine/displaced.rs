//! Displaced: another program's socket whose path was taken, and which has it again unless the new one serves.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Beside the path it had.
#[derive(Debug)]
pub(super) struct Displaced {
    path: PathBuf,
    beside: PathBuf,
    lasting: bool,
}

impl Displaced {
    /// Frees the path.
    pub(super) fn new(path: &Path) -> io::Result<Self> {
        let mut beside = path.as_os_str().to_owned();
        beside.push(format!(".{}", std::process::id()));
        fs::rename(path, &beside)?;
        Ok(Self { path: path.to_owned(), beside: beside.into(), lasting: false })
    }

    /// The new socket serves: the other one does not return.
    pub(super) fn settle(&mut self) {
        if !self.lasting {
            self.lasting = true;
            fs::remove_file(&self.beside).ok();
        }
    }
}

impl Drop for Displaced {
    fn drop(&mut self) {
        if !self.lasting {
            fs::rename(&self.beside, &self.path).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;

    #[test]
    fn the_old_socket_returns_unless_the_new_one_serves() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("admin.sock");
        for serves in [false, true] {
            let old = UnixListener::bind(&path).unwrap();
            let mut displaced = Displaced::new(&path).unwrap();
            let _new = UnixListener::bind(&path).unwrap();
            old.set_nonblocking(true).unwrap();
            if serves {
                displaced.settle();
            }
            drop(displaced);
            let _client = UnixStream::connect(&path).unwrap();
            assert_eq!(old.accept().is_ok(), !serves);
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
            fs::remove_file(&path).unwrap();
        }
    }
}
