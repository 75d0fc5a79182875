//! Servers that are not there, go, hang and come back.

use super::*;
use emqttd_tests::servers::Server;
use std::net::TcpListener;

/// Sheet 6, check 6: the plugin is loaded while there is no server, and needs no help when there is.
#[test]
fn stopped_before_the_load() {
    let Some(ldap) = Ldap::start() else { return };
    let alice = person(&ldap, "pw", "");
    ldap.stop();
    let broker = broker(&seed(&ldap));
    answers(&broker, &alice, "pw", UNAVAILABLE);
    let told = auth_test(&broker, "c1", &alice, "pw");
    assert!(
        told.contains("refused") && told.contains(": deny"),
        "{told}"
    );
    ldap.start_again();
    eventually(&broker, &alice, "pw", 0);
    assert_eq!(login(&broker, &alice, "x"), 4);

    // Gone again, and there is somebody who listens.
    let mut watcher = broker.open(&connect(Version::V5, &alice, "pw"));
    watcher.sub("$SYS/brokers/+/alarms/#", 0);
    let mut alarm = |what: &str| {
        let topic = watcher.recv_message().topic;
        let wanted = format!("/alarms/backend_unavailable.{PLUGIN}/{what}");
        assert!(topic.ends_with(&wanted), "{topic}");
    };
    ldap.stop();
    eventually(&broker, &alice, "pw", 3);
    alarm("alert");
    ldap.start_again();
    eventually(&broker, &alice, "pw", 0);
    alarm("clear");
}

/// With clients that come all the time.
#[test]
fn killed_in_flight() {
    let Some(ldap) = Ldap::start() else { return };
    let alice = person(&ldap, "pw", "");
    let broker = broker(&seed(&ldap));
    for conf in [seed(&ldap), search(&ldap)] {
        reload(&broker, &conf);
        assert_eq!(login(&broker, &alice, "pw"), 0);
        let come = |n: usize| {
            let mut codes = Vec::new();
            for _ in 0..n {
                codes.push(login(&broker, &alice, "pw"));
                // A wrong password is never right, whatever happens.
                assert_ne!(login(&broker, &alice, "x"), 0);
            }
            codes
        };
        thread::scope(|scope| {
            let clients: Vec<_> = (0..4).map(|_| scope.spawn(|| come(100))).collect();
            ldap.kill();
            eventually(&broker, &alice, "pw", 3);
            ldap.start_again();
            for client in clients {
                let codes = client.join().unwrap();
                assert!(codes.iter().all(|code| [0, 3].contains(code)), "{codes:?}");
            }
        });
        eventually(&broker, &alice, "pw", 0);
        assert_eq!(login(&broker, &alice, "x"), 4);
    }
}

/// All connections of the pool may be closed before the next client comes.
#[test]
fn idle_connections_are_closed() {
    let Some(ldap) = Ldap::start_with("idletimeout 1") else {
        return;
    };
    let alice = person(&ldap, "pw", "");
    let broker = broker(&seed(&ldap));
    for conf in [seed(&ldap), search(&ldap)] {
        reload(&broker, &conf);
        for _ in 0..20 {
            assert_eq!(login(&broker, &alice, "pw"), 0);
        }
        // Ours is younger than those of the broker: when it is closed they are.
        let (_, mut stream) = bind_without_password(&ldap, &alice);
        stream.read_to_end(&mut Vec::new()).unwrap();
        assert_eq!(login(&broker, &alice, "pw"), 0);
        assert_eq!(login(&broker, &alice, "x"), 4);
        assert_eq!(metric(&broker, "auth/unavailable"), 0);
    }
}

/// An end in order tells those who wait; nobody sees more than that the server is away.
#[test]
fn restarted() {
    let Some(ldap) = Ldap::start() else { return };
    let alice = person(&ldap, "pw", "");
    let broker = broker(&seed(&ldap));
    for conf in [seed(&ldap), search(&ldap)] {
        reload(&broker, &conf);
        assert_eq!(login(&broker, &alice, "pw"), 0);
        ldap.restart();
        eventually(&broker, &alice, "pw", 0);
        assert_eq!(login(&broker, &alice, "x"), 4);
    }
}

/// A server that hangs costs its timeout, and soon not even that.
#[test]
fn hanging() {
    let Some(ldap) = Ldap::start() else { return };
    let alice = person(&ldap, "pw", "");
    let fast = |conf: String| conf.replace("timeout = 30", "timeout = 1") + "\n";
    let timeout = "auth.ldap.timeout = 1\n";
    let broker = broker(&fast(seed(&ldap)));
    for conf in [fast(seed(&ldap)), search(&ldap) + timeout] {
        reload(&broker, &conf);
        let mut connected = broker.open(&connect(Version::V5, &alice, "pw"));
        ldap.hang();
        assert_eq!(login(&broker, &alice, "pw"), 3);
        let start = Instant::now();
        thread::scope(|scope| {
            for _ in 0..20 {
                scope.spawn(|| assert_eq!(login(&broker, &alice, "pw"), 3));
            }
        });
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{:?}",
            start.elapsed()
        );
        // Whoever is in notices nothing.
        connected.sub("t", 0);
        connected.pub_("t", 0, "x");
        connected.expect("t", "x");
        // Nobody waits any more.
        let start = Instant::now();
        for _ in 0..5 {
            assert_eq!(login(&broker, &alice, "pw"), 3);
        }
        assert!(
            start.elapsed() < Duration::from_secs(4),
            "{:?}",
            start.elapsed()
        );
        ldap.resume();
        eventually(&broker, &alice, "pw", 0);
        // Of the connections that were given up none is left.
        await_connections(&ldap, 8);
        broker.unload(PLUGIN);
        await_connections(&ldap, 0);
    }
}

/// Waits until there are so many connections to the server.
#[track_caller]
fn await_connections(ldap: &Ldap, wanted: usize) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
        let remote = format!(":{:04X} 01 ", ldap.port());
        let found = table.lines().filter(|line| line.contains(&remote)).count();
        if found == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{found} connections");
        thread::sleep(Duration::from_millis(20));
    }
}

/// Loaded while it hangs: the first question is not asked at all.
#[test]
fn hanging_at_the_load() {
    let Some(ldap) = Ldap::start() else { return };
    let alice = person(&ldap, "pw", "");
    ldap.hang();
    let broker = broker(&seed(&ldap));
    assert_eq!(login(&broker, &alice, "pw"), 3);
    ldap.resume();
    eventually(&broker, &alice, "pw", 0);
}

/// The servers of the list are tried in turn.
#[test]
fn the_next_server_of_the_list() {
    let (Some(one), Some(two)) = (Ldap::start(), Ldap::start()) else {
        return;
    };
    for ldap in [&one, &two] {
        ldap.add(
            "dn: uid=both,ou=people,dc=example,dc=com\nobjectClass: inetOrgPerson\n\
             uid: both\ncn: x\nsn: x\nuserPassword: pw\n",
        );
    }
    // Nobody is there, nor does anybody come.
    let nobody = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let list = format!(
        "{nobody}, 127.0.0.1:{}, 127.0.0.1:{}",
        one.port(),
        two.port()
    );
    let with = |conf: String, ldap: &Server| {
        let conf = conf.replace(&format!("127.0.0.1:{}", ldap.port()), &list);
        conf.replace("servers = 127.0.0.1\n", &format!("servers = {list}\n"))
    };
    let broker = broker(&with(seed(&one), &one));
    for conf in [with(seed(&one), &one), with(search(&one), &one)] {
        reload(&broker, &conf);
        assert_eq!(login(&broker, "both", "pw"), 0);
        assert_eq!(login(&broker, "both", "x"), 4);
        one.kill();
        eventually(&broker, "both", "pw", 0);
        two.hang();
        one.start_again();
        eventually(&broker, "both", "pw", 0);
        two.resume();
    }
}

#[test]
fn when_the_server_does_not_answer() {
    let Some(ldap) = Ldap::start() else { return };
    let alice = person(&ldap, "pw", "employeeType: mine/#\n");
    let rights = "auth.ldap.publish_attribute = employeeType\n";
    let broker =
        Broker::start(Config::with_plugin(PLUGIN, &search(&ldap)).set("mqtt.cache_acl", "false"));
    // Those whom nobody knows come in; so it matters who decides.
    for (auth, acl, stranger, known, wrong, own, other) in [
        ("deny", "deny", 3, 3, 3, false, false),
        ("ignore", "ignore", 0, 0, 0, true, true),
        ("cached", "cached", 3, 0, 3, true, false),
    ] {
        let keys = format!(
            "{rights}auth.ldap.on_unavailable = {auth}\nauth.ldap.acl_on_unavailable = {acl}\n"
        );
        reload(&broker, &(search(&ldap) + &keys));
        let again = connect(Version::V311, &alice, "pw");
        let mut inside = broker.open(&connect(Version::V5, &alice, "pw"));
        assert_eq!(answer(&broker, &again), 0);
        assert!(inside.pub_("mine/x", 1, "x") < 0x80);
        assert!(inside.pub_("other", 1, "x") >= 0x80);
        ldap.stop();
        eventually(&broker, &unique("stranger"), "x", stranger);
        assert_eq!(answer(&broker, &again), known, "{auth}");
        assert_eq!(login(&broker, &alice, "x"), wrong, "{auth}");
        assert_eq!(inside.pub_("mine/x", 1, "x") < 0x80, own, "{acl}");
        assert_eq!(inside.pub_("other", 1, "x") < 0x80, other, "{acl}");
        assert!(metric(&broker, "acl/asked") > 0);
        ldap.start_again();
        eventually(&broker, &alice, "x", 4);
    }
}

/// The broker's own password is wrong: that is no answer about any client.
#[test]
fn a_wrong_bind_password() {
    let Some(ldap) = Ldap::shared() else { return };
    let alice = person(ldap, "pw", "");
    let wrong = format!("bind_password = {}", unique("wr0ng"));
    let conf = search(ldap).replace(&format!("bind_password = {ADMIN_PASSWORD}"), &wrong);
    let broker = broker(&conf);
    answers(&broker, &alice, "pw", UNAVAILABLE);
    let log = broker.log();
    assert!(
        log.contains("auth.ldap.bind_dn") && log.contains("invalidCredentials"),
        "{log}"
    );
    assert!(!log.contains("wr0ng"), "{log}");
}

/// Bytes that are no LDAP, and answers that make no sense.
#[test]
fn what_is_no_directory() {
    for said in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"\x30\x00",
        b"\x30\x03\x02\x01\x01",
        b"\x30\x07\x02\x01\x01\x61\x02\x0a\x00",
        b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00\x30\x0c\x02\x01\x01",
        b"\x30\x09\x02\x01\x01\x64\x04\x04\x02\xff\xfe",
        b"\x30\x84\xff\xff\xff\xff\x00",
        b"",
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (quit, quitting) = std::sync::mpsc::channel::<()>();
        let server = thread::spawn(move || {
            for stream in listener.incoming() {
                if quitting.try_recv() != Err(std::sync::mpsc::TryRecvError::Empty) {
                    return;
                }
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 64]);
                let _ = stream.write_all(said);
            }
        });
        let conf = format!(
            "auth.ldap.servers = {address}\nauth.ldap.timeout = 1\n\
             auth.ldap.user_dn = uid=%u,ou=people\n"
        );
        let broker = broker(&conf);
        assert_ne!(login(&broker, "u", "p"), 0, "{said:?}");
        assert!(broker.is_active(PLUGIN));
        let (_, shown) = broker.ctl(&["plugins", "show", PLUGIN]);
        assert!(shown.contains("panics              : 0\n"), "{shown}");
        drop(quit);
        std::net::TcpStream::connect(address).unwrap();
        server.join().unwrap();
    }
}
