#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

fn value(kind: Type, text: &str) -> Value {
    kind.check(text)
        .unwrap_or_else(|e| panic!("{text}: {e}"))
        .value
}

fn millis(text: &str) -> u128 {
    match value(Type::Duration { zero: true }, text) {
        Value::Duration(duration) => duration.as_millis(),
        other => panic!("{other:?}"),
    }
}

const PERIOD: Type = Type::Duration { zero: false };
const SIZE: Type = Type::ByteSize {
    min: 0,
    max: u64::MAX,
};

#[test]
fn durations_are_sums_of_parts() {
    for (text, expected) in [
        ("1ms", 1),
        ("15s", 15_000),
        ("1m30s", 90_000),
        ("1.5h", 5_400_000),
        ("2H", 7_200_000),
        ("1d", 86_400_000),
        ("1w", 604_800_000),
        ("1f", 1_209_600_000),
        ("0.0s", 0),
        ("0", 0),
        ("30", 30_000),
    ] {
        assert_eq!(millis(text), expected, "{text}");
    }
    for text in [
        "",
        "s",
        "1x",
        "1m30",
        "-1s",
        "1 s",
        ".5s",
        "1.s",
        "1..2s",
        "1.2.3s",
        "99999999999999999999d",
        "101000d",
    ] {
        assert!(PERIOD.check(text).is_err(), "{text:?}");
    }
}

#[test]
fn a_duration_without_unit_is_seconds_with_a_note() {
    let checked = PERIOD.check("60").unwrap();
    assert_eq!(checked.value, Value::Duration(Duration::from_secs(60)));
    assert_eq!(checked.text.as_deref(), Some("60s"));
    assert!(checked.note.unwrap().contains("60s"));
    assert_eq!(PERIOD.check("60s").unwrap().note, None);
}

#[test]
fn zero_is_only_a_duration_where_it_means_something() {
    for text in ["0", "0s", "0.0s"] {
        assert!(PERIOD.check(text).is_err());
        assert_eq!(
            Type::Duration { zero: true }.check(text).unwrap().note,
            None
        );
    }
}

#[test]
fn a_bare_retainer_expiry_is_milliseconds() {
    let read = |text| value(Type::ExpiryMillis, text);
    assert_eq!(read("0"), Value::Duration(Duration::ZERO));
    assert_eq!(read("1500"), Value::Duration(Duration::from_millis(1500)));
    assert_eq!(read("1h"), Value::Duration(Duration::from_secs(3600)));
}

#[test]
fn sizes_count_in_1024() {
    for (text, expected) in [
        ("0", 0),
        ("512", 512),
        ("64KB", 65_536),
        ("1mb", 1 << 20),
        ("4096MB", 1 << 32),
        ("2GB", 2 << 30),
    ] {
        assert_eq!(value(SIZE, text), Value::Size(expected), "{text}");
    }
    for text in [
        "",
        "KB",
        "100B",
        "64K",
        "1.5MB",
        "-1",
        "1 KB",
        "99999999999GB",
    ] {
        assert!(SIZE.check(text).is_err(), "{text:?}");
    }
    assert!(Type::ByteSize { min: 10, max: 20 }.check("9").is_err());
    assert!(Type::ByteSize { min: 10, max: 20 }.check("21").is_err());
}

#[test]
fn flags_and_booleans_are_not_each_other() {
    assert_eq!(value(Type::Flag, "on"), Value::Flag(true));
    assert_eq!(value(Type::Bool, "false"), Value::Flag(false));
    for (kind, text) in [
        (Type::Flag, "true"),
        (Type::Flag, "ON"),
        (Type::Bool, "on"),
        (Type::FlagOn, "off"),
        (Type::StatsFlag, "true"),
    ] {
        assert!(kind.check(text).is_err(), "{text}");
    }
}

#[test]
fn a_stats_period_of_2_1_is_a_flag_with_a_note() {
    for (text, on) in [("60s", true), ("0", false)] {
        let checked = Type::StatsFlag.check(text).unwrap();
        assert_eq!(checked.value, Value::Flag(on));
        assert!(checked.note.is_some());
    }
}

#[test]
fn numbers() {
    assert_eq!(
        value(Type::Integer { min: 0, max: 9 }, "9"),
        Value::Integer(9)
    );
    for text in ["10", "", "-1", "+1", "1.0", "x"] {
        assert!(
            Type::Integer { min: 0, max: 9 }.check(text).is_err(),
            "{text}"
        );
    }
    assert_eq!(value(Type::Float, "0.75"), Value::Float(0.75));
    for text in ["1", ".5", "1.", "1.x", "1e5", "inf"] {
        assert!(Type::Float.check(text).is_err(), "{text}");
    }
    assert_eq!(value(Type::Percent, "60%"), Value::Percent(60));
    for text in ["60", "%", "101%", "6.5%"] {
        assert!(Type::Percent.check(text).is_err(), "{text}");
    }
    assert_eq!(value(Type::Length, "infinity"), Value::Integer(0));
    assert!(Type::Length.check("none").is_err());
}

#[test]
fn addresses() {
    for (text, expected) in [
        ("1883", "0.0.0.0:1883"),
        ("127.0.0.1:1883", "127.0.0.1:1883"),
        ("::1:1883", "[::1]:1883"),
        ("[::1]:1883", "[::1]:1883"),
        (":::1883", "[::]:1883"),
    ] {
        assert_eq!(
            value(Type::Address, text),
            Value::Address(expected.parse().unwrap()),
            "{text}"
        );
    }
    for text in [
        "",
        "localhost:1883",
        "127.0.0.1",
        "127.0.0.1:",
        "65536",
        "1.2.3:1",
    ] {
        assert!(Type::Address.check(text).is_err(), "{text}");
    }
}

#[test]
fn access_rules_mask_host_bits() {
    let net = |ip: &str, length| AccessNet::Net(ip.parse().unwrap(), length);
    for (text, allow, expected) in [
        ("allow all", true, AccessNet::All),
        ("deny  192.168.1.77/24", false, net("192.168.1.0", 24)),
        ("allow 10.0.0.1", true, net("10.0.0.1", 32)),
        ("deny 1.2.3.4/0", false, net("0.0.0.0", 0)),
        ("allow 2001:db8::1/32", true, net("2001:db8::", 32)),
        ("allow ::1/0", true, net("::", 0)),
    ] {
        assert_eq!(
            value(Type::Access, text),
            Value::Access(AccessRule {
                allow,
                net: expected
            }),
            "{text}"
        );
    }
    for text in [
        "",
        "allow",
        "all",
        "permit all",
        "allow 1.2.3.4/33",
        "allow x",
        "allow all all",
    ] {
        assert!(Type::Access.check(text).is_err(), "{text}");
    }
}

#[test]
fn a_rate_limit_has_a_burst_above_its_rate() {
    assert_eq!(
        value(Type::RateLimit, "100,10"),
        Value::RateLimit(102_400, 10_240)
    );
    assert_eq!(
        value(Type::RateLimit, "100, 10"),
        Value::RateLimit(102_400, 10_240)
    );
    for text in [
        "",
        "100",
        "10,10",
        "10,100",
        "10,0",
        "a,b",
        "18446744073709551615,1",
    ] {
        assert!(Type::RateLimit.check(text).is_err(), "{text}");
    }
}

#[test]
fn priorities_are_given_to_topic_names() {
    assert_eq!(
        value(Type::Priorities, "topic/1=10, a=b=255"),
        Value::Priorities(vec![("topic/1".into(), 10), ("a=b".into(), 255)])
    );
    assert_eq!(value(Type::Priorities, ""), Value::Priorities(Vec::new()));
    for text in ["topic", "t=256", "t=-1", "t/#=1", "=1"] {
        assert!(Type::Priorities.check(text).is_err(), "{text}");
    }
}

#[test]
fn old_tls_versions_are_left_out_with_a_note() {
    assert_eq!(
        value(Type::TlsVersions, "tlsv1.2"),
        Value::TlsVersions(true, false)
    );
    let checked = Type::TlsVersions.check("tlsv1.2,tlsv1.1,tlsv1").unwrap();
    assert_eq!(checked.value, Value::TlsVersions(true, false));
    assert!(checked.note.unwrap().contains("tlsv1.1"));
    for text in ["tlsv1", "", "tls1.2"] {
        assert!(Type::TlsVersions.check(text).is_err(), "{text}");
    }
}

#[test]
fn node_names_may_hold_what_containers_make() {
    for text in [
        "emq@127.0.0.1",
        "9ce667cd8da6@172.18.0.7",
        "emq@host.does.not.exist",
    ] {
        assert_eq!(value(Type::NodeName, text), Value::Text(text.into()));
    }
    assert_eq!(
        Type::NodeName.check("emq").unwrap().text.as_deref(),
        Some("emq@127.0.0.1")
    );
    for text in ["", "@", "a@", "@b", "a b@c", "a/b@c", "a@b@c", "#@x"] {
        assert!(Type::NodeName.check(text).is_err(), "{text}");
    }
}

#[test]
fn password_hashes() {
    for text in [
        "plain",
        "sha256",
        "salt,sha256",
        "salt sha256",
        "sha256 , salt",
        "salt,bcrypt",
        "bcrypt",
        "pbkdf2,sha256,1000,20",
        "pbkdf2",
        "argon2id",
        "scrypt",
    ] {
        assert_eq!(Type::PasswordHash.check(text).unwrap().note, None, "{text}");
    }
    let checked = Type::PasswordHash.check("plain;").unwrap();
    assert_eq!(checked.text.as_deref(), Some("plain"));
    assert!(checked.note.is_some());
    for text in [
        "",
        "sha1",
        "salt,salt",
        "salt,plain",
        "salt,argon2id",
        "scrypt,salt",
        "argon2",
        "pbkdf2,sha256,0,20",
        "pbkdf2,sha256",
        ";",
    ] {
        assert!(Type::PasswordHash.check(text).is_err(), "{text}");
    }
}

#[test]
fn filters_and_rewrite_rules() {
    for text in ["$client/%c", "#", "a/+/b/#", "/", "+"] {
        assert!(Type::TopicFilter.check(text).is_ok(), "{text}");
    }
    for text in ["", "a/#/b", "a+", "a#"] {
        assert!(Type::TopicFilter.check(text).is_err(), "{text}");
    }
    for (text, kept) in [
        ("x/# ^x/y/(.+)$ z/y/$1", None),
        ("rewrite ^x z", None),
        (
            "rewrite x/# ^x/y/(.+)$ z/y/$1",
            Some("x/# ^x/y/(.+)$ z/y/$1"),
        ),
        ("\"x/#\"  \"^x\" \"z\"", Some("x/# ^x z")),
        ("rewrite \"x/#\" \"^x y\" z", Some("x/# \"^x y\" z")),
    ] {
        let checked = Type::RewriteRule.check(text).unwrap();
        assert_eq!(checked.text.as_deref(), kept, "{text}");
        assert_eq!(checked.note, None);
    }
    for text in [
        "",
        "x/# ^x",
        "x/#/y a b",
        "a b c d",
        "\"x/#\" ^x \"z",
        "\"x/#\"^x z y",
        "x \"\" z",
    ] {
        assert!(Type::RewriteRule.check(text).is_err(), "{text}");
    }
}

#[test]
fn printing_is_as_emq_prints() {
    assert_eq!(PERIOD.print("1h"), "3600000");
    assert_eq!(Type::Float.print("0.75"), "0.7500");
    assert_eq!(SIZE.print("64KB"), "65536");
    assert_eq!(Type::Flag.print("on"), "true");
    assert_eq!(Type::Percent.print("20%"), "0.2000");
    assert_eq!(Type::Text.print("x"), "x");
}

fn every_type() -> Vec<Type> {
    let mut types: Vec<Type> = crate::schema::keys().map(|key| key.kind).collect();
    types.push(Type::FlagOn);
    types
}

proptest! {
    #[test]
    fn no_text_makes_a_type_panic(text in any::<String>(), near in "[0-9a-z%.,:/= ;#+]{0,24}") {
        for kind in every_type() {
            let _ = kind.check(&text);
            let _ = kind.check(&near);
            let _ = kind.print(&near);
        }
    }

    #[test]
    fn a_kept_text_means_the_same_and_has_no_note(near in "[0-9a-z%.,:/= ;]{0,16}") {
        for kind in every_type() {
            if let Ok(checked) = kind.check(&near)
                && let Some(kept) = &checked.text
            {
                let again = kind.check(kept);
                prop_assert_eq!(again.as_ref().map(|again| &again.value), Ok(&checked.value));
                prop_assert_eq!(again.map(|again| again.note), Ok(None));
            }
        }
    }

    #[test]
    fn durations_round_trip(h in 0_u64..1000, m in 0_u64..60, s in 0_u64..60, ms in 0_u64..1000) {
        let expected = u128::from(((h * 60 + m) * 60 + s) * 1000 + ms);
        prop_assert_eq!(millis(&format!("{h}h{m}m{s}s{ms}ms")), expected);
    }

    #[test]
    fn addresses_round_trip(addr in any::<SocketAddr>()) {
        let text = format!("{}:{}", addr.ip(), addr.port());
        prop_assert_eq!(value(Type::Address, &text), Value::Address(SocketAddr::new(addr.ip(), addr.port())));
    }
}
