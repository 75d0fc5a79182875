#![allow(clippy::unwrap_used)]
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;

const LIMITS: Limits = Limits {
    max_headers: 3,
    max_header_length: 20,
    max_body_length: 10,
};

/// Frames that the bytes are, with their headers unescaped.
type Found = (String, Vec<(String, String)>, Vec<u8>);

fn owned(frame: &Frame<'_>) -> Found {
    let headers = frame.headers();
    let headers = headers.map(|(name, value)| (name.into_owned(), value.into_owned()));
    (frame.command.into(), headers.collect(), frame.body.into())
}

/// Gives the decoder the bytes in pieces that end at `cuts`; all frames, or those before a fault.
fn decode(
    bytes: &[u8],
    cuts: &[usize],
    version: Version,
    limits: &Limits,
) -> (Vec<Found>, Option<Fault>) {
    let mut decoder = Decoder::default();
    let (mut found, mut start) = (Vec::new(), 0);
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(bytes.len());
    for end in ends {
        loop {
            match decoder.decode(&bytes[start..end], version, limits) {
                Err(fault) => return (found, Some(fault)),
                Ok(decoded) => {
                    start += decoded.used;
                    match decoded.frame {
                        Some(frame) => found.push(owned(&frame)),
                        None => break,
                    }
                }
            }
        }
    }
    (found, None)
}

fn one(bytes: &str, version: Version) -> Result<Found, Fault> {
    let (mut found, fault) = decode(bytes.as_bytes(), &[], version, &Limits::default());
    match fault {
        Some(fault) => Err(fault),
        None => Ok(found.pop().expect("a frame")),
    }
}

fn fault(bytes: &str, limits: &Limits) -> Option<Fault> {
    decode(bytes.as_bytes(), &[], Version::V1_2, limits).1
}

fn headers(of: &[(&str, &str)]) -> Vec<(String, String)> {
    let text = |(name, value): &(&str, &str)| ((*name).to_string(), (*value).to_string());
    of.iter().map(text).collect()
}

#[test]
fn a_frame_is_command_headers_and_body() {
    let frame = one("SEND\ndestination:/queue/a\nfoo:\n\nhello\0", Version::V1_2);
    let expected = headers(&[("destination", "/queue/a"), ("foo", "")]);
    assert_eq!(frame, Ok(("SEND".into(), expected, b"hello".to_vec())));
    let bare = one("DISCONNECT\n\n\0", Version::V1_0);
    assert_eq!(bare, Ok(("DISCONNECT".into(), vec![], vec![])));
}

#[test]
fn line_feeds_stand_between_frames_and_lines_may_end_in_cr_lf() {
    let bytes = b"\n\r\n\nACK\r\nid:1\r\n\r\n\0\n\r\n\nNACK\nid:2\n\n\0\n\n";
    let (found, fault) = decode(bytes, &[], Version::V1_2, &LIMITS);
    assert_eq!(fault, None);
    assert_eq!(found[0], ("ACK".into(), headers(&[("id", "1")]), vec![]));
    assert_eq!(found[1], ("NACK".into(), headers(&[("id", "2")]), vec![]));
    // NULs that are too many are no frames.
    let (same, fault) = decode(
        b"\0\nACK\r\nid:1\r\n\r\n\0\n\0\0NACK\nid:2\n\n\0\0\n",
        &[],
        Version::V1_2,
        &LIMITS,
    );
    assert_eq!((same, fault), (found, None));
    // Heart-beats are used at once.
    let mut decoder = Decoder::default();
    let decoded = decoder.decode(b"\n\r\n\r", Version::V1_2, &LIMITS).unwrap();
    assert_eq!((decoded.used, decoded.frame), (3, None));
}

#[test]
fn a_body_ends_after_content_length_bytes_or_at_a_nul() {
    let (_, _, body) = one("SEND\ncontent-length:3\n\na\0b\0", Version::V1_2).unwrap();
    assert_eq!(body, b"a\0b");
    let (_, _, body) = one("SEND\ncontent-length:0\n\n\0", Version::V1_2).unwrap();
    assert_eq!(body, b"");
    // The first counts.
    let twice = "SEND\ncontent-length:1\ncontent-length:9\n\nx\0";
    assert_eq!(one(twice, Version::V1_2).unwrap().2, b"x");
    for wrong in [
        "SEND\ncontent-length:1\n\nxy\0",
        "SEND\ncontent-length:-1\n\n\0",
        "SEND\ncontent-length:\n\n\0",
        "SEND\ncontent-length:1x\n\n\0",
    ] {
        let found = one(wrong, Version::V1_2);
        assert!(matches!(found, Err(Fault::Malformed(_))), "{wrong:?}");
    }
    let huge = "SEND\ncontent-length:99999999999999999999999\n\n";
    let too_long = Some(Fault::BodyTooLong(8192));
    assert_eq!(fault(huge, &Limits::default()), too_long);
}

#[test]
fn escapes_are_those_of_the_version() {
    let value = |raw: &str, version| {
        one(&format!("SEND\na\\cb:{raw}\n\n\0"), version).map(|frame| frame.1[0].clone())
    };
    let pair = |name: &str, value: &str| Ok((name.to_string(), value.to_string()));
    assert_eq!(value(r"x\ny\cz\\", Version::V1_1), pair("a:b", "x\ny:z\\"));
    assert_eq!(value(r"x\ry\\r", Version::V1_2), pair("a:b", "x\ry\\r"));
    assert_eq!(value(r"x\ry", Version::V1_0), pair(r"a\cb", r"x\ry"));
    for (raw, version) in [
        (r"x\ry", Version::V1_1),
        (r"\t", Version::V1_1),
        (r"\t", Version::V1_2),
        (r"x\", Version::V1_2),
        (r"x\\\", Version::V1_2),
    ] {
        let found = value(raw, version);
        assert_eq!(found, Err(Fault::Malformed("an undefined escape")), "{raw}");
    }
    // Who comes is told without escapes.
    for command in ["CONNECT", "STOMP"] {
        let frame = one(
            &format!("{command}\npasscode:a\\tb\\c\n\n\0"),
            Version::V1_2,
        );
        assert_eq!(frame.unwrap().1, headers(&[("passcode", r"a\tb\c")]));
    }
}

#[test]
fn of_headers_with_the_same_name_the_first_counts() {
    let bytes = b"SEND\nfoo:1\nfoo:2\n\n\0";
    let mut decoder = Decoder::default();
    let decoded = decoder.decode(bytes, Version::V1_2, &LIMITS).unwrap();
    let frame = decoded.frame.unwrap();
    assert_eq!(frame.header("foo").as_deref(), Some("1"));
    assert_eq!(frame.header("bar"), None);
}

#[test]
fn what_is_no_frame() {
    for wrong in [
        "SEND\nno colon\n\n\0",
        "SEND\n:no name\n\n\0",
        "SEND\nfoo:1\0",
        "SEND\0",
    ] {
        let found = fault(wrong, &LIMITS);
        assert!(matches!(found, Some(Fault::Malformed(_))), "{wrong:?}");
    }
    let endless = "x".repeat(COMMAND + 2);
    assert_eq!(
        fault(&endless, &LIMITS),
        Some(Fault::Malformed("no command"))
    );
    for bytes in [&b"SE\xFFND\n\n\0"[..], b"SEND\na:\xFF\n\n\0"] {
        let (_, found) = decode(bytes, &[], Version::V1_0, &LIMITS);
        assert!(matches!(found, Some(Fault::Malformed(_))));
    }
}

#[test]
fn limits_hold_to_the_byte_and_before_the_frame_is_whole() {
    let fits = format!(
        "SEND\na:1\nb:2\n{}\n\n{}\0",
        "c:".to_string() + &"x".repeat(18),
        "y".repeat(10)
    );
    assert_eq!(fault(&fits, &LIMITS), None);
    let crlf = fits.replace('\n', "\r\n");
    assert_eq!(fault(&crlf, &LIMITS), None);
    assert_eq!(
        fault("SEND\na:1\nb:2\nc:3\nd:4\n", &LIMITS),
        Some(Fault::TooManyHeaders(3))
    );
    let long = Some(Fault::HeaderTooLong(20));
    assert_eq!(fault(&format!("SEND\n{}\n", "x".repeat(21)), &LIMITS), long);
    assert_eq!(fault(&format!("SEND\n{}", "x".repeat(22)), &LIMITS), long);
    let body = Some(Fault::BodyTooLong(10));
    assert_eq!(fault("SEND\n\n01234567890", &LIMITS), body);
    assert_eq!(fault("SEND\n\n01234567890\0", &LIMITS), body);
    assert_eq!(fault("SEND\ncontent-length:11\n\n", &LIMITS), body);
    for (fault, key) in [
        (Fault::TooManyHeaders(3), "max_headers = 3"),
        (Fault::HeaderTooLong(20), "max_header_length = 20"),
        (Fault::BodyTooLong(10), "max_body_length = 10"),
    ] {
        assert!(fault.to_string().ends_with(key), "{fault}");
    }
}

#[test]
fn the_receipt_of_a_frame_that_is_not_understood() {
    let receipt = |text: &str| receipt_of(text.as_bytes(), Version::V1_2, &LIMITS);
    assert_eq!(
        receipt("\nSEND\nno colon\nreceipt:a\\cb\n\n").as_deref(),
        Some("a:b")
    );
    assert_eq!(receipt("SEND\nreceipt:not whole"), None);
    assert_eq!(receipt("SEND\n\nreceipt:in the body\n\0"), None);
    assert_eq!(receipt(r"SEND\nreceipt:\t\n"), None);
    assert_eq!(receipt("SEND\nreceipt:longer than a header may be\n"), None);
}

#[test]
fn frames_are_written_as_they_are_read() {
    let mut out = Vec::new();
    Encoder::new(&mut out, "MESSAGE", Version::V1_2)
        .header("destination", "a:b\\c\nd\re")
        .number("message-id", 10)
        .body(b"x\0");
    let text = "MESSAGE\ndestination:a\\cb\\\\c\\nd\\re\nmessage-id:10\ncontent-length:2\n\nx\0\0";
    assert_eq!(str::from_utf8(&out).unwrap(), text);
    // 1.1 has no escape for CR, 1.0 only what keeps a line one line.
    for (version, value) in [
        (Version::V1_1, "a\\cb\\\\c\\nd\re"),
        (Version::V1_0, "a:b\\c\\nd\re"),
    ] {
        out.clear();
        Encoder::new(&mut out, "X", version)
            .header("h", "a:b\\c\nd\re")
            .body(&[]);
        assert_eq!(str::from_utf8(&out).unwrap(), format!("X\nh:{value}\n\n\0"));
    }
    out.clear();
    push_decimal(&mut out, 0);
    push_decimal(&mut out, u64::MAX);
    assert_eq!(out, b"018446744073709551615");
}

#[test]
fn headers_that_a_version_has_no_words_for() {
    let mut out = Vec::new();
    let mut can_say = |version, name, value| {
        let encoder = Encoder::new(&mut out, "X", version);
        encoder.can_say(name, value)
    };
    let all = [Version::V1_2, Version::V1_1, Version::V1_0];
    for (name, value, said) in [
        ("a", "b:c\\n", [true; 3]),
        ("a", "", [true; 3]),
        ("", "b", [false; 3]),
        ("a", "b\0", [false; 3]),
        ("a:b", "c", [true, true, false]),
        ("a\nb", "c", [true, true, false]),
        ("a", "b\n", [true, true, false]),
        ("a", "b\r", [true, false, false]),
        ("a\r", "b", [true, false, false]),
    ] {
        assert_eq!(
            all.map(|version| can_say(version, name, value)),
            said,
            "{name:?} {value:?}"
        );
    }
    out.clear();
    Encoder::new(&mut out, "X", Version::V1_1)
        .named("a:b", "c:\n")
        .body(&[]);
    assert_eq!(out, b"X\na\\cb:c\\c\\n\n\n\0");
}

fn version() -> impl Strategy<Value = Version> {
    prop_oneof![Just(Version::V1_1), Just(Version::V1_2)]
}

/// Text without NUL; in 1.1 a CR at the end of a value reads as the end of the line.
fn text() -> impl Strategy<Value = String> {
    "[a-z\n:\\\\é]{0,12}"
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        version in version(),
        values in vec((1..4_usize, text()), 0..5),
        body in vec(any::<u8>(), 0..40),
        cuts in vec(any::<usize>(), 0..8),
    ) {
        let limits = Limits { max_headers: 20, max_header_length: 200, max_body_length: 40 };
        let mut out = Vec::new();
        let mut encoder = Encoder::new(&mut out, "MESSAGE", version);
        let mut expected = Vec::new();
        for (name, value) in &values {
            let name = "n".repeat(*name);
            encoder = encoder.header(&name, value);
            expected.push((name, value.clone()));
        }
        encoder.body(&body);
        if !body.is_empty() {
            expected.push(("content-length".into(), body.len().to_string()));
        }
        out.extend_from_slice(b"\n");
        let again = out.clone();
        out.extend_from_slice(&again);
        let (found, fault) = decode(&out, &cuts, version, &limits);
        prop_assert_eq!(fault, None);
        let frame = ("MESSAGE".to_string(), expected, body);
        prop_assert_eq!(found, vec![frame.clone(), frame]);
    }

    /// However the bytes come, the same frames are found before the same kind of end.
    #[test]
    fn pieces_make_no_difference(
        pieces in vec(prop_oneof![
            Just("SEND\n"), Just("destination:a\n"), Just("\n"), Just("\0"), Just("content-length:3\n"),
            Just("x"), Just("\r\n"), Just(":"), Just("\\n"), Just("\\q"), Just("é"), Just("ACK\nid:1\n\n\0"),
        ], 0..30),
        cuts in vec(any::<usize>(), 0..20),
    ) {
        let bytes = pieces.concat();
        let whole = decode(bytes.as_bytes(), &[], Version::V1_2, &LIMITS);
        let cut = decode(bytes.as_bytes(), &cuts, Version::V1_2, &LIMITS);
        prop_assert_eq!(&whole.0, &cut.0);
        prop_assert_eq!(whole.1.is_some(), cut.1.is_some());
    }

    #[test]
    fn nothing_panics(bytes in vec(any::<u8>(), 0..200), cuts in vec(any::<usize>(), 0..5)) {
        decode(&bytes, &cuts, Version::V1_2, &LIMITS);
        receipt_of(&bytes, Version::V1_1, &LIMITS);
    }
}
