//! systemd: notifications to the service manager, and its fd store. Without NOTIFY_SOCKET nothing happens.
//!
//! Only the supervisor sends them: the pid of the service stays the same from the first notification to the last.

use std::fmt::Write as _;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use sd_notify::NotifyState;

use crate::handoff::control::Listener;
use crate::supervisor::notify_queue::NotifyQueue;

/// The service manager, if there is one.
#[derive(Debug)]
pub(crate) struct ServiceManager {
    /// READY was sent, by this program or the one that it has replaced.
    ready: bool,
    watchdog: Option<Duration>,
    next_ping: Option<Instant>,
    queue: NotifyQueue,
}

impl ServiceManager {
    /// Reads WATCHDOG_USEC. `ready`: READY was sent before.
    pub(crate) fn new(ready: bool, now: Instant) -> Self {
        let watchdog = sd_notify::watchdog_enabled();
        Self { ready, watchdog, next_ping: watchdog.map(|_| now), queue: NotifyQueue::default() }
    }

    /// READY: from now on the service counts as started.
    pub(crate) fn ready(&mut self, status: &str) {
        self.ready = true;
        self.send(&[NotifyState::Ready, NotifyState::Status(status)]);
    }

    /// Whether the service counts as started.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready
    }

    pub(crate) fn status(&self, status: &str) {
        self.send(&[NotifyState::Status(status)]);
    }

    /// A reload has begun; `ready` ends it.
    pub(crate) fn reloading(&self, status: &str) {
        let since = NotifyState::monotonic_usec_now();
        let mut states = vec![NotifyState::Reloading, NotifyState::Status(status)];
        states.extend(since);
        self.send(&states);
    }

    pub(crate) fn stopping(&self, status: &str) {
        self.send(&[NotifyState::Stopping, NotifyState::Status(status)]);
    }

    /// Keeps a listening socket in the service's fd store under a name that encodes its purpose.
    pub(crate) fn store(&self, listener: &Listener, socket: &OwnedFd) {
        let name = name_of(listener);
        let states = [NotifyState::FdStore, NotifyState::FdName(&name)];
        self.queue.send(text(&states), Some(socket.as_fd()));
    }

    /// Takes it out of the store again.
    pub(crate) fn forget(&self, listener: &Listener) {
        let name = name_of(listener);
        self.send(&[NotifyState::FdStoreRemove, NotifyState::FdName(&name)]);
    }

    /// When the next ping of the watchdog is due, or a message that waits.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        self.next_ping.into_iter().chain(self.queue.wake_at()).min()
    }

    /// Sends what waits. Pings the watchdog if that is due and the engine is `alive`.
    pub(crate) fn on_time(&mut self, alive: bool, now: Instant) {
        self.queue.on_time(now);
        if let (Some(interval), Some(due)) = (self.watchdog, self.next_ping)
            && now >= due
        {
            if alive && self.queue.is_empty() {
                self.send(&[NotifyState::Watchdog]);
            }
            self.next_ping = Some(now + interval / 3);
        }
    }

    /// The program is about to end or to be replaced.
    pub(crate) fn finish(&self) {
        self.queue.finish();
    }

    fn send(&self, states: &[NotifyState<'_>]) {
        self.queue.send(text(states), None);
    }
}

fn text(states: &[NotifyState<'_>]) -> String {
    states.iter().map(|state| format!("{state}\n")).collect()
}

/// `lb/KIND/FRONTEND/BIND/WORKER`; characters that an fd name must not hold are percent-encoded.
fn name_of(listener: &Listener) -> String {
    let parts = [
        "lb".to_owned(),
        (listener.kind as u32).to_string(),
        listener.frontend.clone(),
        listener.bind.clone(),
        listener.worker.to_string(),
    ];
    parts.map(|part| encoded(&part)).join("/")
}

/// The parts of a name from `name_of`: kind, frontend, bind, worker. `None` for any other name.
pub(crate) fn parse_name(name: &str) -> Option<(u32, String, String, u32)> {
    let parts: Vec<_> = name.split('/').collect();
    let ["lb", kind, frontend, bind, worker] = parts[..] else {
        return None;
    };
    Some((kind.parse().ok()?, decoded(frontend)?, decoded(bind)?, worker.parse().ok()?))
}

fn encoded(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b".-_[]".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            match write!(out, "%{byte:02x}") {
                Ok(()) | Err(_) => {}
            }
        }
    }
    out
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            let digits = std::str::from_utf8(&digits).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::handoff::control::ListenerKind;

    #[test]
    fn foreign_names_are_not_ours() {
        for name in ["", "lb", "web.socket", "lb/1/web", "lb/x/web/a/0", "lb/1/%zz/a/0", "lb/1/%e/a/0/"] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }

    proptest! {
        #[test]
        fn a_name_encodes_the_purpose_of_a_listener_and_is_a_valid_fd_name(frontend: String, bind: String, worker: u32) {
            let kind = ListenerKind::Traffic;
            let listener = Listener { kind, frontend, bind, worker, address: String::new(), cookie: 0 };
            let name = name_of(&listener);
            prop_assert!(name.bytes().all(|b| b.is_ascii_graphic() && b != b':'));
            prop_assert_eq!(parse_name(&name), Some((1, listener.frontend, listener.bind, worker)));
        }

        #[test]
        fn arbitrary_names_never_make_the_parser_panic(name: String) {
            drop(parse_name(&name));
        }
    }
}
