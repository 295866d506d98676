//! The PROXY protocol: a header in front of a connection's bytes that names the ends of the original connection.
//!
//! Pure: bytes in, addresses out, and back. Both directions follow the specification of the HAProxy project
//! ("The PROXY protocol, versions 1 & 2"). Decoding takes what has arrived so far, however it was cut, and never
//! asks for more than `MAX_V1` or `MAX_V2` bytes; every byte of it is hostile.

mod decoded;
mod tlv;
mod v1;
mod v2;

use std::net::SocketAddr;

use crate::config::ProxyVersion;

pub(crate) use decoded::Decoded;

/// The header for a connection from `src` to `dst`, at most `MAX_V1` or 52 bytes.
///
/// Addresses that are missing (a health check, a unix socket) or of two families give v1 `UNKNOWN` and v2 `LOCAL`,
/// which every receiver must accept as "look at the connection itself"; it may refuse v2 `PROXY` with an
/// unspecified family. A scope or flow of an IPv6 address is not carried.
///
/// It is to be sent in one piece: nginx refuses a header that it does not get with its first read.
pub(crate) fn encode(version: ProxyVersion, src: Option<SocketAddr>, dst: Option<SocketAddr>) -> Vec<u8> {
    match version {
        ProxyVersion::V1 => v1::encode(src, dst),
        ProxyVersion::V2 => v2::encode(src, dst),
    }
}

/// Looks for a header of either version at the start of `buf`, which holds all bytes received so far.
pub(crate) fn decode(buf: &[u8]) -> Decoded {
    let decoded = match buf.first() {
        None => return Decoded::Incomplete,
        Some(&first) if first == v2::SIGNATURE[0] => v2::decode(buf),
        Some(_) => v1::decode(buf),
    };
    decoded.unwrap_or_else(Decoded::Invalid)
}

#[cfg(test)]
mod tests;
