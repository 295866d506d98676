//! Checks against real sockets that behave badly on purpose.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::task::JoinHandle;

use super::*;
use crate::backend::health::Source;
use crate::config::ProxyVersion;
use crate::proxy_protocol::{Decoded, decode};

const SOON: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_secs(20);

fn check(kind: CheckKind) -> Check {
    Check {
        kind,
        timeout: LONG,
        ..Check::default()
    }
}

fn http() -> Check {
    let status = vec![(200, 399)];
    check(CheckKind::Http {
        method: "GET".into(),
        path: "/ping".into(),
        host: None,
        status,
    })
}

fn script(steps: impl Into<Vec<Step>>) -> Check {
    check(CheckKind::Script(steps.into()))
}

fn send(bytes: impl AsRef<[u8]>) -> Step {
    Step::Send(bytes.as_ref().to_vec())
}

fn expect(bytes: impl AsRef<[u8]>) -> Step {
    Step::Expect(bytes.as_ref().to_vec())
}

fn regex(pattern: &str) -> Step {
    Step::ExpectRegex(regex::bytes::Regex::new(pattern).unwrap())
}

/// A server for one connection.
async fn server<F, R>(serve: impl FnOnce(TcpStream) -> F + Send + 'static) -> (Addr, JoinHandle<R>)
where
    F: Future<Output = R> + Send,
    R: Send + 'static,
{
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        serve(stream).await
    });
    (Addr::Ip(addr), task)
}

/// A server that reads a request, sends each piece as a segment of its own, and closes if it is told to.
async fn answering<P>(pieces: P, close: bool) -> Addr
where
    P: IntoIterator<IntoIter: Send, Item: AsRef<[u8]> + Send> + Send + 'static,
{
    let (addr, _task) = server(move |mut stream| async move {
        stream.set_nodelay(true).unwrap();
        assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
        for piece in pieces {
            if stream.write_all(piece.as_ref()).await.is_err() {
                return;
            }
            // Lets the check see this piece alone.
            tokio::task::yield_now().await;
        }
        if !close {
            let _closed_by_the_check = stream.read(&mut [0; 1]).await;
        }
    })
    .await;
    addr
}

async fn outcome(check: &Check, addr: &Addr) -> (CheckStatus, String) {
    let result = probe(check, addr).await;
    assert_eq!(result.source, Source::Check);
    assert!(result.duration < LONG, "{result}");
    (result.status, result.cause)
}

fn told(status: CheckStatus, cause: &str) -> (CheckStatus, String) {
    (status, cause.to_owned())
}

fn passed(status: CheckStatus) -> (CheckStatus, String) {
    told(status, "")
}

#[tokio::test]
async fn a_tcp_check_passes_without_waking_the_server() {
    for ip in ["127.0.0.1", "::1"] {
        let listener = std::net::TcpListener::bind((ip.parse::<IpAddr>().unwrap(), 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = Addr::Ip(listener.local_addr().unwrap());
        for check in [check(CheckKind::Tcp), script([]), script([Step::Connect])] {
            assert_eq!(outcome(&check, &addr).await, passed(CheckStatus::L4Ok));
            assert_eq!(listener.accept().unwrap_err().kind(), ErrorKind::WouldBlock);
        }
    }
}

#[tokio::test]
async fn a_closed_port_refuses_every_kind_of_check() {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = Addr::Ip(listener.local_addr().unwrap());
    drop(listener);
    let refused = told(CheckStatus::L4Con, "connection refused");
    for check in [check(CheckKind::Tcp), http(), script([expect("x")])] {
        assert_eq!(outcome(&check, &addr).await, refused);
    }
}

#[tokio::test]
async fn a_syn_without_answer_ends_with_the_timeout() {
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener
        .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
        .unwrap();
    // With a full accept queue the kernel drops further SYNs.
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap().as_socket().unwrap();
    let _fills_the_queue = TcpStream::connect(addr).await.unwrap();
    let check = Check {
        timeout: SOON,
        ..check(CheckKind::Tcp)
    };
    let timed_out = told(
        CheckStatus::L4Tout,
        "no answer within 400ms (SYN unanswered)",
    );
    assert_eq!(outcome(&check, &Addr::Ip(addr)).await, timed_out);
}

#[tokio::test]
async fn an_http_check_sends_a_proper_request_and_takes_the_status() {
    let (addr, served) = server(|mut stream| async move {
        let mut request = vec![0; 1024];
        let len = stream.read(&mut request).await.unwrap();
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
        request.truncate(len);
        String::from_utf8(request).unwrap()
    })
    .await;
    let result = probe(&http(), &addr).await;
    assert_eq!((result.status, result.code), (CheckStatus::L7Ok, Some(204)));
    let request = format!(
        "GET /ping HTTP/1.1\r\nHost: {addr}\r\nUser-Agent: lb\r\nConnection: close\r\n\r\n"
    );
    assert_eq!(served.await.unwrap(), request);
}

#[tokio::test]
async fn an_unexpected_status_is_named_with_the_expected_ones() {
    let result = probe(
        &http(),
        &answering(["HTTP/1.1 503 Unavailable\r\n\r\n"], true).await,
    )
    .await;
    assert_eq!(
        (result.status, result.code),
        (CheckStatus::L7Sts, Some(503))
    );
    assert_eq!(result.cause, "status 503, expected 200-399");
}

#[tokio::test]
async fn a_dribbled_status_line_is_understood() {
    let answer = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
    let addr = answering(answer.chunks(1), false).await;
    assert_eq!(outcome(&http(), &addr).await, passed(CheckStatus::L7Ok));
}

#[tokio::test]
async fn http_answers_that_are_none_are_quoted() {
    use CheckStatus::L7Rsp;
    for (answer, cause) in [
        (
            &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
            "not an HTTP answer: `SSH-2.0-OpenSSH_9.2`",
        ),
        (
            b"\xff\0\x1b[2J",
            "not an HTTP answer: `\\xff\\u{0}\\u{1b}[2J`",
        ),
        (b"", "connection closed without an answer"),
        (b"HTTP/1.1 20", "connection closed within `HTTP/1.1 20`"),
    ] {
        assert_eq!(
            outcome(&http(), &answering([answer], true).await).await,
            told(L7Rsp, cause)
        );
    }
}

#[tokio::test]
async fn a_reset_instead_of_an_answer_is_told() {
    let (addr, _task) = server(|mut stream| async move {
        assert_ne!(stream.read(&mut [0; 1024]).await.unwrap(), 0);
        stream.set_zero_linger().unwrap();
    })
    .await;
    let cause = "connection reset by peer before the answer was complete";
    assert_eq!(
        outcome(&http(), &addr).await,
        told(CheckStatus::L7Rsp, cause)
    );
}

#[tokio::test]
async fn a_stall_is_told_with_the_phase_it_is_in() {
    use CheckStatus::{L7Rsp, L7Tout};
    let cases = [
        (
            http(),
            "",
            told(L7Tout, "no answer within 400ms (connected, request sent)"),
        ),
        (
            http(),
            "HTTP/1.1 2",
            told(
                L7Tout,
                "no whole status line within 400ms, got `HTTP/1.1 2`",
            ),
        ),
        (
            script([send("?"), expect("!")]),
            "",
            told(L7Tout, "no answer within 400ms, expected `!`"),
        ),
        (
            script([send("?"), expect("!!")]),
            "no",
            told(L7Rsp, "expected `!!`, got `no`"),
        ),
        (
            script([send("?"), regex("^!")]),
            "no",
            told(L7Rsp, "expected a match of `^!`, got `no`"),
        ),
        (script([send("?"), Step::ExpectNot(b"!".into())]), "", {
            told(L7Tout, "no answer within 400ms, expected anything but `!`")
        }),
    ];
    let stalls = cases.map(|(check, answer, expected)| {
        tokio::spawn(async move {
            let check = Check {
                timeout: SOON,
                ..check
            };
            let addr = answering((!answer.is_empty()).then_some(answer), false).await;
            assert_eq!(outcome(&check, &addr).await, expected);
        })
    });
    for stall in stalls {
        stall.await.unwrap();
    }
}

#[tokio::test]
async fn a_request_that_is_not_taken_ends_with_the_timeout() {
    let (addr, _task) = server(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    })
    .await;
    let check = Check {
        timeout: SOON,
        ..script([send(vec![b'x'; 32 << 20])])
    };
    let expected = told(
        CheckStatus::L7Tout,
        "request not taken within 400ms (connected)",
    );
    assert_eq!(outcome(&check, &addr).await, expected);
}

#[tokio::test]
async fn a_flood_is_read_only_up_to_the_limit() {
    let flood = |bytes: &'static [u8]| std::iter::repeat_n(bytes.repeat(1024), 10_000);
    let addr = answering(flood(b"role:slave "), false).await;
    let cause = "no `role:master` in the first 64k of the answer";
    assert_eq!(
        outcome(&script([send("?"), expect("role:master")]), &addr).await,
        told(CheckStatus::L7Rsp, cause)
    );

    let line = std::iter::once(b"HTTP/1.1 200 ".to_vec()).chain(flood(b"OK"));
    let cause = "no whole status line in the first 16k";
    assert_eq!(
        outcome(&http(), &answering(line, false).await).await,
        told(CheckStatus::L7Rsp, cause)
    );
}

#[tokio::test]
async fn a_script_follows_a_dribbled_dialogue() {
    let (addr, served) = server(|mut stream| async move {
        stream.set_nodelay(true).unwrap();
        let mut request = [0; 6];
        for (expected, answer) in [
            (&b"PING\r\n"[..], &b"banner\r\n+PONG\r\n"[..]),
            (b"ROLE\r\n", b"*1\r\n$6\r\nmaster\r\n"),
        ] {
            stream.read_exact(&mut request).await.unwrap();
            assert_eq!(request, expected);
            for piece in answer.chunks(1) {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
        }
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        rest
    })
    .await;
    let check = script([
        Step::Connect,
        send("PING\r\n"),
        expect("banner\r\n"),
        regex(r"\+PONG\r\n$"),
        // Behind an expectation that ends the answer this looks at all of it.
        Step::ExpectNot(b"LOADING".to_vec()),
        send("ROLE\r\n"),
        expect("master\r\n"),
        send("QUIT\r\n"),
    ]);
    assert_eq!(outcome(&check, &addr).await, passed(CheckStatus::L7Ok));
    // The last words arrive and are followed by a FIN: an RST would have been an error.
    assert_eq!(served.await.unwrap(), b"QUIT\r\n");
}

#[tokio::test]
async fn a_script_forgets_old_answers_and_finds_unwanted_ones() {
    let check = script([send("?"), expect("old"), send("?"), expect("old")]);
    let addr = answering(["old"], true).await;
    let (status, cause) = outcome(&check, &addr).await;
    assert_eq!(status, CheckStatus::L7Rsp, "{cause}");

    let addr = answering(["-LOADING\r\n"], false).await;
    let check = script([send("?"), Step::ExpectNot(b"LOADING".to_vec())]);
    assert_eq!(
        outcome(&check, &addr).await,
        told(CheckStatus::L7Rsp, "unwanted `LOADING` in the answer")
    );
}

#[tokio::test]
async fn a_server_that_closes_midway_is_quoted() {
    let addr = answering(["role:sl"], true).await;
    let cause = "connection closed, expected `role:master`, got `role:sl`";
    assert_eq!(
        outcome(&script([send("?"), expect("role:master")]), &addr).await,
        told(CheckStatus::L7Rsp, cause)
    );
}

#[tokio::test]
async fn each_connect_begins_a_new_connection() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let addr = Addr::Ip(listener.local_addr().unwrap());
    tokio::spawn(async move {
        for greeting in ["one", "two"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(greeting.as_bytes()).await.unwrap();
            let _closed_by_the_check = stream.read(&mut [0; 1]).await;
        }
    });
    let check = script([expect("one"), Step::Connect, expect("two")]);
    assert_eq!(outcome(&check, &addr).await, passed(CheckStatus::L7Ok));
}

#[tokio::test]
async fn the_proxy_header_comes_first() {
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        for kind in [
            CheckKind::Tcp,
            http().kind,
            CheckKind::Script(vec![expect("HTTP/1.1 200")]),
        ] {
            let (addr, served) = server(|mut stream| async move {
                let mut received = Vec::new();
                let len = loop {
                    assert_ne!(stream.read_buf(&mut received).await.unwrap(), 0);
                    match decode(&received) {
                        Decoded::Header {
                            len,
                            src: None,
                            dst: None,
                        } => break len,
                        other => assert_eq!(other, Decoded::Incomplete),
                    }
                };
                // A TCP check is gone by now.
                let _answered = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                received.split_off(len)
            })
            .await;
            let check = Check {
                send_proxy: Some(version),
                ..check(kind)
            };
            let (status, cause) = outcome(&check, &addr).await;
            assert!(status.is_ok(), "{status} {cause}");
            let rest = served.await.unwrap();
            assert!(rest.is_empty() || rest.starts_with(b"GET /ping"));
        }
    }
}

#[tokio::test]
async fn unix_sockets_are_checked_too() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("app.sock");
    let addr = Addr::Unix(path.clone());
    let missing = told(CheckStatus::L4Con, "no such file or directory");
    assert_eq!(outcome(&check(CheckKind::Tcp), &addr).await, missing);

    let listener = UnixListener::bind(path).unwrap();
    assert_eq!(
        outcome(&check(CheckKind::Tcp), &addr).await,
        passed(CheckStatus::L4Ok)
    );
    let served = tokio::spawn(async move {
        let _only_connected = listener.accept().await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 1024];
        let len = stream.read(&mut request).await.unwrap();
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await.unwrap();
        request.truncate(len);
        request
    });
    assert_eq!(outcome(&http(), &addr).await, passed(CheckStatus::L7Ok));
    assert!(
        served
            .await
            .unwrap()
            .starts_with(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n")
    );
}

#[test]
fn a_check_goes_where_it_is_told() {
    let shown = |addr: &str, ip: Option<&str>, port| {
        let check = Check {
            addr: ip.map(|ip| ip.parse().unwrap()),
            port,
            ..Check::default()
        };
        let own = addr
            .parse()
            .map_or_else(|_| Addr::Unix(addr.into()), Addr::Ip);
        place(&check, &own).to_string()
    };
    for (addr, ip, port, expected) in [
        ("10.0.0.1:80", None, None, "10.0.0.1:80"),
        ("10.0.0.1:80", None, Some(81), "10.0.0.1:81"),
        ("10.0.0.1:80", Some("::1"), None, "[::1]:80"),
        ("10.0.0.1:80", Some("10.0.0.2"), Some(81), "10.0.0.2:81"),
        ("[fe80::1%3]:80", None, Some(81), "[fe80::1%3]:81"),
        ("/s", None, None, "unix@/s"),
        ("/s", None, Some(81), "unix@/s"),
        ("/s", Some("10.0.0.2"), Some(81), "10.0.0.2:81"),
    ] {
        assert_eq!(shown(addr, ip, port), expected);
    }
}
