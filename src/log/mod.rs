//! The session line: one line a session in HAProxy's tcplog format, to stdout or to syslog.
//!
//! Workers hand over a small struct and never wait: a thread of its own formats and writes. Lines beyond the rate, or
//! beyond what the writer keeps up with, are counted and announced. Everything else that the daemon says goes to
//! stderr through `tracing`.

use std::fmt;
use std::io::{self, Write};
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use crate::config::{Log, LogTarget};
use crate::stats::Counter;
use crate::sys::clock;

/// Who ended a session: the first letter of HAProxy's termination state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Both sides said goodbye.
    Nobody,
    Client,
    Server,
    /// A rule or limit of ours.
    Proxy,
    /// We ran out of something.
    Resource,
    ClientTimeout,
    ServerTimeout,
    /// The server went DOWN and its sessions were to be cut.
    ServerDown,
    /// The operator, or the end of the drain.
    Killed,
}

/// In which phase: the second letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum During {
    /// Waiting for the PROXY header.
    Request,
    Queue,
    Connect,
    Data,
    Finished,
}

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Termination {
    pub by: By,
    pub during: During,
}

/// What one session was.
#[derive(Debug, Clone)]
pub struct SessionLine {
    pub client: Option<SocketAddr>,
    pub accepted: SystemTime,
    pub frontend: Arc<str>,
    pub backend: Arc<str>,
    pub server: Option<Arc<str>>,
    /// Waited for a server; `None`: never got one.
    pub queue: Option<Duration>,
    /// Waited for the connection, retries included; `None`: never had one.
    pub connect: Option<Duration>,
    pub total: Duration,
    /// From server to client.
    pub bytes_out: u64,
    /// From client to server.
    pub bytes_in: u64,
    pub ending: Termination,
    /// Sessions of the process, the frontend, the backend and the server at the end of this one, itself included.
    pub sessions: [u32; 4],
    pub retries: u32,
    pub redispatched: bool,
    /// Sessions in front of this one when it was queued.
    pub queue_position: usize,
}

/// The way to the writer; cheap to clone, shared by all workers.
#[derive(Debug, Clone)]
pub struct SessionLog {
    sender: SyncSender<Message>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    started: Instant,
    /// Second since the start (high half) and lines taken in it (low half).
    window: AtomicU64,
    /// Packed settings: rate, and the two switches above it.
    settings: AtomicU64,
    dropped: Counter,
}

#[derive(Debug)]
enum Message {
    // Boxed: the channel's slots exist all the time.
    Line(Box<SessionLine>),
    Target(LogTarget),
    Flush(SyncSender<()>),
}

impl SessionLog {
    /// Starts the writer. It ends when the last clone is dropped.
    pub fn start(log: &Log) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let shared = Arc::new(Shared {
            started: Instant::now(),
            window: AtomicU64::new(0),
            settings: AtomicU64::new(pack(log)),
            dropped: Counter::default(),
        });
        let target = log.target.clone();
        let counted = Arc::clone(&shared);
        thread::Builder::new().name("log".into()).spawn(move || write_all(&receiver, target, &counted))?;
        Ok(Self { sender, shared })
    }

    /// Takes over changed settings.
    pub fn retarget(&self, log: &Log) {
        self.shared.settings.store(pack(log), Relaxed);
        match self.sender.try_send(Message::Target(log.target.clone())) {
            Ok(()) => {}
            Err(_) => tracing::warn!("log: the writer is busy; the target stays as it was until the next reload"),
        }
    }

    /// Whether a session that carried `bytes` is to be logged at all.
    pub fn wants(&self, bytes: u64) -> bool {
        let settings = self.shared.settings.load(Relaxed);
        settings & SESSIONS != 0 && (bytes > 0 || settings & DONTLOGNULL == 0)
    }

    /// Hands a line over, or counts it as dropped. Never waits.
    pub fn line(&self, line: SessionLine) {
        if !self.shared.admits() || self.sender.try_send(Message::Line(Box::new(line))).is_err() {
            self.shared.dropped.add(1);
        }
    }

    /// Lines left out so far.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.value()
    }

    /// Waits up to a second until what was handed over is written. The end of a drain may just have filled the queue.
    pub fn flush(&self) {
        let until = Instant::now() + Duration::from_secs(1);
        let (done, wait) = sync_channel(1);
        while let Err(TrySendError::Full(_)) = self.sender.try_send(Message::Flush(done.clone())) {
            if Instant::now() >= until {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
        match wait.recv_timeout(until.saturating_duration_since(Instant::now())) {
            Ok(()) | Err(_) => {}
        }
    }
}

impl Shared {
    /// Counts a line against the rate of this second.
    fn admits(&self) -> bool {
        let rate = self.settings.load(Relaxed) & RATE;
        if rate == 0 {
            return true;
        }
        let second = self.started.elapsed().as_secs() << 32;
        let counted = self.window.fetch_update(Relaxed, Relaxed, |window| {
            let taken = if window & !RATE == second { window & RATE } else { 0 };
            (taken < rate).then_some(second | (taken + 1))
        });
        counted.is_ok()
    }
}

const QUEUE: usize = 8192;
/// Between two attempts to find syslog again.
const SEEK: Duration = Duration::from_secs(1);
const RATE: u64 = 0xffff_ffff;
const SESSIONS: u64 = 1 << 32;
const DONTLOGNULL: u64 = 1 << 33;

fn pack(log: &Log) -> u64 {
    let flag = |on: bool, bit: u64| if on { bit } else { 0 };
    u64::from(log.rate) | flag(log.sessions, SESSIONS) | flag(log.dontlognull, DONTLOGNULL)
}

fn write_all(receiver: &Receiver<Message>, target: LogTarget, shared: &Shared) {
    let mut sink = Sink::open(target);
    let (mut told, mut told_at) = (0, Instant::now());
    loop {
        let message = match receiver.try_recv() {
            Ok(message) => message,
            Err(TryRecvError::Empty) => {
                sink.flush();
                match receiver.recv_timeout(Duration::from_secs(1)) {
                    Ok(message) => message,
                    Err(RecvTimeoutError::Timeout) => continue,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            Err(TryRecvError::Disconnected) => return sink.flush(),
        };
        match message {
            Message::Line(line) => {
                if !sink.write(&line) {
                    shared.dropped.add(1);
                }
            }
            Message::Target(target) => sink.retarget(target),
            Message::Flush(done) => {
                sink.flush();
                match done.try_send(()) {
                    Ok(()) | Err(_) => {}
                }
            }
        }
        let dropped = shared.dropped.value();
        if dropped > told && told_at.elapsed() >= Duration::from_secs(1) {
            tracing::warn!("log: {} session lines left out (rate limit or slow writer)", dropped - told);
            (told, told_at) = (dropped, Instant::now());
        }
    }
}

/// Where lines go. A sink that fails loses its lines and nothing else.
#[derive(Debug)]
struct Sink {
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
    fn open(target: LogTarget) -> Self {
        let mut sink = Self { target, socket: None, sought: Instant::now(), buffer: Vec::new() };
        sink.connect();
        sink
    }

    fn retarget(&mut self, target: LogTarget) {
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
    fn write(&mut self, line: &SessionLine) -> bool {
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
        // complained of, with every line.
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

    fn flush(&mut self) {
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
    // max_dgram_qlen), ours thousands. One that hangs must not hold the end of the process up.
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

/// HAProxy's tcplog: `client [time] frontend backend/server Tw/Tc/Tt bytes -- a/f/b/s/retries srvq/bckq`.
impl fmt::Display for SessionLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.client {
            Some(client) => write!(f, "{}:{}", client.ip(), client.port())?,
            None => f.write_str("-:0")?,
        }
        let server = self.server.as_deref().unwrap_or("<NOSRV>");
        write!(f, " [{}] {} {}/{server} ", clock::log_time(self.accepted), self.frontend, self.backend)?;
        write!(f, "{}/{}/{}", Millis(self.queue), Millis(self.connect), Millis(Some(self.total)))?;
        let [process, frontend, backend, on_server] = self.sessions;
        let plus = if self.redispatched { "+" } else { "" };
        write!(
            f,
            " {} {} {process}/{frontend}/{backend}/{on_server}/{plus}{}",
            self.bytes_out, self.ending, self.retries
        )?;
        write!(f, " 0/{}", self.queue_position)
    }
}

impl fmt::Display for Termination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = match self.by {
            By::Nobody => '-',
            By::Client => 'C',
            By::Server => 'S',
            By::Proxy => 'P',
            By::Resource => 'R',
            By::ClientTimeout => 'c',
            By::ServerTimeout => 's',
            By::ServerDown => 'D',
            By::Killed => 'K',
        };
        let during = match self.during {
            During::Request => 'R',
            During::Queue => 'Q',
            During::Connect => 'C',
            During::Data => 'D',
            During::Finished => '-',
        };
        write!(f, "{by}{during}")
    }
}

/// Milliseconds, or -1 for a phase that was not reached.
struct Millis(Option<Duration>);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(duration) => write!(f, "{}", duration.as_millis()),
            None => f.write_str("-1"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> SessionLine {
        SessionLine {
            client: Some("10.0.1.2:33313".parse().unwrap()),
            accepted: SystemTime::UNIX_EPOCH,
            frontend: "fnt".into(),
            backend: "bck".into(),
            server: Some("srv1".into()),
            queue: Some(Duration::ZERO),
            connect: Some(Duration::from_millis(7)),
            total: Duration::from_millis(5007),
            bytes_out: 212,
            bytes_in: 0,
            ending: Termination { by: By::Nobody, during: During::Finished },
            sessions: [4, 3, 2, 1],
            retries: 3,
            redispatched: true,
            queue_position: 0,
        }
    }

    #[test]
    fn a_line_reads_as_tcplog() {
        let text = line().to_string();
        let (head, tail) = text.split_once("] ").unwrap();
        assert!(head.starts_with("10.0.1.2:33313 ["), "{text}");
        assert_eq!(tail, "fnt bck/srv1 0/7/5007 212 -- 4/3/2/1/+3 0/0");
    }

    #[test]
    fn a_session_without_server_says_so() {
        let ending = Termination { by: By::ServerTimeout, during: During::Queue };
        let text = SessionLine { server: None, queue: None, connect: None, ending, client: None, ..line() }.to_string();
        assert!(text.contains(" bck/<NOSRV> -1/-1/5007 212 sQ ") && text.starts_with("-:0 ["), "{text}");
    }

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

    #[test]
    fn a_flush_waits_although_the_queue_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let syslog = UnixDatagram::bind(&path).unwrap();
        let (go, begin) = sync_channel(0);
        let reader = thread::spawn(move || {
            begin.recv().unwrap();
            let mut count = 0;
            while syslog.recv(&mut [0; 512]).unwrap() > 0 {
                count += 1;
            }
            count
        });
        let log =
            SessionLog::start(&Log { target: LogTarget::SyslogUnix(path.clone()), rate: 0, ..Log::default() }).unwrap();
        while log.dropped() == 0 {
            log.line(line());
        }
        go.send(()).unwrap();
        log.flush();
        let end = UnixDatagram::unbound().unwrap();
        end.send_to(&[], &path).unwrap();
        let written: u64 = reader.join().unwrap();
        assert!(written >= QUEUE as u64 - 8, "only {written} lines");
    }

    #[test]
    fn the_rate_is_kept_and_the_rest_counted() {
        let log = Log { target: LogTarget::SyslogUdp(([127, 0, 0, 1], 9).into()), rate: 3, ..Log::default() };
        let log = SessionLog::start(&log).unwrap();
        // Two seconds may be touched.
        (0..10).for_each(|_| log.line(line()));
        assert!((4..=7).contains(&log.dropped()), "{}", log.dropped());
    }
}
