use super::bench::{Bench, endpoint, get, put};
use crate::codec::Code;
use crate::endpoint::Endpoint;
use crate::settings::Settings;
use emqttd_plugin_sdk::HostError;
use emqttd_plugin_sdk::virtual_client::Refused;
use std::time::Duration;

const KEEPALIVE: Duration = Duration::from_secs(120);

#[test]
fn a_session_is_for_one_set_of_credentials_at_one_address() {
    let mut bench = Bench::connected();
    let one = get("/mqtt?c=1");
    assert_eq!(
        bench.code(&one.clone().from(endpoint(1, 6000))),
        Code::CONTENT
    );
    assert!(bench.log().is_empty());
    let address = endpoint(1, 5000).address();
    for (other, connect) in [
        (get("/mqtt?c=1&u=tom"), "connect 1 \"tom\" \"-\""),
        (get("/mqtt?c=1&u=tom&p=x"), "connect 1 \"tom\" \"x\""),
        (get("/mqtt?c=1&u=tom&p="), "connect 1 \"tom\" \"\""),
        (one.clone().from(endpoint(2, 5000)), "connect 1 \"-\" \"-\""),
        (
            one.clone().from(Endpoint::Secure(address)),
            "connect 1 \"-\" \"-\"",
        ),
        (get("/mqtt?c=2"), "connect 2 \"-\" \"-\""),
    ] {
        assert_eq!(bench.send(&other), None);
        assert_eq!(bench.log(), [connect]);
    }
    // An empty user name is none, and a password without one says nothing.
    assert_eq!(bench.code(&get("/mqtt?c=1&u=&p=")), Code::CONTENT);
}

#[test]
fn who_comes_with_other_credentials_displaces() {
    let mut bench = Bench::connected();
    let first = bench.client();
    let observation = bench.observe("/mqtt/t?c=1", "t");
    assert_eq!(bench.send(&get("/mqtt?c=1&u=tom&p=x")), None);
    bench.let_in();
    assert_eq!(bench.answer().code, Code::CONTENT);
    // The broker ends the older one.
    bench.closed(first);
    let (ended, _, response) = bench.notification();
    assert_eq!((ended, response.code), (observation, Code::UNAVAILABLE));
    assert_eq!(bench.app.clients.len(), 1);
    assert_eq!(bench.code(&get("/mqtt?c=1&u=tom&p=x")), Code::CONTENT);
}

#[test]
fn refusals() {
    let closed = |reason: &str| Refused::Closed(reason.into());
    for (refused, code) in [
        (Refused::Code(2), Code::BAD_REQUEST),
        (Refused::Code(4), Code::UNAUTHORIZED),
        (Refused::Code(5), Code::UNAUTHORIZED),
        (Refused::Code(3), Code::UNAVAILABLE),
        (closed("kick"), Code::UNAVAILABLE),
        (
            Refused::NoPlace(HostError("full".into())),
            Code::UNAVAILABLE,
        ),
        (Refused::Invalid("too long"), Code::BAD_REQUEST),
    ] {
        let mut bench = Bench::new();
        let ask = put("/mqtt/t?c=1&u=tom&p=wrong", "x");
        assert_eq!(bench.send(&ask), None);
        assert_eq!(bench.send(&ask), None);
        bench.log();
        bench.connack(Err(refused));
        for _ in 0..2 {
            let action = bench.action();
            let Some(crate::request::Action::Respond { response, .. }) = action else {
                panic!("not an answer: {action:?}");
            };
            assert_eq!(response.code, code);
        }
        bench.nothing();
        assert!(bench.log().is_empty(), "nothing was published");
        assert!(bench.app.clients.is_empty() && bench.app.due.is_empty());
        // The next request asks again.
        assert_eq!(bench.send(&ask), None);
        assert_eq!(bench.log().len(), 1);
    }
}

#[test]
fn requests_keep_it_and_silence_ends_it() {
    let mut bench = Bench::connected();
    assert_eq!(bench.app.broker.options[0].keepalive, 120);
    for _ in 0..5 {
        bench.pass(KEEPALIVE - Duration::from_millis(1));
        assert_eq!(bench.code(&get("/mqtt?c=1")), Code::CONTENT);
        assert_eq!(bench.log(), ["ping"]);
    }
    bench.pass(KEEPALIVE * 5 / 4 - Duration::from_millis(1));
    assert!(bench.log().is_empty());
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.log(), ["leave"]);
    assert_eq!(bench.app.deadline(), None);
}

#[test]
fn the_broker_hears_of_a_client_before_it_loses_patience() {
    // It closes 1.5 intervals after the last packet. The worst case: a PING, a request that is just too early for
    // the next one, and then nothing.
    let mut bench = Bench::connected();
    bench.pass(KEEPALIVE / 8 - Duration::from_millis(1));
    bench.code(&get("/mqtt?c=1"));
    assert!(bench.log().is_empty());
    bench.pass(KEEPALIVE * 5 / 4);
    assert_eq!(bench.log(), ["leave"]);
    assert!(KEEPALIVE / 8 + KEEPALIVE * 5 / 4 < KEEPALIVE * 3 / 2);
}

#[test]
fn an_acknowledged_notification_is_a_sign_of_life() {
    use crate::request::Fate;
    for (fate, stays) in [
        (Fate::Acknowledged, true),
        (Fate::Sent, false),
        (Fate::Dropped, false),
    ] {
        let mut bench = Bench::connected();
        bench.observe("/mqtt/t?c=1", "t");
        // At QoS 0: nobody waits for it but the device.
        bench.message("t", "x", 0);
        let (observation, receipt, _) = bench.notification();
        bench.pass(KEEPALIVE);
        bench.notified(observation, receipt, fate);
        bench.log();
        bench.pass(KEEPALIVE);
        assert_eq!(bench.log().is_empty(), stays, "{fate:?}");
    }
}

#[test]
fn a_client_that_was_kicked_is_connected_anew_by_its_next_request() {
    let mut bench = Bench::connected();
    let first = bench.client();
    bench.app.broker.closed.insert(first);
    assert_eq!(bench.send(&put("/mqtt/t?c=1", "x")), None);
    assert_eq!(bench.log(), ["connect 1 \"-\" \"-\""]);
    bench.closed(first);
    bench.let_in();
    assert_eq!(bench.answer().code, Code::CHANGED);
    assert_eq!(bench.log(), ["publish t \"x\" 0"]);
}

#[test]
fn clients_are_bounded() {
    let mut bench = Bench::with(|settings| settings.max_clients = 2);
    for c in 1..3 {
        assert_eq!(bench.send(&get(&format!("/mqtt?c={c}"))), None);
    }
    assert_eq!(bench.code(&get("/mqtt?c=3")), Code::UNAVAILABLE);
    bench.connack(Err(Refused::Code(4)));
    assert_eq!(bench.send(&get("/mqtt?c=3")), None);
}

#[test]
fn addresses_that_anybody_can_make_up_do_not_keep_the_others_out() {
    let mut bench = Bench::with(|settings| settings.max_clients = 2);
    let known = |c: &str| {
        let secure = Endpoint::Secure(endpoint(9, 5000).address());
        get(&format!("/mqtt?c={c}"))
            .from(secure)
            .known_as("device7")
    };
    for c in ["a", "b"] {
        assert_eq!(bench.send(&get(&format!("/mqtt?c={c}"))), None);
        bench.let_in();
        assert_eq!(bench.answer().code, Code::CONTENT);
        bench.pass(Duration::from_secs(1));
    }
    // Over DTLS without a certificate or key of its own it is anybody, too.
    let secure = Endpoint::Secure(endpoint(1, 5000).address());
    let anybody = get("/mqtt?c=c").from(secure);
    assert_eq!(bench.code(&anybody), Code::UNAVAILABLE);
    bench.log();
    // Who has shown who it is takes the place of the one that was silent longest.
    for (c, rest) in [("c", 2), ("d", 2)] {
        assert_eq!(bench.send(&known(c)), None);
        assert_eq!(bench.log().first().map(String::as_str), Some("leave"));
        bench.let_in();
        assert_eq!(bench.answer().code, Code::CONTENT);
        assert_eq!(bench.app.clients.len(), rest);
    }
    assert_eq!(bench.code(&known("e")), Code::UNAVAILABLE);
    assert_eq!(bench.code(&get("/mqtt?c=f")), Code::UNAVAILABLE);
}

/// One address does not take all places from the others.
#[test]
fn who_has_many_sessions_makes_room() {
    let mut bench = Bench::with(|settings| settings.max_clients = 200);
    let come = |bench: &mut Bench, c: &str, host: u8| {
        let ask = get(&format!("/mqtt?c={c}")).from(endpoint(host, 5000));
        let answer = bench.send(&ask).map(|response| response.code);
        if answer.is_none() {
            bench.let_in();
            bench.answer();
        }
        answer
    };
    // Those that would be over first are of addresses with one.
    for host in 10..100 {
        assert_eq!(come(&mut bench, "few", host), None);
    }
    for n in 0..110 {
        assert_eq!(come(&mut bench, &format!("many{n}"), 1), None);
    }
    assert_eq!(come(&mut bench, "more", 1), Some(Code::UNAVAILABLE));
    bench.log();
    // It is looked a bit at a time.
    let mut answers = vec![come(&mut bench, "late", 2)];
    while answers.last() == Some(&Some(Code::UNAVAILABLE)) {
        assert!(answers.len() < 5);
        answers.push(come(&mut bench, "late", 2));
    }
    assert_eq!(bench.log().first().map(String::as_str), Some("leave"));
    assert_eq!(bench.app.clients.len(), 200);
    let clients = bench.app.clients.values();
    let many = clients.filter(|client| client.endpoint == endpoint(1, 5000));
    assert_eq!(many.count(), 109);
}

#[test]
fn one_address_leaves_half_of_what_is_under_way_to_others() {
    let mut bench = Bench::with(|settings| settings.max_clients = 10_000);
    let mut come = |n: usize, host: u8| {
        let ask = get(&format!("/mqtt?c=a{n}")).from(endpoint(host, 5000));
        bench.send(&ask).is_none()
    };
    assert_eq!((0..3000).filter(|n| come(*n, 1)).count(), 1000);
    assert_eq!((0..3000).filter(|n| come(*n, 2)).count(), 500);
    assert!(come(0, 3));
    bench.connack(Err(Refused::Code(4)));
    bench.answer();
    assert_eq!(
        bench.code(&get("/mqtt?c=b").from(endpoint(1, 5000))),
        Code::UNAVAILABLE
    );
}

#[test]
fn what_waits_for_connack_is_bounded() {
    let mut bench = Bench::with(|settings| settings.max_clients = 10_000);
    let answers = (0..20).map(|_| bench.send(&get("/mqtt?c=1")));
    assert_eq!(answers.filter(Option::is_none).count(), 16);
    let large = "x".repeat(1 << 20);
    let answers = (0..20).map(|n| bench.send(&put(&format!("/mqtt/t?c=a{n}"), &large)));
    assert_eq!(answers.filter(Option::is_none).count(), 8);
    let clients = bench.app.clients.len();
    let answers = (0..2000).map(|n| bench.send(&get(&format!("/mqtt?c=b{n}"))));
    assert_eq!(answers.filter(Option::is_none).count(), 1000 - clients);
}

#[test]
fn the_identity_of_dtls_is_the_user_name_of_who_gives_none() {
    let secure = Endpoint::Secure(endpoint(1, 5000).address());
    let mut bench = Bench::new();
    let ask = get("/mqtt?c=1").from(secure).known_as("device7");
    assert_eq!(bench.send(&ask), None);
    assert_eq!(bench.log(), ["connect 1 \"device7\" \"-\""]);
    let peer = &bench.app.broker.peers[0];
    assert_eq!(peer.cert_username.as_deref(), Some("device7"));
    assert_eq!(peer.listener.0, "coap:dtls");
    let named = get("/mqtt?c=1&u=tom&p=x").from(secure).known_as("device7");
    assert_eq!(bench.send(&named), None);
    assert_eq!(bench.log(), ["connect 1 \"tom\" \"x\""]);
    assert_eq!(bench.app.broker.peers[1].cert_username, None);
    // Another identity at the same address is another one.
    let other = get("/mqtt?c=1").from(secure).known_as("device8");
    assert_eq!(bench.send(&other), None);
    assert_eq!(bench.log(), ["connect 1 \"device8\" \"-\""]);
}

#[test]
fn another_keep_alive_is_for_those_who_come_then() {
    let mut bench = Bench::connected();
    bench.change(Settings {
        keepalive: Duration::from_secs(1),
        ..Bench::settings()
    });
    assert_eq!(bench.send(&get("/mqtt?c=2")), None);
    bench.let_in();
    bench.log();
    bench.pass(Duration::from_secs(2));
    assert_eq!(bench.log(), ["leave"]);
    assert_eq!(bench.app.clients.len(), 1);
}

#[test]
fn a_keep_alive_that_mqtt_cannot_say() {
    for (keepalive, said) in [
        (Duration::from_millis(1500), 2),
        (Duration::from_secs(65_535), 65_535),
        (Duration::from_secs(65_536), 0),
    ] {
        let mut bench = Bench::with(|settings| settings.keepalive = keepalive);
        bench.send(&get("/mqtt?c=1"));
        assert_eq!(bench.app.broker.options[0].keepalive, said);
    }
}

#[test]
fn what_each_client_does_is_counted_where_that_is_wanted() {
    for wanted in [true, false] {
        let mut bench = Bench::with(|settings| settings.enable_stats = wanted);
        assert_eq!(bench.send(&get("/mqtt?c=1")), None);
        bench.let_in();
        bench.answer();
        bench.observe("/mqtt/t?c=1", "t");
        bench.message("t", "x", 0);
        let client = bench.app.clients.values().next().unwrap();
        let counted = u64::from(wanted);
        assert_eq!((client.received, client.sent), (2 * counted, counted));
        assert_eq!(
            (client.endpoint, client.observations),
            (endpoint(1, 5000), 1)
        );
    }
}
