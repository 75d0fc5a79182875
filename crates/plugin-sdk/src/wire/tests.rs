#![allow(clippy::unwrap_used)]

mod frozen;

use super::request::Changed;
use super::*;
use crate::testing::client;
use crate::{Change, Client, Key, KeyKind, Message, PeerInfo, QoS, TopicEntry};

#[test]
fn fields_of_a_newer_side_are_passed_over() {
    // {0: "t", 1: 1, 2: null, 3: true, 9: [1, 2]}
    let bytes = [
        0xa5, 0x00, 0x61, b't', 0x01, 0x01, 0x02, 0xf6, 0x03, 0xf5, 0x09, 0x82, 0x01, 0x02,
    ];
    let read: TopicEntry = decode(&bytes).unwrap();
    assert!(read.local);
    assert_eq!(read.qos, QoS::AtLeastOnce);
    // Without the topic it is none.
    assert_eq!(
        decode::<TopicEntry>(&[0xa1, 0x01, 0x01]),
        Err(Fault::Malformed)
    );
    assert_eq!(decode::<TopicEntry>(b"\xff\xff"), Err(Fault::Malformed));
    assert_eq!(decode::<TopicEntry>(b""), Err(Fault::Malformed));
}

#[test]
fn there_and_back() {
    let full = Client {
        username: Some("u".into()),
        peername: "[::1]:5".parse().unwrap(),
        will_topic: Some("w".into()),
        headers: Some([("a".to_string(), "b".to_string())].into()),
        mountpoint: Some("m/".into()),
        connected_at: u64::MAX,
        ..client("c")
    };
    let bytes = encode(&ClientParts::from(&full));
    assert_eq!(
        Client::from(decode::<ClientParts<'_>>(&bytes).unwrap()),
        full
    );

    let message = Message {
        topic: "t",
        payload: b"p",
        qos: QoS::AtLeastOnce,
        retain: true,
        from: Some(full.by_name()),
        properties: &[1, 2, 3],
        timestamp: 7,
    };
    let bytes = encode(&MessageParts::from(&message));
    let back = decode::<MessageParts<'_>>(&bytes).unwrap().with(b"p");
    assert_eq!(format!("{back:?}"), format!("{message:?}"));

    for kind in [
        KeyKind::Text,
        KeyKind::Secret,
        KeyKind::Integer,
        KeyKind::Switch,
        KeyKind::Duration,
        KeyKind::Size,
        KeyKind::OneOf(vec!["a".into(), "b".into()]),
    ] {
        let key = Key::new("k", kind, "what").default("d").hot();
        let bytes = encode(&KeyParts::from(&key));
        assert_eq!(Key::from(decode::<KeyParts>(&bytes).unwrap()), key);
    }

    let change = Change {
        payload: Some(Vec::new()),
        ..Change::default()
    };
    let (changed, payload) = Changed::from_change(change.clone());
    let bytes = encode_with(&changed, &payload);
    let (changed, payload) = decode_with::<Changed>(&bytes).unwrap();
    assert_eq!(changed.with(payload), change);

    let will = crate::virtual_client::Will {
        topic: "t".into(),
        payload: Vec::new(),
        qos: QoS::ExactlyOnce,
        retain: true,
    };
    let read: Option<crate::virtual_client::Will> = decode(&encode(&Some(&will))).unwrap();
    assert_eq!(read, Some(will));

    let peer = PeerInfo {
        listener: ("p".into(), "l".into()),
        peername: ([1, 2, 3, 4], 5).into(),
        cert_username: None,
        anonymous: true,
    };
    assert_eq!(decode::<PeerInfo>(&encode(&peer)).unwrap(), peer);
    let known = PeerInfo {
        anonymous: false,
        ..peer
    };
    assert_eq!(decode::<PeerInfo>(&encode(&known)).unwrap(), known);
}
