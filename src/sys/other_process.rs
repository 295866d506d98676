//! A process that is neither this one nor its child: what it is called, the sockets it listens on, and a signal to it.
//!
//! Held by its pidfd, so that nothing reaches a process that has got its pid meanwhile.
//! Limit: duplicating its descriptors needs the rights of a debugger (CAP_SYS_PTRACE, or the same user).

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::process::{PidfdGetfdFlags, Signal, pidfd_getfd, pidfd_send_signal};

use super::fd;
use super::port_holder::parent_of;
use super::process::pidfd_open;

/// The process.
#[derive(Debug)]
pub(crate) struct OtherProcess {
    pub(crate) pid: u32,
    pidfd: OwnedFd,
}

impl OtherProcess {
    /// Fails if there is no such process.
    pub(crate) fn open(pid: u32) -> io::Result<Self> {
        Ok(Self { pid, pidfd: pidfd_open(pid)? })
    }

    /// Its children.
    pub(crate) fn children(&self) -> Vec<Self> {
        let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| parent_of(*pid) == Some(self.pid)).filter_map(|pid| Self::open(pid).ok()).collect()
    }

    /// Whether its name or its program begins with this word.
    pub(crate) fn is_called(&self, word: &str) -> bool {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        let program = fs::read_link(format!("/proc/{}/exe", self.pid)).unwrap_or_default();
        let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with(word) || program.starts_with(word)
    }

    /// Duplicates of the TCP sockets that it listens on.
    pub(crate) fn listening(&self) -> io::Result<Vec<OwnedFd>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(format!("/proc/{}/fd", self.pid))? {
            let entry = entry?;
            let is_socket = match fs::read_link(entry.path()) {
                Ok(target) => is_socket(&target),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
                // It was closed since.
                Err(_) => false,
            };
            let Some(number) = entry.file_name().to_str().filter(|_| is_socket).and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let socket = pidfd_getfd(&self.pidfd, number, PidfdGetfdFlags::empty())?;
            if fd::not_listening(socket.as_fd()).is_none() && super::socket::local_addr(socket.as_fd()).is_ok() {
                found.push(socket);
            }
        }
        Ok(found)
    }

    /// Ends it after its sessions (USR1).
    pub(crate) fn finish(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.pidfd, Signal::USR1)?)
    }

    /// Ends it (TERM).
    pub(crate) fn terminate(&self) -> io::Result<()> {
        Ok(pidfd_send_signal(&self.pidfd, Signal::TERM)?)
    }
}

/// `socket:[4711]`
fn is_socket(target: &Path) -> bool {
    target.to_str().is_some_and(|target| target.starts_with("socket:"))
}
