#![allow(clippy::unwrap_used)]
use super::*;
use emqttd_plugin_sdk::Config;
use emqttd_plugin_sdk::virtual_client::End as BrokersEnd;

pub(crate) fn incoming(topic: &str, payload: &str) -> Incoming {
    Incoming {
        topic: topic.into(),
        payload: payload.into(),
        qos: QoS::AtMostOnce,
        retain: false,
        dup: false,
        id: 0,
        subscriptions: Vec::new(),
    }
}

/// A machine, the bytes it has not used, and its time.
struct Client {
    machine: Machine,
    input: BytesMut,
    now: Instant,
}

impl Client {
    fn with(mode: Mode, pairs: &[(&str, &str)]) -> Client {
        let settings = Arc::new(Settings::read(&Config::of(pairs), "stomp."));
        let now = Instant::now();
        Client {
            machine: Machine::new(mode, settings, now),
            input: BytesMut::new(),
            now,
        }
    }

    fn new(pairs: &[(&str, &str)]) -> Client {
        Client::with(Mode::Tcp, pairs)
    }

    /// Connected as 1.2.
    fn connected() -> Client {
        Client::connected_as("accept-version:1.2")
    }

    fn connected_as(headers: &str) -> Client {
        Client::new(&[]).connect(headers)
    }

    fn connect(mut self, headers: &str) -> Client {
        self.send(&format!("CONNECT\n{headers}\n\n\0"));
        assert!(matches!(self.ask(), Some(Ask::Connect(_))));
        self.machine.connected(Ok(()), self.now);
        assert!(self.told().starts_with("CONNECTED\n"));
        self
    }

    /// The client sends something. `^` stands for NUL.
    fn send(&mut self, bytes: &str) {
        self.input
            .extend_from_slice(bytes.replace('^', "\0").as_bytes());
        self.machine.heard(self.now);
        self.go_on();
    }

    fn go_on(&mut self) {
        self.machine.input(&mut self.input, self.now);
    }

    fn ask(&mut self) -> Option<Ask> {
        self.machine.next_ask()
    }

    /// Nothing is asked.
    fn quiet(&mut self) {
        assert_eq!(self.ask(), None);
    }

    /// The client is told; `^` stands for NUL.
    fn told(&mut self) -> String {
        let (out, _) = self.machine.take_output(Vec::new());
        String::from_utf8(out).unwrap().replace('\0', "^")
    }

    /// A message that is asked to be published: topic, payload, QoS, whether the answer is waited for.
    fn published(&mut self) -> (String, String, u8, bool) {
        match self.ask() {
            Some(Ask::Publish { message, answered }) => (
                message.topic,
                String::from_utf8(message.payload).unwrap(),
                message.qos as u8,
                answered,
            ),
            other => panic!("{other:?}"),
        }
    }

    /// Subscribes; its identifier.
    fn subscribe(&mut self, headers: &str) -> u32 {
        self.send(&format!("SUBSCRIBE\n{headers}\n\n^"));
        match self.ask() {
            Some(Ask::Subscribe(asked)) => {
                self.machine.subscribed(Ok(()));
                self.go_on();
                asked.identifier
            }
            other => panic!("{other:?}"),
        }
    }

    /// A message of the broker's.
    fn gets(&mut self, identifiers: &[u32], id: u16, topic: &str, payload: &str) {
        self.machine.event(Event::Message(Incoming {
            id,
            subscriptions: identifiers.into(),
            ..incoming(topic, payload)
        }));
    }

    fn after(&mut self, milliseconds: u64) {
        self.now += Duration::from_millis(milliseconds);
        self.machine.on_time(self.now, true, false);
    }

    /// The connection ends with that ERROR: its headers behind `message`, and its body.
    fn fails(&mut self, text: &str, receipt: Option<&str>) {
        let told = self.told();
        let receipt = receipt.map_or(String::new(), |id| format!("receipt-id:{id}\n"));
        let header = text.replace('\\', "\\\\").replace(':', "\\c");
        let header = if self.machine.version == Version::V1_0 {
            text.into()
        } else {
            header
        };
        let frame = format!(
            "ERROR\nmessage:{header}\ncontent-type:text/plain\n{receipt}content-length:{}\n\n{text}^",
            text.len()
        );
        assert!(told.ends_with(&frame), "{told} is not {frame}");
        assert_eq!(self.machine.ended(), Some(&End::ProtocolError));
    }
}

fn answer_of(connect: &str) -> String {
    let mut client = Client::new(&[]);
    client.send(connect);
    if let Some(Ask::Connect(_)) = client.ask() {
        client.machine.connected(Ok(()), client.now);
    }
    client.told()
}

// The door.

#[test]
fn the_version_is_the_highest_that_both_speak() {
    let connected = |version: &str| {
        format!("CONNECTED\nserver:emq-stomp/1.2\nversion:{version}\nheart-beat:0,0\n\n^")
    };
    for (offered, version) in [
        ("accept-version:1.0,1.1,1.2", "1.2"),
        ("accept-version:1.1", "1.1"),
        ("accept-version:2.0, 1.0", "1.0"),
        ("host:x", "1.0"),
    ] {
        let command = if version == "1.1" { "STOMP" } else { "CONNECT" };
        let told = answer_of(&format!("{command}\n{offered}\n\n\0"));
        assert_eq!(told, connected(version));
    }
    let text = "Supported protocol versions < 1.2";
    assert_eq!(
        answer_of("CONNECT\naccept-version:2.0\n\n\0"),
        format!(
            "ERROR\nversion:1.0,1.1,1.2\ncontent-type:text/plain\ncontent-length:33\n\n{text}^"
        )
    );
}

#[test]
fn heart_beats_are_answered_crosswise() {
    let told = answer_of("CONNECT\nheart-beat:1000,2000\n\n\0");
    assert!(told.contains("heart-beat:2000,1000\n"), "{told}");
    let told = answer_of("CONNECT\naccept-version:1.1\nheart-beat:1000,2000\n\n\0");
    assert!(told.contains("heart-beat:2000,1000\n"), "{told}");
    // It could speak another version, and knows that 1.0 has none.
    let told = answer_of("CONNECT\naccept-version:1.0\nheart-beat:1000,2000\n\n\0");
    assert!(told.contains("heart-beat:0,0\n"), "{told}");
    let mut client = Client::new(&[]);
    client.send("CONNECT\nheart-beat:often\n\n\0");
    client.fails("Invalid heart-beat: two numbers with a comma", None);
    // SockJS has its own.
    let mut client = Client::with(Mode::SockJs, &[]);
    client.send("CONNECT\nheart-beat:1000,2000\n\n\0");
    client.ask();
    client.machine.connected(Ok(()), client.now);
    assert!(client.told().contains("heart-beat:0,0\n"));
    assert_eq!(client.machine.deadline(), None);
}

#[test]
fn who_is_asked_about() {
    let who = |pairs: &[(&str, &str)], headers: &str| {
        let mut client = Client::new(pairs);
        client.send(&format!("CONNECT\n{headers}\n\n\0"));
        let ask = client.ask();
        (ask, client.told())
    };
    let login = |pairs: &[(&str, &str)], headers: &str| match who(pairs, headers).0 {
        Some(Ask::Connect(login)) => (
            login.options.username,
            login
                .options
                .password
                .map(|w| String::from_utf8(w).unwrap()),
            login.anonymous,
        ),
        other => panic!("{other:?}"),
    };
    let text = |text: &str| Some(text.to_string());
    let guest = login(&[], "login:guest\npasscode:guest");
    assert_eq!(guest, (text("guest"), text("guest"), true));
    assert_eq!(login(&[], "host:x"), (None, None, true));
    assert_eq!(login(&[], "login:\npasscode:"), (None, None, true));
    // Whoever else it is, somebody has to know him.
    let tom = login(&[], "login:tom\npasscode:a:b\\c");
    assert_eq!(tom, (text("tom"), text("a:b\\c"), false));
    let strict = [("stomp.allow_anonymous", "false")];
    let wrong = "ERROR\ncontent-type:text/plain\ncontent-length:24\n\nLogin or passcode error!^";
    for (pairs, headers) in [
        (&[][..], "login:guest\npasscode:x"),
        (&[], "login:guest"),
        (&strict, "host:x"),
    ] {
        assert_eq!(who(pairs, headers), (None, wrong.into()));
    }
    // By the broker's answer it is the same.
    let mut client = Client::new(&[]);
    client.send("CONNECT\naccept-version:1.2\nlogin:bob\npasscode:x\n\n\0");
    client.ask();
    client.machine.connected(Err(None), client.now);
    assert_eq!(client.told(), wrong);
    assert_eq!(client.machine.ended(), Some(&End::ProtocolError));
    assert_eq!(client.machine.counts.refused_logins, 1);
}

#[test]
fn the_session_is_as_the_client_wants_it() {
    let options = |headers: &str| {
        let mut client = Client::new(&[]);
        client.send(&format!("CONNECT\n{headers}\n\n\0"));
        match client.ask() {
            Some(Ask::Connect(login)) => Ok(login.options),
            _ => Err(client.told()),
        }
    };
    let plain = options("client-id:c1").unwrap();
    assert_eq!((&*plain.clientid, plain.clean), ("c1", true));
    assert_eq!(options("host:x").unwrap().clientid, "");
    let kept = options("client-id:c1\nclean-session:false").unwrap();
    assert_eq!((kept.clean, kept.session_expiry), (false, 7200));
    let kept = options("client-id:c1\nclean-session:false\nsession-expiry:9").unwrap();
    assert_eq!(kept.session_expiry, 9);
    for wrong in [
        "clean-session:false",
        "clean-session:perhaps",
        "client-id:a\nclean-session:false\nsession-expiry:x",
    ] {
        assert!(
            options(wrong).unwrap_err().starts_with("ERROR\n"),
            "{wrong}"
        );
    }
}

#[test]
fn nothing_is_obeyed_before_connect() {
    for frame in [
        "SEND\ndestination:a\nreceipt:r\n\nx^",
        "SUBSCRIBE\nreceipt:r\n\n^",
    ] {
        let mut client = Client::new(&[]);
        client.send("\n\r\n");
        client.send(frame);
        client.quiet();
        client.fails("Not connected: CONNECT comes first", Some("r"));
    }
}

#[test]
fn what_comes_with_connect_waits_for_the_answer() {
    let mut client = Client::new(&[]);
    client.send("CONNECT\n\n^SEND\ndestination:a\n\nx^");
    assert!(matches!(client.ask(), Some(Ask::Connect(_))));
    client.quiet();
    client.machine.connected(Ok(()), client.now);
    client.go_on();
    assert_eq!(client.published(), ("a".into(), "x".into(), 0, false));
    // And if it is no, nothing is obeyed.
    let mut client = Client::new(&[]);
    client.send("CONNECT\n\n^SEND\ndestination:a\n\nx^");
    client.ask();
    client
        .machine
        .connected(Err(Some("full".into())), client.now);
    client.go_on();
    client.quiet();
    client.fails("Not connected: full", None);
}

#[test]
fn connect_comes_in_time_and_once() {
    let mut client = Client::new(&[]);
    assert_eq!(client.machine.deadline(), Some(client.now + CONNECT_WITHIN));
    client.after(9_999);
    assert_eq!(client.machine.ended(), None);
    client.after(1);
    assert_eq!(
        client.machine.ended(),
        Some(&End::Closed("idle_timeout".into()))
    );
    let mut session = Client::with(Mode::SockJs, &[]);
    session.after(100_000);
    assert_eq!(session.machine.ended(), None);

    let mut client = Client::connected();
    client.after(100_000);
    client.send("CONNECT\n\n^");
    client.fails("Already connected", None);
}

// SEND and receipts.

#[test]
fn send_is_at_most_once_without_a_receipt() {
    let mut client = Client::connected();
    client.send("SEND\ndestination:/queue/a\nfoo:bar\n\nhello^");
    client.send("SEND\ndestination:a\nreceipt:r1\n\none^");
    client.send("SEND\ndestination:a\nqos:2\n\ntwo^");
    client.send("SEND\ndestination:a\nqos:0\nreceipt:r2\n\nthree^");
    assert_eq!(
        client.published(),
        ("/queue/a".into(), "hello".into(), 0, false)
    );
    assert_eq!(client.published(), ("a".into(), "one".into(), 1, true));
    assert_eq!(client.published(), ("a".into(), "two".into(), 2, true));
    assert_eq!(client.published(), ("a".into(), "three".into(), 0, true));
    client.machine.published(Ok(()));
    assert_eq!(client.told(), "RECEIPT\nreceipt-id:r1\n\n^");
    client.machine.published(Ok(()));
    assert_eq!(client.told(), "");
    client.machine.published(Ok(()));
    assert_eq!(client.told(), "RECEIPT\nreceipt-id:r2\n\n^");
}

#[test]
fn retain_is_passed_on() {
    let mut client = Client::connected();
    client.send("SEND\ndestination:a\nretain:true\n\nx^");
    match client.ask() {
        Some(Ask::Publish { message, .. }) => assert!(message.retain),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_receipt_says_that_all_before_is_done() {
    let mut client = Client::connected();
    client.send("SEND\ndestination:a\nreceipt:r1\n\nx^BEGIN\ntransaction:t\nreceipt:r\\c2\n\n^");
    client.published();
    assert_eq!(client.told(), "");
    client.machine.published(Ok(()));
    let both = "RECEIPT\nreceipt-id:r1\n\n^RECEIPT\nreceipt-id:r\\c2\n\n^";
    assert_eq!(client.told(), both);
}

#[test]
fn what_the_broker_does_not_take_is_an_error() {
    let mut client = Client::connected();
    client.send("SEND\ndestination:a\nreceipt:r1\n\nx^SEND\ndestination:a\nreceipt:r2\n\ny^");
    client.published();
    client.published();
    client.machine.published(Err("not authorized".into()));
    client.fails("Not published: not authorized", Some("r1"));
    // Answers that come late do no harm.
    client.machine.published(Ok(()));
    assert_eq!(client.told(), "");
}

#[test]
fn an_error_comes_behind_the_receipts_of_earlier_frames() {
    let mut client = Client::connected();
    client.send(
        "SEND\ndestination:a\nreceipt:r1\n\nx^WHAT\nreceipt:r2\n\n^SEND\ndestination:a\n\nz^",
    );
    client.published();
    client.quiet();
    assert_eq!(client.told(), "");
    assert_eq!(client.machine.ended(), None);
    client.machine.published(Ok(()));
    client.fails("Unknown command WHAT", Some("r2"));
}

#[test]
fn frames_that_are_wrong() {
    for (frame, text) in [
        ("SEND\nreceipt:r\n\nx^", "SEND without destination"),
        (
            "SEND\ndestination:a/+\nreceipt:r\n\nx^",
            "Invalid destination: topic name with a wildcard",
        ),
        (
            "SEND\ndestination:\nreceipt:r\n\nx^",
            "Invalid destination: empty topic",
        ),
        (
            "SEND\ndestination:a\nqos:3\nreceipt:r\n\nx^",
            "Invalid qos 3: 0, 1 or 2",
        ),
        (
            "SUBSCRIBE\nid:1\nreceipt:r\n\n^",
            "SUBSCRIBE without destination",
        ),
        (
            "SUBSCRIBE\ndestination:a\nreceipt:r\n\n^",
            "SUBSCRIBE without id",
        ),
        (
            "SUBSCRIBE\nid:1\ndestination:a\nselector:x > 1\nreceipt:r\n\n^",
            "Selectors are not supported",
        ),
        (
            "SUBSCRIBE\nid:1\ndestination:a\nack:never\nreceipt:r\n\n^",
            "Invalid ack never: auto, client or client-individual",
        ),
        (
            "SUBSCRIBE\nid:1\ndestination:a/#/b\nreceipt:r\n\n^",
            "Invalid destination: wildcard that is not a level by itself",
        ),
        ("UNSUBSCRIBE\nreceipt:r\n\n^", "UNSUBSCRIBE without id"),
        (
            "ACK\nreceipt:r\n\n^",
            "ACK or NACK without the id of a message",
        ),
        ("ACK\nid:7\nreceipt:r\n\n^", "Message 7 not found"),
        ("NACK\nid:x\nreceipt:r\n\n^", "Message x not found"),
        ("BEGIN\nreceipt:r\n\n^", "BEGIN without transaction"),
        ("COMMIT\nreceipt:r\n\n^", "COMMIT without transaction"),
        (
            "SEND\nreceipt:r\nno colon\n\n^",
            "Malformed frame: a header is not name:value",
        ),
        (
            "SEND\nreceipt:r\na:\\t\n\n^",
            "Malformed frame: an undefined escape",
        ),
    ] {
        let mut client = Client::connected();
        client.send(frame);
        client.quiet();
        client.fails(text, Some("r"));
        assert_eq!(client.machine.counts.refused_frames, 1, "{frame}");
    }
}

#[test]
fn limits_are_named() {
    let mut client = Client::connected();
    let headers: String = (0..11).map(|n| format!("h{n}:1\n")).collect();
    client.send(&format!("SEND\n{headers}\n^"));
    client.fails("More headers than frame.max_headers = 10", None);
    let mut client = Client::connected();
    client.send(&format!(
        "SEND\ndestination:a\nreceipt:r\n\n{}^",
        "x".repeat(8193)
    ));
    client.fails(
        "The body is longer than frame.max_body_length = 8192",
        Some("r"),
    );
    let mut client = Client::connected();
    client.send(&format!("SEND\ndestination:a\n\n{}^", "x".repeat(8192)));
    assert_eq!(client.published().1.len(), 8192);
}

#[test]
fn limits_may_change() {
    let mut client = Client::connected();
    let pairs = [("stomp.frame.max_body_length", "1")];
    let settings = Settings::read(&Config::of(&pairs), "stomp.");
    client.machine.configure(&Arc::new(settings));
    client.send("SEND\ndestination:a\n\nxy^");
    client.fails("The body is longer than frame.max_body_length = 1", None);
}

#[test]
fn disconnect_waits_for_what_was_sent() {
    let mut client = Client::connected();
    client.send(
        "SEND\ndestination:a\nreceipt:r1\n\nx^DISCONNECT\nreceipt:bye\n\n^SEND\ndestination:b\n\n^",
    );
    client.published();
    client.quiet();
    client.machine.published(Ok(()));
    assert_eq!(client.told(), "RECEIPT\nreceipt-id:r1\n\n^");
    assert_eq!(client.ask(), Some(Ask::Disconnect));
    client.machine.closed("normal");
    client.machine.disconnected();
    assert_eq!(client.told(), "RECEIPT\nreceipt-id:bye\n\n^");
    assert_eq!(client.machine.ended(), Some(&End::Normal));
    client.go_on();
    client.quiet();
}

#[test]
fn a_client_that_is_gone_has_been_obeyed() {
    let mut client = Client::connected();
    client.send("SEND\ndestination:a\nreceipt:r1\n\nx^");
    client.machine.gone();
    assert_eq!(client.machine.ended(), None);
    client.published();
    client.machine.gone();
    assert_eq!(client.machine.ended(), None);
    client.machine.published(Ok(()));
    client.machine.gone();
    assert_eq!(client.machine.ended(), Some(&End::Normal));
}

#[test]
fn frames_are_left_when_much_waits() {
    let mut client = Client::connected();
    for _ in 0..2 * WAITING {
        client.send("SEND\ndestination:a\n\nx^");
    }
    let mut published = 0;
    while client.ask().is_some() {
        published += 1;
    }
    assert_eq!(published, WAITING);
    client.go_on();
    assert!(client.ask().is_some());
    // And when the client does not read what it is answered.
    let mut client = Client::connected();
    let begin = "COMMIT\ntransaction:t\nreceipt:r\n\n^BEGIN\ntransaction:t\n\n^";
    client.send("BEGIN\ntransaction:t\n\n^");
    client.send(&begin.repeat(20_000));
    let told = client.told().len();
    assert!((OUTPUT_OF_ANSWERS..OUTPUT_OF_ANSWERS + 1000).contains(&told));
    client.go_on();
    assert!(client.machine.has_output());
}

// Subscriptions and messages.

#[test]
fn a_message_has_the_headers_of_the_original() {
    let mut client = Client::connected();
    let identifier = client.subscribe("id:sub-1\ndestination:st/+\nreceipt:r");
    assert_eq!(client.told(), "RECEIPT\nreceipt-id:r\n\n^");
    client.gets(&[identifier], 0, "st/in2", "from mqtt");
    client.gets(&[identifier], 0, "st/x:y", "");
    assert_eq!(
        client.told(),
        "MESSAGE\nsubscription:sub-1\nmessage-id:1\ndestination:st/in2\ncontent-type:text/plain\n\
         content-length:9\n\nfrom mqtt^MESSAGE\nsubscription:sub-1\nmessage-id:2\ndestination:st/x\\cy\n\
         content-type:text/plain\n\n^"
    );
}

#[test]
fn each_subscription_gets_its_own() {
    let mut client = Client::connected();
    let one = client.subscribe("id:1\ndestination:a/+");
    client.subscribe("id:2\ndestination:a/+");
    let three = client.subscribe("id:3\ndestination:a/#");
    client.gets(&[one, three], 0, "a/b", "x");
    let told = client.told();
    for id in 1..4 {
        let own = format!("MESSAGE\nsubscription:{id}\n");
        assert_eq!(told.matches(&own).count(), 1, "{told}");
    }
    client.gets(&[three], 0, "a/b", "only the third, by a group");
    assert_eq!(client.told().matches("MESSAGE").count(), 1);
}

#[test]
fn a_subscription_that_is_refused_is_none() {
    let mut client = Client::connected();
    client.send("SUBSCRIBE\nid:1\ndestination:a\nreceipt:r\n\n^");
    assert!(matches!(client.ask(), Some(Ask::Subscribe(_))));
    client.machine.subscribed(Err("not authorized".into()));
    client.fails("Not subscribed: not authorized", Some("r"));
}

#[test]
fn an_id_may_be_said_again_and_not_used_again() {
    let mut client = Client::connected();
    client.subscribe("id:1\ndestination:a");
    client.send("SUBSCRIBE\nid:1\ndestination:a\nreceipt:r\n\n^");
    client.quiet();
    assert_eq!(client.told(), "RECEIPT\nreceipt-id:r\n\n^");
    client.send("SUBSCRIBE\nid:1\ndestination:b\nreceipt:r\n\n^");
    client.fails("Subscription 1 exists already", Some("r"));
}

#[test]
fn unsubscribe_goes_to_the_broker_with_the_last_one() {
    let mut client = Client::connected();
    client.subscribe("id:1\ndestination:a");
    client.subscribe("id:2\ndestination:a");
    client.send("UNSUBSCRIBE\nid:1\nreceipt:r1\n\n^UNSUBSCRIBE\nid:9\nreceipt:r9\n\n^");
    client.quiet();
    assert_eq!(
        client.told(),
        "RECEIPT\nreceipt-id:r1\n\n^RECEIPT\nreceipt-id:r9\n\n^"
    );
    client.send("UNSUBSCRIBE\nid:2\nreceipt:r2\n\n^");
    assert_eq!(client.ask(), Some(Ask::Unsubscribe("a".into())));
    // What is on its way is for nobody.
    client.gets(&[], 5, "a", "late");
    client.machine.unsubscribed(Ok(()));
    assert_eq!(client.told(), "RECEIPT\nreceipt-id:r2\n\n^");
    assert_eq!(client.ask(), Some(Ask::Ack(5)));
}

#[test]
fn version_1_0_needs_no_id() {
    let mut client = Client::connected_as("login:guest\npasscode:guest");
    let identifier = client.subscribe("destination:a\nack:client");
    client.gets(&[identifier], 3, "a", "x");
    assert_eq!(
        client.told(),
        "MESSAGE\nmessage-id:1\ndestination:a\ncontent-type:text/plain\ncontent-length:1\n\nx^"
    );
    client.send("ACK\nmessage-id:1\n\n^");
    assert_eq!(client.ask(), Some(Ask::Ack(3)));
    client.send("UNSUBSCRIBE\ndestination:a\n\n^");
    assert_eq!(client.ask(), Some(Ask::Unsubscribe("a".into())));
}

// ACK and NACK.

fn message_of(told: &str, header: &str) -> String {
    let start = told.find(&format!("\n{header}:")).expect("the header") + header.len() + 2;
    told[start..].lines().next().unwrap().to_string()
}

#[test]
fn in_mode_auto_a_message_is_acknowledged_when_it_is_written() {
    let mut client = Client::connected();
    let identifier = client.subscribe("id:1\ndestination:a\nqos:1");
    client.gets(&[identifier], 7, "a", "x");
    client.quiet();
    let (_, written) = client.machine.take_output(Vec::new());
    assert_eq!(written, [7]);
    client.send("ACK\nid:1\nreceipt:r\n\n^");
    client.quiet();
    assert_eq!(client.told(), "RECEIPT\nreceipt-id:r\n\n^");
}

#[test]
fn in_mode_client_ack_is_for_all_before() {
    let mut client = Client::connected();
    let identifier = client.subscribe("id:1\ndestination:a\nack:client");
    for id in 1..4 {
        client.gets(&[identifier], id, "a", "x");
    }
    let (out, written) = client.machine.take_output(Vec::new());
    assert_eq!(written, [0; 0]);
    let told = String::from_utf8(out).unwrap();
    assert!(
        told.contains("content-type:text/plain\nack:1\ncontent-length:1\n"),
        "{told}"
    );
    client.send("ACK\nid:2\n\n^");
    assert_eq!(client.ask(), Some(Ask::Ack(1)));
    assert_eq!(client.ask(), Some(Ask::Ack(2)));
    client.quiet();
}

#[test]
fn version_1_1_names_message_and_subscription() {
    let mut client = Client::connected_as("accept-version:1.1");
    let identifier = client.subscribe("id:1\ndestination:a\nack:client-individual");
    client.gets(&[identifier], 1, "a", "x");
    client.gets(&[identifier], 2, "a", "y");
    assert!(!client.told().contains("\nack:"));
    client.send("ACK\nmessage-id:2\nsubscription:1\n\n^");
    assert_eq!(client.ask(), Some(Ask::Ack(2)));
    client.quiet();
    client.send("ACK\nmessage-id:1\nsubscription:2\n\n^");
    client.fails("Message 1 is of another subscription", None);
}

#[test]
fn what_is_refused_comes_again_or_never() {
    let mut client = Client::connected();
    let identifier = client.subscribe("id:1\ndestination:a\nack:client-individual");
    client.gets(&[identifier], 1, "a", "x");
    client.told();
    client.send("NACK\nid:1\n\n^");
    client.quiet();
    client.machine.message_again();
    let told = client.told();
    assert!(told.contains("redelivered:true\n"), "{told}");
    assert_eq!(message_of(&told, "ack"), "2");
    client.send("NACK\nid:2\nrequeue:false\n\n^");
    assert_eq!(client.ask(), Some(Ask::Ack(1)));
    client.machine.message_again();
    assert_eq!(client.told(), "");

    let mut client = Client::new(&[("stomp.nack", "drop")]).connect("accept-version:1.2");
    let identifier = client.subscribe("id:1\ndestination:a\nack:client");
    client.gets(&[identifier], 1, "a", "x");
    client.send("NACK\nid:1\n\n^");
    assert_eq!(client.ask(), Some(Ask::Ack(1)));
}

#[test]
fn what_the_broker_repeats_is_redelivered() {
    let mut client = Client::connected();
    client.subscribe("id:1\ndestination:a\nack:client");
    client.machine.event(Event::Message(Incoming {
        id: 1,
        dup: true,
        ..incoming("a", "x")
    }));
    assert!(client.told().contains("redelivered:true\n"));
}

#[test]
fn unsubscribing_gives_up_what_was_not_acknowledged() {
    let mut client = Client::connected();
    let identifier = client.subscribe("id:1\ndestination:a\nack:client");
    client.gets(&[identifier], 1, "a", "x");
    client.send("UNSUBSCRIBE\nid:1\n\n^");
    assert_eq!(client.ask(), Some(Ask::Ack(1)));
    assert_eq!(client.ask(), Some(Ask::Unsubscribe("a".into())));
}

#[test]
fn a_kept_session_waits_for_its_subscriptions() {
    let mut client = Client::connected_as("accept-version:1.2\nclient-id:c\nclean-session:false");
    // As it named it before; here it is not known yet.
    client.gets(&[99], 1, "a/b", "x");
    client.gets(&[], 0, "a/b", "nobody's");
    assert_eq!(client.told(), "");
    client.quiet();
    client.subscribe("id:1\ndestination:c");
    assert_eq!(client.told(), "");
    client.subscribe("id:2\ndestination:a/+\nack:client");
    let told = client.told();
    assert_eq!(message_of(&told, "subscription"), "2");
    client.send("ACK\nid:1\n\n^");
    assert_eq!(client.ask(), Some(Ask::Ack(1)));
    // What an earlier connection was subscribed to can be left.
    client.gets(&[99], 2, "old", "x");
    client.send("UNSUBSCRIBE\ndestination:old\nreceipt:r\n\n^");
    assert_eq!(client.ask(), Some(Ask::Unsubscribe("old".into())));
    client.machine.unsubscribed(Ok(()));
    assert_eq!(client.ask(), Some(Ask::Ack(2)));
    assert_eq!(client.told(), "RECEIPT\nreceipt-id:r\n\n^");
}

// Transactions.

#[test]
fn a_transaction_is_done_at_commit() {
    let mut client = Client::connected();
    let identifier = client.subscribe("id:1\ndestination:q\nack:client-individual");
    client.gets(&[identifier], 4, "q", "x");
    client.told();
    client.send("BEGIN\ntransaction:t1\n\n^");
    client.send("SEND\ndestination:a\ntransaction:t1\nreceipt:s\n\none^");
    client.send("ACK\nid:1\ntransaction:t1\n\n^");
    client.send("SEND\ndestination:a\ntransaction:t1\nqos:0\n\ntwo^");
    client.quiet();
    assert_eq!(client.told(), "RECEIPT\nreceipt-id:s\n\n^");
    client.send("COMMIT\ntransaction:t1\nreceipt:c\n\n^");
    assert_eq!(client.published(), ("a".into(), "one".into(), 1, true));
    assert_eq!(client.ask(), Some(Ask::Ack(4)));
    assert_eq!(client.published(), ("a".into(), "two".into(), 0, false));
    assert_eq!(client.told(), "");
    client.machine.published(Ok(()));
    assert_eq!(client.told(), "RECEIPT\nreceipt-id:c\n\n^");
    client.send("COMMIT\ntransaction:t1\n\n^");
    assert_eq!(
        client.told(),
        "ERROR\ncontent-type:text/plain\ncontent-length:24\n\nTransaction t1 not found^"
    );
}

#[test]
fn a_transaction_can_be_given_up() {
    let mut client = Client::connected();
    client.send("BEGIN\ntransaction:t1\n\n^SEND\ndestination:a\ntransaction:t1\n\nx^");
    client.send("ABORT\ntransaction:t1\nreceipt:r\n\n^");
    client.quiet();
    assert_eq!(client.told(), "RECEIPT\nreceipt-id:r\n\n^");
    client.send("SEND\ndestination:a\ntransaction:t1\nreceipt:q\n\nx^");
    let told = client.told();
    assert!(told.contains("receipt-id:q\n"), "{told}");
    assert!(told.ends_with("Transaction t1 not found^"), "{told}");
    for command in ["ACK", "NACK"] {
        let mut client = Client::connected();
        client.send(&format!("{command}\nid:1\ntransaction:t2\n\n^"));
        assert!(client.told().ends_with("Transaction t2 not found^"));
    }
}

#[test]
fn transactions_are_bounded_in_number_bytes_and_time() {
    let mut client = Client::connected();
    client.send("BEGIN\ntransaction:tx1\n\n^BEGIN\ntransaction:tx1\n\n^");
    assert_eq!(
        client.told(),
        "ERROR\ncontent-type:text/plain\ncontent-length:31\n\nTransaction tx1 already started^"
    );
    let mut client = Client::new(&[("stomp.max_transactions", "1")]).connect("accept-version:1.2");
    client.send("BEGIN\ntransaction:a\n\n^BEGIN\ntransaction:b\n\n^");
    assert!(client.told().ends_with("than max_transactions = 1^"));

    let mut client = Client::connected();
    client.send("BEGIN\ntransaction:a\n\n^");
    let body = "x".repeat(8000);
    for _ in 0..transactions::BYTES / 8000 + 1 {
        client.send(&format!("SEND\ndestination:a\ntransaction:a\n\n{body}^"));
    }
    assert!(
        client
            .told()
            .ends_with("bytes of open transactions wait for COMMIT^")
    );

    let mut client = Client::connected();
    client.send("BEGIN\ntransaction:a\n\n^");
    assert_eq!(
        client.machine.deadline(),
        Some(client.now + Duration::from_secs(60))
    );
    client.after(60_000);
    assert_eq!(client.machine.counts.expired_transactions, 1);
    client.send("COMMIT\ntransaction:a\n\n^");
    assert!(client.told().ends_with("Transaction a not found^"));
}

// Heart-beats, and the end.

#[test]
fn line_feeds_show_that_the_server_lives() {
    let mut client = Client::connected_as("heart-beat:0,1000");
    client.machine.told(client.now);
    client.after(900);
    assert_eq!(client.told(), "");
    client.after(100);
    assert_eq!(client.told(), "\n");
    client.after(500);
    assert_eq!(client.told(), "");
    client.after(500);
    assert_eq!(client.told(), "\n");
}

#[test]
fn a_client_that_is_silent_is_lost() {
    let mut client = Client::connected_as("heart-beat:1000,0");
    client.after(1900);
    client.send("\n");
    client.after(2000);
    assert_eq!(client.machine.ended(), None);
    // It was not listened to.
    client.now += Duration::from_secs(10);
    client.machine.on_time(client.now, false, false);
    assert_eq!(client.machine.ended(), None);
    client.after(2250);
    let lost = End::Closed("keepalive_timeout".into());
    assert_eq!(client.machine.ended(), Some(&lost));
    assert_eq!(client.told(), "");
}

#[test]
fn the_end_by_the_broker_is_told() {
    let mut client = Client::connected();
    client.machine.event(Event::Closed(BrokersEnd {
        reason: "kick".into(),
        code: None,
    }));
    assert_eq!(
        client.told(),
        "ERROR\nmessage:Connection closed\\c kick\ncontent-type:text/plain\ncontent-length:23\n\n\
         Connection closed: kick^"
    );
    assert_eq!(client.machine.ended(), Some(&End::Closed("kick".into())));
    client.send("SEND\ndestination:a\n\nx^");
    client.quiet();
}
