//! PROXY headers as proxies in front send them: long ones, in pieces, broken ones. HAProxy is asked which are accepted.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::thread;

use crate::support::client::{HANG, connect, read_to_end};
use crate::support::config::Config;
use crate::support::haproxy::Haproxy;
use crate::support::lb::Lb;
use crate::support::origin::{Behaviour, Origin};
use crate::support::outcome::Ending;
use crate::support::wait::{eventually, pause};

#[test]
fn a_header_in_one_piece_is_accepted_exactly_if_haproxy_accepts_it() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().frontend("accept_proxy = true").origins([&origin]));
    let haproxy = Haproxy::relay("accept-proxy", origin.addr(), "");
    let ours = headers().map(|header| is_accepted(lb.addr("web"), &header));
    let theirs = headers().map(|header| is_accepted(haproxy.addr(), &header));
    for (header, (ours, theirs)) in headers().zip(ours.zip(theirs)) {
        let begin = header[..header.len().min(60)].escape_ascii();
        assert_eq!(ours, theirs, "accepted by lb, by HAProxy: {} bytes, {begin}", header.len());
    }
}

/// Those that HAProxy judges by the specification. It refuses what the specification lets pass in other families and
/// behind UNKNOWN.
fn headers() -> impl Iterator<Item = Vec<u8>> {
    let with = |tlvs: &[u8]| v2(0x21, 0x11, &[&IPV4[..], tlvs].concat());
    let checked = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13\xc0\0\x02\x01\xc0\0\x02\x02\x04\x57\0\x50\x03\0\x04".to_vec();
    let mut headers = vec![
        with(b""),
        with(&tlv(0x04, 7)),
        with(&[tlv(0x20, 9), tlv(0x01, 2), tlv(0xea, 1)].concat()),
        with(&tlv(0xe0, 13).repeat(200)),
        with(&tlv(0xe0, 0).repeat(1001)),
        with(b"\x04"),
        with(b"\x04\0"),
        with(b"\x04\0\x05abc"),
        with(&[tlv(0x04, 2), b"\x04\0\x01".to_vec()].concat()),
        with(b"\x03\0\x03abc"),
        [&checked[..], &0x1579_6ea1_u32.to_be_bytes()].concat(),
        [&checked[..], &0x1579_6ea0_u32.to_be_bytes()].concat(),
        v2(0x21, 0x21, &[0; 36]),
        v2(0x21, 0x21, &[&[0; 36][..], &tlv(0xe0, 3000)].concat()),
        v2(0x21, 0x21, &[0; 35]),
        v2(0x21, 0x11, &IPV4[..11]),
        v2(0x21, 0x13, &IPV4),
        v2(0x21, 0x41, &IPV4),
        v2(0x21, 0xff, &IPV4),
        v2(0x22, 0x11, &IPV4),
        v2(0x11, 0x11, &IPV4),
        v2(0x20, 0x00, b""),
        v2(0x20, 0x11, &IPV4),
        v2(0x20, 0x11, &[&IPV4[..], b"\x04"].concat()),
        v2(0x20, 0xff, b"anything"),
        v2(0x20, 0x00, &[0; 4000]),
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 80\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.1 192.0.2.2 1111 80\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        format!("PROXY UNKNOWN {}\r\n", "x".repeat(92)).into_bytes(),
        b"GET / HTTP/1.0\r\n\r\n".to_vec(),
    ];
    for (kind, len) in [(0x02, 255), (0x02, 256), (0x05, 128), (0x05, 129), (0xea, 1024), (0xea, 4096), (0xea, 16_000)]
    {
        headers.push(with(&tlv(kind, len)));
    }
    // The whole header may have 16 KiB.
    headers.extend([16_384, 16_385, 40_000].map(|len| with(&tlv(0xe0, len - 28 - 3))));
    headers.into_iter()
}

#[test]
fn a_long_header_may_be_cut_anywhere_and_what_follows_is_the_clients() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().frontend("accept_proxy = true").origins([&origin]));
    let header = long_header();
    let last = header.len();
    thread::scope(|scope| {
        for cut in [1, 12, 13, 14, 15, 16, 17, 28, 29, 31, 536, 537, 2000, last - 1, last, last + 3] {
            let (lb, bytes) = (&lb, [&header[..], b"after"].concat());
            scope.spawn(move || {
                let mut client = connect(lb.addr("web")).unwrap();
                client.write_all(&bytes[..cut]).unwrap();
                // Two segments, and most likely two reads.
                pause(std::time::Duration::from_millis(20));
                client.write_all(&bytes[cut..]).unwrap();
                assert_eq!(answer(&client), (b"after".to_vec(), Ending::Fin), "cut at {cut}");
            });
        }
        scope.spawn(|| {
            let mut client = connect(lb.addr("web")).unwrap();
            for byte in [&header[..], b"after"].concat() {
                client.write_all(&[byte]).unwrap();
            }
            assert_eq!(answer(&client), (b"after".to_vec(), Ending::Fin), "each byte alone");
        });
    });
    eventually(HANG, "the named clients in the log", || {
        (lb.stdout().matches("192.0.2.1:1111").count() == 17).then_some(())
    });
}

#[test]
fn a_session_moves_in_the_middle_of_a_long_header() {
    let origin = Origin::start(Behaviour::Echo);
    let lb = Lb::start(&Config::new().frontend("accept_proxy = true").origins([&origin]));
    let header = long_header();
    let mut client = connect(lb.addr("web")).unwrap();
    client.write_all(&header[..3000]).unwrap();
    eventually(HANG, "the session", || (lb.status().frontend("web").number("sessions") == 1).then_some(()));
    let told = lb.command_ok(&["upgrade", "--probation", "50ms"]);
    assert!(told.contains("1 sessions moved") || told.contains("1 session moved"), "{told}");
    client.write_all(&header[3000..]).unwrap();
    client.write_all(b"after").unwrap();
    assert_eq!(answer(&client), (b"after".to_vec(), Ending::Fin));
    eventually(HANG, "the named client in the log", || lb.stdout().contains("192.0.2.1:1111").then_some(()));
}

fn is_accepted(addr: SocketAddr, header: &[u8]) -> bool {
    let mut client = connect(addr).unwrap();
    // A reset may come before the end of what is refused.
    let sent = client.write_all(&[header, b"after"].concat());
    sent.is_ok() && answer(&client) == (b"after".to_vec(), Ending::Fin)
}

fn answer(client: &TcpStream) -> (Vec<u8>, Ending) {
    match client.shutdown(Shutdown::Write) {
        // Of a connection that is gone already, the read has the reason.
        Ok(()) | Err(_) => read_to_end(client),
    }
}

/// As a cloud's balancer sends it: some TLVs, one of them with a certificate.
fn long_header() -> Vec<u8> {
    v2(0x21, 0x11, &[&IPV4[..], &tlv(0xea, 23), &tlv(0x20, 3777), &tlv(0x04, 1)].concat())
}

fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let len = u16::try_from(block.len()).unwrap().to_be_bytes();
    [&b"\r\n\r\n\0\r\nQUIT\n"[..], &[command, family], &len, block].concat()
}

fn tlv(kind: u8, len: u16) -> Vec<u8> {
    [&[kind], &len.to_be_bytes()[..], &vec![b'x'; len.into()]].concat()
}

/// 192.0.2.1:1111 to 192.0.2.2:80.
const IPV4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0x04, 0x57, 0, 80];
