//! A pipe with a name, for programs whose output is not read, or is read later.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// Reader and writer in one, so that opening it elsewhere never waits.
#[derive(Debug)]
pub(crate) struct Fifo {
    path: PathBuf,
    file: File,
}

impl Fifo {
    /// One that takes nothing until it is read.
    pub(crate) fn full(dir: &Path) -> Self {
        let path = dir.join("fifo");
        mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path).unwrap();
        loop {
            match file.write(&[b'.'; 4096]) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Self { path, file },
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// For a shell.
    pub(crate) fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// What is in it.
    pub(crate) fn read(&mut self) -> String {
        let mut bytes = Vec::new();
        match self.file.read_to_end(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            other => panic!("its own writer is open: {other:?}"),
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}
