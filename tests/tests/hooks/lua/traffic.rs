//! Scripts that come and go while messages pass: nothing is lost, nothing grows.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use emqttd_tests::packet::AckKind;
use emqttd_tests::{Broker, Client, Connect, Publish, Version, frame, text, unique};

use super::{PLUGIN, broker, echo, eventually, luahook, on_publish, succeed, write_script};

fn version(n: usize) -> String {
    on_publish(&format!("return topic, payload .. \" v{n}\", qos, retain"))
}

/// Publishes numbers at QoS 1 until it is over; how many. It goes no further ahead of who takes them than a queue of the
/// broker has room.
fn publish_until(broker: &Broker, topic: &str, taken: &AtomicUsize, over: &AtomicBool) -> usize {
    let mut client = broker.client(Version::V311, "traffic");
    let mut sent = 0;
    while !over.load(Ordering::Relaxed) {
        if sent > taken.load(Ordering::Relaxed) + 200 {
            thread::yield_now();
            continue;
        }
        let ids: Vec<u16> = (0..16)
            .map(|n| client.send_publish(Publish::new(topic, (sent + n).to_string()).qos(1)))
            .collect();
        for id in ids {
            client.ack(AckKind::Puback, id);
        }
        sent += 16;
    }
    client.disconnect();
    sent
}

/// Every message meets the script: the old one, and from some message on the new one.
#[test]
fn reloaded_under_traffic() {
    const RELOADS: usize = 8;
    let broker = broker(&[("traffic", &version(0))], "");
    let over = AtomicBool::new(false);
    let taken = [const { AtomicUsize::new(0) }; 3];
    let all = || {
        taken
            .iter()
            .map(|n| n.load(Ordering::Relaxed))
            .sum::<usize>()
    };
    thread::scope(|scope| {
        let pairs: Vec<_> = taken
            .iter()
            .enumerate()
            .map(|(n, taken)| {
                let topic = format!("from/{n}");
                let mut receiver = broker.client(Version::V311, "receiver");
                receiver.sub(&topic, 1);
                let (broker, over) = (&broker, &over);
                let sender = scope.spawn(move || publish_until(broker, &topic, taken, over));
                (sender, scope.spawn(move || receive(receiver, taken)))
            })
            .collect();
        for n in 1..=RELOADS {
            let before = all();
            eventually("messages pass", || all() > before + 100);
            write_script(&broker, "traffic", &version(n));
            succeed(&broker, "reload", "traffic");
        }
        // Messages of the last version are among them then.
        let before = all();
        eventually("messages pass", || all() > before + 1000);
        over.store(true, Ordering::Relaxed);
        for (n, (sender, receiver)) in pairs.into_iter().enumerate() {
            let sent = sender.join().unwrap();
            let mut end = broker.client(Version::V311, "end");
            end.pub_(&format!("from/{n}"), 1, "end");
            let (got, last) = receiver.join().unwrap();
            assert_eq!(got, sent);
            assert_eq!(last, RELOADS);
        }
    });
}

/// Takes numbers in their order, with versions that never go back, until the end; how many, and the last version.
fn receive(mut client: Client, taken: &AtomicUsize) -> (usize, usize) {
    let (mut count, mut version) = (0, 0);
    loop {
        let payload = client.recv_message().payload;
        let (text, v) = payload
            .split_once(" v")
            .expect("a message that met no script");
        let v: usize = v.parse().unwrap();
        assert!(v >= version, "version {v} after {version}");
        version = v;
        if text == "end" {
            return (count, version);
        }
        assert_eq!(text, count.to_string());
        count += 1;
        taken.fetch_add(1, Ordering::Relaxed);
    }
}

/// Twenty clients that talk to themselves, while scripts, and then the plugin, are loaded and unloaded.
#[test]
fn loaded_and_unloaded_under_traffic() {
    let other = on_publish("return topic, payload, qos, retain").replace(
        "function register_hook() return \"on_message_publish\" end",
        "function on_client_subscribe(c, u, topic) return topic end\n\
         function on_message_acked() end\n\
         function register_hook() return \"on_message_publish\", \"on_client_subscribe\", \"on_message_acked\" end",
    );
    let broker = broker(&[("plus", &version(1)), ("other", &other)], "");
    let over = AtomicBool::new(false);
    let (met, passed) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for n in 0..20 {
            let (broker, over, met, passed) = (&broker, &over, &met, &passed);
            scope.spawn(move || {
                let mut client = broker.client(Version::V311, "twenty");
                let topic = format!("own/{n}");
                let mut round = 0;
                while !over.load(Ordering::Relaxed) {
                    client.sub(&topic, 2);
                    for qos in 0..=2 {
                        round += 1;
                        assert_eq!(client.pub_(&topic, qos, &round.to_string()), 0);
                        let payload = client.recv_message().payload;
                        let counter = match payload.strip_suffix(" v1") {
                            Some(number) if number == round.to_string() => met,
                            None if payload == round.to_string() => passed,
                            _ => panic!("{payload} for {round}"),
                        };
                        counter.fetch_add(1, Ordering::Relaxed);
                    }
                    client.unsubscribe(&[&topic]);
                }
                client.disconnect();
            });
        }
        let more = |counter: &AtomicUsize| {
            let before = counter.load(Ordering::Relaxed);
            eventually("messages pass", || {
                counter.load(Ordering::Relaxed) > before + 40
            });
        };
        for _ in 0..4 {
            more(&met);
            succeed(&broker, "unload", "plus");
            more(&passed);
            succeed(&broker, "reload", "other");
            succeed(&broker, "load", "plus");
        }
        for _ in 0..3 {
            more(&met);
            broker.unload(PLUGIN);
            more(&passed);
            broker.load(PLUGIN);
        }
        over.store(true, Ordering::Relaxed);
    });
    let status = luahook(&broker, &["status"]);
    assert!(!status.contains(".lua:"), "no call failed: {status}");
}

/// A hundred messages to a topic, as they are sent, or as the script has made them.
fn hundred(topic: &str, end: &str) -> Vec<u8> {
    (0..100)
        .flat_map(|n| Publish::new(topic, format!("{n}{end}")).encode(Version::V311))
        .collect()
}

/// Sends so many messages from two connections at QoS 0; each has to come back changed, byte by byte.
fn pass(broker: &Broker, messages: usize) {
    thread::scope(|scope| {
        for topic in ["mass/1", "mass/2"] {
            scope.spawn(move || {
                let mut wire = broker.tcp();
                let mut exchange = |sent: &[u8], wanted: &[u8]| {
                    wire.write_all(sent).unwrap();
                    let mut got = vec![0; wanted.len()];
                    wire.read_exact(&mut got).unwrap();
                    assert!(got == wanted, "{}", String::from_utf8_lossy(&got));
                };
                let connect = Connect::new(Version::V311, &unique("mass"));
                exchange(&connect.encode(), &[0x20, 2, 0, 0]);
                let filter = [&text(topic)[..], &[0]].concat();
                let subscribe = frame(0x82, &[&[0, 1], &filter[..]].concat());
                exchange(&subscribe, &[0x90, 3, 0, 1, 0]);
                let (sent, wanted) = (hundred(topic, ""), hundred(topic, ",10,x"));
                for _ in 0..messages / 200 {
                    exchange(&sent, &wanted);
                }
            });
        }
    });
}

/// Tables, strings and closures of 100,000 calls are gone when they are over.
#[test]
fn memory_does_not_grow() {
    let script = on_publish(
        "local parts, index = {}, {}\n\
         for n = 1, 10 do\n\
             parts[n] = { n = n, name = topic .. n, f = function() return n end }\n\
             index[parts[n].name] = parts[n]\n\
         end\n\
         seen = { payload, #parts, parts[10].f() == 10 and \"x\" }\n\
         return topic, table.concat(seen, \",\"), qos, retain",
    );
    for (keys, messages) in [("", 90_000), ("lua.state = keep\n", 40_000)] {
        let broker = broker(
            &[("tables", &script)],
            &format!("lua.max_memory = 64MB\n{keys}"),
        );
        // Buffers and heaps have their size then.
        pass(&broker, 10_000);
        let before = broker.resident();
        pass(&broker, messages);
        let after = broker.resident();
        let grown = after.saturating_sub(before);
        // 200 bytes that stay of each call would be more.
        assert!(grown < 10 << 20, "{before} bytes, then {after}");
    }
}

/// Loading scripts again and again leaves nothing behind either.
#[test]
fn memory_does_not_grow_with_reloads() {
    let broker = broker(&[("plus", &version(1))], "");
    let mut client = broker.client(Version::V311, "reloads");
    client.sub("t", 1);
    let mut reloads = |n: usize| {
        for _ in 0..n {
            succeed(&broker, "reload", "plus");
            assert_eq!(echo(&mut client, "t", "x"), "t x v1");
        }
        broker.resident()
    };
    let before = reloads(10);
    let after = reloads(60);
    // An interpreter has more than 30 KB, and there are two for a script.
    assert!(
        after.saturating_sub(before) < 4 << 20,
        "{before} bytes, then {after}"
    );
}

/// What scripts of many files cost is bounded by what they are; all of them are asked.
#[test]
fn many_scripts() {
    let names: Vec<String> = (0..40).map(|n| format!("s{n:02}")).collect();
    let scripts: Vec<(String, String)> = names
        .iter()
        .map(|name| {
            let body = format!("if topic == \"t\" then payload = payload .. \" {name}\" end return topic, payload, qos, retain");
            (name.clone(), on_publish(&body))
        })
        .collect();
    let scripts: Vec<(&str, &str)> = scripts
        .iter()
        .map(|(n, s)| (n.as_str(), s.as_str()))
        .collect();
    let broker = broker(&scripts, "");
    let mut client = broker.client(Version::V311, "many");
    client.sub("#", 1);
    let got = echo(&mut client, "t", "");
    let mut seen: Vec<&str> = got.split_whitespace().skip(1).collect();
    seen.sort_unstable();
    assert_eq!(seen, names);
    for name in &names {
        succeed(&broker, "unload", name);
    }
    assert_eq!(echo(&mut client, "t", "x"), "t x");
}

/// A client that is slow to be judged holds up nobody for longer than a call may take: others are on the same loops.
#[test]
fn a_slow_script_is_bounded_for_the_others() {
    let slow = on_publish(
        "if topic == \"slow\" then for n = 1, 2000 do local t = { n } end end return topic, payload, qos, retain",
    );
    let broker = broker(&[("slow", &slow)], "");
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Nobody takes them.
        let taken = AtomicUsize::new(usize::MAX - 200);
        let (broker, over) = (&broker, &over);
        scope.spawn(move || publish_until(broker, "slow", &taken, over));
        let mut others: Vec<Client> = (0..4)
            .map(|_| broker.client(Version::V311, "fast"))
            .collect();
        for round in 0..10 {
            for other in &mut others {
                let name = other.name.clone();
                if round == 0 {
                    other.sub(&name, 1);
                }
                assert_eq!(echo(other, &name, "x"), format!("{name} x"));
            }
        }
        over.store(true, Ordering::Relaxed);
    });
}
