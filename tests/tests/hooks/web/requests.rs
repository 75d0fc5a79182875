//! Requests: headers, logins, TLS, versions of HTTP, batches.

use super::*;
use emqttd_tests::servers::pki;

/// One message through a broker with these keys; what came of it.
fn post_of(sink: &Sink, more: &str) -> Post {
    let broker = start(&(publishes(sink) + more));
    broker.client(Version::V311, "client").pub_("t", 1, "x");
    let posts = sink.wait_for(1);
    sink.take();
    posts[0].clone()
}

/// Nothing comes of a message, as the target does not do; the alarm says so.
fn nothing_of(sink: &Sink, more: &str) -> String {
    let broker = start(&(publishes(sink) + more));
    let mut watcher = watcher(&broker);
    broker.client(Version::V311, "client").pub_("t", 1, "x");
    let alarm = alarm(&mut watcher, "web_hook_unreachable/alert");
    assert_eq!(sink.count(), 0);
    alarm
}

fn file(key: &str, name: &str) -> String {
    format!("web.hook.ssl.{key} = {}\n", pki::file(name).display())
}

#[test]
fn as_the_original_asked() {
    let sink = Sink::start();
    let post = post_of(&sink, "");
    assert_eq!(
        (post.method.as_str(), post.target.as_str()),
        ("POST", "/hook")
    );
    assert_eq!(post.version, "HTTP/1.1");
    assert_eq!(post.header("content-type"), Some("application/json"));
    let length = post.body.len().to_string();
    assert_eq!(post.header("content-length"), Some(length.as_str()));
    let host = format!("127.0.0.1:{}", sink.port());
    assert_eq!(post.header("host"), Some(host.as_str()));
    assert_eq!(post.header("authorization"), None);
}

#[test]
fn a_url_with_a_query_and_one_without_a_path() {
    let sink = Sink::start();
    for (path, target) in [("/a/b?c=d&e", "/a/b?c=d&e"), ("", "/")] {
        let keys = format!("web.hook.api.url = {}\n", sink.url(path));
        let broker = start(&(keys + &rule("message.publish", 1, "")));
        broker.client(Version::V311, "client").pub_("t", 1, "x");
        assert_eq!(sink.wait_for(1)[0].target, target);
        sink.take();
    }
}

#[test]
fn headers_and_logins() {
    let sink = Sink::start();
    let post = post_of(
        &sink,
        "web.hook.header.x-origin = a b\nweb.hook.header.X-Other = =1\n",
    );
    assert_eq!(post.header("x-origin"), Some("a b"));
    assert_eq!(post.header("x-other"), Some("=1"));
    let post = post_of(
        &sink,
        "web.hook.username = Aladdin\nweb.hook.password = open sesame\n",
    );
    let basic = "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==";
    assert_eq!(post.header("authorization"), Some(basic));
    let post = post_of(&sink, "web.hook.token = abc.def\n");
    assert_eq!(post.header("authorization"), Some("Bearer abc.def"));
}

/// Secrets are not shown.
#[test]
fn secrets_stay_secret() {
    let sink = Sink::start();
    sink.set(Mode::Status(401));
    let keys = "web.hook.token = very-secret\nweb.hook.header.x-key = very-secret\n";
    let broker = start(&(publishes(&sink) + keys));
    broker
        .client(Version::V311, "client")
        .pub_("t", 1, "payload-secret");
    await_figure(&broker, "dropped/refused", 1);
    for key in ["web.hook.token", "web.hook.header.x-key"] {
        let (_, text) = broker.ctl(&["show", key, "--app=emq_web_hook"]);
        assert!(!text.contains("very-secret"), "{text}");
    }
    let (_, text) = broker.ctl(&["plugins", "show", PLUGIN]);
    assert!(!text.contains("very-secret"), "{text}");
    assert!(!broker.log().contains("very-secret"));
    // The broker's own log of packets is not the plugin's.
    let of_plugin = |line: &&str| line.contains("web_hook") || line.contains("web hook");
    let log = broker.log();
    let mut lines = log.lines().filter(of_plugin);
    assert!(lines.all(|line| !line.contains("payload-secret")), "{log}");
}

/// Connections are kept, and no more are made than requests may be under way.
#[test]
fn connections() {
    let sink = Sink::start();
    let broker = start(&publishes(&sink));
    let mut client = broker.client(Version::V311, "client");
    publish_all(&mut client, "t", numbers(0..50));
    assert_eq!(payloads(&sink.wait_for(50)), numbers(0..50));
    assert_eq!(sink.connections().0, 1);
    drop(broker);

    sink.take();
    sink.set(Mode::Hang);
    let conf = publishes(&sink).replace("pool = 1\n", "pool = 3\nweb.hook.timeout = 1m\n");
    let broker = start(&conf);
    for _ in 0..50 {
        broker.client(Version::V311, "client").pub_("t", 1, "x");
    }
    sink.wait_for(3);
    sink.set(Mode::Status(200));
    sink.wait_for(50);
    let most = sink
        .take()
        .iter()
        .filter(|post| post.mode == Mode::Hang)
        .count();
    assert_eq!(most, 3);
    let made = sink.connections().0 - 1;
    assert!(made <= 3, "{made}");
}

/// A connection that the server closes while nobody uses it, or in order, costs nothing.
#[test]
fn connections_that_are_closed() {
    for version in ["1.1", "2"] {
        let sink = Sink::start();
        let broker = start(&format!(
            "{}web.hook.http_version = {version}\n",
            publishes(&sink)
        ));
        let mut client = broker.client(Version::V311, "client");
        for n in 0..20 {
            publish_all(&mut client, "t", [n.to_string()]);
            sink.wait_for(n + 1);
            sink.go_away();
            if n % 2 == 0 {
                sink.wait_for_connections(0);
            }
        }
        assert_eq!(payloads(&sink.wait_for(20)), numbers(0..20));
        await_figure(&broker, "sent", 20);
        assert_eq!(figure(&broker, "dropped/expired"), 0);
    }
}

#[test]
fn tls() {
    let sink = Sink::start_tls("server", false);
    let ca = file("cacertfile", "ca.crt");
    // Over TLS the server chooses, and this one prefers 2.
    for (version, wanted) in [("auto", "HTTP/2.0"), ("1.1", "HTTP/1.1"), ("2", "HTTP/2.0")] {
        let post = post_of(&sink, &format!("{ca}web.hook.http_version = {version}\n"));
        assert_eq!(post.version, wanted);
    }
    // Nobody that this machine trusts, and somebody else's.
    nothing_of(&sink, "");
    nothing_of(&sink, &file("cacertfile", "other-ca.crt"));
    post_of(&sink, "web.hook.ssl.verify = verify_none\n");
}

#[test]
fn tls_of_a_server_with_another_name() {
    let sink = Sink::start_tls("misnamed", false);
    let ca = file("cacertfile", "ca.crt");
    nothing_of(&sink, &ca);
    post_of(
        &sink,
        &format!("{ca}web.hook.ssl.server_name = elsewhere.example\n"),
    );
}

#[test]
fn tls_with_a_certificate_of_the_client() {
    let sink = Sink::start_tls("server", true);
    let ca = file("cacertfile", "ca.crt");
    nothing_of(&sink, &ca);
    let own = file("certfile", "client.crt") + &file("keyfile", "client.key");
    post_of(&sink, &(ca + &own));
}

/// Without TLS it is spoken at once; all requests share a connection.
#[test]
fn http_2() {
    let sink = Sink::start();
    sink.set(Mode::Hang);
    let conf = publishes(&sink).replace("pool = 1\n", "pool = 4\nweb.hook.timeout = 1m\n");
    let broker = start(&(conf + "web.hook.http_version = 2\nweb.hook.token = abc\n"));
    for _ in 0..30 {
        broker.client(Version::V311, "client").pub_("t", 1, "x");
    }
    sink.wait_for(4);
    sink.set(Mode::Status(200));
    let posts = sink.wait_for(30);
    for post in &posts {
        assert_eq!(
            (post.version.as_str(), post.target.as_str()),
            ("HTTP/2.0", "/hook")
        );
        assert_eq!(post.header("content-type"), Some("application/json"));
        assert_eq!(post.header("authorization"), Some("Bearer abc"));
    }
    assert_eq!(sink.connections().0, 1);
}

#[test]
fn batches() {
    let sink = Sink::start();
    sink.set(Mode::Hang);
    let keys = "web.hook.batch_size = 10\nweb.hook.timeout = 1m\n";
    let broker = start(&(publishes(&sink) + keys));
    let mut client = broker.client(Version::V311, "client");
    publish_all(&mut client, "t", ["0"]);
    sink.wait_for(1);
    publish_all(&mut client, "t", numbers(1..26));
    sink.set(Mode::Status(200));
    let posts = sink.wait_for(4);
    let mut all = Vec::new();
    let sizes: Vec<usize> = posts.iter().map(|post| parts(post, &mut all)).collect();
    assert_eq!(sizes, [1, 10, 10, 5]);
    assert_eq!(all, numbers(0..26));
    await_figure(&broker, "sent", 26);
    await_figure(&broker, "queued", 0);
    // One that is refused is refused as a whole.
    sink.take();
    sink.set(Mode::Hang);
    publish_all(&mut client, "t", ["0"]);
    sink.wait_for(1);
    publish_all(&mut client, "t", numbers(1..14));
    sink.next([Mode::Status(400)]);
    sink.set(Mode::Status(200));
    sink.wait_for(3);
    await_figure(&broker, "dropped/refused", 10);
    await_figure(&broker, "sent", 30);
}

/// The payloads in a batch are added to `all`; says how many.
fn parts(post: &Post, all: &mut Vec<String>) -> usize {
    let text = post.text();
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']'));
    let inner = inner.unwrap_or_else(|| panic!("{text}"));
    let objects = inner.split("},{");
    let before = all.len();
    all.extend(objects.map(|object| field(object, "payload").to_owned()));
    all.len() - before
}
