//! Connecting: TCP checks, PROXY headers, unix sockets, other addresses.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};

use tokio::net::UnixListener;

use super::*;
use crate::config::ProxyVersion;
use crate::proxy_protocol::{Decoded, decode};

#[tokio::test]
async fn a_tcp_check_passes_without_waking_the_server() {
    for ip in ["127.0.0.1", "::1"] {
        let listener = std::net::TcpListener::bind((ip.parse::<IpAddr>().unwrap(), 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = Addr::Ip(listener.local_addr().unwrap());
        for check in [check(CheckKind::Tcp), script([]), script([connect()])] {
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
    let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    listener.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
    // With a full accept queue the kernel drops further SYNs.
    listener.listen(0).unwrap();
    let addr = listener.local_addr().unwrap().as_socket().unwrap();
    let _fills_the_queue = TcpStream::connect(addr).await.unwrap();
    let check = Check { timeout: SOON, ..check(CheckKind::Tcp) };
    let timed_out = told(CheckStatus::L4Tout, "no answer within 400ms (SYN unanswered)");
    assert_eq!(outcome(&check, &Addr::Ip(addr)).await, timed_out);
}

#[tokio::test]
async fn the_proxy_header_comes_first() {
    for version in [ProxyVersion::V1, ProxyVersion::V2] {
        for kind in [CheckKind::Tcp, http().kind, CheckKind::Script(vec![expect("HTTP/1.1 200")])] {
            let (addr, served) = server(move |mut stream| async move {
                let mut received = Vec::new();
                let len = loop {
                    assert_ne!(stream.read_buf(&mut received).await.unwrap(), 0);
                    match decode(&received) {
                        Decoded::Header { len, src, dst } => {
                            let ends = (stream.peer_addr().ok(), stream.local_addr().ok());
                            let expected = if version == ProxyVersion::V1 { ends } else { (None, None) };
                            assert_eq!((src, dst), expected);
                            break len;
                        }
                        other => assert_eq!(other, Decoded::Incomplete),
                    }
                };
                // A TCP check is gone by now.
                let _answered = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
                received.split_off(len)
            })
            .await;
            let check = Check { send_proxy: Some(version), ..check(kind) };
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
    assert_eq!(outcome(&check(CheckKind::Tcp), &addr).await, passed(CheckStatus::L4Ok));
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
    assert!(served.await.unwrap().starts_with(b"GET /ping HTTP/1.1\r\nHost: localhost\r\n"));
}

#[test]
fn a_check_goes_where_it_is_told() {
    let shown = |addr: &str, ip: Option<&str>, port| {
        let check = Check { addr: ip.map(|ip| ip.parse().unwrap()), port, ..Check::default() };
        let own = addr.parse().map_or_else(|_| Addr::Unix(addr.into()), Addr::Ip);
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
