//! Where session lines go: stdout, or syslog by a unix or UDP socket.

use std::io::{self, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use super::line::SessionLine;
use crate::config::LogTarget;
use crate::sys::clock;

/// Between two attempts to find syslog again.
const SEEK: Duration = Duration::from_secs(1);

/// A destination of lines. One that fails loses its lines and nothing else.
#[derive(Debug)]
pub(super) struct Sink {
    target: LogTarget,
    socket: Option<Datagram>,
    /// When syslog was last looked for.
    sought: Instant,
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum Datagram {
    Unix(UnixDatagram),
    Udp(UdpSocket),
}

impl Sink {
    pub(super) fn open(target: LogTarget) -> Self {
        let mut sink = Self { target, socket: None, sought: Instant::now(), buffer: Vec::new() };
        sink.connect();
        sink
    }

    pub(super) fn retarget(&mut self, target: LogTarget) {
        self.flush();
        if self.target != target {
            *self = Self::open(target);
        }
    }

    fn connect(&mut self) {
        self.sought = Instant::now();
        let socket = match &self.target {
            LogTarget::Stdout => return,
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

    /// Returns whether the line went out, or at least as far as the buffer.
    pub(super) fn write(&mut self, line: &SessionLine) -> bool {
        if self.target == LogTarget::Stdout {
            // Writing to a Vec cannot fail.
            if writeln!(self.buffer, "{line}").is_ok() && self.buffer.len() > 32 * 1024 {
                self.flush();
            }
            return true;
        }
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

    pub(super) fn flush(&mut self) {
        if !self.buffer.is_empty() {
            let mut out = io::stdout().lock();
            match out.write_all(&self.buffer).and_then(|()| out.flush()) {
                // A closed stdout loses the lines; that must not stop the traffic.
                Ok(()) | Err(_) => self.buffer.clear(),
            }
        }
    }
}

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
        let mut sink = Sink::open(LogTarget::SyslogUnix(path.clone()));
        let sought = sink.sought;
        assert!(!sink.write(&line()) && !sink.write(&line()));
        assert_eq!(sink.sought, sought);
        let syslog = UnixDatagram::bind(&path).unwrap();
        // As if its time had come.
        sink.sought = sought.checked_sub(SEEK).unwrap();
        assert!(sink.write(&line()), "found again, and nothing lost");
        let mut buf = [0; 512];
        let len = syslog.recv(&mut buf).unwrap();
        assert!(buf[..len].starts_with(b"<134>"));
    }
}
