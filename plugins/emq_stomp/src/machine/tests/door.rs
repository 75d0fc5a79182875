//! CONNECT, heart-beats, and the end of a connection.

use super::*;

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
    // Clients of 1.0 put a blank behind the colon, as its text did.
    let blank = login(&[], "login: guest\npasscode: guest");
    assert_eq!(blank, (text("guest"), text("guest"), true));
    let own = login(&[], "accept-version:1.0,1.1\nlogin:tom\npasscode: x");
    assert_eq!(own, (text("tom"), text(" x"), false));
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
