//! The command line's end of the admin socket: blocking, one request a connection, never waiting for ever.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use socket2::{Domain, SockAddr, Socket, Type};

use super::protocol::{Answer, Request};

/// A connection to a daemon.
#[derive(Debug)]
pub(crate) struct Client {
    path: PathBuf,
    stream: UnixStream,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("there is no socket {0}")]
    NoSocket(PathBuf),
    #[error("nothing listens on {0}")]
    NoListener(PathBuf),
    #[error("this user may not use {0}")]
    Denied(PathBuf),
    #[error("the daemon behind {path} said nothing for {} s", silence.as_secs())]
    Silent { path: PathBuf, silence: Duration },
    #[error("the daemon behind {0} closed the connection before its answer")]
    Closed(PathBuf),
    #[error("cannot read the answer of the daemon behind {path}")]
    Garbled { path: PathBuf, source: serde_json::Error },
    #[error("cannot use {path}: {source}")]
    Io { path: PathBuf, source: io::Error },
}

impl Client {
    /// Connects to the daemon whose admin socket is `path`.
    ///
    /// # Errors
    /// When there is no such socket, it has no listener, this user may not connect, or its queue stays full for
    /// [`SILENCE`].
    pub(crate) fn connect(path: &Path) -> Result<Self, ClientError> {
        let connect = || {
            let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
            // On a unix socket this is the deadline of connect(2) too, which waits while the accept queue is full.
            socket.set_write_timeout(Some(SILENCE))?;
            socket.connect(&SockAddr::unix(path)?)?;
            Ok(UnixStream::from(std::os::fd::OwnedFd::from(socket)))
        };
        match connect() {
            Ok(stream) => Ok(Self { path: path.to_owned(), stream }),
            Err(error) => Err(ClientError::from_io(path, SILENCE, error)),
        }
    }

    /// Asks, hands each line of progress to `on_progress`, and returns the last answer.
    /// The daemon may be silent for [`SILENCE`] at most; it sends signs of life while it works.
    ///
    /// # Errors
    /// When the answer does not come or cannot be read. That the daemon refuses is an answer, not an error here.
    pub(crate) fn ask(mut self, request: &Request, mut on_progress: impl FnMut(&str)) -> Result<Answer, ClientError> {
        let fail = |error| ClientError::from_io(&self.path, SILENCE, error);
        self.stream.set_read_timeout(Some(SILENCE)).map_err(fail)?;
        let mut line = serde_json::to_vec(request).expect("a request holds only strings and numbers");
        line.push(b'\n');
        if let Err(error) = self.stream.write_all(&line) {
            // A daemon that refuses early may have closed; its answer is then still there to be read.
            if error.kind() != io::ErrorKind::BrokenPipe {
                return Err(fail(error));
            }
        }
        let mut answers = BufReader::new(self.stream.take(MAX_ANSWERS));
        loop {
            let mut line = Vec::new();
            if let Err(error) = answers.read_until(b'\n', &mut line) {
                return Err(ClientError::from_io(&self.path, SILENCE, error));
            }
            if line.is_empty() {
                return Err(ClientError::Closed(self.path));
            }
            match serde_json::from_slice(&line) {
                Ok(Answer::Progress(text)) => on_progress(&text),
                Ok(Answer::Heartbeat) => {}
                Ok(last) => return Ok(last),
                Err(source) => {
                    return Err(ClientError::Garbled { path: self.path, source });
                }
            }
        }
    }
}

impl ClientError {
    /// There is no daemon, as opposed to one that does not answer this caller.
    pub(crate) fn is_absence(&self) -> bool {
        matches!(self, Self::NoSocket(_) | Self::NoListener(_))
    }

    fn from_io(path: &Path, silence: Duration, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => Self::NoSocket(path),
            io::ErrorKind::ConnectionRefused => Self::NoListener(path),
            io::ErrorKind::PermissionDenied => Self::Denied(path),
            // SO_RCVTIMEO and SO_SNDTIMEO end a call with EAGAIN.
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Silent { path, silence },
            io::ErrorKind::ConnectionReset => Self::Closed(path),
            _ => Self::Io { path, source },
        }
    }
}

/// How long a daemon may show no sign of life.
pub(crate) const SILENCE: Duration = Duration::from_secs(5);

/// All answers to one request together, in bytes: far beyond a status of 4,096 servers.
const MAX_ANSWERS: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::thread;

    use super::*;

    /// A daemon that reads one line and answers `words`.
    fn daemon(words: &'static [u8]) -> (tempfile::TempDir, PathBuf, thread::JoinHandle<String>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lb.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let daemon = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).unwrap();
            stream.write_all(words).unwrap();
            line
        });
        (dir, path, daemon)
    }

    fn ask(words: &'static [u8]) -> (Result<Answer, ClientError>, Vec<String>) {
        let (_dir, path, daemon) = daemon(words);
        let mut progress = Vec::new();
        let client = Client::connect(&path).unwrap();
        let answer = client.ask(&Request::Reload, |line| progress.push(line.to_owned()));
        assert_eq!(daemon.join().unwrap(), "{\"request\":\"reload\"}\n");
        (answer, progress)
    }

    #[test]
    fn progress_is_passed_on_and_the_last_answer_returned() {
        let words = b"{\"answer\":\"progress\",\"value\":\"one\"}\n{\"answer\":\"heartbeat\"}\n\
            {\"answer\":\"ok\",\"value\":{\"message\":\"two\"}}\n";
        let (answer, progress) = ask(words);
        assert_eq!(answer.unwrap(), Answer::Ok(serde_json::json!({"message": "two"})));
        assert_eq!(progress, ["one"]);
    }

    #[test]
    fn each_way_of_no_answer_has_its_own_error() {
        assert!(matches!(ask(b"").0, Err(ClientError::Closed(_))));
        assert!(matches!(ask(b"HTTP/1.1 400 Bad Request\r\n").0, Err(ClientError::Garbled { .. })));
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lb.sock");
        assert!(matches!(Client::connect(&path), Err(ClientError::NoSocket(_))));
        drop(UnixListener::bind(&path).unwrap());
        assert!(matches!(Client::connect(&path), Err(ClientError::NoListener(_))));
        let endless = dir.path().join("x".repeat(200));
        assert!(matches!(Client::connect(&endless), Err(ClientError::Io { .. })));
    }
}
