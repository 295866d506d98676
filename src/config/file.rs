//! Reads a whole file that may be anything with bytes in it: a regular one, a pipe such as `<(command)`, a device. It is
//! bounded in length and never silent for long: a fifo without a writer would hold up its reader for ever.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// A file that was opened without waiting for a writer.
#[derive(Debug)]
pub(crate) struct SlowFile(File);

impl SlowFile {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
        Ok(Self(File::options().read(true).custom_flags(flags.bits()).open(path)?))
    }

    /// What was opened.
    pub(crate) fn file(&self) -> &File {
        &self.0
    }

    /// Reads to the end; more than `limit` bytes are an error.
    pub(crate) fn read(mut self, limit: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            // Before each read: of a fifo that has no writer yet, a read would return the end at once.
            self.wait()?;
            let room = (limit + 1).saturating_sub(bytes.len() as u64);
            match (&mut self.0).take(room.min(CHUNK)).read_to_end(&mut bytes) {
                Ok(0) => return Ok(bytes),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            if bytes.len() as u64 > limit {
                return Err(io::Error::new(ErrorKind::FileTooLarge, format!("it is larger than {} KiB", limit >> 10)));
            }
        }
    }

    fn wait(&self) -> io::Result<()> {
        let silence = PollTimeout::try_from(SILENCE).expect("some seconds fit");
        match poll(&mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)], silence) {
            Ok(0) => {
                Err(io::Error::new(ErrorKind::TimedOut, format!("nothing came from it for {} s", SILENCE.as_secs())))
            }
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}

const CHUNK: u64 = 64 << 10;
/// Enough for a program that writes the configuration as it is read.
const SILENCE: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::thread;

    use nix::sys::stat::Mode;
    use nix::unistd::mkfifo;

    use super::*;

    #[test]
    fn a_fifo_is_read_from_its_first_writer_to_its_last() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("fifo");
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        let file = SlowFile::open(&path).unwrap();
        let writer = thread::spawn(move || {
            let mut fifo = File::options().write(true).open(path).unwrap();
            (0..3).for_each(|_| fifo.write_all(&[b'x'; 70_000]).unwrap());
        });
        assert_eq!(file.read(1 << 20).unwrap().len(), 210_000);
        writer.join().unwrap();
    }

    #[test]
    fn a_file_without_an_end_is_refused() {
        let error = SlowFile::open(Path::new("/dev/zero")).unwrap().read(2048).unwrap_err();
        assert_eq!(error.to_string(), "it is larger than 2 KiB");
        assert_eq!(SlowFile::open(Path::new("/dev/null")).unwrap().read(1000).unwrap(), b"");
    }
}
