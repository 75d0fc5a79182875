//! Bans: who is met, when, with which codes, and after a restart.

use crate::net::{Client, Net};
use crate::packets::*;
use emqttd_broker::{AdminError, Ban, BanKind, Broker, Shard, Storage};
use emqttd_mqtt::Version;
use emqttd_store::Directory;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.unwrap().as_secs()
}

fn ban(kind: BanKind, value: &str) -> Ban {
    Ban {
        kind,
        value: value.into(),
        reason: "because".into(),
        until: None,
        by: "admin".into(),
        at: now(),
    }
}

fn add(net: &mut Net, kind: BanKind, value: &str) -> Ban {
    net.admin(|broker| broker.bans().add(ban(kind, value)))
        .unwrap()
}

fn from(net: &mut Net, ip: &str) -> Client {
    let listener = Arc::clone(&net.listener);
    let ip: IpAddr = ip.parse().unwrap();
    net.open_from(0, listener, SocketAddr::new(ip, 5000))
}

/// The code of CONNACK, and whether the connection stays.
fn code(net: &mut Net, client: Client, connect: &Connect) -> u8 {
    let got = net.connect_on(client, connect);
    let [Got::ConnAck { code, .. }, ..] = &got[..] else {
        panic!("{got:?}")
    };
    assert_eq!(net.closed(client).is_some(), *code != 0);
    *code
}

fn code_at_home(net: &mut Net, connect: &Connect) -> u8 {
    let client = net.open(0);
    code(net, client, connect)
}

#[test]
fn a_client_id_is_kept_out_with_the_code_of_its_version() {
    let mut net = Net::new(2);
    add(&mut net, BanKind::ClientId, "bad");
    assert_eq!(code_at_home(&mut net, &Connect::v3("bad")), 5);
    assert_eq!(code_at_home(&mut net, &Connect::v5("bad")), 0x8A);
    let old = Connect {
        version: Version::V31,
        ..Connect::v3("bad")
    };
    assert_eq!(code_at_home(&mut net, &old), 5);
    // Client ids are different when their case is: these are other clients.
    for other in ["Bad", "BAD", "bad ", "ba", "badd"] {
        assert_eq!(code_at_home(&mut net, &Connect::v3(other)), 0, "{other}");
    }
    let home: IpAddr = [127, 0, 0, 1].into();
    let steps = |clientid| net.broker.auth_test(clientid, None, None, home);
    assert_eq!(
        (&*steps("bad")[0].module, &*steps("bad")[0].answer),
        ("bans", "deny")
    );
    assert_ne!(steps("Bad")[0].module, "bans");
    let found = net.broker.bans().find("bad", None, home).unwrap();
    assert_eq!((found.kind, &*found.reason), (BanKind::ClientId, "because"));
    assert_eq!(net.broker.bans().find("Bad", Some("bad"), home), None);
    let shutdowns = net.listener.shutdown_count();
    assert_eq!(shutdowns, [("banned".to_string(), 3)]);
}

#[test]
fn who_is_there_is_gone_at_once() {
    let mut net = Net::new(3);
    let all: Vec<Client> = (0..300)
        .map(|n| {
            let connect = match n % 2 {
                0 => Connect::v3(&format!("c{n}")),
                _ => Connect::v5(&format!("c{n}")),
            };
            net.connect(&connect.user(if n < 200 { "many" } else { "few" }, "x"))
        })
        .collect();
    add(&mut net, BanKind::ClientId, "c250");
    assert_eq!(net.closed(all[250]), Some("banned"));
    assert_eq!(net.stat("clients/count"), 299);
    add(&mut net, BanKind::Username, "many");
    assert_eq!(net.stat("clients/count"), 99);
    for (n, client) in all.iter().enumerate().take(200) {
        assert_eq!(net.closed(*client), Some("banned"));
        let got = net.take(*client);
        let told = got.last() == Some(&Got::Disconnect(0x98));
        assert_eq!(told, n % 2 == 1, "{n}: {got:?}");
    }
    assert_eq!(
        code_at_home(&mut net, &Connect::v3("new").user("many", "")),
        5
    );
    assert_eq!(
        code_at_home(&mut net, &Connect::v3("new").user("Many", "")),
        0
    );
    add(&mut net, BanKind::Ip, "127.0.0.0/8");
    assert_eq!(net.stat("clients/count"), 0);
    assert_eq!(code_at_home(&mut net, &Connect::v3("new")), 5);
}

#[test]
fn a_session_outlives_the_ban_of_its_client() {
    let mut net = Net::new(1);
    let kept = net.connect(&Connect::v3("kept").keep());
    net.subscribe(kept, "t", 1);
    add(&mut net, BanKind::ClientId, "kept");
    assert_eq!(net.closed(kept), Some("banned"));
    assert_eq!(net.stat("sessions/count"), 1);
    let lift = |broker: &Broker| broker.bans().remove(BanKind::ClientId, "kept");
    assert_eq!(net.admin(lift), Ok(()));
    assert_eq!(net.admin(lift), Err(AdminError::NotFound));
    let (_, present, _) = net.resume(&Connect::v3("kept").keep());
    assert!(present);
}

#[test]
fn addresses_are_met_however_they_are_written() {
    for (banned, met, others) in [
        (
            "10.1.2.3",
            vec!["10.1.2.3", "::ffff:10.1.2.3"],
            vec!["10.1.2.4"],
        ),
        (
            "::ffff:10.1.2.3",
            vec!["10.1.2.3", "::ffff:10.1.2.3"],
            vec!["10.1.2.2"],
        ),
        (
            "10.9.9.9/8",
            vec!["10.0.0.0", "10.255.255.255"],
            vec!["11.0.0.0", "9.255.255.255"],
        ),
        (
            "2001:db8::/33",
            vec!["2001:db8::1", "2001:db8:7fff::"],
            vec!["2001:db8:8000::", "10.0.0.1"],
        ),
        (
            "0.0.0.0/0",
            vec!["192.0.2.1", "::ffff:192.0.2.1"],
            vec!["::1"],
        ),
        (
            "::/0",
            vec!["::1", "2001:db8::1"],
            vec!["192.0.2.1", "::ffff:192.0.2.1"],
        ),
    ] {
        let mut net = Net::new(1);
        add(&mut net, BanKind::Ip, banned);
        for ip in met {
            let client = from(&mut net, ip);
            assert_eq!(
                code(&mut net, client, &Connect::v3("c")),
                5,
                "{banned} {ip}"
            );
        }
        for ip in others {
            let client = from(&mut net, ip);
            assert_eq!(
                code(&mut net, client, &Connect::v3("c")),
                0,
                "{banned} {ip}"
            );
        }
        // Written in any form it is the same ban.
        assert_eq!(
            net.admin(move |broker| broker.bans().remove(BanKind::Ip, banned)),
            Ok(())
        );
        assert!(net.broker.bans().list().is_empty());
    }
}

#[test]
fn a_ban_ends() {
    let mut net = Net::new(1);
    let until = |until| Ban {
        until: Some(until),
        ..ban(BanKind::ClientId, "c")
    };
    let add = |net: &mut Net, ban: Ban| net.admin(move |broker| broker.bans().add(ban));
    assert!(add(&mut net, until(now())).is_err());
    assert!(add(&mut net, until(now() + 1000)).is_ok());
    assert_eq!(code_at_home(&mut net, &Connect::v3("c")), 5);
    // In the place of the other.
    let end = now() + 1;
    assert!(add(&mut net, until(end)).is_ok());
    assert_eq!(net.broker.bans().list().len(), 1);
    while now() < end {
        std::thread::yield_now();
    }
    assert_eq!(code_at_home(&mut net, &Connect::v3("c")), 0);
    assert!(net.broker.bans().list().is_empty());
    // Who only looks does not wait for the disk.
    let table = net.broker.table("management/bans");
    assert_eq!(table.rows().unwrap().len(), 1);
    let lift = net.broker.bans().remove(BanKind::ClientId, "c");
    assert_eq!(lift, Err(AdminError::NotFound));
    assert!(table.rows().unwrap().is_empty());
}

#[test]
fn what_cannot_be_banned_is_refused() {
    let net = Net::new(1);
    for (kind, value) in [
        (BanKind::ClientId, ""),
        (BanKind::Username, ""),
        (BanKind::Ip, ""),
        (BanKind::Ip, "localhost"),
        (BanKind::Ip, "10.0.0.0/33"),
    ] {
        assert!(net.broker.bans().add(ban(kind, value)).is_err(), "{value}");
    }
    let long = Ban {
        reason: "x".repeat(2000),
        ..ban(BanKind::ClientId, "c")
    };
    assert!(net.broker.bans().add(long).is_err());
    assert!(net.broker.bans().list().is_empty());
}

/// Runs the shards while `f` asks the broker.
fn running(shards: &mut [Shard], f: impl FnOnce()) {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Acquire) {
                for shard in &mut *shards {
                    shard.begin_round();
                    shard.receive();
                }
                std::thread::yield_now();
            }
        });
        f();
        over.store(true, Ordering::Release);
    });
}

#[test]
fn bans_outlive_the_broker() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("bans");
    let _ = std::fs::remove_dir_all(&dir);
    let open = || {
        let settings = crate::net::settings();
        let disk = Arc::new(Directory::new(&dir).unwrap());
        let storage = Storage::open(disk, &settings.persistence).unwrap();
        Broker::open(settings, 1, storage).unwrap()
    };
    let mut want: Vec<Ban> = [
        (BanKind::ClientId, "c", None),
        (BanKind::ClientId, "gone", None),
        (BanKind::Username, "c", Some(now() + 1000)),
        (BanKind::Ip, "10.0.0.0/8", None),
        (BanKind::Ip, "2001:db8::1", Some(now() + 1000)),
    ]
    .into_iter()
    .map(|(kind, value, until)| Ban {
        until,
        ..ban(kind, value)
    })
    .collect();
    {
        let (broker, mut shards) = open();
        running(&mut shards, || {
            for ban in &want {
                assert_eq!(broker.bans().add(ban.clone()).as_ref(), Ok(ban));
            }
            assert_eq!(broker.bans().list(), want);
            broker.bans().remove(BanKind::ClientId, "gone").unwrap();
        });
        want.remove(1);
        broker.store().unwrap().close();
    }
    let (broker, _shards) = open();
    assert_eq!(broker.bans().list(), want);
    drop(broker);
    let _ = std::fs::remove_dir_all(dir);
}
