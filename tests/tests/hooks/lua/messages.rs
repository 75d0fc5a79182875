//! `on_message_publish`: what it is given, and all that it may return.

use emqttd_tests::{ALL, Client, Connect, Publish, STRICT, Sub, Version, Will, unique};

use super::{broker, echo, listener, logs, on_publish, status};

/// Sheet 13, check 1.
#[test]
fn a_message_is_changed() {
    let broker = broker(
        &[("hello", &on_publish("return topic, \"hello\", qos, retain"))],
        "",
    );
    for v in ALL {
        let mut client = broker.client(v, "hello");
        client.sub("a/b", 2);
        for qos in 0..=2 {
            assert_eq!(client.pub_("a/b", qos, "something else"), 0);
            assert_eq!(client.expect("a/b", "hello").qos, qos);
        }
    }
}

#[test]
fn topic_payload_qos_and_retain_are_changed_together() {
    let script = on_publish("return \"to/\" .. topic, payload .. \"!\", 2 - qos, not retain");
    let broker = broker(&[("all", &script)], "");
    let mut client = broker.client(Version::V5, "all");
    let codes = client.subscribe(&[Sub::new("to/#", 2).retain_as_published()], &[]);
    assert_eq!(codes, [2]);
    for qos in 0..=2 {
        client.publish(Publish::new("x", "p").qos(qos));
        let message = client.expect("to/x", "p!");
        assert_eq!((message.qos, message.retain), (2 - qos, true));
        client.publish(Publish::new("x", "p").qos(qos).retained());
        assert!(!client.expect("to/x", "p!").retain);
    }
}

/// Sheet 13, check 2: nobody gets it, and its publisher hears what it always hears.
#[test]
fn a_message_is_dropped() {
    let script = on_publish(
        "if topic == \"drop\" then return false end\nreturn topic, payload, qos, retain",
    );
    let broker = broker(&[("drop", &script)], "");
    for v in ALL {
        let mut publisher = broker.client(v, "dropper");
        let mut listener = broker.client(v, "listener");
        listener.sub("drop", 2);
        for qos in 0..=2 {
            assert!(publisher.pub_("drop", qos, "x") < 0x80);
        }
        listener.nothing_from(&mut publisher);
    }
}

/// Each is counted, and the message goes on as it was.
#[test]
fn nonsense_leaves_the_message_as_it_was() {
    let cases = [
        "return 42",
        "return",
        "return nil",
        "return true",
        "return \"t\"",
        "return topic, payload",
        "return topic, payload, qos",
        "return topic, payload, qos, nil",
        "return nil, payload, qos, retain",
        "return {}, payload, qos, retain",
        "return true, payload, qos, retain",
        "return topic, {}, qos, retain",
        "return topic, nil, qos, retain",
        "return topic, false, qos, retain",
        "return topic, print, qos, retain",
        "return topic, \"changed\", 3, retain",
        "return topic, \"changed\", -1, retain",
        "return topic, \"changed\", 1.5, retain",
        "return topic, \"changed\", 0/0, retain",
        "return topic, \"changed\", 1/0, retain",
        "return topic, \"changed\", 257, retain",
        "return topic, \"changed\", \"high\", retain",
        "return topic, \"changed\", {}, retain",
        "return topic, \"changed\", qos, {}",
        "return topic, \"changed\", qos, 2",
        "return topic, \"changed\", qos, -1",
        "return topic, \"changed\", qos, \"maybe\"",
        "return \"\", \"changed\", qos, retain",
        "return \"a/+/b\", \"changed\", qos, retain",
        "return \"a/#\", \"changed\", qos, retain",
        "return \"a\\0b\", \"changed\", qos, retain",
        "return \"a\\255b\", \"changed\", qos, retain",
        "return string.rep(\"x\", 65536), \"changed\", qos, retain",
        "error(\"on purpose\")",
        "error({})",
        "error()",
        "error(nil)",
        "local x = nil .. topic",
        "return nothing.at.all",
        "return topic()",
        "return -topic",
        "return topic < qos",
        "return setmetatable({}, { __tostring = error })",
        "error(setmetatable({}, { __tostring = error }))",
        "return unpack({}, 1, 1e8)",
    ];
    let table: String = cases
        .iter()
        .map(|case| format!("function(topic, payload, qos, retain) {case} end,\n"))
        .collect();
    let script = format!(
        "local unpack = table.unpack\nlocal cases = {{\n{table}}}\n{}",
        on_publish("return cases[tonumber(payload)](topic, payload, qos, retain)")
    );
    let broker = broker(&[("nonsense", &script)], "");
    let mut client = broker.client(Version::V311, "nonsense");
    client.sub("#", 2);
    for (n, case) in (1..).zip(cases) {
        assert_eq!(client.pub_("n/t", 1, &n.to_string()), 0, "{case}");
        let message = client.recv_message();
        let got = (
            message.topic.as_str(),
            message.payload,
            message.qos,
            message.retain,
        );
        assert_eq!(got, ("n/t", n.to_string(), 1, false), "{case}");
    }
    assert_eq!(
        status(&broker, "nonsense", "calls"),
        cases.len().to_string()
    );
    assert_eq!(
        status(&broker, "nonsense", "errors"),
        cases.len().to_string()
    );
}

/// Sheet 13, check 4: a line of the log, with file and line; and the status has it.
#[test]
fn an_error_is_told() {
    let script = on_publish("local field\nreturn topic, field.x, qos, retain");
    let broker = broker(&[("error", &script)], "");
    let mut client = broker.client(Version::V311, "error");
    client.sub("t", 1);
    assert_eq!(echo(&mut client, "t", "as it was"), "t as it was");
    let told = "error.lua:3: attempt to index local 'field' (a nil value)";
    logs(&broker, &["[error]", "on_message_publish", told]);
    let error = status(&broker, "error", "last error");
    assert!(error.ends_with(told), "{error}");
}

/// Retain may come as it comes from scripts of EMQ.
#[test]
fn retain_is_a_boolean_a_number_or_a_word() {
    let script = on_publish(
        "local forms = { [\"true\"] = true, [\"false\"] = false, [\"1\"] = 1, [\"0\"] = 0,\n\
         yes = \"true\", no = \"false\" }\n\
         return topic, payload, qos, forms[payload]",
    );
    let broker = broker(&[("retain", &script)], "");
    let mut client = broker.client(Version::V5, "retain");
    client.subscribe(&[Sub::new("r", 2).retain_as_published()], &[]);
    for (form, retained) in [("true", true), ("1", true), ("yes", true)]
        .into_iter()
        .chain([("false", false), ("0", false), ("no", false)])
    {
        for asked in [false, true] {
            let mut publish = Publish::new("r", form).qos(1);
            publish.retain = asked;
            client.publish(publish);
            assert_eq!(client.expect("r", form).retain, retained, "{form} {asked}");
        }
    }
}

/// Arguments as the sheet names their types; a user name that is missing is nil.
#[test]
fn arguments() {
    let script = on_publish(
        "if topic == \"skip\" then return topic, payload, qos, retain end\n\
         local told = {}\n\
         for n, value in ipairs({ clientid, username or \"none\", topic, payload, qos, retain }) do\n\
             told[n] = type(value) .. \" \" .. tostring(value)\n\
         end\n\
         return topic, table.concat(told, \", \") .. \", \" .. type(username), 1, false",
    );
    let broker = broker(&[("args", &script)], "");
    let mut watcher = listener(&broker);
    for v in STRICT {
        let id = unique("args");
        let mut client = broker.open(&Connect::new(v, &id).username("tom"));
        for qos in 0..=2 {
            client.publish(Publish::new("t/1", "text").qos(qos).retained());
            let told = format!(
                "string {id}, string tom, string t/1, string text, number {qos}, boolean true, string"
            );
            watcher.expect("t/1", &told);
        }
        let id = unique("args");
        let mut client = broker.open(&Connect::new(v, &id));
        client.pub_("t/2", 0, "");
        let told =
            format!("string {id}, string none, string t/2, string , number 0, boolean false, nil");
        watcher.expect("t/2", &told);
    }
}

/// A will is a message of its client.
#[test]
fn wills_are_offered() {
    let script =
        on_publish("return topic, clientid .. \" \" .. username .. \" \" .. payload, qos, retain");
    let broker = broker(&[("will", &script)], "");
    let mut watcher = listener(&broker);
    for v in ALL {
        let id = unique("will");
        let connect = Connect::new(v, &id).username("tom");
        let client = broker.open(&connect.will(Will::new("will/t", "gone").qos(1)));
        client.drop_connection();
        watcher.expect("will/t", &format!("{id} tom gone"));
    }
}

/// Sheet 13, check 7.
#[test]
fn topics_with_a_dollar_are_not_offered() {
    let script = on_publish("return \"seen\", topic, qos, retain");
    let broker = broker(&[("dollar", &script)], "");
    let mut watcher = broker.client(Version::V311, "dollar");
    watcher.sub("$SYS/x", 1);
    watcher.sub("$mine/y", 1);
    watcher.sub("seen", 1);
    let mut publisher = broker.client(Version::V311, "dollar");
    for topic in ["$SYS/x", "$mine/y"] {
        publisher.pub_(topic, 1, "p");
        watcher.expect(topic, "p");
    }
    publisher.pub_("a$b/$c", 1, "p");
    watcher.expect("seen", "a$b/$c");
    watcher.nothing_but_seen(&mut publisher);
}

/// The marker of [`Client::nothing_from`] would be moved by the script.
trait NothingButSeen {
    fn nothing_but_seen(&mut self, publisher: &mut Client);
}

impl NothingButSeen for Client {
    #[track_caller]
    fn nothing_but_seen(&mut self, publisher: &mut Client) {
        publisher.pub_("last", 1, "p");
        self.expect("seen", "last");
    }
}

/// All run, each on what the others left; one that drops is enough.
#[test]
fn several_scripts_on_one_hook() {
    let append =
        |word: &str| on_publish(&format!("return topic, payload .. \"{word}\", qos, retain"));
    let drop = on_publish(
        "if topic == \"drop\" then return false end\nreturn topic, payload, qos, retain",
    );
    let broken = on_publish("error(\"always\")");
    let broker = broker(
        &[
            ("one", &append("+1")),
            ("two", &append("+2")),
            ("broken", &broken),
            ("drop", &drop),
        ],
        "",
    );
    let mut client = broker.client(Version::V311, "several");
    client.sub("#", 1);
    let got = echo(&mut client, "t", "p");
    assert!(["t p+1+2", "t p+2+1"].contains(&got.as_str()), "{got}");
    assert_eq!(client.pub_("drop", 1, "p"), 0);
    client.ping();
    let got = echo(&mut client, "t", "q");
    assert!(got.starts_with("t q+"), "{got}");
}

/// `lua.on_error = refuse`: what the script could not judge does not pass.
#[test]
fn messages_are_refused_when_the_script_fails() {
    let script = on_publish(
        "if topic == \"bad\" then error(\"bad\") end\n\
         if topic == \"odd\" then return 42 end\n\
         if topic == \"loop\" then while true do end end\n\
         return topic, payload, qos, retain",
    );
    let broker = broker(
        &[("refuse", &script)],
        "lua.on_error = refuse\nlua.max_instructions = 100000\n",
    );
    for v in ALL {
        let mut client = broker.client(v, "refuse");
        client.sub("#", 2);
        for topic in ["bad", "odd", "loop"] {
            for qos in 0..=2 {
                assert!(client.pub_(topic, qos, "x") < 0x80);
            }
        }
        client.ping();
        assert_eq!(echo(&mut client, "good", "x"), "good x");
    }
}
