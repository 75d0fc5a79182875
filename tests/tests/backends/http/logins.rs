//! Who comes in.

use super::*;

/// Sheet 7, checks 1 and 2; observed 12.
#[test]
fn what_is_asked() {
    let service = service(&[("/auth", 200), ("/super", 403), ("/acl", 200)]);
    let broker = broker(&seed(&service));
    for version in ALL {
        let connect = Connect::new(version, "au")
            .username("ok")
            .password("p w&x=");
        assert_eq!(answer(&broker, &connect), 0);
        let requests = service.requests();
        let lines: Vec<String> = requests.iter().map(Received::line).collect();
        assert_eq!(
            lines,
            [
                "POST /auth clientid=au&username=ok&password=p+w%26x%3D",
                "POST /super clientid=au&username=ok",
            ]
        );
        for request in &requests {
            let mut names: Vec<&str> = request.headers.iter().map(|(n, _)| n.as_str()).collect();
            names.sort_unstable();
            assert_eq!(names, ["content-length", "content-type", "host"]);
            assert_eq!(
                request.header("content-type"),
                Some("application/x-www-form-urlencoded")
            );
            let host = format!("127.0.0.1:{}", service.port());
            assert_eq!(request.header("host"), Some(&*host));
        }
    }
    assert_eq!(service.connections(), 1, "kept");
    assert_eq!(figure(&broker, "auth/asked"), 3);
    assert_eq!(figure(&broker, "auth/allowed"), 3);
}

#[test]
fn what_answers_mean() {
    let service = HttpServer::start(|request| {
        let user = param(request, "username").unwrap();
        let user = String::from_utf8(user).unwrap();
        match user.split_once(':') {
            Some((status, body)) => Reply::status(status.parse().unwrap()).body(body),
            None => Reply::status(404),
        }
    });
    let (shut, open) = (
        broker(&auth_only(&service)),
        open_broker(&auth_only(&service)),
    );
    for (said, codes) in [
        ("200:", ACCEPTED),
        ("200:{\"result\": \"ok\"}", ACCEPTED),
        ("200:Ignore", ACCEPTED),
        ("200:ignore\n", ACCEPTED),
        ("201:", REFUSED),
        ("204:", REFUSED),
        ("301:", REFUSED),
        ("304:", REFUSED),
        ("400:", REFUSED),
        ("401:", REFUSED),
        ("403:ignore", REFUSED),
        ("404:", REFUSED),
        ("429:", REFUSED),
        ("500:", UNAVAILABLE),
        ("502:ignore", UNAVAILABLE),
        ("503:", UNAVAILABLE),
    ] {
        assert_eq!(answers(&shut, said, "p"), codes, "{said:?}");
        assert_eq!(answers(&open, said, "p"), codes, "{said:?}");
    }
    // Then the next module decides: here there is none.
    assert_eq!(answers(&shut, "200:ignore", "p"), REFUSED);
    assert_eq!(answers(&open, "200:ignore", "p"), ACCEPTED);
    for (name, count) in [
        ("allowed", 12),
        ("ignored", 3),
        ("denied", 27),
        ("unavailable", 9),
    ] {
        assert_eq!(figure(&shut, &format!("auth/{name}")), count, "{name}");
    }
    assert_eq!(figure(&shut, "auth/asked"), 51);
}

#[test]
fn credentials_that_are_missing() {
    let service = service(&[("/auth", 200)]);
    let broker = open_broker(&auth_only(&service));
    for (version, refused) in ALL.into_iter().zip(REFUSED) {
        let id = unique("missing");
        let plain = Connect::new(version, &id);
        assert_eq!(answer(&broker, &plain), refused);
        assert_eq!(answer(&broker, &plain.clone().username("u")), refused);
        assert_eq!(
            answer(&broker, &plain.clone().username("").password("p")),
            refused
        );
        assert_eq!(
            answer(&broker, &plain.clone().username("u").password("")),
            refused
        );
    }
    assert_eq!(service.lines(), [""; 0]);
}

/// Sheet 7, check 3: who is a superuser is asked about nothing.
#[test]
fn superusers() {
    let service = HttpServer::start(|request| match request.path() {
        "/auth" => Reply::status(200),
        "/super" => match &*param(request, "username").unwrap() {
            b"root" => Reply::status(200),
            b"ignored" => Reply::status(200).body("ignore"),
            b"broken" => Reply::status(500),
            b"cut" => Reply::none(),
            _ => Reply::status(403),
        },
        _ => Reply::status(403),
    });
    let broker = broker(&seed(&service));
    for (name, is) in [
        ("root", true),
        ("ignored", true),
        ("broken", false),
        ("cut", false),
        ("somebody", false),
    ] {
        let mut client = client(&broker, name);
        let code = client.subscribe(&[emqttd_tests::Sub::new("a/#", 0)], &[]);
        assert_eq!(code, [if is { 0 } else { 0x80 }], "{name}");
        let asked = service.lines();
        assert_eq!(
            asked.iter().any(|l| l.starts_with("GET /acl")),
            !is,
            "{asked:?}"
        );
    }
}

/// A superuser question that hangs does not take the login with it.
#[test]
fn a_superuser_question_that_hangs() {
    let service = HttpServer::start(|request| {
        let slow = request.path() == "/super";
        Reply::status(200).after(Duration::from_secs(if slow { 5 } else { 0 }))
    });
    let conf = format!(
        "{}auth.http.super_req = {}\nauth.http.timeout = 3s\n",
        auth_only(&service),
        service.url("/super")
    );
    let broker = broker(&conf);
    assert_eq!(answer(&broker, &connect(Version::V311, "u", "p")), 0);
    let text = auth_test(&broker, "c", "u", "p");
    assert!(text.contains("so no superuser"), "{text}");
}

/// What a client calls itself arrives as it is, and as nothing else.
#[test]
fn hostile_names() {
    let service = HttpServer::start(|request| match param(request, "username") {
        Some(name) if name == b"alice" && param(request, "password").unwrap() == b"p" => {
            Reply::status(200)
        }
        _ => Reply::status(403),
    });
    let post = broker(&auth_only(&service));
    let get = broker(&format!(
        "{}auth.http.auth_req.method = get\n",
        auth_only(&service)
    ));
    let long = "x".repeat(60_000);
    for name in [
        "x' or '1'='1",
        "*)(uid=*",
        "{\"$gt\":\"\"}",
        "a b",
        "a&b",
        "alice&password=p",
        "alice&username=alice",
        "+",
        "#",
        "a/b",
        "a\r\nX-Admin: 1\r\n\r\nGET /",
        "%u",
        "%c",
        "%P",
        "%00",
        "alice%",
        "ünï",
        "undefined",
        &long,
    ] {
        for (broker, method) in [(&post, "POST"), (&get, "GET")] {
            assert_eq!(
                answer(broker, &connect(Version::V311, name, "q")),
                4,
                "{name:?}"
            );
            let came = service.requests();
            if method == "GET" && name.len() > 50_000 {
                // Still fits into a URL; one that does not is refused by itself.
                assert!(came.len() <= 1);
                continue;
            }
            assert_eq!(came.len(), 1, "{name:?}");
            assert_eq!(came[0].method, method);
            let told = param(&came[0], "username").unwrap();
            assert_eq!(String::from_utf8_lossy(&told), name);
            assert_eq!(param(&came[0], "password").unwrap(), b"q");
            assert_eq!(came[0].header("x-admin"), None);
        }
    }
    for broker in [&post, &get] {
        assert_eq!(answer(broker, &connect(Version::V311, "alice", "p")), 0);
        // A URL has at most 64 KB, and %XX takes three.
        let wide = "&".repeat(30_000);
        assert_eq!(answer(broker, &connect(Version::V311, &wide, "p")), 4);
    }
}

/// Bytes of a password that are no text.
#[test]
fn raw_passwords() {
    let service = service(&[("/auth", 200)]);
    let broker = broker(&auth_only(&service));
    let mut connect = Connect::new(Version::V311, "raw").username("u");
    connect.password = Some(vec![0, 0xff, b' ', b'%', 0x0a]);
    assert_eq!(answer(&broker, &connect), 0);
    let came = service.requests();
    assert_eq!(
        came[0].body,
        "clientid=raw&username=u&password=%00%FF+%25%0A"
    );
}

/// Two hundred clients at once through eight connections.
#[test]
fn a_crowd_through_a_small_pool() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static INSIDE: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);
    let service = HttpServer::start(|request| {
        MOST.fetch_max(1 + INSIDE.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(5));
        INSIDE.fetch_sub(1, Ordering::SeqCst);
        let right = param(request, "password").unwrap() == b"right";
        Reply::status(if right { 200 } else { 401 })
    });
    let broker = broker(&format!("{}auth.http.pool = 8\n", auth_only(&service)));
    std::thread::scope(|scope| {
        for n in 0..200 {
            let broker = &broker;
            scope.spawn(move || {
                let (password, code) = [("right", 0), ("wrong", 4)][n % 2];
                let connect = connect(Version::V311, "u", password);
                assert_eq!(answer(broker, &connect), code);
            });
        }
    });
    let most = MOST.load(Ordering::SeqCst);
    assert!((2..=8).contains(&most), "{most} at once");
    assert!(service.connections() <= 8);
    assert_eq!(service.requests().len(), 200);
}

/// `auth test` says what was asked and answered, and no secret.
#[test]
fn auth_test_tells() {
    let service = HttpServer::start(|request| match request.path() {
        "/auth" => Reply::status(match &*param(request, "username").unwrap() {
            b"alice" => 200,
            b"down" => 503,
            _ => 401,
        }),
        _ => Reply::status(403),
    });
    let conf = format!(
        "auth.http.auth_req = {}?key=hushhush\nauth.http.super_req = {}\n\
         auth.http.header.authorization = Bearer hushhush\n",
        service.url("/auth").replace("//", "//me:hushhush@"),
        service.url("/super"),
    );
    let broker = broker(&conf);
    for (name, words) in [
        (
            "alice",
            &[
                "status 200: yes",
                "POST http",
                "/super",
                "status 403: no",
                " ms",
                "result                  : allow",
            ][..],
        ),
        ("bob", &["status 401: no", "result                  : deny"]),
        ("down", &["status 503", "result                  : deny"]),
    ] {
        let text = auth_test(&broker, "c1", name, "hushhush");
        let asked = format!("/auth clientid=c1&username={name}&password=...");
        assert!(text.contains(&asked), "{text}");
        for word in words {
            assert!(text.contains(word), "{word} in {text}");
        }
        assert!(!text.contains("hushhush"), "{text}");
    }
    assert!(!broker.log().contains("hushhush"));
    let requests = service.requests();
    assert_eq!(requests[0].target, "/auth?key=hushhush");
    assert_eq!(requests[0].header("authorization"), Some("Bearer hushhush"));
}
