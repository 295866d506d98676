//! The receiving end of systemd's notification protocol (sd_notify(3)): keeps each message and the descriptors sent for
//! the fd store.

use std::io::IoSliceMut;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use lb::internals::sys::fd::inherit;
use nix::fcntl::{FcntlArg, fcntl};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

#[derive(Debug)]
pub(crate) struct Notify {
    path: PathBuf,
    shared: Arc<Received>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Received {
    inbox: Mutex<Inbox>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inbox {
    /// Single assignments, in order of arrival.
    lines: Vec<String>,
    /// Kept as systemd does, by FDNAME.
    store: Vec<(String, OwnedFd)>,
}

impl Notify {
    pub(crate) fn bind(path: PathBuf) -> Self {
        let socket = UnixDatagram::bind(&path).unwrap();
        let shared = Arc::new(Received::default());
        let thread = std::thread::spawn({
            let shared = shared.clone();
            move || while receive(&socket, &shared) {}
        });
        Self { path, shared, thread: Some(thread) }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits at most `patience` until some line satisfies `wanted`.
    pub(crate) fn wait_for(&self, patience: Duration, wanted: impl Fn(&str) -> bool) -> bool {
        let inbox = self.shared.inbox.lock().unwrap();
        let missing = |inbox: &mut Inbox| !inbox.lines.iter().any(|line| wanted(line));
        let (_inbox, waited) = self.shared.changed.wait_timeout_while(inbox, patience, missing).unwrap();
        !waited.timed_out()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.shared.inbox.lock().unwrap().lines.clone()
    }

    /// The names of the descriptors in the store.
    pub(crate) fn stored(&self) -> Vec<String> {
        self.shared.inbox.lock().unwrap().store.iter().map(|(name, _)| name.clone()).collect()
    }

    /// Empties the store, as systemd does when a service has stopped.
    pub(crate) fn clear_store(&self) {
        self.shared.inbox.lock().unwrap().store.clear();
    }

    /// Names of the descriptors in the store, with duplicates that a child inherits under their numbers. They are
    /// closed by taking them back with `inherit`.
    pub(crate) fn duplicates(&self) -> Vec<(String, RawFd)> {
        let inbox = self.shared.inbox.lock().unwrap();
        let duplicate = |(name, fd): &(String, OwnedFd)| {
            // Beyond the single digits, which are the child's own descriptors.
            let copy = fcntl(fd, FcntlArg::F_DUPFD(100)).unwrap();
            (name.clone(), copy)
        };
        inbox.store.iter().map(duplicate).collect()
    }
}

impl Drop for Notify {
    fn drop(&mut self) {
        let goodbye = UnixDatagram::unbound().unwrap();
        if goodbye.send_to(GOODBYE, &self.path).is_ok()
            && let Some(thread) = self.thread.take()
        {
            drop(thread.join());
        }
        self.clear_store();
    }
}

/// Receives one message; `false` for the last.
fn receive(socket: &UnixDatagram, shared: &Received) -> bool {
    let mut buffer = [0; 4096];
    let mut control = nix::cmsg_space!([RawFd; 253]);
    let mut parts = [IoSliceMut::new(&mut buffer)];
    let message =
        recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC).unwrap();
    let mut descriptors = Vec::new();
    for part in message.cmsgs().unwrap() {
        if let ControlMessageOwned::ScmRights(fds) = part {
            descriptors.extend(fds.into_iter().map(|fd| inherit(fd).unwrap()));
        }
    }
    let length = message.bytes;
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    if text.as_bytes() == GOODBYE {
        return false;
    }
    shared.inbox.lock().unwrap().take(&text, descriptors);
    shared.changed.notify_all();
    true
}

impl Inbox {
    fn take(&mut self, text: &str, descriptors: Vec<OwnedFd>) {
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        let name = value("FDNAME").unwrap_or("stored").to_owned();
        if value("FDSTORE") == Some("1") {
            self.store.extend(descriptors.into_iter().map(|fd| (name.clone(), fd)));
        } else {
            // The sender of a barrier waits for this close.
            drop(descriptors);
        }
        if value("FDSTOREREMOVE") == Some("1") {
            self.store.retain(|(stored, _)| *stored != name);
        }
        self.lines.extend(text.lines().map(str::to_owned));
    }
}

const GOODBYE: &[u8] = b"\0goodbye";

#[test]
fn lines_and_descriptors_arrive_and_leave() {
    use sd_notify::NotifyState;
    use std::os::fd::AsFd;
    let dir = tempfile::tempdir().unwrap();
    let notify = Notify::bind(dir.path().join("notify"));
    let sender = UnixDatagram::unbound().unwrap();
    let send = |state: &[NotifyState<'_>]| {
        let text: String = state.iter().map(|state| format!("{state}\n")).collect();
        sender.send_to(text.as_bytes(), notify.path()).unwrap();
    };
    send(&[NotifyState::Status("binding"), NotifyState::Ready]);
    assert!(notify.wait_for(Duration::from_secs(5), |line| line == "READY=1"));
    assert!(!notify.wait_for(Duration::ZERO, |line| line == "STOPPING=1"));
    assert_eq!(notify.lines(), ["STATUS=binding", "READY=1"]);
    let fds = [sender.as_fd().as_raw_fd()];
    nix::sys::socket::sendmsg(
        sender.as_raw_fd(),
        &[std::io::IoSlice::new(b"FDSTORE=1\nFDNAME=web")],
        &[nix::sys::socket::ControlMessage::ScmRights(&fds)],
        MsgFlags::empty(),
        Some(&nix::sys::socket::UnixAddr::new(notify.path()).unwrap()),
    )
    .unwrap();
    assert!(notify.wait_for(Duration::from_secs(5), |line| line == "FDNAME=web"));
    assert_eq!(notify.stored(), ["web"]);
    send(&[NotifyState::FdStoreRemove, NotifyState::FdName("web")]);
    assert!(notify.wait_for(Duration::from_secs(5), |line| line == "FDSTOREREMOVE=1"));
    assert!(notify.stored().is_empty());
}
