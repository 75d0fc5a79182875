//! What somebody may try who breaks such protocols for a living.

use super::hand::{ECDSA, Hand, P256_AND_ECDSA, PSK, X25519_AND_ECDSA, record};
use super::*;
use crate::dtls::LONGEST;
use crate::dtls::handshake::{EPOCH_1, content};
use crate::dtls::message::{fragments, kind, put_vec, write};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use std::collections::HashSet;

/// A record of epoch 1 that nobody with a key has made.
fn forged() -> Vec<u8> {
    record(content::HANDSHAKE, EPOCH_1, &[9; 40])
}

#[test]
fn a_forged_record_does_not_end_a_handshake() {
    let mut network = Network::new(psk().open());
    let mut client = Hand::begin(&mut network, 1, PSK, &[]);
    let from = client.from;
    network.hand_over(from, &forged());
    client.key_exchange(&mut network, "dev-1", b"secret");
    network.hand_over(from, &forged());
    network.hand_over(from, &forged());
    network.hand_over(from, &forged());
    let finished = client.finished();
    network.hand_over(from, &finished);
    assert!(network.server.dtls.sessions.contains_key(&from));
}

#[test]
fn what_is_in_the_clear_takes_no_place_of_the_finished() {
    for whole in [true, false] {
        let mut network = Network::new(psk().open());
        let mut client = Hand::begin(&mut network, 1, PSK, &[]);
        let mut message = write(kind::CERTIFICATE, 3, &[0; 12]);
        if !whole {
            message[11] = 0;
            message.truncate(12);
        }
        let clear = record(content::HANDSHAKE, 9, &message);
        network.hand_over(client.from, &clear);
        client.key_exchange(&mut network, "dev-1", b"secret");
        network.hand_over(client.from, &clear);
        let finished = client.finished();
        network.hand_over(client.from, &finished);
        assert!(
            network.server.dtls.sessions.contains_key(&client.from),
            "{whole}"
        );
    }
}

#[test]
fn nobody_is_answered_what_another_has_asked() {
    let mut network = Network::new(psk().open());
    let mut before = Client::psk(1, network.now, "dev-1", b"secret");
    network.connect(&mut before);
    before.dtls.send_application_data(b"tell me").unwrap();
    let mut glued = before.poll().remove(0);
    let mut after = Hand::begin(&mut network, 1, PSK, &[]);
    after.key_exchange(&mut network, "dev-2", b"\0");
    glued.extend(after.finished());
    network.hand_over(after.from, &glued);
    let outputs = network.outputs();
    assert!(outputs.contains(&Output::Gone(after.from)));
    // An answer would be sealed for the new client.
    let asked = |output: &Output| matches!(output, Output::Received { .. });
    assert!(!outputs.iter().any(asked), "{outputs:?}");
    let asks = after.sealed(content::APPLICATION_DATA, b"mine");
    network.hand_over(after.from, &asks);
    let outputs = network.outputs();
    assert!(
        matches!(&outputs[..], [Output::Received { identity: Some(name), .. }] if &**name == "dev-2"),
        "{outputs:?}"
    );
}

#[test]
fn keys_of_any_length() {
    for (name, key) in [("a", &b"\xFF"[..]), ("b", b"12345"), ("c", &[0; 64])] {
        let text = format!("a:ff\nb:3132333435\nc:{}\n", "00".repeat(64));
        let mut network = Network::new(Site::new().psk(&text).open());
        let mut client = Hand::begin(&mut network, 1, PSK, &[]);
        client.key_exchange(&mut network, name, key);
        let finished = client.finished();
        network.hand_over(client.from, &finished);
        assert!(
            network.server.dtls.sessions.contains_key(&client.from),
            "{name}"
        );
    }
}

/// What a client that has to show a certificate may say instead of what it should.
#[test]
fn no_message_can_be_left_out_or_said_twice() {
    let authority = Authority::new();
    let site = Site::new().certificate(&authority).verify(&authority);
    let (certificate, key) = authority.issue("device-7");
    let certificate = {
        let (mut list, mut body) = (Vec::new(), Vec::new());
        put_vec(&mut list, 3, certificate.der());
        put_vec(&mut body, 3, &list);
        body
    };
    let key =
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key.serialize_der()).unwrap();
    // c = Certificate, n = one with nothing in it, k = ClientKeyExchange, v = CertificateVerify, F = Finished,
    // p = Finished in the clear, a = application data of epoch 1.
    let runs = [
        ("ckvF", true),
        ("ckavF", true),
        ("ckpvF", true),
        ("ckF", false),
        ("kF", false),
        ("nkF", false),
        ("nkvF", false),
        ("kcvF", false),
        ("cckvF", false),
        ("ckkvF", false),
        ("ckvvF", false),
        ("vckF", false),
        ("ckcvF", false),
        ("ckp", false),
    ];
    for (run, good) in runs {
        let mut network = Network::new(site.open());
        let mut client = Hand::begin(&mut network, 1, ECDSA, P256_AND_ECDSA);
        for step in run.chars() {
            match step {
                'c' => client.say(&mut network, kind::CERTIFICATE, &certificate),
                'n' => client.say(&mut network, kind::CERTIFICATE, &[0, 0, 0]),
                'k' => client.key_exchange(&mut network, "", b""),
                'v' => {
                    let random = SystemRandom::new();
                    let signature = key.sign(&random, &client.transcript).unwrap();
                    let mut body = vec![4, 3];
                    put_vec(&mut body, 2, signature.as_ref());
                    client.say(&mut network, kind::CERTIFICATE_VERIFY, &body);
                }
                'F' => {
                    let finished = client.finished();
                    network.hand_over(client.from, &finished);
                }
                'a' => {
                    let early = client.sealed(content::APPLICATION_DATA, b"early");
                    network.hand_over(client.from, &early);
                }
                _ => {
                    let secrets = client.secrets.as_ref().unwrap();
                    let data = secrets.verify_data(b"client finished", &client.transcript);
                    let message = write(kind::FINISHED, client.next, &data);
                    network.hand_over(client.from, &record(content::HANDSHAKE, 9, &message));
                }
            }
        }
        let session = network.server.dtls.sessions.get(&client.from);
        assert_eq!(session.is_some(), good, "{run}");
        let name = session.and_then(|session| session.identity.clone());
        assert_eq!(name.as_deref(), good.then_some("device-7"), "{run}");
        let outputs = network.outputs();
        assert!(
            !outputs.iter().any(|o| matches!(o, Output::Received { .. })),
            "{run}"
        );
    }
}

#[test]
fn points_that_are_none() {
    let authority = Authority::new();
    let site = Site::new().certificate(&authority);
    let mut off_curve = vec![4];
    off_curve.extend([1; 64]);
    let one = [&[1][..], &[0; 31]].concat();
    for (extensions, point) in [
        (X25519_AND_ECDSA, vec![0; 32]),
        (X25519_AND_ECDSA, one),
        (X25519_AND_ECDSA, vec![9; 31]),
        (P256_AND_ECDSA, off_curve),
        (P256_AND_ECDSA, vec![0]),
        (P256_AND_ECDSA, vec![]),
    ] {
        let mut network = Network::new(site.open());
        let mut client = Hand::begin(&mut network, 1, ECDSA, extensions);
        let mut body = Vec::new();
        put_vec(&mut body, 1, &point);
        client.say(&mut network, kind::CLIENT_KEY_EXCHANGE, &body);
        assert!(network.server.dtls.handshakes.is_empty(), "{point:?}");
        assert_eq!(network.answers().last().unwrap()[13..], [2, 47]);
    }
}

#[test]
fn no_number_is_used_twice() {
    let mut network = Network::new(psk().open());
    let mut client = Hand::begin(&mut network, 1, PSK, &[]);
    client.key_exchange(&mut network, "dev-1", b"secret");
    let mut numbers = HashSet::new();
    for round in 0..20 {
        let finished = client.finished();
        network.hand_over(client.from, &finished);
        assert!(network.server.dtls.send(client.from, b"x"));
        let answers = network.answers();
        // Ours is repeated, but not for ever.
        assert_eq!(answers.len(), 1 + usize::from(round <= SENDS), "{round}");
        for mut answer in answers {
            while !answer.is_empty() {
                assert!(numbers.insert(answer[3..11].to_vec()), "{answer:?}");
                let len = usize::from(u16::from_be_bytes([answer[11], answer[12]]));
                answer.drain(..13 + len);
            }
        }
    }
    assert_eq!(network.received.len(), 0);
}

#[test]
fn a_session_is_not_negotiated_again() {
    let mut network = Network::new(psk().open());
    let mut client = Hand::begin(&mut network, 1, PSK, &[]);
    client.key_exchange(&mut network, "dev-1", b"secret");
    let finished = client.finished();
    network.hand_over(client.from, &finished);
    network.outputs();
    let again = write(
        kind::CLIENT_HELLO,
        4,
        &hand::hello(0xFEFD, &[], &[PSK], &[]),
    );
    let again = client.sealed(content::HANDSHAKE, &again);
    network.hand_over(client.from, &again);
    let answers = network.answers();
    assert_eq!(answers.len(), 1);
    let (header, body) = answers[0].split_at(13);
    let mut body = body.to_vec();
    let write = &client.secrets.as_ref().unwrap().write;
    // no_renegotiation, a warning
    let plain = write.open(header.try_into().unwrap(), &mut body).unwrap();
    assert_eq!((header[0], plain), (content::ALERT, &[1, 100][..]));
    assert!(network.server.dtls.sessions.contains_key(&client.from));
    // A record that is longer than any may be is none.
    let long = client.sealed(content::APPLICATION_DATA, &vec![0; LONGEST + 1]);
    network.hand_over(client.from, &long);
    let long = client.sealed(content::APPLICATION_DATA, &vec![0; LONGEST]);
    network.hand_over(client.from, &long);
    let outputs = network.outputs();
    assert!(matches!(&outputs[..], [Output::Received { plain, .. }] if plain.len() == LONGEST));
}

#[test]
fn versions() {
    for (version, good) in [
        (0xFEFD, true),
        (0xFEFF, false),
        (0x0303, false),
        (0xFFFF, false),
    ] {
        let mut network = Network::new(psk().open());
        let (_, answers) = network.greet(addr(1), version, &[PSK], &[]);
        assert_eq!(network.server.dtls.handshakes.len(), usize::from(good));
        let alert = [21, 0xFE, 0xFD, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 2, 70];
        assert_eq!(answers[0] != alert, good, "{version:x}");
    }
}

#[test]
fn a_hello_in_pieces() {
    let mut network = Network::new(psk().open());
    let long: &[(u16, &[u8])] = &[(21, &[0; 300])];
    let say = |network: &mut Network, from, number, cookie: &[u8]| {
        let hello = write(
            kind::CLIENT_HELLO,
            number,
            &hand::hello(0xFEFD, cookie, &[PSK], long),
        );
        for piece in fragments(&hello, 100) {
            let number = u64::from(number);
            network.hand_over(from, &record(content::HANDSHAKE, number, &piece));
        }
        network.answers()
    };
    let answers = say(&mut network, addr(1), 0, &[]);
    assert_eq!(answers.len(), 1);
    let cookie = answers[0][28..].to_vec();
    // With another's cookie nothing is kept, nor of pieces alone.
    assert_eq!(say(&mut network, addr(2), 1, &cookie).len(), 1);
    assert!(network.server.dtls.pieces.is_empty());
    say(&mut network, addr(1), 1, &cookie);
    assert!(network.server.dtls.handshakes.contains_key(&addr(1)));
    assert!(network.server.dtls.pieces.is_empty() && network.server.dtls.handshakes.len() == 1);
    // Those that begin and do not go on are bounded.
    for number in 10..100 {
        let answers = say(&mut network, addr(number), 0, &[]);
        let hello = hand::hello(0xFEFD, &answers[0][28..], &[PSK], long);
        let piece = fragments(&write(kind::CLIENT_HELLO, 1, &hello), 100).remove(0);
        network.hand_over(addr(number), &record(content::HANDSHAKE, 1, &piece));
    }
    assert_eq!(network.server.dtls.pieces.len(), 32);
    assert_eq!(network.server.dtls.handshakes.len(), 1);
}

#[test]
fn hellos_that_come_to_nothing_count_too() {
    let site = Site::new().certificate(&Authority::new());
    let mut network = Network::new(site.open());
    let no_signature: &[(u16, &[u8])] = &[(10, &[0, 2, 0, 24]), (13, &[0, 2, 2, 2])];
    let mut answered = 0;
    for number in 0..1000 {
        let (_, answers) = network.greet(addr(number), 0xFEFD, &[ECDSA], no_signature);
        answered += answers.len();
    }
    assert_eq!(answered, 400);
}

#[test]
fn one_address_does_not_keep_the_others_out() {
    let source = |port| SocketAddr::from(([10, 9, 9, 9], port));
    // Slowly: it has all places.
    let mut network = Network::new(psk().open());
    for port in 0..600 {
        network.now += Duration::from_millis(20);
        network.greet(source(port), 0xFEFD, &[PSK], &[]);
    }
    assert_eq!(network.server.dtls.handshakes.len(), HANDSHAKES);
    network.greet(addr(1), 0xFEFD, &[PSK], &[]);
    assert!(network.server.dtls.handshakes.contains_key(&addr(1)));
    // What it begins now takes the place of its own.
    network.now += Duration::from_secs(1);
    for port in 1000..2000 {
        network.greet(source(port), 0xFEFD, &[PSK], &[]);
    }
    assert!(network.server.dtls.handshakes.contains_key(&addr(1)));
    assert_eq!(network.server.dtls.handshakes.len(), HANDSHAKES);
    assert_eq!(network.server.dtls.timers.len(), HANDSHAKES);
    // At once, too.
    network.greet(addr(2), 0xFEFD, &[PSK], &[]);
    assert!(network.server.dtls.handshakes.contains_key(&addr(2)));
}

#[test]
fn the_one_that_was_silent_longest_makes_room() {
    let mut network = Network::new(psk().try_open(3).unwrap().unwrap());
    let mut clients: Vec<Client> = (0..4)
        .map(|number| Client::psk(number, network.now, "dev-1", b"secret"))
        .collect();
    for client in &mut clients[..3] {
        network.connect(client);
    }
    network.now += Duration::from_secs(10);
    network.say(&mut clients[0], b"here");
    network.say(&mut clients[2], b"here");
    network.now += MAKES_ROOM;
    network.connect(&mut clients[3]);
    assert_eq!(network.gone, [clients[1].addr]);
    assert_eq!(network.server.dtls.timers.len(), 3);
}
