//! The outcome of a session as seen from one of its ends.

use std::io;

/// What ended the receiving direction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// An orderly end: the peer's FIN.
    Fin,
    /// The peer's RST.
    Reset,
    /// Nothing arrived within the deadline of the test: the session hangs.
    Timeout,
    /// The connection could not be made, or broke in another way.
    Failed(io::ErrorKind),
}

/// One end's account of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) sent: u64,
    pub(crate) received: u64,
    /// The first received byte that is not what was sent.
    pub(crate) corrupt_at: Option<u64>,
    pub(crate) ending: Ending,
}

impl Outcome {
    /// Whether every byte arrived, unchanged, and the end was orderly.
    pub(crate) fn is_whole(&self, received: u64) -> bool {
        self.received == received && self.corrupt_at.is_none() && self.ending == Ending::Fin
    }
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            // A write into a connection that was reset earlier fails with EPIPE.
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Self::Reset,
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Timeout,
            other => Self::Failed(other),
        }
    }
}
