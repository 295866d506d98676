//! SignalQueue: the ones that the supervisor handles, read from a descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::Signal;
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::handoff::control::Stop;
use crate::sys::{process, signals};

/// The blocked signals of this process.
#[derive(Debug)]
pub(crate) struct SignalQueue(SignalFd);

/// What a signal asks for.
#[derive(Debug)]
pub(crate) enum SignalRequest {
    /// CHLD: children have ended.
    Reap,
    /// TERM, INT, USR1 or QUIT, with the signal for the message.
    Stop(Signal, Stop),
    /// HUP.
    Reload,
    /// USR2.
    Upgrade,
    /// HUP and USR2 to `haproxy`: as `Reload`, and as `Upgrade` where there is another binary.
    Renew,
}

impl SignalQueue {
    /// Blocks the signals. Must come before the first child, so that no exit is missed; signals that came while a former
    /// supervisor was replaced by this program are still pending.
    pub(crate) fn block() -> io::Result<Self> {
        let blocked = signals::begin(&[])?;
        Ok(Self(SignalFd::with_flags(&blocked, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?))
    }

    /// The next pending signal that means something, if there is one. The others are taken as well, without an effect.
    pub(crate) fn next(&self) -> Option<SignalRequest> {
        let as_haproxy = process::is_haproxy();
        while let Ok(Some(info)) = self.0.read_signal() {
            match Signal::try_from(info.ssi_signo.cast_signed()) {
                Ok(Signal::SIGCHLD) => return Some(SignalRequest::Reap),
                Ok(signal @ Signal::SIGTERM) if as_haproxy => return Some(SignalRequest::Stop(signal, Stop::NOW)),
                Ok(signal @ Signal::SIGTERM) => return Some(SignalRequest::Stop(signal, Stop::DRAIN)),
                Ok(signal @ Signal::SIGINT) => return Some(SignalRequest::Stop(signal, Stop::NOW)),
                Ok(signal @ (Signal::SIGUSR1 | Signal::SIGQUIT)) => {
                    return Some(SignalRequest::Stop(signal, Stop::SOFT));
                }
                Ok(Signal::SIGHUP | Signal::SIGUSR2) if as_haproxy => return Some(SignalRequest::Renew),
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
