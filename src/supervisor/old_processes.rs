//! The processes that `haproxy -sf` and `-st` name: an `lb`, which hands everything over, or a HAProxy, whose listening
//! sockets are duplicated and which ends by itself once this one serves.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use crate::supervisor::stderr::print;
use crate::supervisor::takeover::by_pid;
use crate::sys::other_process::OtherProcess;

/// How an old process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OldEnd {
    /// After its sessions: USR1.
    Finish,
    /// At once: TERM.
    Terminate,
}

/// Those of them that run.
#[derive(Debug)]
pub(crate) struct OldProcesses {
    processes: Vec<OtherProcess>,
    old_end: OldEnd,
}

impl OldProcesses {
    /// A pid file may be older than the process that has its pid now: what is no `haproxy` by its name is left alone.
    pub(crate) fn find(pids: &[u32], old_end: OldEnd) -> Self {
        let found = pids.iter().filter_map(|pid| OtherProcess::open(*pid).ok());
        let (processes, others): (Vec<_>, Vec<_>) = found.partition(|process| process.is_called("haproxy"));
        for other in others {
            print(format!("pid {} is no haproxy and is left alone", other.pid));
        }
        Self { processes, old_end }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.processes.is_empty()
    }

    /// The takeover socket of the one that is an `lb`.
    pub(crate) fn takeover_path(&self) -> Option<PathBuf> {
        self.processes.iter().find_map(|process| by_pid::path_of(process.pid))
    }

    /// Duplicates of the sockets that they and their children listen on.
    pub(crate) fn listening(&self) -> io::Result<Vec<OwnedFd>> {
        let mut found = Vec::new();
        for process in &self.processes {
            found.extend(process.listening()?);
            for child in process.children() {
                found.extend(child.listening()?);
            }
        }
        Ok(found)
    }

    /// Sends each the signal that ends it.
    pub(crate) fn dismiss(&self) {
        for process in &self.processes {
            let sent = match self.old_end {
                OldEnd::Finish => process.finish(),
                OldEnd::Terminate => process.terminate(),
            };
            match sent {
                Ok(()) => {}
                // It has ended already.
                Err(error) if error.raw_os_error() == Some(nix::libc::ESRCH) => {}
                Err(error) => {
                    print(format!("pid {}, the old process, gets no signal: {error}; end it yourself", process.pid))
                }
            }
        }
    }
}
