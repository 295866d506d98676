//! Where session lines go: a stream, or syslog by a unix or UDP socket.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::write;

use crate::config::LogPlace;
use crate::stats::Counter;
use crate::sys::fd;

/// Between two attempts to find syslog again.
const SEEK: Duration = Duration::from_secs(1);

/// How much is collected for a stream before it is written, unless no line follows.
const BUFFER: usize = 32 * 1024;

/// A destination of lines. One that fails loses its lines, which are counted, and nothing else.
#[derive(Debug)]
pub(super) struct Sink {
    place: LogPlace,
    end: SinkEnd,
    /// When syslog was last looked for.
    sought: Instant,
    buffer: Vec<u8>,
    /// The buffer begins with the rest of a line.
    begun: bool,
    lost: Arc<Counter>,
}

#[derive(Debug)]
enum SinkEnd {
    Stdout(io::Stdout),
    Stderr(io::Stderr),
    File(File),
    Unix(UnixDatagram),
    Udp(UdpSocket),
    Away,
}

/// Lines that were not written, here or before they came here.
#[derive(Debug)]
pub(super) struct Losses {
    lines: Arc<Counter>,
    reported: u64,
    reported_at: Instant,
}

impl Sink {
    /// `lost`: counts the lines that are not written.
    pub(super) fn open(place: LogPlace, lost: Arc<Counter>) -> Self {
        let (end, sought) = (SinkEnd::open(&place), Instant::now());
        Self { place, end, sought, buffer: Vec::new(), begun: false, lost }
    }

    pub(super) fn is_at(&self, place: &LogPlace) -> bool {
        self.place == *place
    }

    /// Writes a line or counts it; on a stream at the next [`flush`](Self::flush).
    pub(super) fn write(&mut self, line: &str) {
        if self.end.stream().is_some() {
            self.buffer.extend_from_slice(line.as_bytes());
            self.buffer.push(b'\n');
            if self.buffer.len() > BUFFER {
                self.flush();
            }
        } else if !self.write_datagram(line) {
            self.lost.add(1);
        }
    }

    fn write_datagram(&mut self, line: &str) -> bool {
        if self.end.send(line) {
            return true;
        }
        // A restarted syslog daemon has a new socket at the same path. One that is away is not looked for, and
        // reported, with every line.
        if self.sought.elapsed() < SEEK {
            return false;
        }
        (self.end, self.sought) = (SinkEnd::open(&self.place), Instant::now());
        self.end.send(line)
    }

    /// Waits for a stream that is behind. One that fails, as on a full disk, loses what is in the buffer; but of a line
    /// that it took a part of, it gets the rest the next time.
    pub(super) fn flush(&mut self) {
        let Some(stream) = self.end.stream() else {
            return;
        };
        let mut done = 0;
        while let rest @ [_, ..] = &self.buffer[done..] {
            // Not by `std`: its buffer would be flushed at the end of the process, which must not wait.
            match write(stream, rest) {
                Ok(0) => break,
                Ok(written) => {
                    done += written;
                    self.begun = rest[written - 1] != b'\n';
                }
                Err(nix::Error::EINTR) => {}
                // O_NONBLOCK is another process's doing.
                Err(nix::Error::EAGAIN) => thread::sleep(Duration::from_millis(10)),
                Err(_) => break,
            }
        }
        self.buffer.drain(..done);
        let is_end = |byte: &u8| *byte == b'\n';
        let end_of_line = self.buffer.iter().position(is_end).map_or(self.buffer.len(), |at| at + 1);
        let kept = if self.begun { end_of_line } else { 0 };
        let lost = self.buffer.drain(kept..).filter(is_end).count();
        self.lost.add(lost as u64);
    }
}

impl SinkEnd {
    fn open(place: &LogPlace) -> Self {
        let (what, end) = match place {
            LogPlace::Stdout => return Self::Stdout(io::stdout()),
            LogPlace::Stderr => return Self::Stderr(io::stderr()),
            LogPlace::Descriptor(number) => (format!("use fd@{number}"), fd::reopen(*number).map(Self::File)),
            LogPlace::SyslogUnix(path) => ("reach syslog".to_owned(), unix(path).map(Self::Unix)),
            LogPlace::SyslogUdp(addr) => ("reach syslog".to_owned(), udp(*addr).map(Self::Udp)),
        };
        end.unwrap_or_else(|error| {
            tracing::warn!("log: cannot {what}: {error}");
            Self::Away
        })
    }

    fn stream(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Stdout(stdout) => Some(stdout.as_fd()),
            Self::Stderr(stderr) => Some(stderr.as_fd()),
            Self::File(file) => Some(file.as_fd()),
            Self::Unix(_) | Self::Udp(_) | Self::Away => None,
        }
    }

    fn send(&self, text: &str) -> bool {
        match self {
            Self::Unix(socket) => socket.send(text.as_bytes()).is_ok(),
            Self::Udp(socket) => socket.send(text.as_bytes()).is_ok(),
            Self::Stdout(_) | Self::Stderr(_) | Self::File(_) | Self::Away => false,
        }
    }
}

impl Losses {
    pub(super) fn new(lines: Arc<Counter>) -> Self {
        Self { lines, reported: 0, reported_at: Instant::now() }
    }

    /// Reports the lines that were lost meanwhile, at most once a second.
    pub(super) fn report(&mut self) {
        let lines = self.lines.value();
        if lines > self.reported && self.reported_at.elapsed() >= REPORT {
            let new = lines - self.reported;
            tracing::warn!("log: {new} session lines left out (rate limit, or a target that is slow, full or away)");
            (self.reported, self.reported_at) = (lines, Instant::now());
        }
    }
}

/// Between two reports of lost lines.
const REPORT: Duration = Duration::from_secs(1);

fn unix(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    socket.connect(path)?;
    // A syslog that is behind is given time, which only the writer spends: its queue holds ten lines (unix(7),
    // max_dgram_qlen), the writer's thousands. One that hangs must not delay the end of the process.
    socket.set_write_timeout(Some(Duration::from_millis(100)))?;
    Ok(socket)
}

fn udp(addr: SocketAddr) -> io::Result<UdpSocket> {
    let any: SocketAddr = if addr.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any)?;
    socket.connect(addr)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_a_syslog_that_is_away_are_counted_and_it_is_not_sought_with_each() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let lost = Arc::new(Counter::default());
        let mut sink = Sink::open(LogPlace::SyslogUnix(path.clone()), Arc::clone(&lost));
        let sought = sink.sought;
        sink.write("one");
        sink.write("two");
        assert_eq!((lost.value(), sink.sought), (2, sought));
        let syslog = UnixDatagram::bind(&path).unwrap();
        // As if its time had come.
        sink.sought = sought.checked_sub(SEEK).unwrap();
        sink.write("three");
        assert_eq!(lost.value(), 2, "found again, and nothing lost");
        let mut buf = [0; 512];
        let len = syslog.recv(&mut buf).unwrap();
        assert_eq!(&buf[..len], b"three");
    }
}
