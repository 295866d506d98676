//! Version 1, a line of text: `PROXY TCP4 192.0.2.1 192.0.2.2 51234 80\r\n`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::{self, FromStr};

use super::decoded::{Decoded, MAX_V1, Malformed};

type Addrs = Option<(SocketAddr, SocketAddr)>;

pub(super) fn encode(src: Option<SocketAddr>, dst: Option<SocketAddr>) -> Vec<u8> {
    let line = match (src, dst) {
        (Some(src), Some(dst)) if src.is_ipv4() == dst.is_ipv4() => {
            let family = if src.is_ipv4() { "TCP4" } else { "TCP6" };
            let (from, to) = (src.ip(), dst.ip());
            format!("PROXY {family} {from} {to} {} {}\r\n", src.port(), dst.port())
        }
        _ => "PROXY UNKNOWN\r\n".to_owned(),
    };
    line.into_bytes()
}

pub(super) fn decode(buf: &[u8]) -> Result<Decoded, Malformed> {
    let line = &buf[..buf.len().min(MAX_V1)];
    if let Some(end) = line.windows(2).position(|two| two == b"\r\n") {
        return Ok(Decoded::header(end + 2, parse(&line[..end], Last::Whole)?));
    }
    match line.strip_suffix(b"\r") {
        Some(whole) => parse(whole, Last::Whole)?,
        None => parse(line, Last::Cut)?,
    };
    // A line that cannot end within the limit is judged when it reaches the limit.
    if line.len() == MAX_V1 { Err(Malformed::V1TooLong) } else { Ok(Decoded::Incomplete) }
}

/// Whether the last field of a line has all its bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Last {
    Whole,
    Cut,
}

/// Checks a line without its CRLF, field by field, so that a wrong field is found when it ends or earlier.
/// A line that ends in a cut field is only checked: the answer is then `None`.
fn parse(line: &[u8], last: Last) -> Result<Addrs, Malformed> {
    let mut fields = line.split(|&b| b == b' ');
    let mut next = || fields.next();
    let magic = next().unwrap_or_default();
    let Some(protocol) = next() else {
        // `PROXY` alone is a beginning, but no line.
        let beginning = last == Last::Cut && b"PROXY".starts_with(magic);
        return if beginning { Ok(None) } else { Err(Malformed::NoHeader) };
    };
    if magic != b"PROXY" {
        return Err(Malformed::NoHeader);
    }
    let rest = [next(), next(), next(), next()];
    let surplus = next().is_some();
    match protocol {
        // What follows UNKNOWN is to be ignored up to the CRLF.
        b"UNKNOWN" => Ok(None),
        b"TCP4" if !surplus => addresses::<Ipv4Addr>(rest, last),
        b"TCP6" if !surplus => addresses::<Ipv6Addr>(rest, last),
        b"TCP4" | b"TCP6" => Err(Malformed::V1Fields),
        cut if last == Last::Cut && rest[0].is_none() && is_protocol_beginning(cut) => Ok(None),
        _ => Err(Malformed::V1Protocol),
    }
}

fn is_protocol_beginning(cut: &[u8]) -> bool {
    [&b"TCP4"[..], b"TCP6", b"UNKNOWN"].iter().any(|word| word.starts_with(cut))
}

/// The two addresses and two ports, of which the last ones may be missing when the line was cut.
fn addresses<A: FromStr + Into<IpAddr>>(fields: [Option<&[u8]>; 4], last: Last) -> Result<Addrs, Malformed> {
    let mut whole = [None::<&[u8]>; 4];
    let count = fields.iter().flatten().count();
    for (n, field) in fields.into_iter().flatten().enumerate() {
        let is_address = n < 2;
        if last == Last::Whole || n + 1 < count {
            whole[n] = Some(field);
        } else if is_address && !is_address_beginning(field) {
            return Err(Malformed::V1Address);
        } else if !is_address && !field.is_empty() {
            port(field)?;
        }
    }
    let src = whole[0].map(address::<A>).transpose()?;
    let dst = whole[1].map(address::<A>).transpose()?;
    let src_port = whole[2].map(port).transpose()?;
    let dst_port = whole[3].map(port).transpose()?;
    match (src, dst, src_port, dst_port) {
        (Some(src), Some(dst), Some(src_port), Some(dst_port)) => {
            Ok(Some((SocketAddr::new(src, src_port), SocketAddr::new(dst, dst_port))))
        }
        _ if last == Last::Whole => Err(Malformed::V1Fields),
        _ => Ok(None),
    }
}

fn address<A: FromStr + Into<IpAddr>>(field: &[u8]) -> Result<IpAddr, Malformed> {
    let text = str::from_utf8(field).map_err(|_| Malformed::V1Address)?;
    text.parse::<A>().map(Into::into).map_err(|_| Malformed::V1Address)
}

fn is_address_beginning(cut: &[u8]) -> bool {
    cut.len() <= LONGEST_ADDRESS && cut.iter().all(|b| b.is_ascii_hexdigit() || matches!(b, b'.' | b':'))
}

/// A port in decimal without leading zeros. A beginning of one, except the empty one, is one as well.
fn port(field: &[u8]) -> Result<u16, Malformed> {
    let digits = match field {
        b"0" => field,
        [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit) => field,
        _ => return Err(Malformed::V1Port),
    };
    str::from_utf8(digits).ok().and_then(|text| text.parse().ok()).ok_or(Malformed::V1Port)
}

/// An IPv6 address whose last 32 bits are written as IPv4.
const LONGEST_ADDRESS: usize = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".len();
