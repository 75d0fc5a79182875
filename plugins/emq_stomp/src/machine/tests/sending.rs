//! SEND, receipts, errors, transactions.

use super::*;

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
fn what_a_send_says_of_its_message_is_passed_on() {
    let mut client = Client::connected();
    client.send(
        "SEND\ndestination:a\nreceipt:r\nqos:0\nretain:true\ncontent-length:1\nack:x\n\nx^\
         SEND\nfoo:1\ndestination:a\ncontent-type:text/x\nb\\cc: 2\\n\nfoo:3\nmessage-id:7\n\nx^\
         SEND\ndestination:a\n\nx^",
    );
    let mut about = || match client.ask() {
        Some(Ask::Publish { message, .. }) => {
            let about = message.about.clone();
            client.machine.recycle(message);
            about
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(about(), None);
    let said = about().unwrap();
    assert_eq!(said.content_type.as_deref(), Some("text/x"));
    let pairs = [("foo", "1"), ("b:c", " 2\n"), ("foo", "3")];
    let pairs = pairs.map(|(name, value)| (name.to_string(), value.to_string()));
    assert_eq!(said.user_properties, pairs);
    assert_eq!(about(), None);
    // The memory of a message says nothing of the next one.
    client.send("SEND\ndestination:a\n\nx^");
    match client.ask() {
        Some(Ask::Publish { message, .. }) => assert_eq!(message.about, None),
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

#[test]
fn a_message_of_a_transaction_that_is_denied() {
    let mut client = Client::connected();
    client.send("BEGIN\ntransaction:t\n\n^SEND\ndestination:a\ntransaction:t\n\nx^");
    client.send("SEND\ndestination:b\ntransaction:t\n\ny^COMMIT\ntransaction:t\nreceipt:c\n\n^");
    client.published();
    client.published();
    client.machine.published(Ok(()));
    client.machine.published(Err("not authorized".into()));
    // It is COMMIT that has failed.
    client.fails("Not published: not authorized", Some("c"));
}
