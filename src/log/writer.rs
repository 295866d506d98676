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

use super::change_line::ChangeLine;
use super::line::SessionLine;
use super::sinks::Sinks;
use crate::config::LogPlace;
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
    /// Lines a second; 0: no limit.
    rate: AtomicU64,
    dropped: Arc<Counter>,
}

#[derive(Debug)]
enum WriterMessage {
    // Boxed: the channel's slots exist all the time.
    Line(Box<SessionLine>),
    Changed(Box<ChangeLine>),
    Places(Vec<LogPlace>),
    Flush(SyncSender<()>),
}

impl SessionLog {
    /// Starts the writer. It ends when the last clone is dropped. `places`: all that lines may go to.
    pub fn start(rate: u32, places: Vec<LogPlace>) -> io::Result<Self> {
        let (sender, receiver) = sync_channel(QUEUE);
        let admission = Arc::new(Admission {
            started: Instant::now(),
            window: AtomicU64::new(0),
            rate: AtomicU64::new(rate.into()),
            dropped: Arc::default(),
        });
        let lost = Arc::clone(&admission.dropped);
        start_writer("log", move || write_all(&receiver, Sinks::open(places, lost)))?;
        Ok(Self { sender, admission })
    }

    /// Takes over changed settings.
    pub fn change(&self, rate: u32, places: Vec<LogPlace>) {
        self.admission.rate.store(rate.into(), Relaxed);
        match self.sender.try_send(WriterMessage::Places(places)) {
            Ok(()) => {}
            Err(_) => tracing::warn!("log: the writer is busy; places that left stay open until the next reload"),
        }
    }

    /// Hands a line over, or counts it as dropped. Never waits.
    pub fn line(&self, line: SessionLine) {
        if !self.admission.admits() || self.sender.try_send(WriterMessage::Line(Box::new(line))).is_err() {
            self.admission.dropped.add(1);
        }
    }

    /// Hands a line about a server over, or counts it as dropped. They are few: the rate does not concern them.
    pub(crate) fn changed(&self, line: ChangeLine) {
        if !line.log.targets.is_empty() && self.sender.try_send(WriterMessage::Changed(Box::new(line))).is_err() {
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
        let rate = self.rate.load(Relaxed);
        if rate == 0 {
            return true;
        }
        let second = self.started.elapsed().as_secs() << 32;
        let counted = self.window.fetch_update(Relaxed, Relaxed, |window| {
            let taken = if window & !LINES == second { window & LINES } else { 0 };
            (taken < rate).then_some(second | (taken + 1))
        });
        counted.is_ok()
    }
}

const QUEUE: usize = 8192;
const LINES: u64 = 0xffff_ffff;

fn write_all(receiver: &Receiver<WriterMessage>, mut sinks: Sinks) {
    while let Some(message) = next(receiver, &mut sinks) {
        match message {
            WriterMessage::Line(line) => sinks.write(&line),
            WriterMessage::Changed(line) => sinks.write_change(&line),
            WriterMessage::Places(places) => sinks.change(&places),
            WriterMessage::Flush(done) => {
                sinks.flush();
                match done.try_send(()) {
                    Ok(()) | Err(_) => {}
                }
            }
        }
        sinks.report();
    }
    sinks.flush();
}

/// The next message; an empty queue is used to write what the sinks have. `None`: no sender is left.
fn next(receiver: &Receiver<WriterMessage>, sinks: &mut Sinks) -> Option<WriterMessage> {
    match receiver.try_recv() {
        Ok(message) => return Some(message),
        Err(TryRecvError::Empty) => sinks.flush(),
        Err(TryRecvError::Disconnected) => return None,
    }
    loop {
        match receiver.recv_timeout(Duration::from_secs(1)) {
            Ok(message) => return Some(message),
            Err(RecvTimeoutError::Timeout) => sinks.report(),
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::super::line::tests::line;
    use super::*;
    use crate::config::{LogSettings, LogTarget};

    fn to(place: LogPlace) -> SessionLine {
        let targets = vec![LogTarget::new(place)];
        SessionLine { settings: Arc::new(LogSettings { targets, ..LogSettings::default() }), ..line() }
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
        let log = SessionLog::start(0, Vec::new()).unwrap();
        let line = to(LogPlace::SyslogUnix(path.clone()));
        while log.dropped() == 0 {
            log.line(line.clone());
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
        let line = to(LogPlace::SyslogUdp(([127, 0, 0, 1], 9).into()));
        let log = SessionLog::start(3, Vec::new()).unwrap();
        // Two seconds may be touched.
        (0..10).for_each(|_| log.line(line.clone()));
        assert!((4..=7).contains(&log.dropped()), "{}", log.dropped());
    }
}
