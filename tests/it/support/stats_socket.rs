//! A client of HAProxy's runtime API, of the real one or of `lb`.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::client::HANG;
use super::wait::eventually;

/// A stats socket.
#[derive(Debug, Clone)]
pub(crate) struct StatsSocket(PathBuf);

impl StatsSocket {
    /// Waits until something answers there.
    #[track_caller]
    pub(crate) fn at(path: &Path) -> Self {
        eventually(HANG, "the stats socket", || UnixStream::connect(path).ok());
        Self(path.to_owned())
    }

    #[track_caller]
    pub(crate) fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.0).unwrap_or_else(|error| panic!("{}: {error}", self.0.display()));
        stream.set_read_timeout(Some(HANG)).unwrap();
        stream
    }

    /// What is answered to these bytes, up to the end of the connection.
    #[track_caller]
    pub(crate) fn exchange(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes.as_ref()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        String::from_utf8(answer).unwrap()
    }

    /// What is answered until nothing comes for a while, of a connection that stays open.
    #[track_caller]
    pub(crate) fn overhear(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes.as_ref()).unwrap();
        stream.set_read_timeout(Some(QUIET)).unwrap();
        let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => answer.extend_from_slice(&buffer[..count]),
                // A reset: it was closed with bytes that were not read.
                Err(error) if [io::ErrorKind::WouldBlock, io::ErrorKind::ConnectionReset].contains(&error.kind()) => {
                    break;
                }
                Err(error) => panic!("{error}"),
            }
        }
        String::from_utf8(answer).unwrap()
    }

    /// The answer to one command, without the empty line behind it.
    #[track_caller]
    pub(crate) fn ask(&self, command: &str) -> String {
        let answer = self.exchange(format!("{command}\n"));
        answer.strip_suffix('\n').unwrap_or_else(|| panic!("no empty line behind {answer:?}")).to_owned()
    }
}

const QUIET: Duration = Duration::from_millis(500);
