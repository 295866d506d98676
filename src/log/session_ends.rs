//! The addresses at both ends of a session, as far as they are asked for.

use std::net::SocketAddr;
use std::time::Duration;

/// Kept for sessions whose PROXY header names an address, or whose log has a format of its own.
#[derive(Debug, Clone, Default)]
pub struct SessionEnds {
    /// Where the client came in.
    pub local: Option<SocketAddr>,
    /// The server, once one is being connected.
    pub server: Option<SocketAddr>,
    /// This end of the connection to it.
    pub outgoing: Option<SocketAddr>,
    /// What the PROXY header took.
    pub handshake: Duration,
}
