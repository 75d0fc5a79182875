//! The callbacks that only hear of things: when each is called, and what it is told.

use emqttd_tests::{ALL, Broker, Client, Connect, Publish, V3, Version, unique};

use super::{PLUGIN, broker, config, eventually, logs, status};

/// Tells of each callback on `seen/<callback>`: the type and text of each argument. What is about its own messages, or
/// about those who listen to them, it keeps to itself.
const TELLER: &str = "\
local function tell(name)
    return function(clientid, username, ...)
        local topic = select(1, ...)
        if clientid:find(\"^listener\") or (type(topic) == \"string\" and topic:find(\"^seen/\")) then
            return 0
        end
        local told = {}
        for n = 1, 2 + select(\"#\", ...) do
            local value = select(n, clientid, username, ...)
            told[n] = type(value) .. \":\" .. tostring(value)
        end
        emq.publish(\"seen/\" .. name, table.concat(told, \" \"), 1)
        return 0
    end
end
on_client_connected = tell(\"connected\")
on_client_disconnected = tell(\"disconnected\")
on_session_subscribed = tell(\"subscribed\")
on_session_unsubscribed = tell(\"unsubscribed\")
on_message_delivered = tell(\"delivered\")
on_message_acked = tell(\"acked\")
local subscribe, unsubscribe, publish = tell(\"subscribe\"), tell(\"unsubscribe\"), tell(\"publish\")
function on_client_subscribe(c, u, topic) subscribe(c, u, topic) return topic end
function on_client_unsubscribe(c, u, topic) unsubscribe(c, u, topic) return topic end
function on_message_publish(c, u, topic, payload, qos, retain)
    publish(c, u, topic, payload, qos, retain)
    return topic, payload, qos, retain
end
function register_hook()
    return \"on_client_connected\", \"on_client_disconnected\", \"on_client_subscribe\",
        \"on_client_unsubscribe\", \"on_session_subscribed\", \"on_session_unsubscribed\",
        \"on_message_publish\", \"on_message_delivered\", \"on_message_acked\"
end
";

/// Of somebody whose doings are not told.
fn listener() -> Connect {
    Connect::new(Version::V311, &unique("listener"))
}

/// Somebody who hears what the script tells.
fn hearer(broker: &Broker, connect: &Connect) -> Client {
    let mut client = broker.open(connect);
    client.sub("seen/#", 1);
    client
}

/// The next thing told: of this callback, beginning so.
#[track_caller]
fn hear(hearer: &mut Client, callback: &str, beginning: &str) {
    let message = hearer.recv_message();
    let right =
        message.topic == format!("seen/{callback}") && message.payload.starts_with(beginning);
    assert!(right, "{callback} {beginning:?} wanted, got {message:?}");
}

/// All nine, with and without a user name.
#[test]
fn each_callback_is_told_its_part() {
    let broker = broker(&[("teller", TELLER)], "");
    let mut hearer = hearer(&broker, &listener());
    for v in ALL {
        for user in [Some("tom"), None] {
            let id = unique("nine");
            let mut connect = Connect::new(v, &id);
            connect.username = user.map(str::to_owned);
            let who = match user {
                Some(user) => format!("string:{id} string:{user}"),
                None => format!("string:{id} nil:nil"),
            };
            let mut hear = |callback: &str, rest: &str| {
                hear(&mut hearer, callback, &format!("{who} {rest}"));
            };
            let mut client = broker.open(&connect);
            hear("connected", "number:0");
            let (filter, topic) = (format!("{id}/+"), format!("{id}/t"));
            client.sub(&filter, 2);
            hear("subscribe", &format!("string:{filter}"));
            hear("subscribed", &format!("string:{filter}"));
            let told = format!("string:{topic} string:text number");
            client.pub_(&topic, 0, "text");
            client.expect(&topic, "text");
            hear("publish", &format!("{told}:0 boolean:false"));
            hear("delivered", &format!("{told}:0 boolean:false"));
            for qos in [1, 2] {
                client.publish(Publish::new(&topic, "text").qos(qos).retained());
                client.expect(&topic, "text");
                hear("publish", &format!("{told}:{qos} boolean:true"));
                hear("delivered", &format!("{told}:{qos} boolean:true"));
                hear("acked", &format!("{told}:{qos} boolean:true"));
            }
            client.unsubscribe(&[&filter]);
            hear("unsubscribe", &format!("string:{filter}"));
            hear("unsubscribed", &format!("string:{filter}"));
            client.disconnect();
            hear("disconnected", "string:normal");
        }
    }
}

/// Who is told of a delivery is the receiver, not the publisher; QoS and RETAIN are those of the message, whatever the
/// receiver has asked for.
#[test]
fn deliveries_are_told_of_their_receiver() {
    let broker = broker(&[("teller", TELLER)], "");
    let (from, to) = (unique("from"), unique("to"));
    let mut receiver = broker.open(&Connect::new(Version::V5, &to).username("receiver"));
    let mut publisher = broker.open(&Connect::new(Version::V311, &from).username("publisher"));
    receiver.sub("d", 0);
    let mut hearer = hearer(&broker, &listener());
    publisher.pub_("d", 1, "x");
    receiver.expect("d", "x");
    // They may be of two event loops: in either order.
    let mut told = hearer.payloads(2);
    told.sort();
    let rest = "string:d string:x number";
    assert_eq!(
        told,
        [
            format!("string:{from} string:publisher {rest}:1 boolean:false"),
            format!("string:{to} string:receiver {rest}:1 boolean:false"),
        ]
    );
}

/// Sheet 13: also of a CONNECT that is refused, with the return code that MQTT 3.1.1 has for it.
#[test]
fn refused_connects_are_told() {
    let users =
        "auth.user.1.username = tom\nauth.user.1.password = secret\nauth.user.hash_cost = light\n";
    let config = config(&[("teller", TELLER)], "")
        .plugin_conf("emq_auth_username", users)
        .loaded(&["emq_auth_username", PLUGIN])
        .set("mqtt.allow_anonymous", "false");
    let broker = Broker::start(config);
    let mut hearer = hearer(&broker, &listener().username("tom").password("secret"));
    let refused = |v: Version, id: &str| {
        let mut client = broker.raw(v);
        client.send(
            &Connect::new(v, id)
                .username("tom")
                .password("wrong")
                .encode(),
        );
        client.connack().1
    };
    let code = refused(Version::V311, &unique("code"));
    assert!((1..=5).contains(&code), "{code}");
    hear(&mut hearer, "connected", "string:code");
    for v in ALL {
        let id = unique("refused");
        assert_ne!(refused(v, &id), 0);
        // Whether EMQ tells that it has gone as well depends on how it was refused.
        loop {
            let message = hearer.recv_message();
            if message.topic == "seen/connected" {
                assert_eq!(
                    message.payload,
                    format!("string:{id} string:tom number:{code}")
                );
                break;
            }
            assert_eq!(message.topic, "seen/disconnected");
        }
    }
}

/// Messages whose topic begins with `$` are delivered and acknowledged without a word, and so are subscriptions.
#[test]
fn topics_with_a_dollar_are_not_told() {
    let broker = broker(&[("teller", TELLER)], "");
    let id = unique("dollar");
    let mut client = broker.open(&Connect::new(Version::V311, &id));
    let mut hearer = hearer(&broker, &listener());
    client.sub("$mine/t", 1);
    client.pub_("$mine/t", 1, "x");
    client.expect("$mine/t", "x");
    client.unsubscribe(&["$mine/t"]);
    client.disconnect();
    hear(&mut hearer, "disconnected", &format!("string:{id} "));
}

/// A callback that fails is told to the operator, and to nobody else.
#[test]
fn failing_callbacks_harm_nobody() {
    let names = [
        "on_client_connected",
        "on_client_disconnected",
        "on_client_subscribe",
        "on_client_unsubscribe",
        "on_session_subscribed",
        "on_session_unsubscribed",
        "on_message_publish",
        "on_message_delivered",
        "on_message_acked",
    ];
    // A script each: of many errors of one not all are logged.
    let scripts: Vec<String> = names
        .iter()
        .map(|name| {
            format!(
                "function {name}()\n  error(\"at {name}\")\nend\n\
                 function register_hook() return \"{name}\" end\n"
            )
        })
        .collect();
    let scripts: Vec<(&str, &str)> = names
        .into_iter()
        .zip(scripts.iter().map(String::as_str))
        .collect();
    let broker = broker(&scripts, "");
    for v in V3 {
        let mut client = broker.client(v, "failing");
        client.sub("f", 2);
        for qos in 0..=2 {
            client.pub_("f", qos, "x");
            client.expect("f", "x");
        }
        client.unsubscribe(&["f"]);
        client.disconnect();
    }
    for name in names {
        logs(&broker, &["[error]", &format!("{name}.lua:2: at {name}")]);
        let error = status(&broker, name, "last error");
        assert!(
            error.contains(&format!("{name}.lua:2: at {name}")),
            "{error}"
        );
    }
    // QoS 0 is not acknowledged; everything else happened in each of two connections.
    for (name, times) in [
        ("on_client_connected", 2),
        ("on_client_disconnected", 2),
        ("on_client_subscribe", 2),
        ("on_client_unsubscribe", 2),
        ("on_session_subscribed", 2),
        ("on_session_unsubscribed", 2),
        ("on_message_publish", 6),
        ("on_message_delivered", 6),
        ("on_message_acked", 4),
    ] {
        eventually(name, || {
            status(&broker, name, "errors") == times.to_string()
        });
    }
}

/// What they return counts nothing.
#[test]
fn what_hearers_return_counts_nothing() {
    let names = [
        "on_client_connected",
        "on_client_disconnected",
        "on_session_subscribed",
        "on_session_unsubscribed",
        "on_message_delivered",
        "on_message_acked",
    ];
    for value in ["false", "nil", "\"other\", \"x\", 0, true", "{}"] {
        let mut script: String = names
            .iter()
            .map(|name| format!("function {name}() return {value} end\n"))
            .collect();
        script += &format!(
            "function register_hook() return \"{}\" end\n",
            names.join("\", \"")
        );
        let broker = broker(&[("returns", &script)], "");
        let mut client = broker.client(Version::V311, "returns");
        client.sub("f", 2);
        for qos in 0..=2 {
            client.pub_("f", qos, "x");
            assert_eq!(client.expect("f", "x").qos, qos);
        }
        client.unsubscribe(&["f"]);
        client.pub_("f", 1, "never");
        client.quiet();
    }
}
