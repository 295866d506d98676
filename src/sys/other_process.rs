//! A process that is neither this one nor its child: what it is called, the sockets it listens on, and a signal to it.
//!
//! Held by its pidfd, so that nothing reaches a process that has got its pid meanwhile.
//! Limit: duplicating its descriptors needs the rights of a debugger (CAP_SYS_PTRACE, or the same user).

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::path::Path;

use rustix::io::Errno;
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

    /// Whether this is its name or that of its program.
    pub(crate) fn is_called(&self, word: &str) -> bool {
        let name = fs::read_to_string(format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        let program = fs::read_link(format!("/proc/{}/exe", self.pid)).unwrap_or_default();
        let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // The kernel adds the second where the file was replaced since.
        name.trim_end() == word || program.strip_suffix(" (deleted)").unwrap_or(&program) == word
    }

    /// Duplicates of the TCP and unix sockets that it listens on.
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
            found.extend(self.duplicate(number)?.filter(|socket| fd::not_listening(socket.as_fd()).is_none()));
        }
        Ok(found)
    }

    /// Of one of its descriptors. `None`: it was closed since, or the process has ended.
    fn duplicate(&self, number: RawFd) -> io::Result<Option<OwnedFd>> {
        match pidfd_getfd(&self.pidfd, number, PidfdGetfdFlags::empty()) {
            Ok(socket) => Ok(Some(socket)),
            Err(Errno::BADF | Errno::SRCH) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::symlink;
    use std::process::{Child, Command, Stdio};

    use super::*;

    #[test]
    fn a_descriptor_that_was_closed_since_is_passed_over() {
        let own = OtherProcess::open(std::process::id()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert!(own.duplicate(listener.as_raw_fd()).unwrap().is_some());
        assert!(own.duplicate(i32::MAX).unwrap().is_none());
        let mut ended = cat(Path::new("cat"));
        let process = OtherProcess::open(ended.id()).unwrap();
        ended.kill().unwrap();
        ended.wait().unwrap();
        assert!(process.duplicate(0).unwrap().is_none());
    }

    #[test]
    fn a_process_is_called_by_its_whole_name() {
        let dir = tempfile::tempdir().unwrap();
        for (name, expected) in [("haproxy", true), ("haproxy_exporter", false)] {
            let path = dir.path().join(name);
            symlink("/bin/cat", &path).unwrap();
            let mut child = cat(&path);
            let process = OtherProcess::open(child.id()).unwrap();
            assert_eq!(process.is_called("haproxy"), expected, "{name}");
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }

    /// It runs, under its own name, and ends with its input.
    fn cat(program: &Path) -> Child {
        let mut child = Command::new(program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        child
    }
}
