//! Where session lines go: stdout, or syslog by a unix or UDP socket.

use std::io::{self, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use nix::unistd::write;

use super::line::SessionLine;
use crate::config::LogTarget;
use crate::stats::Counter;
use crate::sys::clock;

/// Between two attempts to find syslog again.
const SEEK: Duration = Duration::from_secs(1);

/// How much is collected for stdout before it is written, unless no line follows.
const BUFFER: usize = 32 * 1024;

/// A destination of lines. One that fails loses its lines, which are counted, and nothing else.
#[derive(Debug)]
pub(super) struct Sink {
    target: LogTarget,
    socket: Option<Datagram>,
    /// When syslog was last looked for.
    sought: Instant,
    buffer: Vec<u8>,
    /// The buffer begins with the rest of a line.
    begun: bool,
    losses: Losses,
}

/// Lines that were not written, here or before they came here.
#[derive(Debug)]
pub(super) struct Losses {
    lines: Arc<Counter>,
    reported: u64,
    reported_at: Instant,
}

#[derive(Debug)]
enum Datagram {
    Unix(UnixDatagram),
    Udp(UdpSocket),
}

impl Sink {
    pub(super) fn open(target: LogTarget, losses: Losses) -> Self {
        let buffer = Vec::new();
        let mut sink = Self { target, socket: None, sought: Instant::now(), buffer, begun: false, losses };
        sink.connect();
        sink
    }

    pub(super) fn retarget(&mut self, target: LogTarget) {
        self.flush();
        if self.target != target {
            self.target = target;
            self.connect();
        }
    }

    fn connect(&mut self) {
        self.sought = Instant::now();
        let socket = match &self.target {
            LogTarget::Stdout => {
                self.socket = None;
                return;
            }
            LogTarget::SyslogUnix(path) => unix(path).map(Datagram::Unix),
            LogTarget::SyslogUdp(addr) => udp(*addr).map(Datagram::Udp),
        };
        self.socket = match socket {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!("log: cannot reach syslog: {error}");
                None
            }
        };
    }

    /// Writes the line or counts it; on stdout at the next [`flush`](Self::flush).
    pub(super) fn write(&mut self, line: &SessionLine) {
        if self.target == LogTarget::Stdout {
            // Writing to a Vec cannot fail.
            if writeln!(self.buffer, "{line}").is_ok() && self.buffer.len() > BUFFER {
                self.flush();
            }
        } else if !self.write_datagram(line) {
            self.losses.lines.add(1);
        }
    }

    fn write_datagram(&mut self, line: &SessionLine) -> bool {
        // RFC 3164: local0.info is 16 * 8 + 6.
        let text = format!("<134>{} lb[{}]: {line}", clock::syslog_time(line.accepted), std::process::id());
        if self.send(&text) {
            return true;
        }
        // A restarted syslog daemon has a new socket at the same path. One that is away is not looked for, and
        // reported, with every line.
        if self.sought.elapsed() < SEEK {
            return false;
        }
        self.connect();
        self.send(&text)
    }

    fn send(&self, text: &str) -> bool {
        match &self.socket {
            Some(Datagram::Unix(socket)) => socket.send(text.as_bytes()).is_ok(),
            Some(Datagram::Udp(socket)) => socket.send(text.as_bytes()).is_ok(),
            None => false,
        }
    }

    /// Waits for a stdout that is behind. One that fails, as on a full disk, loses what is in the buffer; but of a line
    /// that it took a part of, it gets the rest the next time.
    pub(super) fn flush(&mut self) {
        let mut done = 0;
        while let rest @ [_, ..] = &self.buffer[done..] {
            // Not by `std`: its buffer would be flushed at the end of the process, which must not wait.
            match write(io::stdout(), rest) {
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
        self.losses.lines.add(lost as u64);
    }

    /// Reports what was lost.
    pub(super) fn report(&mut self) {
        self.losses.report();
    }
}

impl Losses {
    pub(super) fn new(lines: Arc<Counter>) -> Self {
        Self { lines, reported: 0, reported_at: Instant::now() }
    }

    /// Reports the lines that were lost meanwhile, at most once a second.
    fn report(&mut self) {
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
    use super::super::line::tests::line;
    use super::*;

    #[test]
    fn lines_for_a_syslog_that_is_away_are_counted_and_it_is_not_sought_with_each() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let lost = Arc::new(Counter::default());
        let mut sink = Sink::open(LogTarget::SyslogUnix(path.clone()), Losses::new(Arc::clone(&lost)));
        let sought = sink.sought;
        sink.write(&line());
        sink.write(&line());
        assert_eq!((lost.value(), sink.sought), (2, sought));
        let syslog = UnixDatagram::bind(&path).unwrap();
        // As if its time had come.
        sink.sought = sought.checked_sub(SEEK).unwrap();
        sink.write(&line());
        assert_eq!(lost.value(), 2, "found again, and nothing lost");
        let mut buf = [0; 512];
        let len = syslog.recv(&mut buf).unwrap();
        assert!(buf[..len].starts_with(b"<134>"));
    }
}
