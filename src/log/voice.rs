//! The voice of the process: every message on stderr, from every thread, goes through here.
//!
//! Rule: what is said never harms what is done. A message is put into a queue with a bound, which a thread of its own
//! writes; no other thread waits for stderr, except for a moment at the end of the process. A stderr that is full, closed
//! or without a reader keeps its messages in the queue; those beyond the bound are lost, counted, and reported as soon as
//! stderr takes something again.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::VecDeque;
use std::fmt::Display;
use std::io::{self, IsTerminal};
use std::os::fd::AsFd;
use std::panic;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::pace::Backoff;
use crate::sys::output::{MOST, has_room, start_writer, write_some};

/// Exists once, as `VOICE`.
#[derive(Debug)]
struct Voice {
    unsaid: Mutex<Unsaid>,
    /// There is something to write, or a flush is in a hurry.
    work: Condvar,
    /// Something was written, or a write failed.
    progress: Condvar,
}

/// Messages that are not written yet.
#[derive(Debug)]
struct Unsaid {
    queue: VecDeque<u8>,
    /// Lines that had no room, since the last report.
    lost: u64,
    lost_ever: u64,
    /// Writes so far, and how many of them failed.
    writes: u64,
    failures: u64,
    /// The pause after a failure is to end.
    hurry: bool,
    /// The thread runs.
    running: bool,
}

static VOICE: Voice = Voice { unsaid: Mutex::new(Unsaid::new()), work: Condvar::new(), progress: Condvar::new() };

/// Writes what is unsaid when it is dropped, at the end of `main`.
#[derive(Debug)]
pub(crate) struct LastWords;

/// From now on panics are said here, too.
pub(crate) fn begin() -> LastWords {
    panic::set_hook(Box::new(|panic| {
        let trace = Backtrace::capture();
        let trace = if trace.status() == BacktraceStatus::Captured { format!("\n{trace}") } else { String::new() };
        say(format_args!("thread {}: {panic}{trace}", thread::current().name().unwrap_or("without a name")));
    }));
    LastWords
}

/// Starts the thread now rather than at the first message, in a process that is to have as many threads at its end as at
/// its beginning.
pub(crate) fn start() {
    VOICE.wake(VOICE.lock());
}

/// A message of the process: `lb: ` and the text. Never waits, never fails.
pub(crate) fn say(text: impl Display) {
    VOICE.take(format!("lb: {text}\n").as_bytes());
}

/// Bytes as they are. Never waits, never fails.
pub(crate) fn write(bytes: &[u8]) {
    VOICE.take(bytes);
}

/// As [`write()`], for a report of any length at the end of a command: waits as long as stderr takes more.
pub(crate) fn write_all(text: &str) {
    for line in text.split_inclusive('\n') {
        VOICE.wait_for_room(line.len());
        VOICE.take(line.as_bytes());
    }
}

/// Waits until everything is written, but not for a stderr that takes nothing.
pub(crate) fn flush() {
    VOICE.flush();
}

/// Lines that the next program of this process would not know of.
pub(crate) fn unsaid_lines() -> u64 {
    let unsaid = VOICE.lock();
    unsaid.lost + lines(unsaid.queue.iter())
}

/// Reports lines that the former program of this process has lost.
pub(crate) fn inherit_lost(lines: u64) {
    let mut unsaid = VOICE.lock();
    unsaid.lose(lines);
    VOICE.wake(unsaid);
}

/// Lines lost so far, reported or not.
pub(crate) fn lost_lines() -> u64 {
    VOICE.lock().lost_ever
}

/// Whether stderr is a terminal.
pub(crate) fn is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// For `tracing`: its messages arrive whole, each in one call.
#[derive(Debug)]
pub(crate) struct MessageWriter;

impl io::Write for MessageWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LastWords {
    fn drop(&mut self) {
        flush();
    }
}

impl Voice {
    fn lock(&self) -> MutexGuard<'_, Unsaid> {
        self.unsaid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&'static self, bytes: &[u8]) {
        let mut unsaid = self.lock();
        unsaid.push(bytes);
        self.wake(unsaid);
    }

    /// Wakes the thread. Where none can be started the queue waits for the next attempt, or for the flush.
    fn wake(&'static self, mut unsaid: MutexGuard<'_, Unsaid>) {
        if !unsaid.running {
            unsaid.running = start_writer("voice", || self.run()).is_ok();
        }
        drop(unsaid);
        self.work.notify_one();
    }

    fn run(&self) {
        let mut pause = Backoff::new(FIRST_PAUSE, LONGEST_PAUSE).jittered();
        loop {
            drop(self.work.wait_while(self.lock(), |unsaid| unsaid.queue.is_empty()));
            if self.write_some(ROOM).is_err() {
                let delay = pause.delay();
                let paused = self.work.wait_timeout_while(self.lock(), delay, |unsaid| !unsaid.hurry);
                paused.unwrap_or_else(PoisonError::into_inner).0.hurry = false;
            } else {
                pause.reset();
            }
        }
    }

    /// Writes the oldest part of the queue, without the lock. Returns how much. Only one thread may do so.
    fn write_some(&self, patience: Duration) -> io::Result<usize> {
        let mut part = [0; MOST];
        let part = self.lock().front(&mut part);
        let outcome = write_some(io::stderr().as_fd(), part, patience);
        let mut unsaid = self.lock();
        match &outcome {
            Ok(written) => unsaid.pop(*written),
            Err(_) => unsaid.failures += 1,
        }
        self.progress.notify_all();
        outcome
    }

    /// Until the queue is empty, a write fails, or stderr takes nothing for [`LAST_MOMENT`].
    fn flush(&self) {
        let mut unsaid = self.lock();
        if unsaid.queue.is_empty() {
            return;
        }
        if !unsaid.running {
            drop(unsaid);
            while self.write_some(LAST_MOMENT).is_ok_and(|written| written > 0) {}
            return;
        }
        let failures = unsaid.failures;
        unsaid.hurry = true;
        self.work.notify_one();
        let by = Instant::now() + LAST_WAIT;
        while !unsaid.queue.is_empty() && unsaid.failures == failures {
            let writes = unsaid.writes;
            let idle = |unsaid: &mut Unsaid| unsaid.writes == writes && unsaid.failures == failures;
            let waited = self.progress.wait_timeout_while(unsaid, LAST_MOMENT, idle);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            unsaid = guard;
            // Where there is room, it is the thread that has not had its turn on a busy machine.
            if timeout.timed_out()
                && (Instant::now() >= by || !has_room(io::stderr().as_fd(), Duration::ZERO).unwrap_or(false))
            {
                break;
            }
        }
        unsaid.hurry = false;
    }

    fn wait_for_room(&self, bytes: usize) {
        let unsaid = self.lock();
        // After a loss there was a wait already, in vain.
        let full = unsaid.lost == 0 && unsaid.queue.len() + bytes > BOUND;
        drop(unsaid);
        if full {
            self.flush();
        }
    }
}

impl Unsaid {
    const fn new() -> Self {
        Self { queue: VecDeque::new(), lost: 0, lost_ever: 0, writes: 0, failures: 0, hurry: false, running: false }
    }

    /// Takes whole lines as long as they have room. After a loss none has until the queue is empty, so that the report of
    /// the loss stands where the lines are missing.
    fn push(&mut self, bytes: &[u8]) {
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.lost == 0 && self.queue.len() + line.len() <= BOUND {
                self.queue.extend(line);
            } else {
                self.lose(1);
            }
        }
    }

    fn lose(&mut self, lines: u64) {
        self.lost += lines;
        self.lost_ever += lines;
        self.report_loss();
    }

    /// Copies the oldest bytes.
    fn front<'a>(&self, part: &'a mut [u8; MOST]) -> &'a [u8] {
        let length = self.queue.len().min(MOST);
        part.iter_mut().zip(&self.queue).for_each(|(to, from)| *to = *from);
        &part[..length]
    }

    fn pop(&mut self, written: usize) {
        self.queue.drain(..written);
        self.writes += u64::from(written > 0);
        self.report_loss();
    }

    /// Puts the report into the queue once it is empty.
    fn report_loss(&mut self) {
        if self.queue.is_empty() && self.lost > 0 {
            let lines = std::mem::take(&mut self.lost);
            let s = if lines == 1 { "" } else { "s" };
            let report = format!("lb: {lines} line{s} of messages lost: stderr did not take them\n");
            self.queue.extend(report.as_bytes());
        }
    }
}

fn lines<'a>(bytes: impl Iterator<Item = &'a u8>) -> u64 {
    bytes.map(|byte| u64::from(*byte == b'\n')).sum()
}

/// Bytes of messages that wait for stderr at most: also a burst, when a thousand servers go DOWN before the thread has its
/// turn on a busy machine.
const BOUND: usize = 128 * 1024;

/// How long one attempt waits for room.
const ROOM: Duration = Duration::from_secs(1);

/// How long the end of the process waits for a stderr that takes nothing.
const LAST_MOMENT: Duration = Duration::from_millis(500);

/// And how long for its own thread where stderr has room.
const LAST_WAIT: Duration = Duration::from_secs(10);

/// After a write that failed: a full disk, a reader that has left.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_beyond_the_bound_are_lost_and_reported_where_they_are_missing() {
        let mut unsaid = Unsaid::new();
        let line = [[b'x'; 99].as_slice(), b"\n"].concat();
        let room = BOUND / line.len();
        unsaid.push(&line.repeat(room + 2));
        assert_eq!((unsaid.lost, unsaid.queue.len()), (2, room * line.len()));
        // Room alone is not enough: the report comes first.
        unsaid.pop(line.len());
        unsaid.push(b"later\n");
        assert_eq!(unsaid.lost, 3);
        unsaid.pop(unsaid.queue.len());
        unsaid.push(b"again\n");
        let text = String::from_utf8(unsaid.queue.iter().copied().collect()).unwrap();
        assert_eq!(text, "lb: 3 lines of messages lost: stderr did not take them\nagain\n");
        assert_eq!((unsaid.lost, unsaid.lost_ever), (0, 3));
    }

    #[test]
    fn a_line_that_is_too_long_is_lost_alone() {
        let mut unsaid = Unsaid::new();
        unsaid.push(&[b'x'; BOUND + 1]);
        unsaid.push(b"short\n");
        let text = String::from_utf8(unsaid.queue.iter().copied().collect()).unwrap();
        assert!(text.starts_with("lb: 1 line of") && text.ends_with("\nshort\n"), "{text}");
    }
}
