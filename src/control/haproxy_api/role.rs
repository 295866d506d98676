//! What a socket makes of those who connect to it.

use crate::config::SocketLevel;

/// What the clients of a socket begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SocketRole {
    pub(crate) level: SocketLevel,
    /// It is the master socket.
    pub(crate) master: bool,
}
