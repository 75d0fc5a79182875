//! Bans keep clients out, whoever they are and however they come.

use emqttd_tests::packet::Version;
use emqttd_tests::{Connect, End, unique};
use serde_json::json;

use crate::common::{self, api};
use crate::console_common::{broker, path};

const CONNACK_311: u8 = 5;
const CONNACK_5: u8 = 0x8a;

/// The code of CONNACK for that CONNECT.
fn knock(broker: &emqttd_tests::Broker, connect: &Connect) -> u8 {
    let mut client = broker.raw(connect.version);
    client.send(&connect.encode());
    client.connack().1
}

#[test]
fn a_client_id_and_a_user_are_kept_out() {
    let http = api(broker());
    for (version, refused) in [(Version::V311, CONNACK_311), (Version::V5, CONNACK_5)] {
        for kind in ["client_id", "username"] {
            let name = unique("banned");
            let connect = match kind {
                "client_id" => Connect::new(version, &name),
                _ => Connect::new(version, &unique("other")).username(&name),
            };
            let mut there = broker().open(&connect);
            let ban = json!({"kind": kind, "value": name, "reason": "test", "seconds": 600});
            let made = http.post(&path("bans"), &ban).result();
            assert_eq!(
                (&made["by"], &made["reason"]),
                (&json!("admin"), &json!("test"))
            );
            there.closed();
            assert_eq!(knock(broker(), &connect), refused, "{kind}");
            let bans = http.get(&path("bans")).result();
            assert!(bans.as_array().unwrap().contains(&made), "{bans}");
            let lift = path(&format!("bans/{kind}/{name}"));
            assert_eq!(http.delete(&lift).result(), json!([]));
            assert_eq!(knock(broker(), &connect), 0, "{kind}");
            assert_eq!(http.delete(&lift).status, 404);
        }
    }
}

#[test]
fn an_address_is_kept_out_also_after_a_restart() {
    let mut broker = common::broker();
    let http = api(&broker);
    let mut there = broker.client(Version::V311, "addressed");
    let ban = json!({"kind": "ip", "value": "127.0.0.0/8"});
    http.post(&path("bans"), &ban).result();
    there.closed();
    let connect = Connect::new(Version::V311, "addressed");
    assert_eq!(knock(&broker, &connect), CONNACK_311);
    broker.restart(End::Stop);
    assert_eq!(knock(&broker, &connect), CONNACK_311);
    let http = api(&broker);
    let bans = http.get(&path("bans")).result();
    assert_eq!(
        (&bans[0]["value"], &bans[0]["by"]),
        (&json!("127.0.0.0/8"), &json!("admin"))
    );
    http.delete(&path("bans/ip/127.0.0.0%2F8")).result();
    assert_eq!(knock(&broker, &connect), 0);
}

#[test]
fn a_ban_ends_by_itself() {
    let http = api(broker());
    let id = unique("shortly");
    let ban = json!({"kind": "client_id", "value": id, "seconds": 1});
    http.post(&path("bans"), &ban).result();
    let connect = Connect::new(Version::V311, &id);
    let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while knock(broker(), &connect) != 0 {
        assert!(std::time::Instant::now() < end, "the ban does not end");
        std::thread::yield_now();
    }
    let bans = http.get(&path("bans")).result();
    assert!(!bans.to_string().contains(&id), "{bans}");
}
