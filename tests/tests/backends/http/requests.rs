//! How the service is asked, as the keys say.

use super::*;

/// The nine keys of EMQ act at once.
#[test]
fn hot_keys() {
    let service = HttpServer::start(|request| {
        let yes = request.target.contains("yes") || request.body.contains("yes");
        Reply::status(if yes { 200 } else { 403 })
    });
    let broker = broker(&seed(&service));
    let code = || {
        answer(
            &broker,
            &Connect::new(Version::V311, "c").username("u").password("p"),
        )
    };
    assert_eq!(code(), 4);
    assert_eq!(
        service.lines(),
        ["POST /auth clientid=c&username=u&password=p"]
    );
    set(&broker, "auth.http.auth_req", &service.url("/yes"));
    assert_eq!(code(), 0);
    service.requests();
    set(&broker, "auth.http.auth_req.method", "get");
    set(&broker, "auth.http.auth_req.params", "who=%u,say=yes");
    set(&broker, "auth.http.super_req", &service.url("/root"));
    set(&broker, "auth.http.super_req.method", "get");
    set(&broker, "auth.http.super_req.params", "id=%c");
    let mut client = broker.open(&Connect::new(Version::V311, "c").username("u").password("p"));
    assert_eq!(
        service.lines(),
        ["GET /yes?who=u&say=yes", "GET /root?id=c"]
    );
    let subscribe = |client: &mut Client| client.subscribe(&[emqttd_tests::Sub::new("t", 0)], &[]);
    assert_eq!(subscribe(&mut client), [0x80]);
    service.requests();
    set(&broker, "auth.http.acl_req", &service.url("/may"));
    set(&broker, "auth.http.acl_req.method", "post");
    set(&broker, "auth.http.acl_req.params", "t=%t,a=%A,yes=1");
    assert_eq!(subscribe(&mut client), [0]);
    assert_eq!(service.lines(), ["POST /may t=t&a=1&yes=1"]);

    // What makes no sense changes nothing.
    for (key, value) in [
        ("auth.http.auth_req", "nowhere"),
        ("auth.http.auth_req.method", "put"),
        ("auth.http.auth_req.params", "a=b=c"),
        ("auth.http.header.x", "y"),
    ] {
        let (_, text) = broker.ctl(&["set", &format!("{key}={value}"), "--app=emq_auth_http"]);
        assert!(!text.contains("successfully"), "{key}: {text}");
    }
    assert_eq!(code(), 0);
}

/// The text of the seed as it stands, in which all hosts are lost.
#[test]
fn a_file_without_urls() {
    let service = service(&[("/auth", 200), ("/acl", 403)]);
    let lost = seed(&service);
    let lost: Vec<String> = lost
        .lines()
        .map(|line| match line.split_once(" = http") {
            Some((key, _)) => format!("{key} =\n"),
            None => format!("{line}\n"),
        })
        .collect();
    let broker = open_broker(&lost.concat());
    assert_eq!(answer(&broker, &connect(Version::V311, "u", "p")), 0);
    assert!(broker.log().contains("nobody is asked"));
    // One of them is put in.
    set(&broker, "auth.http.acl_req", &service.url("/acl"));
    let mut client = client(&broker, "u");
    assert_eq!(
        client.subscribe(&[emqttd_tests::Sub::new("t", 0)], &[]),
        [0x80]
    );
    assert_eq!(service.requests().len(), 1);
}

#[test]
fn put_is_no_method() {
    let config = Config::with_plugin(PLUGIN, "auth.http.auth_req.method = put\n");
    let Err(text) = Broker::try_start(&config) else {
        panic!("it has started");
    };
    assert!(text.contains("auth.http.auth_req.method"), "{text}");
}

/// A question of its own in the URL stays, headers go along, JSON is JSON.
#[test]
fn queries_headers_and_json() {
    let service = service(&[("/auth", 200), ("/super", 200), ("/acl", 200)]);
    let conf = format!(
        "auth.http.auth_req = {}?realm=a%20b\nauth.http.auth_req.method = get\n\
         auth.http.super_req = {}\nauth.http.content_type = json\n\
         auth.http.super_req.params = clientid=%c,username=%u,kind=x%u\n\
         auth.http.header.x-tenant = blue\nauth.http.header.user-agent = emqttd\n",
        service.url("/auth").replace("//", "//us%40er:pa:ss@"),
        service.url("/super"),
    );
    let broker = broker(&conf);
    let connect = Connect::new(Version::V311, "c\"1")
        .username("ü")
        .password("p");
    assert_eq!(answer(&broker, &connect), 0);
    let [auth, superuser] = &service.requests()[..] else {
        panic!("not two")
    };
    let asked = "GET /auth?realm=a%20b&clientid=c%221&username=%C3%BC&password=p";
    assert_eq!(auth.line(), asked);
    // us@er:pa:ss
    assert_eq!(auth.header("authorization"), Some("Basic dXNAZXI6cGE6c3M="));
    assert_eq!(auth.header("content-type"), None);
    let json = r#"POST /super {"clientid":"c\"1","kind":"x%u","username":"ü"}"#;
    assert_eq!(superuser.line(), json);
    assert_eq!(superuser.header("content-type"), Some("application/json"));
    assert_eq!(superuser.header("authorization"), None);
    for request in [auth, superuser] {
        assert_eq!(request.header("x-tenant"), Some("blue"));
        assert_eq!(request.header("user-agent"), Some("emqttd"));
    }
}

/// JSON has no place for bytes that are no text.
#[test]
fn raw_passwords_in_json() {
    let service = service(&[("/auth", 200)]);
    let broker = broker(&format!(
        "{}auth.http.content_type = json\n",
        auth_only(&service)
    ));
    let mut connect = Connect::new(Version::V311, "raw")
        .username("u")
        .password("p");
    assert_eq!(answer(&broker, &connect), 0);
    connect.password = Some(vec![0xff]);
    assert_eq!(answer(&broker, &connect), 4);
    assert_eq!(service.requests().len(), 1);
}

/// Redirections are followed with the same question; 303 is a GET.
#[test]
fn redirections() {
    let other = HttpServer::start(|request| {
        let right = request.body.contains("password=right");
        Reply::status(if right { 200 } else { 403 })
    });
    let place = other.url("/there");
    let service = HttpServer::start(move |request| match request.path() {
        "/there" => Reply::status(200),
        path if path.starts_with("/loop") => Reply::redirect(302, "/loop"),
        path => match path.trim_start_matches('/').parse::<u16>() {
            Ok(303) => Reply::redirect(303, "there?x=1"),
            Ok(status) => Reply::redirect(status, &place),
            Err(_) => Reply::redirect(301, "ftp://nowhere/"),
        },
    });
    let broker = broker(&format!(
        "{}auth.http.header.x-key = k\n",
        auth_only(&service)
    ));
    for status in [301, 302, 307, 308] {
        set(
            &broker,
            "auth.http.auth_req",
            &service.url(&format!("/{status}")),
        );
        assert_eq!(
            answer(&broker, &connect(Version::V311, "u", "right")),
            0,
            "{status}"
        );
        assert_eq!(
            answer(&broker, &connect(Version::V311, "u", "wrong")),
            4,
            "{status}"
        );
        for request in other.requests() {
            assert_eq!(request.method, "POST");
            assert_eq!(request.header("x-key"), None, "for the service alone");
        }
        let first = service.requests();
        assert!(
            first
                .iter()
                .all(|request| request.header("x-key") == Some("k"))
        );
    }
    set(&broker, "auth.http.auth_req", &service.url("/303"));
    assert_eq!(answer(&broker, &connect(Version::V311, "u", "wrong")), 0);
    let [_, second] = &service.requests()[..] else {
        panic!("not two")
    };
    assert_eq!(
        (&*second.line(), second.header("x-key")),
        ("GET /there?x=1", Some("k"))
    );
    for path in ["/loop", "/ftp"] {
        set(&broker, "auth.http.auth_req", &service.url(path));
        assert_eq!(answers(&broker, "u", "right"), UNAVAILABLE, "{path}");
        assert!(service.requests().len() <= 3 * 6);
    }
}

/// The default URL is at the port of the broker's own API.
#[test]
fn a_url_of_our_own() {
    if !std::path::Path::new("/proc/self/net/tcp").exists() {
        return;
    }
    let service = service(&[("/auth", 200)]);
    let broker = broker(&auth_only(&service));
    let port = broker.addr("tcp.external").port();
    assert!(!broker.log().contains("is a listener of this broker"));
    set(
        &broker,
        "auth.http.acl_req",
        &format!("http://localhost:{port}/mqtt/acl"),
    );
    let deadline = Instant::now() + Duration::from_secs(30);
    let wanted = format!("http://localhost:{port}/mqtt/acl is a listener of this broker");
    while !broker.log().contains(&wanted) {
        assert!(Instant::now() < deadline, "{}", broker.log());
        std::thread::sleep(Duration::from_millis(10));
    }
}
