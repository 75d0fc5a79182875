//! PROXY protocol headers as the specification gives them, and those that must be refused.
#![allow(clippy::unwrap_used)]

use emqttd_net::proxy::{Header, MAX_HEADER, MAX_V1, MAX_V2_BODY, ProxyError, parse};
use proptest::prelude::*;

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    out.extend([command, family]);
    out.extend((body.len() as u16).to_be_bytes());
    out.extend(body);
    out
}

fn tlv(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    out.extend((value.len() as u16).to_be_bytes());
    out.extend(value);
    out
}

const TCP4: [u8; 12] = [192, 0, 2, 1, 198, 51, 100, 7, 0x30, 0x39, 0x07, 0x5b];

fn ssl(client: u8, verify: u32, records: &[u8]) -> Vec<u8> {
    let mut value = vec![client];
    value.extend(verify.to_be_bytes());
    value.extend(records);
    tlv(0x20, &value)
}

fn read(input: &[u8]) -> Header {
    parse(input).unwrap().unwrap()
}

#[test]
fn version_1_of_both_families() {
    let header = read(b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n\x10\x0c");
    assert_eq!(header.consumed, 47);
    assert_eq!(header.source, Some("192.168.0.1:56324".parse().unwrap()));
    assert_eq!(
        header.destination,
        Some("192.168.0.11:443".parse().unwrap())
    );
    assert!(!header.local);

    let header = read(b"PROXY TCP6 2001:db8::1 ::1 4124 1883\r\n");
    assert_eq!(header.source, Some("[2001:db8::1]:4124".parse().unwrap()));
    assert_eq!(header.destination, Some("[::1]:1883".parse().unwrap()));
}

#[test]
fn longest_lines_of_version_1() {
    let long = "ffff:f...f:ffff".replace("f...f", "ffff:ffff:ffff:ffff:ffff:ffff");
    let line = format!("PROXY TCP6 {long} {long} 65535 65535\r\n");
    assert_eq!(read(line.as_bytes()).consumed, line.len());

    let line = format!("PROXY UNKNOWN {long} {long} 65535 65535\r\n");
    assert_eq!(line.len(), MAX_V1);
    let header = read(line.as_bytes());
    assert_eq!((header.consumed, header.source), (MAX_V1, None));

    let line = format!("PROXY UNKNOWN {}\r\n", "x".repeat(MAX_V1));
    assert_eq!(parse(line.as_bytes()), Err(ProxyError::TooLong));
}

#[test]
fn unknown_of_version_1_has_no_address() {
    let header = read(b"PROXY UNKNOWN\r\nrest");
    assert_eq!(
        (header.consumed, header.source, header.local),
        (15, None, false)
    );
}

#[test]
fn bad_lines_of_version_1() {
    for line in [
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
        "PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n",
        "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n",
        "PROXY TCP4 ::1 ::1 1 2\r\n",
        "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
        "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
    ] {
        assert_eq!(parse(line.as_bytes()), Err(ProxyError::BadLine), "{line:?}");
    }
    assert_eq!(parse(b"PROXY TCP4 \xff\r\n"), Err(ProxyError::BadLine));
}

#[test]
fn garbage_is_refused_with_its_first_wrong_byte() {
    for input in [
        &b"\x10"[..],
        b"GET / HTTP/1.1\r\n",
        b"PROXX",
        b"\r\n\r\n\x01",
        b"\x16\x03\x01",
    ] {
        assert_eq!(parse(input), Err(ProxyError::NotProxy), "{input:?}");
    }
    assert_eq!(parse(b""), Ok(None));
}

#[test]
fn version_2_of_both_families() {
    let header = read(&[&v2(0x21, 0x11, &TCP4)[..], b"rest"].concat());
    assert_eq!(header.consumed, 28);
    assert_eq!(header.source, Some("192.0.2.1:12345".parse().unwrap()));
    assert_eq!(
        header.destination,
        Some("198.51.100.7:1883".parse().unwrap())
    );

    let mut body = [0; 36];
    body[..2].copy_from_slice(&[0x20, 0x01]);
    body[15] = 9;
    body[31] = 1;
    body[32..].copy_from_slice(&[0, 80, 1, 0]);
    let header = read(&v2(0x21, 0x21, &body));
    assert_eq!(header.source, Some("[2001::9]:80".parse().unwrap()));
    assert_eq!(header.destination, Some("[::1]:256".parse().unwrap()));
}

#[test]
fn a_mapped_address_is_an_ipv4_address() {
    let mut body = [0; 36];
    body[10..16].copy_from_slice(&[0xff, 0xff, 10, 0, 0, 1]);
    body[33] = 7;
    let header = read(&v2(0x21, 0x21, &body));
    assert_eq!(header.source, Some("10.0.0.1:7".parse().unwrap()));
}

#[test]
fn local_and_unspecified_have_no_address() {
    let header = read(&v2(0x20, 0x11, &TCP4));
    assert_eq!(
        (header.local, header.source, header.consumed),
        (true, None, 28)
    );
    // Whatever stands in the body of LOCAL is skipped.
    assert!(read(&v2(0x20, 0xff, &[1, 2, 3])).local);
    assert_eq!(read(&v2(0x21, 0x00, &[])).source, None);
    assert_eq!(read(&v2(0x21, 0x31, &[b'/'; 216])).source, None);
}

#[test]
fn common_name_of_a_verified_certificate() {
    let cn = tlv(0x22, b"device 7");
    let other = [tlv(0x21, b"TLSv1.3"), cn.clone(), tlv(0x23, b"suite")].concat();
    for client in [0x03, 0x05, 0x07] {
        let body = [&TCP4[..], &tlv(0x01, b"mqtt"), &ssl(client, 0, &other)].concat();
        assert_eq!(read(&v2(0x21, 0x11, &body)).cn.as_deref(), Some("device 7"));
    }
    // No address, yet a name.
    assert_eq!(
        read(&v2(0x21, 0x00, &ssl(3, 0, &cn))).cn.as_deref(),
        Some("device 7")
    );
}

#[test]
fn common_name_that_was_not_verified_is_not_given() {
    let cn = tlv(0x22, b"mallory");
    for value in [ssl(0x03, 1, &cn), ssl(0x01, 0, &cn), ssl(0x00, 0, &cn)] {
        let body = [&TCP4[..], &value].concat();
        assert_eq!(read(&v2(0x21, 0x11, &body)).cn, None);
    }
    let body = [&TCP4[..], &tlv(0x22, b"outside of the SSL record")].concat();
    assert_eq!(read(&v2(0x21, 0x11, &body)).cn, None);
}

#[test]
fn bad_headers_of_version_2() {
    assert_eq!(parse(&v2(0x11, 0x11, &TCP4)), Err(ProxyError::BadVersion));
    assert_eq!(parse(&v2(0x22, 0x11, &TCP4)), Err(ProxyError::BadVersion));
    assert_eq!(parse(&v2(0x21, 0x41, &TCP4)), Err(ProxyError::BadFamily));
    assert_eq!(
        parse(&v2(0x21, 0x11, &TCP4[..11])),
        Err(ProxyError::BadBody)
    );
    assert_eq!(parse(&v2(0x21, 0x21, &[0; 35])), Err(ProxyError::BadBody));
    assert_eq!(parse(&v2(0x21, 0x31, &[0; 215])), Err(ProxyError::BadBody));
    for tail in [&[1][..], &[1, 0], &[1, 0, 2, 0], &tlv(0x20, &[1, 0, 0, 0])] {
        let body = [&TCP4[..], tail].concat();
        assert_eq!(
            parse(&v2(0x21, 0x11, &body)),
            Err(ProxyError::BadBody),
            "{tail:?}"
        );
    }
    for records in [&[0x22, 0, 9, b'x'][..], &tlv(0x22, &[0xff])] {
        let body = [&TCP4[..], &ssl(3, 0, records)].concat();
        assert_eq!(
            parse(&v2(0x21, 0x11, &body)),
            Err(ProxyError::BadBody),
            "{records:?}"
        );
    }
}

#[test]
fn a_body_beyond_the_bound_is_refused_before_it_comes() {
    let mut input = v2(0x21, 0x00, &tlv(4, &[0; MAX_V2_BODY - 3]));
    assert_eq!(read(&input).consumed, MAX_HEADER);
    input[14..16].copy_from_slice(&(MAX_V2_BODY as u16 + 1).to_be_bytes());
    assert_eq!(parse(&input[..16]), Err(ProxyError::TooLong));
}

#[test]
fn every_beginning_of_a_header_asks_for_more() {
    let body = [&TCP4[..], &ssl(7, 0, &tlv(0x22, b"cn"))].concat();
    for whole in [
        b"PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n".to_vec(),
        b"PROXY UNKNOWN\r\n".to_vec(),
        v2(0x21, 0x11, &body),
        v2(0x20, 0x00, &[]),
    ] {
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), Ok(None), "{end} of {whole:?}");
        }
        assert_eq!(read(&whole).consumed, whole.len());
    }
}

proptest! {
    /// No panic, no request for bytes beyond the bound, never more consumed than given; and what
    /// is accepted or refused stays so when more bytes follow.
    #[test]
    fn any_bytes(
        start in prop_oneof![
            Just(Vec::new()), Just(b"PROXY ".to_vec()), Just(b"PROXY TCP4 ".to_vec()),
            Just(v2(0x21, 0x11, &[])), Just([SIGNATURE, &[0x21, 0x11, 0, 60]].concat()),
        ],
        rest in proptest::collection::vec(any::<u8>(), 0..200),
        more in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut input = [start, rest].concat();
        let first = parse(&input);
        if let Ok(Some(header)) = &first {
            prop_assert!(header.consumed <= input.len());
        }
        let undecided = first == Ok(None);
        input.extend(more);
        if !undecided {
            prop_assert_eq!(parse(&input), first);
        }
    }

    #[test]
    fn a_full_buffer_is_always_decided(start in 0..2, filler in any::<u8>()) {
        let mut input = if start == 0 { b"PROXY ".to_vec() } else { SIGNATURE.to_vec() };
        input.resize(MAX_HEADER, filler);
        prop_assert!(parse(&input) != Ok(None));
    }
}
