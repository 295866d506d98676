//! Version 2, binary: 12 bytes of signature, version and command, family and protocol, length, addresses, TLVs.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::decoded::{Decoded, MAX_V2, Malformed};
use super::tlv;

pub(super) fn encode(src: Option<SocketAddr>, dst: Option<SocketAddr>) -> Vec<u8> {
    let mut header = Vec::with_capacity(FIXED + IPV6_LEN);
    header.extend_from_slice(&SIGNATURE);
    match (src, dst) {
        (Some(SocketAddr::V4(src)), Some(SocketAddr::V4(dst))) => {
            header.extend_from_slice(&[PROXY, TCP4, 0, IPV4_LEN as u8]);
            header.extend_from_slice(&src.ip().octets());
            header.extend_from_slice(&dst.ip().octets());
            header.extend_from_slice(&src.port().to_be_bytes());
            header.extend_from_slice(&dst.port().to_be_bytes());
        }
        (Some(SocketAddr::V6(src)), Some(SocketAddr::V6(dst))) => {
            header.extend_from_slice(&[PROXY, TCP6, 0, IPV6_LEN as u8]);
            header.extend_from_slice(&src.ip().octets());
            header.extend_from_slice(&dst.ip().octets());
            header.extend_from_slice(&src.port().to_be_bytes());
            header.extend_from_slice(&dst.port().to_be_bytes());
        }
        _ => header.extend_from_slice(&[LOCAL, UNSPEC, 0, 0]),
    }
    header
}

/// Each byte of the fixed part is judged as soon as it is there.
pub(super) fn decode(buf: &[u8]) -> Result<Decoded, Malformed> {
    let signature = &buf[..buf.len().min(SIGNATURE.len())];
    if !SIGNATURE.starts_with(signature) {
        return Err(Malformed::NoHeader);
    }
    let Some(&command) = buf.get(12) else {
        return Ok(Decoded::Incomplete);
    };
    if !matches!(command, LOCAL | PROXY) {
        return Err(Malformed::V2Command(command));
    }
    let Some(&family) = buf.get(13) else {
        return Ok(Decoded::Incomplete);
    };
    // With LOCAL the family is to be ignored, whatever it is.
    let needed = if command == LOCAL { 0 } else { address_len(family)? };
    let Some(&high) = buf.get(14) else {
        return Ok(Decoded::Incomplete);
    };
    if usize::from(high) << 8 > MAX_V2 - FIXED {
        return Err(Malformed::V2TooLong);
    }
    let Some(&low) = buf.get(15) else {
        return Ok(Decoded::Incomplete);
    };
    let len = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if len > MAX_V2 {
        return Err(Malformed::V2TooLong);
    }
    if len < FIXED + needed {
        return Err(Malformed::V2TooShort);
    }
    let Some(block) = buf.get(FIXED..len) else {
        return Ok(Decoded::Incomplete);
    };
    let addresses = if command == PROXY { addresses(family, block) } else { None };
    if addresses.is_some() && !tlv::are_sound(&buf[..len], FIXED + needed) {
        return Err(Malformed::V2Tlv);
    }
    Ok(Decoded::header(len, addresses))
}

/// Bytes that the addresses of a family take.
fn address_len(family: u8) -> Result<usize, Malformed> {
    match (family >> 4, family & 0x0f) {
        (0, 0..=2) => Ok(0),
        (1, 0..=2) => Ok(IPV4_LEN),
        (2, 0..=2) => Ok(IPV6_LEN),
        (3, 0..=2) => Ok(UNIX_LEN),
        _ => Err(Malformed::V2Family(family)),
    }
}

/// The addresses of a TCP connection; as in HAProxy, other protocols are accepted and their addresses ignored.
fn addresses(family: u8, block: &[u8]) -> Option<(SocketAddr, SocketAddr)> {
    match family {
        TCP4 => {
            let (src, rest) = block.split_first_chunk::<4>()?;
            let (dst, rest) = rest.split_first_chunk::<4>()?;
            let (src_port, dst_port) = ports(rest)?;
            Some(((Ipv4Addr::from(*src), src_port).into(), (Ipv4Addr::from(*dst), dst_port).into()))
        }
        TCP6 => {
            let (src, rest) = block.split_first_chunk::<16>()?;
            let (dst, rest) = rest.split_first_chunk::<16>()?;
            let (src_port, dst_port) = ports(rest)?;
            Some(((Ipv6Addr::from(*src), src_port).into(), (Ipv6Addr::from(*dst), dst_port).into()))
        }
        _ => None,
    }
}

fn ports(rest: &[u8]) -> Option<(u16, u16)> {
    let (src, rest) = rest.split_first_chunk::<2>()?;
    let dst = rest.first_chunk::<2>()?;
    Some((u16::from_be_bytes(*src), u16::from_be_bytes(*dst)))
}

/// Chosen so that no other protocol begins with it.
pub(super) const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, command, family and length.
const FIXED: usize = 16;

const LOCAL: u8 = 0x20;
const PROXY: u8 = 0x21;

const UNSPEC: u8 = 0x00;
const TCP4: u8 = 0x11;
const TCP6: u8 = 0x21;

const IPV4_LEN: usize = 12;
const IPV6_LEN: usize = 36;
const UNIX_LEN: usize = 216;
