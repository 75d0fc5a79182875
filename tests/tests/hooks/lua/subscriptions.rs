//! `on_client_subscribe` and `on_client_unsubscribe`: topics changed and cancelled.

use emqttd_tests::{ALL, Client, STRICT, Sub, V3, Version, unique};

use super::{broker, config, echo, logs};
use emqttd_tests::Broker;

/// Cancels `deny/..`, moves `move/..`, fails at `fail/..`, returns nonsense at `odd/..`.
const JUDGE: &str = "\
local function judge(topic)
    if topic:find(\"^deny/\") then return false end
    if topic:find(\"^move/\") then return (topic:gsub(\"^move/\", \"moved/\")) end
    if topic:find(\"^fail/\") then error(\"it fails\") end
    if topic:find(\"^odd/\") then return odd[topic] end
    return topic
end
odd = {
    [\"odd/number\"] = 42,
    [\"odd/table\"] = {},
    [\"odd/true\"] = true,
    [\"odd/filter\"] = \"a/#/b\",
    [\"odd/empty\"] = \"\",
    [\"odd/nul\"] = \"a\\0b\",
    [\"odd/utf8\"] = \"a\\255\",
    [\"odd/long\"] = string.rep(\"x\", 65536),
}
function on_client_subscribe(clientid, username, topic) return judge(topic) end
function on_client_unsubscribe(clientid, username, topic) return judge(topic) end
function register_hook() return \"on_client_subscribe\", \"on_client_unsubscribe\" end
";

const ODD: [&str; 9] = [
    "odd/number",
    "odd/table",
    "odd/true",
    "odd/filter",
    "odd/empty",
    "odd/nul",
    "odd/utf8",
    "odd/long",
    "odd/nil",
];

/// What a cancelled subscription is answered.
fn cancelled(v: Version) -> u8 {
    if v.is_v5() { 0x87 } else { 0x80 }
}

#[track_caller]
fn codes(client: &mut Client, filters: &[(&str, u8)]) -> Vec<u8> {
    let subs: Vec<Sub> = filters.iter().map(|(f, qos)| Sub::new(f, *qos)).collect();
    client.subscribe(&subs, &[])
}

/// Sheet 13, check 3, with the advice: each topic has the code that is its own, in their order.
#[test]
fn some_of_a_packet_are_cancelled() {
    let broker = broker(&[("judge", JUDGE)], "");
    for v in ALL {
        let no = cancelled(v);
        let mut client = broker.client(v, "some");
        for (filters, wanted) in [
            (vec![("deny/a", 1)], vec![no]),
            (vec![("deny/a", 1), ("yes/a", 1)], vec![no, 1]),
            (vec![("yes/b", 2), ("deny/b", 1)], vec![2, no]),
            (
                vec![
                    ("yes/c", 0),
                    ("deny/c", 1),
                    ("yes/d", 2),
                    ("deny/d", 0),
                    ("yes/e", 1),
                ],
                vec![0, no, 2, no, 1],
            ),
            (
                vec![("deny/e", 0), ("deny/f", 1), ("deny/g", 2)],
                vec![no; 3],
            ),
            (
                vec![("deny/+", 1), ("deny/#", 1), ("yes/#", 1)],
                vec![no, no, 1],
            ),
        ] {
            assert_eq!(codes(&mut client, &filters), wanted, "{v} {filters:?}");
        }
        let mut publisher = broker.client(v, "publisher");
        for topic in ["deny/a", "deny/c", "deny/g"] {
            publisher.pub_(topic, 1, "never");
        }
        publisher.pub_("yes/z", 1, "x");
        client.expect("yes/z", "x");
    }
}

/// The QoS that was asked for stays, and messages come from the new topic only.
#[test]
fn a_topic_is_changed() {
    let broker = broker(&[("judge", JUDGE)], "");
    for v in ALL {
        let mut client = broker.client(v, "moved");
        assert_eq!(
            codes(
                &mut client,
                &[("move/a", 2), ("plain", 0), ("deny/a", 1), ("move/b/+", 1)]
            ),
            [2, 0, cancelled(v), 1]
        );
        let (_, shown) = broker.ctl(&["subscriptions", "show", &client.name]);
        assert!(
            shown.contains("moved/a") && !shown.contains("move/a"),
            "{shown}"
        );
        let mut publisher = broker.client(v, "publisher");
        for topic in ["move/a", "move/b/c", "deny/a"] {
            publisher.pub_(topic, 2, "never");
        }
        for (topic, qos) in [("moved/a", 2), ("moved/b/c", 1), ("plain", 0)] {
            publisher.pub_(topic, 2, "x");
            assert_eq!(client.expect(topic, "x").qos, qos);
        }
        // The client takes back what it has asked for.
        client.unsubscribe(&["move/a", "plain"]);
        publisher.pub_("moved/a", 2, "never");
        publisher.pub_("plain", 2, "never");
        publisher.pub_("moved/b/c", 2, "last");
        client.expect("moved/b/c", "last");
    }
}

#[test]
fn unsubscribing_is_cancelled() {
    let script = JUDGE.replace(
        "return judge(topic) end\nfunction register",
        "return topic ~= \"keep\" and judge(topic) end\nfunction register",
    );
    let broker = broker(&[("judge", &script)], "");
    for v in ALL {
        let mut client = broker.client(v, "keep");
        assert_eq!(codes(&mut client, &[("keep", 1), ("leave", 1)]), [1, 1]);
        client.unsubscribe(&["keep"]);
        assert_eq!(echo(&mut client, "keep", "still there"), "keep still there");
        client.unsubscribe(&["leave", "keep"]);
        client.pub_("leave", 1, "never");
        assert_eq!(echo(&mut client, "keep", "again"), "keep again");
    }
}

#[test]
fn nonsense_leaves_the_topic_as_it_was() {
    let broker = broker(&[("judge", JUDGE)], "");
    for v in STRICT {
        let mut client = broker.client(v, "odd");
        for topic in ["fail/x"].into_iter().chain(ODD) {
            assert_eq!(
                codes(&mut client, &[(topic, 1), ("deny/x", 0)]),
                [1, cancelled(v)],
                "{topic}"
            );
            assert_eq!(echo(&mut client, topic, "x"), format!("{topic} x"));
            client.unsubscribe(&[topic]);
            client.pub_(topic, 1, "never");
            client.quiet();
        }
    }
    logs(&broker, &["judge.lua:4:", "it fails"]);
}

/// `lua.on_error = refuse`.
#[test]
fn subscriptions_are_refused_when_the_script_fails() {
    let broker = broker(&[("judge", JUDGE)], "lua.on_error = refuse\n");
    for v in STRICT {
        let no = cancelled(v);
        let mut client = broker.client(v, "refuse");
        assert_eq!(codes(&mut client, &[("fail/x", 1), ("fine", 1)]), [no, 1]);
        for topic in ODD {
            assert_eq!(
                codes(&mut client, &[(topic, 1), ("fine", 0)]),
                [no, 0],
                "{topic}"
            );
        }
        client.unsubscribe(&["fail/x"]);
        assert_eq!(echo(&mut client, "fine", "x"), "fine x");
    }
}

/// Neither to subscribe, nor to unsubscribe.
#[test]
fn topics_with_a_dollar_are_not_offered() {
    let script = "\
        function on_client_subscribe(clientid, username, topic) return false end\n\
        on_client_unsubscribe = on_client_subscribe\n\
        function register_hook() return \"on_client_subscribe\", \"on_client_unsubscribe\" end\n";
    let broker = broker(&[("never", script)], "");
    for v in ALL {
        let mut client = broker.client(v, "dollar");
        let name = format!("$mine/{}", unique("x"));
        assert_eq!(
            codes(&mut client, &[(&name, 1), ("other", 1)]),
            [1, cancelled(v)]
        );
        assert_eq!(echo(&mut client, &name, "x"), format!("{name} x"));
        client.unsubscribe(&[&name]);
        client.pub_(&name, 1, "never");
        client.quiet();
    }
}

/// What a shared subscription asks for is the topic behind the group.
#[test]
fn shared_subscriptions() {
    let broker = broker(&[("judge", JUDGE)], "");
    for v in ALL {
        let mut client = broker.client(v, "share");
        assert_eq!(
            codes(
                &mut client,
                &[
                    ("$share/g/deny/a", 1),
                    ("$share/g/move/a", 1),
                    ("$queue/deny/b", 1)
                ]
            ),
            [cancelled(v), 1, cancelled(v)]
        );
        assert_eq!(echo(&mut client, "moved/a", "x"), "moved/a x");
        client.pub_("deny/a", 1, "never");
        client.pub_("deny/b", 1, "never");
        client.quiet();
        client.unsubscribe(&["$share/g/move/a"]);
        client.pub_("moved/a", 1, "never");
        client.quiet();
    }
}

/// What the ACL refuses no script is asked about; what a script moves somewhere is not judged again, as in EMQ.
#[test]
fn the_acl_comes_first() {
    let script = "\
        function on_client_subscribe(clientid, username, topic)\n\
            return topic == \"secret\" and \"open\" or topic\n\
        end\n\
        function register_hook() return \"on_client_subscribe\" end\n";
    let config = config(&[("first", script)], "")
        .acl("{deny, all, subscribe, [\"secret\"]}.\n{allow, all}.\n");
    let broker = Broker::start(config);
    for v in V3 {
        let mut client = broker.client(v, "acl");
        assert_eq!(codes(&mut client, &[("secret", 1)]), [0x80]);
        assert_eq!(codes(&mut client, &[("plain", 1)]), [1]);
        client.pub_("open", 1, "never");
        assert_eq!(echo(&mut client, "plain", "x"), "plain x");
    }
}
