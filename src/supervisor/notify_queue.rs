//! NotifyQueue: messages to the service manager at NOTIFY_SOCKET, none of which is waited for: a socket that is not read
//! takes eleven (`net.unix.max_dgram_qlen`), and the twelfth would stop the supervisor.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::thread;
use std::time::{Duration, Instant};

use crate::pace::OncePerSecond;
use crate::supervisor::stderr::print;
use crate::sys::fd;

/// What the service manager has not taken yet, in order.
#[derive(Debug, Default)]
pub(crate) struct NotifyQueue {
    waiting: RefCell<VecDeque<Notification>>,
    retry_at: Cell<Option<Instant>>,
    reports: Cell<OncePerSecond>,
}

/// A message, with the socket to be stored.
#[derive(Debug)]
struct Notification {
    text: String,
    socket: Option<OwnedFd>,
}

impl NotifyQueue {
    /// Sends a message, or queues it behind those that wait.
    pub(crate) fn send(&self, text: String, socket: Option<BorrowedFd<'_>>) {
        if env::var_os(SOCKET).is_none() {
            return;
        }
        let mut waiting = self.waiting.borrow_mut();
        let sent = if waiting.is_empty() { send(&text, socket) } else { Err(io::ErrorKind::WouldBlock.into()) };
        let queued = match sent {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            Ok(()) => return,
            Err(_) if waiting.len() >= BOUND => Err(io::Error::other("it has taken none for too long")),
            Err(_) => socket.map(|socket| socket.try_clone_to_owned()).transpose(),
        };
        match queued {
            Ok(socket) => {
                waiting.push_back(Notification { text, socket });
                self.retry_at.set(self.retry_at.get().or_else(|| Some(Instant::now() + RETRY)));
            }
            Err(error) => self.report(&error),
        }
    }

    /// When the service manager is to be tried again.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.retry_at.get()
    }

    /// Whether no message waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.borrow().is_empty()
    }

    /// Tries again, if that is due.
    pub(crate) fn on_time(&self, now: Instant) {
        if self.retry_at.get().is_some_and(|at| now >= at) {
            self.send_waiting(now);
        }
    }

    /// Before this program ends: waits a moment, then gives up. What is left stays queued: should the program not be
    /// replaced after all, it is sent later.
    pub(crate) fn finish(&self) {
        let begun = Instant::now();
        while !self.is_empty() && begun.elapsed() < LAST_MOMENT {
            self.send_waiting(Instant::now());
            thread::sleep(LAST_MOMENT / 50);
        }
        let lost = self.waiting.borrow().len();
        if lost > 0 {
            print(format!("the service manager has not taken {lost} messages"));
        }
    }

    fn send_waiting(&self, now: Instant) {
        let mut waiting = self.waiting.borrow_mut();
        while let Some(Notification { text, socket }) = waiting.front() {
            match send(text, socket.as_ref().map(AsFd::as_fd)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Ok(()) => {}
                Err(error) => self.report(&error),
            }
            waiting.pop_front();
        }
        self.retry_at.set((!waiting.is_empty()).then(|| now + RETRY));
    }

    fn report(&self, error: &io::Error) {
        let mut reports = self.reports.get();
        if reports.is_due(Instant::now()) {
            print(format!("cannot tell the service manager: {error}"));
        }
        self.reports.set(reports);
    }
}

fn send(text: &str, socket: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let Some(path) = env::var_os(SOCKET) else {
        return Ok(());
    };
    let manager = UnixDatagram::unbound()?;
    manager.set_nonblocking(true)?;
    manager.connect_addr(&address(&path)?)?;
    fd::send(manager.as_fd(), text.as_bytes(), socket.as_slice())
}

/// `@` begins the name of an abstract socket.
fn address(path: &OsStr) -> io::Result<SocketAddr> {
    match path.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(path),
    }
}

const SOCKET: &str = "NOTIFY_SOCKET";

/// More than systemd's own limit of descriptors in a store.
const BOUND: usize = 1024;

const RETRY: Duration = Duration::from_millis(100);
const LAST_MOMENT: Duration = Duration::from_millis(500);
