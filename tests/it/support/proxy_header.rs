//! Reads PROXY protocol headers, written from the protocol's text instead of with the product's parser, so that a
//! misunderstanding shows.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProxyHeader {
    pub(crate) version: u8,
    /// `None`: `UNKNOWN` or `LOCAL`.
    pub(crate) source: Option<SocketAddr>,
    pub(crate) destination: Option<SocketAddr>,
}

/// Reads exactly the header from `stream`.
pub(crate) async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<ProxyHeader> {
    let mut bytes = vec![0; 12];
    stream.read_exact(&mut bytes).await?;
    if bytes == *SIGNATURE { version_2(stream).await } else { version_1(bytes, stream).await }
}

async fn version_1(mut line: Vec<u8>, stream: &mut (impl AsyncRead + Unpin)) -> io::Result<ProxyHeader> {
    while !line.ends_with(b"\r\n") {
        line.push(stream.read_u8().await?);
        if line.len() > 107 {
            return Err(io::ErrorKind::InvalidData.into());
        }
    }
    let text = String::from_utf8(line).map_err(|_| io::ErrorKind::InvalidData)?;
    let words: Vec<&str> = text.trim_end().split(' ').collect();
    let addr = |ip: usize, port: usize| -> Option<SocketAddr> {
        Some(SocketAddr::new(words.get(ip)?.parse().ok()?, words.get(port)?.parse().ok()?))
    };
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => Ok(ProxyHeader { version: 1, source: None, destination: None }),
        ["PROXY", "TCP4" | "TCP6", ..] if words.len() == 6 => {
            Ok(ProxyHeader { version: 1, source: addr(2, 4), destination: addr(3, 5) })
        }
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

async fn version_2(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<ProxyHeader> {
    let command = stream.read_u8().await?;
    let family = stream.read_u8().await?;
    let mut body = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut body).await?;
    let (source, destination) = match (command, family) {
        (0x20, _) | (0x21, 0x00) => (None, None),
        (0x21, 0x11) if body.len() >= 12 => {
            let ip = |at: usize| IpAddr::from(<[u8; 4]>::try_from(&body[at..at + 4]).map(Ipv4Addr::from).unwrap());
            (Some(SocketAddr::new(ip(0), port(&body, 8))), Some(SocketAddr::new(ip(4), port(&body, 10))))
        }
        (0x21, 0x21) if body.len() >= 36 => {
            let ip = |at: usize| IpAddr::from(<[u8; 16]>::try_from(&body[at..at + 16]).map(Ipv6Addr::from).unwrap());
            (Some(SocketAddr::new(ip(0), port(&body, 32))), Some(SocketAddr::new(ip(16), port(&body, 34))))
        }
        _ => return Err(io::ErrorKind::InvalidData.into()),
    };
    Ok(ProxyHeader { version: 2, source, destination })
}

fn port(body: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([body[at], body[at + 1]])
}

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
