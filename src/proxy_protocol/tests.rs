use std::net::{Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::decoded::{MAX_V1, MAX_V2, Malformed};
use super::*;

fn header(len: usize, addrs: Option<(&str, &str)>) -> Decoded {
    Decoded::header(len, addrs.map(|(src, dst)| (src.parse().unwrap(), dst.parse().unwrap())))
}

/// A v2 header with its length filled in.
fn v2(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let len = u16::try_from(block.len()).unwrap().to_be_bytes();
    [&v2::SIGNATURE[..], &[command, family], &len, block].concat()
}

#[test]
fn writes_headers_as_the_specification_shows_them() {
    let [a, b, c, d] =
        ["192.0.2.1:51234", "192.0.2.2:80", "[2001:db8::1]:51234", "[::1]:80"].map(|addr| Some(addr.parse().unwrap()));
    let v1 = |src, dst| String::from_utf8(encode(ProxyVersion::V1, src, dst)).unwrap();
    assert_eq!(v1(a, b), "PROXY TCP4 192.0.2.1 192.0.2.2 51234 80\r\n");
    assert_eq!(v1(c, d), "PROXY TCP6 2001:db8::1 ::1 51234 80\r\n");
    let local = v2(0x20, 0, b"");
    for (src, dst) in [(a, d), (c, b), (a, None), (None, b), (None, None)] {
        assert_eq!(v1(src, dst), "PROXY UNKNOWN\r\n");
        assert_eq!(encode(ProxyVersion::V2, src, dst), local);
    }
    let block = [192, 0, 2, 1, 192, 0, 2, 2, 200, 34, 0, 80];
    assert_eq!(encode(ProxyVersion::V2, a, b), v2(0x21, 0x11, &block));
}

#[test]
fn understands_v1_lines() {
    use Malformed::*;
    let tcp4 = Some(("1.2.3.4:0", "5.6.7.8:65535"));
    let filler = "x".repeat(107 - "PROXY UNKNOWN \r\n".len());
    for (line, decoded) in [
        ("PROXY TCP4 1.2.3.4 5.6.7.8 0 65535\r\n", header(36, tcp4)),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 0 65535\r\nGET /", header(36, tcp4)),
        ("PROXY TCP6 ::ffff:1.2.3.4 ::2 1 2\r\n", header(35, Some(("[::ffff:1.2.3.4]:1", "[::2]:2")))),
        ("PROXY UNKNOWN\r\n", header(15, None)),
        ("PROXY UNKNOWN ff::1 what\rever  1 2\r\n", header(36, None)),
        (&format!("PROXY UNKNOWN {filler}\r\n"), header(107, None)),
        (&format!("PROXY UNKNOWN {filler}x\r\n"), Decoded::Invalid(V1TooLong)),
        ("GET / HTTP/1.1\r\n", Decoded::Invalid(NoHeader)),
        ("PROXY\r\n", Decoded::Invalid(NoHeader)),
        ("proxy TCP4", Decoded::Invalid(NoHeader)),
        ("PROXYX", Decoded::Invalid(NoHeader)),
        ("PROXY \r\n", Decoded::Invalid(V1Protocol)),
        ("PROXY UDP", Decoded::Invalid(V1Protocol)),
        ("PROXY TCP4\r\n", Decoded::Invalid(V1Fields)),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1\r\n", Decoded::Invalid(V1Fields)),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2 ", Decoded::Invalid(V1Fields)),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 2\n", Decoded::Invalid(V1Port)),
        ("PROXY TCP4  1.2.3.4", Decoded::Invalid(V1Address)),
        ("PROXY TCP4 ::1 ", Decoded::Invalid(V1Address)),
        ("PROXY TCP6 1.2.3.4 ", Decoded::Invalid(V1Address)),
        ("PROXY TCP4 1.2.3.256 ", Decoded::Invalid(V1Address)),
        ("PROXY TCP4 localhost", Decoded::Invalid(V1Address)),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 01", Decoded::Invalid(V1Port)),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 65536", Decoded::Invalid(V1Port)),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 -", Decoded::Invalid(V1Port)),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 +2", Decoded::Invalid(V1Port)),
        ("PROXY TCP4 1.2.3.4 5.6.7.8 1 \r\n", Decoded::Invalid(V1Port)),
    ] {
        assert_eq!(decode(line.as_bytes()), decoded, "{line:?}");
    }
}

#[test]
fn understands_v2_headers() {
    use Malformed::*;
    let ipv4 = [1, 2, 3, 4, 5, 6, 7, 8, 0, 80, 1, 187];
    let with = |tlvs: &[u8]| v2(0x21, 0x11, &[&ipv4[..], tlvs].concat());
    let long = |kind: u8, len: u16| [&[kind], &len.to_be_bytes()[..], &vec![b'x'; len.into()]].concat();
    let [most, too_much] = [16_384, 16_385].map(|len: u16| with(&long(0xe0, len - 28 - 3)));
    let addrs = Some(("1.2.3.4:80", "5.6.7.8:443"));
    for (bytes, decoded) in [
        (v2(0x21, 0x11, &ipv4), header(28, addrs)),
        (with(&[0x04, 0, 2, 0, 0]), header(33, addrs)),
        (with(&[0; 510]), header(538, addrs)),
        (with(&long(0xea, 4096)), header(28 + 3 + 4096, addrs)),
        (most, header(16_384, addrs)),
        (too_much, Decoded::Invalid(V2TooLong)),
        (with(&[4]), Decoded::Invalid(V2Tlv)),
        (with(&[4, 0]), Decoded::Invalid(V2Tlv)),
        (with(&[4, 0, 1]), Decoded::Invalid(V2Tlv)),
        (with(&[4, 0, 0, 4, 0, 2, 0]), Decoded::Invalid(V2Tlv)),
        (with(&long(2, 255)), header(28 + 3 + 255, addrs)),
        (with(&long(2, 256)), Decoded::Invalid(V2Tlv)),
        (with(&long(5, 128)), header(28 + 3 + 128, addrs)),
        (with(&long(5, 129)), Decoded::Invalid(V2Tlv)),
        (with(&[3, 0, 4, 0, 0, 0, 0]), Decoded::Invalid(V2Tlv)),
        (with(&[3, 0, 3, 0, 0, 0]), Decoded::Invalid(V2Tlv)),
        (v2(0x21, 0x11, &[0; 11]), Decoded::Invalid(V2TooShort)),
        (v2(0x21, 0x21, &[0; 35]), Decoded::Invalid(V2TooShort)),
        (v2(0x21, 0x21, &[0; 36]), header(52, Some(("[::]:0", "[::]:0")))),
        (v2(0x21, 0x00, &[7; 5]), header(21, None)),
        (v2(0x21, 0x12, &ipv4), header(28, None)),
        (v2(0x21, 0x31, &[0; 216]), header(232, None)),
        (v2(0x21, 0x31, &[0; 215]), Decoded::Invalid(V2TooShort)),
        // LOCAL: the block is skipped, its family ignored.
        (v2(0x20, 0x11, &ipv4), header(28, None)),
        (v2(0x20, 0x11, &[&ipv4[..], &[4]].concat()), header(29, None)),
        (v2(0x20, 0xff, &[]), header(16, None)),
        (v2(0x21, 0x13, &ipv4), Decoded::Invalid(V2Family(0x13))),
        (v2(0x21, 0x41, &ipv4), Decoded::Invalid(V2Family(0x41))),
        (v2(0x22, 0x11, &ipv4), Decoded::Invalid(V2Command(0x22))),
        (v2(0x11, 0x11, &ipv4), Decoded::Invalid(V2Command(0x11))),
        (b"\r\n\r\n\0\r\nQUIX".to_vec(), Decoded::Invalid(NoHeader)),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x40".to_vec(), Decoded::Invalid(V2TooLong)),
    ] {
        assert_eq!(decode(&bytes), decoded, "{bytes:?}");
    }
}

fn socket_addr() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<(Ipv4Addr, u16)>().prop_map(SocketAddr::from),
        any::<(Ipv6Addr, u16)>().prop_map(SocketAddr::from),
    ]
}

fn version() -> impl Strategy<Value = ProxyVersion> {
    prop::sample::select(vec![ProxyVersion::V1, ProxyVersion::V2])
}

/// Whole TLVs of any type without a limit of its own, a few bytes or thousands.
fn tlvs() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..80),
        1 => prop::collection::vec(any::<u8>(), 1000..3000),
    ];
    let tlv = (prop_oneof![Just(4), 6..=0xff_u8], value)
        .prop_map(|(kind, value)| [&[kind], &u16::try_from(value.len()).unwrap().to_be_bytes()[..], &value].concat());
    prop::collection::vec(tlv, 0..5).prop_map(|tlvs| tlvs.concat())
}

/// Valid headers, also ones that `encode` does not write.
fn valid() -> impl Strategy<Value = Vec<u8>> {
    let block = prop::collection::vec(any::<u8>(), 0..300);
    prop_oneof![
        (version(), socket_addr(), socket_addr()).prop_map(|(v, src, dst)| encode(v, Some(src), Some(dst))),
        (any::<[u8; 36]>(), tlvs()).prop_map(|(addrs, tlvs)| v2(0x21, 0x21, &[&addrs[..], &tlvs].concat())),
        (any::<u8>(), block).prop_map(|(family, block)| v2(0x20, family, &block)),
        "PROXY UNKNOWN( [ -~]{0,80})?".prop_map(|line| (line + "\r\n").into_bytes()),
    ]
}

proptest! {
    #[test]
    fn what_is_encoded_is_decoded(version in version(), src in socket_addr(), dst in socket_addr()) {
        let bytes = encode(version, Some(src), Some(dst));
        let limit = if version == ProxyVersion::V1 { MAX_V1 } else { 52 };
        prop_assert!(bytes.len() <= limit);
        let addrs = (src.is_ipv4() == dst.is_ipv4()).then_some((src, dst));
        prop_assert_eq!(decode(&bytes), Decoded::header(bytes.len(), addrs));
    }

    #[test]
    fn every_strict_prefix_is_incomplete_and_what_follows_does_not_matter(
        header in valid(),
        payload in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        // Of a long header not every length: a verdict looks at all of it.
        for len in (0..header.len()).filter(|len| *len < 64 || len % 61 == 0 || *len == header.len() - 1) {
            prop_assert_eq!(decode(&header[..len]), Decoded::Incomplete, "{} of {:?}", len, &header);
        }
        let decoded = decode(&header);
        prop_assert!(matches!(decoded, Decoded::Header { len, .. } if len == header.len()), "{:?}", decoded);
        prop_assert_eq!(decode(&[header, payload].concat()), decoded);
    }

    /// Any bytes get a verdict that more bytes do not change, after at most as many bytes as a header may have.
    #[test]
    fn hostile_bytes_neither_panic_nor_wait_for_ever(
        mut bytes in prop_oneof![valid(), prop::collection::vec(any::<u8>(), 0..600)],
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        filler in any::<u8>(),
    ) {
        for (at, byte) in flips {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
        }
        bytes.resize(bytes.len() + MAX_V2, filler);
        let verdict = decode(&bytes);
        prop_assert_ne!(verdict, Decoded::Incomplete);
        let decided = (0..=MAX_V2).find(|&len| decode(&bytes[..len]) != Decoded::Incomplete);
        let decided = decided.expect("decided within the longest header");
        for len in (decided..=bytes.len()).step_by(997) {
            let again = decode(&bytes[..len]);
            prop_assert_eq!(matches!(again, Decoded::Invalid(_)), matches!(verdict, Decoded::Invalid(_)));
        }
    }
}
