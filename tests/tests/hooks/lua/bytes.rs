//! Payloads are bytes, and stay what they are.

use emqttd_tests::{ALL, Client, Packet, Publish, Version};

use super::{broker, on_publish};

/// Every byte there is, NUL and 0xff among them.
fn every_byte() -> Vec<u8> {
    (0..=255).collect()
}

/// Publishes to itself: the bytes that come.
#[track_caller]
fn echo(client: &mut Client, topic: &str, payload: &[u8]) -> Vec<u8> {
    client.publish(Publish::new(topic, payload));
    match client.recv() {
        Packet::Publish { payload, .. } => payload,
        other => panic!("a message wanted, got {other:?}"),
    }
}

#[test]
fn payloads_pass_through_scripts() {
    let script = on_publish(
        "local change = {\n\
             same = function(p) return p end,\n\
             more = function(p) return p .. \"\\0\\255\" .. p end,\n\
             reverse = function(p) return p:reverse() end,\n\
             bytes = function(p) return string.char(p:byte(1, -1)) end,\n\
             cut = function(p) return p:sub(2, -2) end,\n\
             replace = function(p) return (p:gsub(\"[%z\\1-\\127]\", \"\")) end,\n\
             hex = function(p) return (p:gsub(\".\", function(c) return (\"%02x\"):format(c:byte()) end)) end,\n\
             length = function(p) return #p end,\n\
             format = function(p) return string.format(\"<%s>\", p) end,\n\
             concat = function(p) return table.concat({ p, p }, \"\\0\") end,\n\
             upper = function(p) return p:upper() end,\n\
         }\n\
         return topic, tostring(change[topic](payload)), qos, retain",
    );
    let broker = broker(&[("bytes", &script)], "");
    let all = every_byte();
    let low: Vec<u8> = all.iter().copied().filter(|byte| *byte < 128).collect();
    let hex: String = all.iter().map(|byte| format!("{byte:02x}")).collect();
    for v in ALL {
        let mut client = broker.client(v, "bytes");
        client.sub("#", 0);
        let mut check = |topic: &str, payload: &[u8], wanted: &[u8]| {
            assert_eq!(echo(&mut client, topic, payload), wanted, "{v} {topic}");
        };
        check("same", &all, &all);
        check("same", b"", b"");
        check("more", &all, &[&all, &[0, 255][..], &all].concat());
        let reversed: Vec<u8> = all.iter().rev().copied().collect();
        check("reverse", &all, &reversed);
        check("bytes", &all, &all);
        check("cut", &all, &all[1..255]);
        check("replace", &all, &all[128..]);
        check("hex", &all, hex.as_bytes());
        check("length", &all, b"256");
        check("length", b"", b"0");
        check("format", &all, &[b"<", &all[..], b">"].concat());
        check("concat", &all, &[&all, &[0][..], &all].concat());
        check("upper", &low, &low.to_ascii_uppercase());
        // Without a locale nobody knows what the other bytes are.
        check("upper", &all[128..], &all[128..]);
    }
}

/// As long as a packet may be, and longer ones made of it.
#[test]
fn long_payloads() {
    let script = on_publish(
        "if topic == \"grow\" then payload = payload:rep(2) end\nreturn topic, payload, qos, retain",
    );
    let broker = broker(&[("long", &script)], "");
    let mut client = broker.client(Version::V311, "long");
    client.sub("#", 0);
    let all = every_byte();
    let payload: Vec<u8> = all.iter().cycle().take(60_000).copied().collect();
    assert!(echo(&mut client, "same", &payload) == payload);
    let half = &payload[..25_600];
    assert!(echo(&mut client, "grow", half) == [half, half].concat());
}

/// Topics, client ids and user names are UTF-8, in bytes.
#[test]
fn names_are_bytes() {
    let script =
        on_publish("return topic .. \"/\" .. #topic, topic:upper() .. \"\\206\\187\", qos, retain");
    let broker = broker(&[("names", &script)], "");
    let mut client = broker.client(Version::V5, "names");
    client.sub("#", 0);
    client.publish(Publish::new("z\u{fc}rich/\u{1f980}", "x"));
    client.expect("z\u{fc}rich/\u{1f980}/12", "Z\u{fc}RICH/\u{1f980}\u{3bb}");
}
