//! SignalQueue: the ones that the supervisor handles, read from a descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::handoff::control::StopMode;

/// The blocked signals of this process.
#[derive(Debug)]
pub(crate) struct SignalQueue(SignalFd);

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SignalRequest {
    /// CHLD: children have ended.
    Reap,
    /// TERM or INT, with the signal for the message.
    Stop(Signal, StopMode),
    /// HUP.
    Reload,
    /// USR2.
    Upgrade,
}

impl SignalQueue {
    /// Blocks the signals. Must come before the first child, so that no exit is missed; signals that came while a former
    /// supervisor was replaced by this program are still pending.
    pub(crate) fn block() -> io::Result<Self> {
        let mut mask = SigSet::empty();
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR2] {
            mask.add(signal);
        }
        mask.thread_block()?;
        Ok(Self(SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// The next pending signal, if there is one.
    pub(crate) fn next(&self) -> Option<SignalRequest> {
        while let Ok(Some(info)) = self.0.read_signal() {
            match Signal::try_from(info.ssi_signo.cast_signed()) {
                Ok(Signal::SIGCHLD) => return Some(SignalRequest::Reap),
                Ok(Signal::SIGTERM) => return Some(SignalRequest::Stop(Signal::SIGTERM, StopMode::Drain)),
                Ok(Signal::SIGINT) => return Some(SignalRequest::Stop(Signal::SIGINT, StopMode::Now)),
                Ok(Signal::SIGHUP) => return Some(SignalRequest::Reload),
                Ok(Signal::SIGUSR2) => return Some(SignalRequest::Upgrade),
                _ => {}
            }
        }
        None
    }
}

impl AsFd for SignalQueue {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
