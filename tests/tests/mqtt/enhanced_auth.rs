//! AUTH. The core has no mechanism of its own, so what is tested is that every method is refused rightly.

use emqttd_tests::packet::encode_props;
use emqttd_tests::{Connect, Prop, V3, Version, frame, unique};

use crate::broker;

const V: Version = Version::V5;

/// [MQTT-4.12.0-4], [MQTT-4.12.0-5]
#[test]
fn mqtt5_4_12_0_1_unknown_method_is_refused() {
    for method in ["", "PLAIN", "SCRAM-SHA-999", "ключ"] {
        let mut client = broker().raw(V);
        client.send(
            &Connect::new(V, &unique("method"))
                .prop(Prop::AuthMethod(method.into()))
                .prop(Prop::AuthData(vec![1, 2, 3]))
                .encode(),
        );
        assert_eq!(client.closed(), Some(0x8c), "{method:?}");
    }
}

/// [MQTT-4.12.0-6]
#[test]
fn mqtt5_4_12_0_6_no_method_in_connack_without_one_in_connect() {
    let (_client, _, props) = broker().resume(&Connect::new(V, &unique("plain")));
    assert_eq!(props.auth_method(), None);
}

#[test]
fn mqtt5_4_12_0_7_auth_without_a_method_closes() {
    for code in [0x00, 0x18, 0x19] {
        let mut client = broker().client(V, "auth");
        let mut body = vec![code];
        body.extend(encode_props(&[Prop::AuthMethod("PLAIN".into())]));
        client.send(&frame(0xf0, &body));
        client.expect_closed(&[0x82, 0x8c]);
    }
}

#[test]
fn mqtt5_3_15_1_1_auth_with_wrong_flags_closes() {
    for first in [0xf1, 0xf2, 0xff] {
        let mut client = broker().client(V, "flags");
        client.send(&frame(first, &[0x18, 0]));
        client.expect_closed(&[0x81]);
    }
}

#[test]
fn mqtt5_3_15_2_1_auth_with_an_unknown_code_closes() {
    for code in [0x01, 0x17, 0x80, 0xff] {
        let mut client = broker().client(V, "code");
        let mut body = vec![code];
        body.extend(encode_props(&[Prop::AuthMethod("PLAIN".into())]));
        client.send(&frame(0xf0, &body));
        client.expect_closed(&[0x81, 0x82]);
    }
}

/// Type 15 is reserved before MQTT 5.
#[test]
fn mqtt311_2_2_2_2_auth_closes() {
    for v in V3 {
        let mut client = broker().client(v, "auth");
        client.send(&frame(0xf0, &[]));
        assert_eq!(client.closed(), None, "{v}");
    }
}
