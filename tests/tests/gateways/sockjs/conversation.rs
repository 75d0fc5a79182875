//! STOMP over each of the transports.

use emqttd_tests::{Broker, Connect, Version, unique};

use super::carrier::{Carrier, KINDS, Kind};
use super::{PLUGIN, at, broker, config, here};
use crate::common::{shown, wait_for_client, wait_until_gone, watcher};

/// Sheet 17, check 2, and messages both ways.
#[test]
fn messages_cross_on_every_transport() {
    for kind in KINDS {
        let queue = format!("/queue/{}", unique("a"));
        let mut mqtt = watcher(broker(), &queue, 2);
        let mut carrier = Carrier::open(kind, here());
        carrier.connect(&[]);
        carrier.sub("1", &queue);
        carrier.say("SEND", &[("destination", &queue)], "to mqtt");
        assert_eq!(mqtt.expect(&queue, "to mqtt").qos, 0);
        assert_eq!(carrier.recv().text(), "to mqtt");
        mqtt.pub_(&queue, 1, "from mqtt");
        mqtt.expect(&queue, "from mqtt");
        let wanted = format!(
            "MESSAGE\nsubscription:1\nmessage-id:2\ndestination:{queue}\n\
             content-type:text/plain\ncontent-length:9\n\nfrom mqtt\0"
        );
        assert_eq!(String::from_utf8(carrier.recv().bytes).unwrap(), wanted);
        carrier.say("SEND", &[("destination", &queue), ("receipt", "r")], "sure");
        assert_eq!(mqtt.expect(&queue, "sure").qos, 1);
        let mut got = [carrier.recv(), carrier.recv()].map(|frame| frame.command);
        got.sort();
        assert_eq!(got, ["MESSAGE", "RECEIPT"]);
        carrier.say("DISCONNECT", &[("receipt", "bye")], "");
        assert_eq!(carrier.recv().value("receipt-id"), "bye");
        carrier.closed("c[3000,\"Go away!\"]");
    }
}

/// Messages of SockJS are pieces of a stream.
#[test]
fn frames_may_come_in_pieces() {
    for kind in KINDS {
        let queue = unique("q");
        let mut mqtt = watcher(broker(), &queue, 0);
        let mut carrier = Carrier::open(kind, here());
        let text = format!(
            "\nCONNECT\naccept-version:1.2\nlogin:guest\npasscode:guest\n\n\0\n\
             SEND\ndestination:{queue}\n\nü\n\0SEND\ndestination:{queue}\ncontent-length:3\n\na\0b\0"
        );
        let mut rest = text.as_str();
        while !rest.is_empty() {
            let size = rest.chars().take(7).map(char::len_utf8).sum();
            let (piece, after) = rest.split_at(size);
            carrier.send(piece);
            rest = after;
        }
        assert_eq!(carrier.recv().command, "CONNECTED");
        mqtt.expect(&queue, "ü\n");
        mqtt.expect(&queue, "a\0b");
    }
}

#[test]
fn a_mistake_is_told_and_ends_the_session() {
    for kind in KINDS {
        for (frames, told) in [
            ("SEND\ndestination:a\n\n\0", None),
            (
                "CONNECT\nlogin:guest\npasscode:x\n\n\0",
                Some("Login or passcode error!"),
            ),
            (
                "CONNECT\naccept-version:2.0\n\n\0",
                Some("Supported protocol versions < 1.2"),
            ),
            ("CONNECT\n\n\0HELLO\n\n\0", None),
        ] {
            let mut carrier = Carrier::open(kind, here());
            carrier.send(frames);
            let mut frame = carrier.recv();
            if frame.command == "CONNECTED" {
                frame = carrier.recv();
            }
            assert_eq!(frame.command, "ERROR", "{kind:?}");
            if let Some(text) = told {
                assert_eq!(frame.text(), text);
            }
            carrier.closed("c[500,\"Internal Error!\"]");
        }
    }
}

/// SockJS has heart-beats of its own.
#[test]
fn heart_beats_of_stomp_are_not_agreed_to() {
    let mut carrier = Carrier::open(Kind::WebSocket, here());
    carrier.connect(&[("heart-beat", "1000,1000")]);
    carrier.sub("1", "nothing/comes");
}

#[test]
fn its_clients_are_clients_of_the_broker() {
    for kind in [Kind::Xhr, Kind::WebSocket] {
        let id = unique("listed");
        let mut carrier = Carrier::open(kind, here());
        carrier.connect(&[("client-id", &id)]);
        let row = wait_for_client(broker(), &id);
        assert!(row.contains("username=guest"), "{row}");
        assert!(row.contains("peername=127.0.0.1:"), "{row}");
        // Who kicks it is heard at the other end.
        broker().ctl(&["clients", "kick", &id]);
        loop {
            let frame = carrier.frame();
            if frame.starts_with("c[") {
                break;
            }
            assert!(frame.starts_with("a[\"ERROR"), "{frame}");
        }
        assert_eq!(shown(broker(), &id), None);
        // An MQTT client takes its identifier.
        let mut carrier = Carrier::open(kind, here());
        carrier.connect(&[("client-id", &id)]);
        let _mqtt = broker().open(&Connect::new(Version::V311, &id));
        loop {
            let frame = carrier.frame();
            if frame.starts_with("c[") {
                break;
            }
            assert!(frame.starts_with("a[\"ERROR"), "{frame}");
        }
    }
}

#[test]
fn the_address_is_that_of_the_connection() {
    // Who says to come from elsewhere is not believed.
    let id = unique("spoof");
    let session = super::session();
    let forged = [
        ("X-Forwarded-For", "10.1.2.3"),
        ("Forwarded", "for=10.1.2.3"),
    ];
    let answer = super::http::ask(here(), "POST", &format!("{session}/xhr"), &forged, "");
    assert_eq!(answer.body, "o\n");
    let connect = format!("CONNECT\nclient-id:{id}\n\n\0");
    let body = super::carrier::json(&[&connect]);
    super::http::ask(
        here(),
        "POST",
        &format!("{session}/xhr_send"),
        &forged,
        &body,
    );
    let row = wait_for_client(broker(), &id);
    assert!(row.contains("peername=127.0.0.1:"), "{row}");
}

#[test]
fn the_door_and_the_rules_hold() {
    let config = config("sockjs.allow_anonymous = false\n")
        .plugin_conf(
            "emq_auth_username",
            "auth.user.hash_cost = light\nauth.user.scram_iterations = 4096\n\
             auth.user.1.username = tom\nauth.user.1.password = right\n",
        )
        .loaded(&["emq_auth_username", PLUGIN])
        .acl("{deny, {user, \"tom\"}, pubsub, [\"no/#\"]}.\n{allow, all}.\n");
    let broker = Broker::start(config);
    for (login, fine) in [
        ("login:tom\npasscode:right\n", true),
        ("login:tom\npasscode:wrong\n", false),
        ("login:guest\npasscode:guest\n", true),
        ("", false),
    ] {
        let mut carrier = Carrier::open(Kind::WebSocket, at(&broker));
        carrier.send(&format!("CONNECT\n{login}\n\0"));
        assert_eq!(carrier.recv().command == "CONNECTED", fine, "{login}");
    }
    let mut carrier = Carrier::open(Kind::XhrStreaming, at(&broker));
    carrier.send("CONNECT\nlogin:tom\npasscode:right\n\n\0");
    assert_eq!(carrier.recv().command, "CONNECTED");
    carrier.say(
        "SUBSCRIBE",
        &[("id", "1"), ("destination", "no/1"), ("receipt", "r")],
        "",
    );
    let error = carrier.recv();
    assert_eq!(
        (error.command.as_str(), error.value("receipt-id")),
        ("ERROR", "r")
    );
}

#[test]
fn limits_of_frames_hold() {
    let broker = Broker::start(config(
        "sockjs.frame.max_body_length = 100\nsockjs.frame.max_headers = 3\n",
    ));
    for frame in [
        format!("SEND\ndestination:a\n\n{}\0", "x".repeat(101)),
        "SEND\na:1\nb:2\nc:3\nd:4\n\n\0".into(),
    ] {
        let mut carrier = Carrier::open(Kind::WebSocket, at(&broker));
        carrier.send("CONNECT\nlogin:guest\npasscode:guest\n\n\0");
        assert_eq!(carrier.recv().command, "CONNECTED");
        carrier.send(&frame);
        assert_eq!(carrier.recv().command, "ERROR");
        carrier.closed("c[500,\"Internal Error!\"]");
    }
}

/// A payload that is no text comes as text, and harms nothing.
#[test]
fn bytes_that_are_no_text_do_not_break_the_session() {
    for kind in KINDS {
        let topic = unique("bytes");
        let mut mqtt = broker().client(Version::V311, "bytes");
        let mut carrier = Carrier::open(kind, here());
        carrier.connect(&[]);
        carrier.sub("1", &topic);
        mqtt.publish(emqttd_tests::Publish::new(
            &topic,
            [b'a', 0xff, 0xfe, 0, b'b', 0xc3],
        ));
        mqtt.pub_(&topic, 0, "fine");
        if kind == Kind::Raw {
            // WebSocket has messages that are no text.
            let mut socket = carrier.into_socket();
            let frame = socket.read_frame().unwrap().unwrap();
            assert_eq!(frame.opcode, emqttd_tests::transport::opcode::BINARY);
            let body = b"content-length:6\n\na\xff\xfe\0b\xc3\0";
            assert!(frame.payload.ends_with(body), "{:?}", frame.payload);
            assert!(
                super::carrier::text(&mut socket)
                    .unwrap()
                    .ends_with("\n\nfine\0")
            );
            continue;
        }
        // Whoever goes by the length finds the next frame where it begins.
        assert_eq!(
            carrier.recv().text(),
            "a\u{fffd}\u{fffd}\0b\u{fffd}",
            "{kind:?}"
        );
        assert_eq!(carrier.recv().text(), "fine");
    }
}

#[test]
fn a_client_that_closes_is_gone() {
    for kind in [Kind::WebSocket, Kind::Raw] {
        let id = unique("closes");
        let mut carrier = Carrier::open(kind, here());
        carrier.connect(&[("client-id", &id)]);
        wait_for_client(broker(), &id);
        let mut socket = carrier.into_socket();
        let close = emqttd_tests::transport::opcode::CLOSE;
        socket.send_frame(true, close, &[3, 0xe8]).unwrap();
        assert_eq!(super::carrier::text(&mut socket), None);
        wait_until_gone(broker(), &id);
    }
}
