//! The HTTP check: a request, and the status line of its answer. Nothing behind that line is of interest.

use super::conn::Conn;
use super::failure::{ProbeFailure, excerpt};
use super::progress::{Passed, ProbePhase, ProbeProgress};
use crate::backend::health::CheckStatus;
use crate::sys::addr::Addr;

/// The request of a check. HTTP/1.1, since some servers refuse 1.0 by now; it asks for nothing that only 1.1 has.
pub(super) fn request(method: &str, path: &str, host: Option<&str>, place: &Addr) -> String {
    let tail = "User-Agent: lb\r\nConnection: close\r\n\r\n";
    match (host, place) {
        (Some(host), _) => format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\n{tail}"),
        (None, Addr::Ip(addr)) => format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\n{tail}"),
        (None, Addr::Unix(_)) => format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{tail}"),
    }
}

/// Sends the request and judges the status of the answer by `expected`, a list of inclusive ranges.
pub(super) async fn ask(
    conn: &mut Conn,
    request: &str,
    expected: &[(u16, u16)],
    progress: &mut ProbeProgress<'_>,
) -> Result<Passed, ProbeFailure> {
    progress.phase = ProbePhase::Sending;
    conn.send(request.as_bytes()).await?;
    progress.phase = ProbePhase::Status;
    let received = &mut progress.received;
    loop {
        let closed = conn.receive(received, MAX_HEAD).await? == 0;
        match status(received) {
            Parsed::Status(code) => return judge(code, expected),
            Parsed::Malformed => {
                let got = excerpt(received);
                return Err(ProbeFailure::new(CheckStatus::L7Rsp, format!("not an HTTP answer: `{got}`")));
            }
            Parsed::Incomplete if closed && received.is_empty() => {
                return Err(ProbeFailure::new(CheckStatus::L7Rsp, "connection closed without an answer"));
            }
            Parsed::Incomplete if closed => {
                let got = excerpt(received);
                return Err(ProbeFailure::new(CheckStatus::L7Rsp, format!("connection closed within `{got}`")));
            }
            Parsed::Incomplete if received.len() == MAX_HEAD => {
                return Err(ProbeFailure::new(CheckStatus::L7Rsp, "no whole status line in the first 16k"));
            }
            Parsed::Incomplete => {}
        }
    }
}

fn judge(code: u16, expected: &[(u16, u16)]) -> Result<Passed, ProbeFailure> {
    if expected.iter().any(|&(from, to)| (from..=to).contains(&code)) {
        return Ok(Passed { status: CheckStatus::L7Ok, code: Some(code) });
    }
    let ranges: Vec<_> =
        expected.iter().map(|&(from, to)| if from == to { from.to_string() } else { format!("{from}-{to}") }).collect();
    let cause = format!("status {code}, expected {}", ranges.join(", "));
    Err(ProbeFailure { code: Some(code), ..ProbeFailure::new(CheckStatus::L7Sts, cause) })
}

/// What the beginning of an answer amounts to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parsed {
    Incomplete,
    Status(u16),
    Malformed,
}

/// The code of the final status line, `HTTP/1.1 200 …`, once its line end is there. Interim answers (1xx) before it
/// are skipped. It starts anew at each call; at [`MAX_HEAD`] bytes that costs less than the reads between the calls,
/// even when they bring one byte each.
fn status(received: &[u8]) -> Parsed {
    let mut rest = received;
    loop {
        let code = match status_line(rest) {
            Parsed::Status(code) => code,
            other => return other,
        };
        if !(100..200).contains(&code) || code == SWITCHING_PROTOCOLS {
            return Parsed::Status(code);
        }
        let Some(end) = head_end(rest) else {
            return Parsed::Incomplete;
        };
        rest = &rest[end..];
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
    Parsed::Status(digits.iter().fold(0, |code, digit| code * 10 + u16::from(digit - b'0')))
}

fn fits(byte: u8, shape: u8) -> bool {
    match shape {
        b'0' => byte.is_ascii_digit(),
        other => byte == other,
    }
}

/// The length of a head with its empty line.
fn head_end(head: &[u8]) -> Option<usize> {
    let crlf = head.windows(4).position(|four| four == b"\r\n\r\n").map(|at| at + 4);
    let lf = head.windows(2).position(|two| two == b"\n\n").map(|at| at + 2);
    crlf.into_iter().chain(lf).min()
}

/// The beginning of every status line; `0` stands for any digit.
const SHAPE: &[u8] = b"HTTP/0.0 000";

/// The only 1xx answer that is final.
const SWITCHING_PROTOCOLS: u16 = 101;

/// Bytes read at most, interim answers included.
const MAX_HEAD: usize = 16 * 1024;

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
            ("HTTP/1.1 200 OK\r\n", Status(200)),
            ("HTTP/1.0 404\r\n", Status(404)),
            ("HTTP/1.1 999 \n", Status(999)),
            ("HTTP/1.1 100 Continue\r\n", Incomplete),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 20", Incomplete),
            ("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 \r\n", Status(204)),
            ("HTTP/1.1 103 Early Hints\n\nHTTP/1.1 204 \r\n", Status(204)),
            ("HTTP/1.1 100 Continue\r\n\r\nSSH", Malformed),
            ("HTTP/1.1 101 Switching Protocols\r\n", Status(101)),
            ("SSH-2.0-OpenSSH_9.2\r\n", Malformed),
            ("HTTP/1.1 2000 OK\r\n", Malformed),
            ("HTTP/1.1  200 OK\r\n", Malformed),
            ("HTTP/1.1 +20 OK\r\n", Malformed),
            ("\r\nHTTP/1.1 200 OK\r\n", Malformed),
        ] {
            assert_eq!(status(text.as_bytes()), parsed, "{text:?}");
        }
    }

    #[test]
    fn names_the_expected_ranges() {
        let failure = judge(503, &[(200, 204), (301, 301)]).err().unwrap();
        assert_eq!(failure.cause, "status 503, expected 200-204, 301");
        assert_eq!(failure.code, Some(503));
        assert_eq!(judge(301, &[(200, 204), (301, 301)]).ok().unwrap().code, Some(301));
    }

    proptest! {
        /// No panic, and a verdict once reached stays, whatever comes later.
        #[test]
        fn any_bytes_get_a_lasting_verdict(
            start in prop::sample::select(vec!["", "HTTP/1.1 ", "HTTP/1.1 200 OK", "HTTP/1.1 100 \r\n\r\n"]),
            bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(b'\n'), Just(b'\r'), b'0'..=b'9'], 0..80),
        ) {
            let answer = [start.as_bytes(), &bytes].concat();
            let mut verdict = Parsed::Incomplete;
            for len in 0..=answer.len() {
                let now = status(&answer[..len]);
                prop_assert!(verdict == Parsed::Incomplete || now == verdict);
                verdict = now;
                if let Parsed::Status(code) = now {
                    prop_assert!(code < 1000);
                }
            }
        }
    }
}
