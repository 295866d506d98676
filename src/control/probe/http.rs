//! The HTTP check: a request, and the head of its answer. As in HAProxy the status counts once the whole head is there.

use std::net::SocketAddr;

use super::conn::Conn;
use super::failure::{ProbeFailure, excerpt};
use super::matcher::Matcher;
use super::mismatch::{unmet, wanted};
use super::progress::{Passed, ProbePhase, ProbeProgress};
use crate::backend::health::CheckStatus;
use crate::config::{Expectation, HttpCheck, StatusRule};
use crate::sys::addr::Addr;

/// The request of a check; it asks for nothing that only HTTP/1.1 has.
fn request(check: &HttpCheck, host: &str) -> String {
    let HttpCheck { method, path, version, headers, body, .. } = check;
    let mut request = format!("{method} {path} HTTP/{version}\r\nHost: {host}\r\n");
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("User-Agent")) {
        request += "User-Agent: lb\r\n";
    }
    if !body.is_empty() {
        request += &format!("Content-Length: {}\r\n", body.len());
    }
    request + "Connection: close\r\n\r\n" + body
}

/// The value of `Host` for a server that is asked at `place` and was looked up by `name`: as a browser writes it.
pub(super) fn host(place: &Addr, name: Option<&str>) -> String {
    let Addr::Ip(addr) = place else {
        return "localhost".to_owned();
    };
    let host = match (name, addr) {
        // The final dot of a name is for the resolver.
        (Some(name), _) => name.strip_suffix('.').unwrap_or(name).to_owned(),
        (None, SocketAddr::V4(addr)) => addr.ip().to_string(),
        // Without its scope, which means nothing to another host.
        (None, SocketAddr::V6(addr)) => format!("[{}]", addr.ip()),
    };
    if addr.port() == 80 { host } else { format!("{host}:{}", addr.port()) }
}

/// Sends the request and judges the status of the answer, and then what it holds.
pub(super) async fn ask<'a>(
    conn: &mut Conn,
    check: &'a HttpCheck,
    host: &str,
    progress: &mut ProbeProgress<'a>,
) -> Result<Passed, ProbeFailure> {
    progress.phase = ProbePhase::Sending;
    conn.send(request(check, host).as_bytes()).await?;
    progress.phase = ProbePhase::Head;
    let (code, head) = read_head(conn, &mut progress.received).await?;
    let passed = judge(code, &check.status)?;
    if !check.content.is_empty() {
        let framing = Framing::of(&progress.received[..head]);
        progress.received.drain(..head);
        for expectation in &check.content {
            progress.phase = ProbePhase::Content(expectation);
            let found = await_content(conn, expectation, &framing, &mut progress.received).await;
            found.map_err(|failure| ProbeFailure { code: Some(code), ..failure })?;
        }
    }
    Ok(passed)
}

/// The code of the final answer, and the length of all heads with their empty lines.
async fn read_head(conn: &mut Conn, received: &mut Vec<u8>) -> Result<(u16, usize), ProbeFailure> {
    loop {
        let closed = conn.receive(received, MAX_HEAD).await? == 0;
        let cause = match status(received) {
            Parsed::Status(code, length) => return Ok((code, length)),
            // All that an old or small server may have to say.
            Parsed::StatusLine(code) if closed => return Ok((code, received.len())),
            Parsed::Malformed => format!("not an HTTP answer: `{}`", excerpt(received)),
            _ if closed && received.is_empty() => "connection closed without an answer".to_owned(),
            _ if closed => format!("connection closed within `{}`", excerpt(received)),
            Parsed::Incomplete if received.len() == MAX_HEAD => "no whole status line in the first 16k".to_owned(),
            _ if received.len() == MAX_HEAD => "no end of the headers in the first 16k".to_owned(),
            Parsed::Incomplete | Parsed::StatusLine(_) | Parsed::Headers => continue,
        };
        return Err(ProbeFailure::new(CheckStatus::L7Rsp, cause));
    }
}

/// Waits until the body shows what is wanted, or has ended without what is not.
async fn await_content(
    conn: &mut Conn,
    expectation: &Expectation,
    framing: &Framing,
    body: &mut Vec<u8>,
) -> Result<(), ProbeFailure> {
    let mut matcher = Matcher::new(expectation);
    loop {
        let met = matcher.is_met(body)?;
        if met && !expectation.unwanted {
            return Ok(());
        }
        if framing.is_whole(body) || body.len() >= MAX_BODY || conn.receive(body, MAX_BODY).await? == 0 {
            let met = matcher.is_met(body)? || expectation.unwanted;
            return if met { Ok(()) } else { Err(unmet(expectation, body)) };
        }
    }
}

/// How a body shows its end, beside the end of the connection.
#[derive(Debug, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    Close,
}

impl Framing {
    fn of(head: &[u8]) -> Self {
        let head = String::from_utf8_lossy(head).to_ascii_lowercase();
        let value = |name: &str| {
            let line = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.map(str::trim)
        };
        match (value("transfer-encoding"), value("content-length").and_then(|length| length.parse().ok())) {
            (Some(encoding), _) if encoding.contains("chunked") => Self::Chunked,
            (None, Some(length)) => Self::Length(length),
            _ => Self::Close,
        }
    }

    fn is_whole(&self, body: &[u8]) -> bool {
        match self {
            Self::Length(length) => body.len() >= *length,
            Self::Chunked => body.ends_with(b"\r\n0\r\n\r\n") || body == b"0\r\n\r\n",
            Self::Close => false,
        }
    }
}

fn judge(code: u16, rule: &StatusRule) -> Result<Passed, ProbeFailure> {
    let among = |ranges: &[(u16, u16)]| ranges.iter().any(|&(from, to)| (from..=to).contains(&code));
    let (passes, expected) = match rule {
        StatusRule::Among(ranges) => (among(ranges), listed(ranges)),
        StatusRule::NotAmong(ranges) => (!among(ranges), format!("none of {}", listed(ranges))),
        StatusRule::Like(expectation) => {
            (Matcher::new(expectation).is_met(code.to_string().as_bytes())?, wanted(expectation))
        }
    };
    if passes {
        return Ok(Passed { code: Some(code), ..Passed::new(CheckStatus::L7Ok) });
    }
    let cause = format!("status {code}, expected {expected}");
    Err(ProbeFailure { code: Some(code), ..ProbeFailure::new(CheckStatus::L7Sts, cause) })
}

fn listed(ranges: &[(u16, u16)]) -> String {
    let range = |&(from, to): &(u16, u16)| if from == to { from.to_string() } else { format!("{from}-{to}") };
    ranges.iter().map(range).collect::<Vec<_>>().join(", ")
}

/// What the beginning of an answer amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parsed {
    Incomplete,
    /// A whole status line and nothing behind it yet.
    StatusLine(u16),
    /// A whole status line and some of what comes before the empty line.
    Headers,
    /// The code of the final answer, and the length of all heads so far.
    Status(u16, usize),
    Malformed,
}

/// The code of the final head, `HTTP/1.1 200 …`, once its empty line is there. Interim answers (1xx) before it are
/// skipped. It starts anew at each call; at [`MAX_HEAD`] bytes that costs less than the reads between the calls, even
/// when they bring one byte each.
fn status(received: &[u8]) -> Parsed {
    let mut rest = received;
    loop {
        let code = match status_line(rest) {
            Parsed::StatusLine(code) => code,
            other => return other,
        };
        let interim = (100..200).contains(&code) && code != SWITCHING_PROTOCOLS;
        match head_end(rest) {
            Some(end) if interim => rest = &rest[end..],
            Some(end) => return Parsed::Status(code, received.len() - rest.len() + end),
            None if interim || lines(rest) > 1 || !rest.ends_with(b"\n") => return Parsed::Headers,
            None => return Parsed::StatusLine(code),
        }
    }
}

fn status_line(line: &[u8]) -> Parsed {
    // A wrong byte is wrong whatever follows; so a server that speaks first, like ssh, is found at once.
    if line.iter().zip(SHAPE).any(|(&byte, shape)| !fits(byte, *shape)) {
        return Parsed::Malformed;
    }
    let Some((head, tail)) = line.split_at_checked(SHAPE.len()) else {
        return Parsed::Incomplete;
    };
    match tail.first() {
        None => return Parsed::Incomplete,
        Some(b' ' | b'\r' | b'\n') => {}
        Some(_) => return Parsed::Malformed,
    }
    if !tail.contains(&b'\n') {
        return Parsed::Incomplete;
    }
    let digits = &head[SHAPE.len() - 3..];
    Parsed::StatusLine(digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')))
}

fn fits(byte: u8, shape: u8) -> bool {
    match shape {
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    }
}

fn lines(head: &[u8]) -> usize {
    head.iter().filter(|&&byte| byte == b'\n').count()
}

/// The length of a head with its empty line.
fn head_end(head: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        at += head[at..].iter().position(|&byte| byte == b'\n')? + 1;
        match head[at..] {
            [b'\n', ..] => return Some(at + 1),
            [b'\r', b'\n', ..] => return Some(at + 2),
            _ => {}
        }
    }
}

/// The beginning of every status line; `0` stands for any digit.
const SHAPE: &[u8] = b"HTTP/0.0 000";

/// The only 1xx answer that is final.
const SWITCHING_PROTOCOLS: u16 = 101;

/// Bytes read at most, interim answers included.
const MAX_HEAD: usize = 16 * 1024;

/// Bytes of a body that are looked at, as HAProxy by default.
const MAX_BODY: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_the_status_in_proper_answers_only() {
        use Parsed::*;
        for (text, parsed) in [
            ("", Incomplete),
            ("HTTP/1.1 200", Incomplete),
            ("HTTP/1.1 200 OK", Incomplete),
            ("HTTP/1.1 200 OK\r\n", StatusLine(200)),
            ("HTTP/1.1 200 OK\r\n\r", Headers),
            ("HTTP/1.1 200 OK\r\nA: b\r\n", Headers),
            ("HTTP/1.1 200 OK\r\n\r\n", Status(200, 0)),
            ("HTTP/1.1 200 OK\r\nA: b\r\n\r\nbody", Status(200, 0)),
            ("HTTP/1.1 200 OK\r\n\nbody", Status(200, 0)),
            ("HTTP/1.1 200 OK\n\r\n", Status(200, 0)),
            ("HTTP/1.0 404\r\n\r\n", Status(404, 0)),
            ("HTTP/1.1 999 \n\n", Status(999, 0)),
            ("HTTP/1.1 100 Continue\r\n", Headers),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 20", Incomplete),
            ("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 \r\n\r\n", Status(204, 0)),
            ("HTTP/1.1 103 Early Hints\n\nHTTP/1.1 204 \r\n\r\n", Status(204, 0)),
            ("HTTP/1.1 100 Continue\r\n\r\nSSH", Malformed),
            ("HTTP/1.1 101 Switching Protocols\r\n\r\n", Status(101, 0)),
            ("SSH-2.0-OpenSSH_9.2\r\n", Malformed),
            ("HTTP/1.1 2000 OK\r\n", Malformed),
            ("HTTP/1.1  200 OK\r\n", Malformed),
            ("HTTP/1.1 +20 OK\r\n", Malformed),
            ("\r\nHTTP/1.1 200 OK\r\n", Malformed),
        ] {
            let found = match status(text.as_bytes()) {
                Status(code, _) => Status(code, 0),
                other => other,
            };
            assert_eq!(found, parsed, "{text:?}");
        }
    }

    #[test]
    fn a_host_is_written_as_browsers_write_it() {
        let ip = |addr: &str| Addr::Ip(addr.parse().unwrap());
        for (place, name, expected) in [
            (ip("10.0.0.1:8080"), None, "10.0.0.1:8080"),
            (ip("10.0.0.1:80"), None, "10.0.0.1"),
            (ip("[2001:db8::1]:8080"), None, "[2001:db8::1]:8080"),
            (ip("[fe80::1%3]:80"), None, "[fe80::1]"),
            (ip("10.0.0.1:8080"), Some("app.example"), "app.example:8080"),
            (ip("[::1]:80"), Some("app.example."), "app.example"),
            (Addr::Unix("/s".into()), None, "localhost"),
        ] {
            assert_eq!(host(&place, name), expected);
        }
    }

    #[test]
    fn names_the_expected_ranges() {
        let rule = StatusRule::Among(vec![(200, 204), (301, 301)]);
        let failure = judge(503, &rule).err().unwrap();
        assert_eq!(failure.cause, "status 503, expected 200-204, 301");
        assert_eq!(failure.code, Some(503));
        assert_eq!(judge(301, &rule).ok().unwrap().code, Some(301));
    }

    proptest! {
        /// No panic, and a verdict once reached stays, whatever comes later.
        #[test]
        fn any_bytes_get_a_lasting_verdict(
            start in prop::sample::select(vec!["", "HTTP/1.1 ", "HTTP/1.1 200 OK", "HTTP/1.1 200 \r\n", "HTTP/1.1 100 \r\n\r\n"]),
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'\r'), b'0'..=b'9'], 0..80),
        ) {
            let answer = [start.as_bytes(), &bytes].concat();
            let mut verdict = Parsed::Incomplete;
            for len in 0..=answer.len() {
                let now = status(&answer[..len]);
                let lasts = matches!(verdict, Parsed::Status(..) | Parsed::Malformed);
                prop_assert!(!lasts || now == verdict);
                verdict = now;
                if let Parsed::Status(code, _) = now {
                    prop_assert!(code < 1000);
                }
            }
        }
    }
}
