//! What a decoder finds.

use std::net::SocketAddr;

/// What the bytes received so far amount to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decoded {
    /// The beginning of a header; more bytes are needed.
    Incomplete,
    /// A whole header in the first `len` bytes. Without addresses the connection's own ends are the real ones: the
    /// proxy speaks for itself (a health check) or relays something that is not TCP over IP.
    Header { len: usize, src: Option<SocketAddr>, dst: Option<SocketAddr> },
    /// No header will come of this, whatever follows: close the connection.
    Invalid(Malformed),
}

/// Why bytes are no PROXY header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Malformed {
    #[error("does not begin with a PROXY protocol header")]
    NoHeader,
    #[error("PROXY v1 header is longer than {MAX_V1} bytes")]
    V1TooLong,
    #[error("PROXY v1 protocol is none of TCP4, TCP6, UNKNOWN")]
    V1Protocol,
    #[error("PROXY v1 header has a wrong IP address")]
    V1Address,
    #[error("PROXY v1 header has a wrong port")]
    V1Port,
    #[error("PROXY v1 header does not have its two addresses and two ports")]
    V1Fields,
    #[error("PROXY v2 header is longer than {MAX_V2} bytes")]
    V2TooLong,
    #[error("PROXY v2 header is too short for its addresses")]
    V2TooShort,
    #[error("PROXY v2 header has a TLV that is malformed or does not match its checksum")]
    V2Tlv,
    #[error("PROXY v2 version or command {0:#04x} is unknown")]
    V2Command(u8),
    #[error("PROXY v2 address family or protocol {0:#04x} is unknown")]
    V2Family(u8),
}

impl Decoded {
    pub(super) fn header(len: usize, addrs: Option<(SocketAddr, SocketAddr)>) -> Self {
        let (src, dst) = addrs.unzip();
        Self::Header { len, src, dst }
    }
}

/// The longest v1 header, CRLF included, as the specification has it.
pub(crate) const MAX_V1: usize = 107;

/// The longest v2 header taken, TLVs included: as in HAProxy, whose buffer has this size. The specification allows 64 KiB,
/// far beyond the certificates and cloud metadata that proxies put into TLVs.
pub(crate) const MAX_V2: usize = 16 * 1024;
