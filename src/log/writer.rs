//! The writer: a thread of its own that formats session lines and writes them.
//!
//! Workers hand over a small struct and never wait. Lines beyond the rate, or beyond what the writer keeps up with, are
//! counted and reported.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use super::line::SessionLine;
use super::sink::{Losses, Sink};
use crate::config::{Log, LogTarget};
use crate::stats::Counter;
use crate::sys::output::start_writer;

/// The way to the writer; cheap to clone, shared by all workers.
#[derive(Debug, Clone)]
pub struct SessionLog {
    sender: SyncSender<WriterMessage>,
    admission: Arc<Admission>,
}

#[derive(Debug)]
struct Admission {
    started: Instant,
    /// Second since the start (high half) and lines taken in it (low half).
    window: AtomicU64,
    /// Packed settings: rate, and the two switches above it.
    settings: AtomicU64,
    dropped: Arc<Counter>,
}

#[derive(Debug)]
enum WriterMessage {
    // Boxed: the channel's slots exist all the time.
    Line(Box<SessionLine>),
    Target(LogTarget),
    Flush(SyncSender<()>),
}

impl SessionLog {
    /// Starts the writer. It ends when the last clone is dropped.
    pub fn start(log: &Log) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let admission = Arc::new(Admission {
            started: Instant::now(),
            window: AtomicU64::new(0),
            settings: AtomicU64::new(pack(log)),
            dropped: Arc::default(),
        });
        let target = log.target.clone();
        let losses = Losses::new(Arc::clone(&admission.dropped));
        start_writer("log", move || write_all(&receiver, Sink::open(target, losses)))?;
        Ok(Self { sender, admission })
    }

    /// Takes over changed settings.
    pub fn retarget(&self, log: &Log) {
        self.admission.settings.store(pack(log), Relaxed);
        match self.sender.try_send(WriterMessage::Target(log.target.clone())) {
            Ok(()) => {}
            Err(_) => tracing::warn!("log: the writer is busy; the target stays as it was until the next reload"),
        }
    }

    /// Whether a session that carried `bytes` is to be logged at all.
    pub fn wants(&self, bytes: u64) -> bool {
        let settings = self.admission.settings.load(Relaxed);
        settings & SESSIONS != 0 && (bytes > 0 || settings & DONTLOGNULL == 0)
    }

    /// Hands a line over, or counts it as dropped. Never waits.
    pub fn line(&self, line: SessionLine) {
        if !self.admission.admits() || self.sender.try_send(WriterMessage::Line(Box::new(line))).is_err() {
            self.admission.dropped.add(1);
        }
    }

    /// Lines left out so far.
    pub fn dropped(&self) -> u64 {
        self.admission.dropped.value()
    }

    /// Waits up to a second until what was handed over is written. The end of a drain may just have filled the queue.
    pub fn flush(&self) {
        let until = Instant::now() + Duration::from_secs(1);
        let (done, wait) = sync_channel(1);
        while let Err(TrySendError::Full(_)) = self.sender.try_send(WriterMessage::Flush(done.clone())) {
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

impl Admission {
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
const RATE: u64 = 0xffff_ffff;
const SESSIONS: u64 = 1 << 32;
const DONTLOGNULL: u64 = 1 << 33;

fn pack(log: &Log) -> u64 {
    let flag = |on: bool, bit: u64| if on { bit } else { 0 };
    u64::from(log.rate) | flag(log.sessions, SESSIONS) | flag(log.dontlognull, DONTLOGNULL)
}

fn write_all(receiver: &Receiver<WriterMessage>, mut sink: Sink) {
    while let Some(message) = next(receiver, &mut sink) {
        match message {
            WriterMessage::Line(line) => sink.write(&line),
            WriterMessage::Target(target) => sink.retarget(target),
            WriterMessage::Flush(done) => {
                sink.flush();
                match done.try_send(()) {
                    Ok(()) | Err(_) => {}
                }
            }
        }
        sink.report();
    }
    sink.flush();
}

/// The next message; an empty queue is used to write what the sink has. `None`: no sender is left.
fn next(receiver: &Receiver<WriterMessage>, sink: &mut Sink) -> Option<WriterMessage> {
    match receiver.try_recv() {
        Ok(message) => return Some(message),
        Err(TryRecvError::Empty) => sink.flush(),
        Err(TryRecvError::Disconnected) => return None,
    }
    loop {
        match receiver.recv_timeout(Duration::from_secs(1)) {
            Ok(message) => return Some(message),
            Err(RecvTimeoutError::Timeout) => sink.report(),
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::super::line::tests::line;
    use super::*;

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
