//! A service that is slow, broken, or not there.

use super::*;
use emqttd_tests::Sub;

/// Sheet 7, check 5: connections that the service closes while nobody uses them.
#[test]
fn idle_connections_that_are_closed() {
    let service = service(&[("/auth", 200), ("/super", 403), ("/acl", 200)]);
    let broker = broker(&seed(&service));
    for round in 0..20 {
        assert_eq!(
            answer(&broker, &connect(Version::V311, "u", "p")),
            0,
            "{round}"
        );
        assert_eq!(service.requests().len(), 2);
        // One for both, or two: the second is asked before the first has come back to the pool, now and then.
        assert!((1..=2).contains(&service.close_idle()), "it was kept");
    }
    assert_eq!(figure(&broker, "auth/unavailable"), 0);
}

/// The worst of them: closed when the next request is already on its way. POST as well as GET.
#[test]
fn connections_that_serve_once() {
    let service = HttpServer::start(|request| match request.nth {
        0 => Reply::status(if request.path() == "/super" { 403 } else { 200 }),
        _ => Reply::none(),
    });
    let broker = broker(&seed(&service));
    for _ in 0..10 {
        let mut client = client(&broker, "u");
        assert_eq!(client.subscribe(&[Sub::new("t", 0)], &[]), [0]);
    }
    assert_eq!(figure(&broker, "auth/unavailable"), 0);
    assert_eq!(figure(&broker, "acl/unavailable"), 0);
}

/// Answers that end too early, say nothing, or have no end.
#[test]
fn answers_that_are_none() {
    let service = HttpServer::start(|request| {
        let name = String::from_utf8(param(request, "username").unwrap()).unwrap();
        match &*name {
            "head" => Reply::status(200).cut(10),
            "body" => Reply::status(200).body(&"x".repeat(100)).cut(120),
            "nothing" => Reply::none(),
            "headers" => Reply::status(200).header("X-Long", &"x".repeat(100_000)),
            "endless" => Reply::status(200).body(&"ignore".repeat(1_000_000)),
            _ => Reply::status(200),
        }
    });
    let broker = broker(&auth_only(&service));
    for name in ["head", "body", "nothing", "headers"] {
        assert_eq!(
            answer(&broker, &connect(Version::V311, name, "p")),
            3,
            "{name}"
        );
        let asked = service.requests().len();
        assert!((1..=4).contains(&asked), "{name}: {asked} times");
        // One answer, that nothing of this opens the breaker.
        assert_eq!(answer(&broker, &connect(Version::V311, "fine", "p")), 0);
        service.requests();
    }
    // What a body of any length says is not `ignore`, and that is enough.
    assert_eq!(answer(&broker, &connect(Version::V311, "endless", "p")), 0);
    assert_eq!(service.requests().len(), 1);
}

/// Sheet 7, check 6: a service that never answers.
#[test]
fn a_service_that_hangs() {
    let service = service(&[("/auth", 200), ("/super", 403), ("/acl", 200)]);
    let broker = broker(&format!("{}auth.http.timeout = 2s\n", seed(&service)));
    let mut old = client(&broker, "old");
    old.sub("t", 0);
    old.pub_("t", 1, "x");
    old.expect("t", "x");
    service.hang();
    let begun = Instant::now();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| answers(&broker, "new", "p"));
        // Those whose decisions are remembered notice nothing.
        while !waiting.is_finished() {
            let sent = Instant::now();
            old.pub_("t", 1, "y");
            old.expect("t", "y");
            assert!(
                sent.elapsed() < Duration::from_secs(1),
                "{:?}",
                sent.elapsed()
            );
        }
        assert_eq!(waiting.join().unwrap(), UNAVAILABLE);
    });
    assert!(begun.elapsed() < Duration::from_secs(20));
    // After five of them the breaker is open: one finds out whether the service is back, and nobody else waits.
    let login = || {
        let begun = Instant::now();
        assert_eq!(answer(&broker, &connect(Version::V311, "new", "p")), 3);
        begun.elapsed()
    };
    login();
    login();
    std::thread::scope(|scope| {
        let two = [scope.spawn(login), scope.spawn(login)];
        let waited = two.map(|one| one.join().unwrap());
        let least = waited.into_iter().min().unwrap();
        assert!(least < Duration::from_secs(1), "{waited:?}");
    });
    assert_eq!(figure(&broker, "auth/unavailable"), 7);
    service.resume();
    await_answer(&broker, "new", 0);
    old.ping();
}

#[test]
fn a_service_that_is_not_there_yet() {
    let service = service(&[("/auth", 200)]);
    service.stop();
    let broker = broker(&auth_only(&service));
    assert!(broker.is_active(PLUGIN));
    assert_eq!(answers(&broker, "u", "p"), UNAVAILABLE);
    assert!(auth_test(&broker, "c", "u", "p").contains("refused"));
    service.start_again();
    await_answer(&broker, "u", 0);
}

/// It goes while clients come, and comes back.
#[test]
fn a_service_that_goes_and_comes() {
    let service = HttpServer::start(|request| {
        let right = param(request, "username").unwrap() == b"right";
        Reply::status(if right { 200 } else { 403 })
    });
    let broker = broker(&auth_only(&service));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut clients = Vec::new();
        for n in 0..4 {
            let (broker, done) = (&broker, &done);
            clients.push(scope.spawn(move || {
                let (name, code) = [("right", 0), ("wrong", 4)][n % 2];
                let mut count = 0;
                while !done.load(std::sync::atomic::Ordering::SeqCst) {
                    let got = answer(broker, &connect(Version::V311, name, "p"));
                    assert!([code, 3].contains(&got), "{name}: {got}");
                    count += 1;
                }
                count
            }));
        }
        for _ in 0..3 {
            service.await_requests(20);
            service.stop();
            await_answer(&broker, "right", 3);
            service.start_again();
            await_answer(&broker, "right", 0);
            service.requests();
        }
        done.store(true, std::sync::atomic::Ordering::SeqCst);
        for client in clients {
            assert!(client.join().unwrap() > 3);
        }
    });
    assert_eq!(answer(&broker, &connect(Version::V311, "wrong", "p")), 4);
}

/// `on_unavailable` and `acl_on_unavailable`.
#[test]
fn when_nobody_answers() {
    for (choice, known, new, subscribed) in [
        ("deny", 3, 3, 0x80),
        ("ignore", 0, 0, 0),
        ("cached", 0, 3, 0),
    ] {
        let service = HttpServer::start(|request| match request.path() {
            "/acl" if param(request, "topic").unwrap() == b"no" => Reply::status(403),
            "/super" => Reply::status(403),
            _ => Reply::status(200),
        });
        let conf = format!(
            "{}auth.http.on_unavailable = {choice}\nauth.http.acl_on_unavailable = {choice}\n",
            seed(&service)
        );
        let broker = open_broker(&conf);
        let old = connect(Version::V311, "old", "p");
        let mut client = broker.open(&old);
        client.sub("t", 0);
        let no = client.subscribe(&[Sub::new("no", 0)], &[]);
        assert_eq!(no, [0x80]);
        service.stop();
        assert_eq!(
            client.subscribe(&[Sub::new("t", 0)], &[]),
            [subscribed],
            "{choice}"
        );
        let no = client.subscribe(&[Sub::new("no", 0)], &[]);
        assert_eq!(no == [0], choice == "ignore", "{choice}: {no:?}");
        let unseen = client.subscribe(&[Sub::new("new", 0)], &[]);
        assert_eq!(unseen == [0], choice == "ignore", "{choice}: {unseen:?}");
        // A subscription that was allowed stays.
        let mut admin = Connect::new(Version::V311, &unique("new")).username("new");
        admin.password = Some(b"p".to_vec());
        assert_eq!(answer(&broker, &admin), new, "{choice}");
        assert_eq!(answer(&broker, &old), known, "{choice}");
        let wrong = old.clone().password("q");
        assert_eq!(answer(&broker, &wrong), new, "{choice}: another password");
    }
}
