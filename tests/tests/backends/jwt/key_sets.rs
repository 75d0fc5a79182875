//! Keys from a JWKS.

use super::*;
use emqttd_tests::servers::http::{HttpServer, Reply};
use emqttd_tests::servers::pki;
use std::sync::{Arc, Mutex};

/// A service with a set of keys that can be changed.
struct Keys {
    service: HttpServer,
    reply: Arc<Mutex<Reply>>,
}

fn set(keys: &[&str]) -> String {
    format!(r#"{{"keys":[{}]}}"#, keys.join(","))
}

impl Keys {
    fn start(text: &str) -> Keys {
        let reply = Arc::new(Mutex::new(Reply::status(200).body(text)));
        let own = Arc::clone(&reply);
        let service = HttpServer::start(move |_| own.lock().unwrap().clone());
        Keys { service, reply }
    }

    fn answer(&self, reply: Reply) {
        *self.reply.lock().unwrap() = reply;
    }

    /// Nothing but the set can let anybody in.
    fn broker(&self, conf: &str) -> Broker {
        let url = self.service.url("/jwks.json");
        let conf = format!("auth.jwt.jwks = {url}\n{conf}");
        let config = Config::with_plugin(PLUGIN, &conf);
        Broker::start(config.set("mqtt.allow_anonymous", "false"))
    }
}

fn signed(signer: &Signer, alg: &str, kid: &str) -> String {
    signer.token(&format!(r#"{{"alg":"{alg}","kid":"{kid}"}}"#), "{}")
}

#[test]
fn keys_from_a_url() {
    let (es, ed) = (Signer::ec("ES384"), Signer::ed25519());
    let stranger = Signer::ec("ES384");
    let oct = Signer::Secret("public by mistake");
    let keys = Keys::start(&set(&[
        &es.jwk("one"),
        &ed.jwk("two"),
        &oct.jwk("three"),
        "7",
    ]));
    let broker = keys.broker("");
    for (token, codes) in [
        (signed(&es, "ES384", "one"), ACCEPTED),
        (signed(&ed, "EdDSA", "two"), ACCEPTED),
        (es.token(&alg("ES384"), "{}"), ACCEPTED),
        (signed(&es, "ES384", "two"), REFUSED),
        (signed(&stranger, "ES384", "one"), REFUSED),
        (signed(&es, "ES256", "one"), REFUSED),
        // Who can read the set could sign with it.
        (signed(&oct, "HS256", "three"), REFUSED),
        (es.token(&alg("ES384"), r#"{"exp":1}"#), REFUSED),
    ] {
        assert_eq!(answers(&broker, &token), codes, "{token}");
    }
    assert!(broker.log().contains("key 3 is a secret"));
    assert!(broker.log().contains("key 4 is no object"));
    let requests = keys.service.requests();
    assert!(
        requests
            .iter()
            .all(|request| request.line() == "GET /jwks.json")
    );
    assert_eq!(requests.len(), 1, "nothing made it be asked again");
}

/// A key that has come since: the set is read once for it, and then not for every name that somebody makes up.
#[test]
fn keys_that_are_new() {
    let (old, new) = (Signer::ec("ES256"), Signer::ec("ES256"));
    let keys = Keys::start(&set(&[&old.jwk("old")]));
    let broker = keys.broker("");
    assert_eq!(answers(&broker, &signed(&old, "ES256", "old")), ACCEPTED);
    keys.answer(Reply::status(200).body(&set(&[&new.jwk("new")])));
    // The first time that it may be asked again is some seconds after the last.
    await_answers(&broker, &signed(&new, "ES256", "new"), ACCEPTED);
    assert_eq!(answers(&broker, &signed(&old, "ES256", "old")), REFUSED);
    keys.service.requests();
    let begun = Instant::now();
    for n in 0..50 {
        let made_up = signed(&old, "ES256", &format!("{n}"));
        assert_eq!(answer(&broker, &connect(Version::V311, &made_up)), 4);
    }
    let asked = keys.service.requests().len();
    let most = 1 + begun.elapsed().as_secs() as usize / 5;
    assert!(asked <= most, "asked {asked} times");
}

/// The set is read again and again without a reason.
#[test]
fn keys_that_go() {
    let old = Signer::ec("ES256");
    let keys = Keys::start(&set(&[&old.jwk("old")]));
    let broker = keys.broker("auth.jwt.jwks.refresh = 1s\n");
    let token = signed(&old, "ES256", "old");
    assert_eq!(answers(&broker, &token), ACCEPTED);
    keys.answer(Reply::status(200).body(&set(&[])));
    await_answers(&broker, &token, REFUSED);
}

/// The server is not there yet, comes, breaks, and goes.
#[test]
fn a_server_with_bad_days() {
    let (old, new) = (Signer::ec("ES256"), Signer::ec("ES256"));
    let keys = Keys::start(&set(&[&old.jwk("old")]));
    keys.service.stop();
    let broker = keys.broker("auth.jwt.jwks.refresh = 1s\n");
    assert!(broker.is_active(PLUGIN));
    let (first, second) = (signed(&old, "ES256", "old"), signed(&new, "ES256", "new"));
    assert_eq!(answers(&broker, &first), UNAVAILABLE);
    assert!(auth_test(&broker, &first).contains("key is not known"));
    // What no key of a set could ever be good for is no matter of the server.
    assert_eq!(answers(&broker, &token("{}")), REFUSED);
    keys.service.start_again();
    await_answers(&broker, &first, ACCEPTED);
    for reply in [
        Reply::status(500),
        Reply::status(200).body("rubbish"),
        Reply::status(200).body(&" ".repeat(300_000)),
        Reply::none(),
    ] {
        keys.answer(reply);
        keys.service.requests();
        keys.service.await_requests(1);
        // Those that are known stay known.
        assert_eq!(answers(&broker, &first), ACCEPTED);
        await_answers(&broker, &second, UNAVAILABLE);
    }
    keys.service.stop();
    assert_eq!(answers(&broker, &first), ACCEPTED);
    keys.answer(Reply::status(200).body(&set(&[&new.jwk("new")])));
    keys.service.start_again();
    await_answers(&broker, &second, ACCEPTED);
    assert_eq!(answers(&broker, &first), REFUSED);
}

#[test]
fn a_server_that_hangs() {
    let old = Signer::ec("ES256");
    let keys = Keys::start(&set(&[&old.jwk("old")]));
    keys.service.hang();
    let conf = format!("auth.jwt.secret = {SECRET}\n");
    let broker = keys.broker(&conf);
    let begun = Instant::now();
    assert_eq!(answers(&broker, &token("{}")), ACCEPTED);
    assert!(begun.elapsed() < Duration::from_secs(3));
    let code = answer(
        &broker,
        &connect(Version::V311, &signed(&old, "ES256", "old")),
    );
    assert_eq!(code, 3);
    keys.service.resume();
    await_answers(&broker, &signed(&old, "ES256", "old"), ACCEPTED);
}

#[test]
fn keys_over_tls() {
    let signer = Signer::ec("ES256");
    let text = set(&[&signer.jwk("k")]);
    let service = HttpServer::start_tls("server", false, move |_| Reply::status(200).body(&text));
    let token = signed(&signer, "ES256", "k");
    for (ca, codes) in [("ca.crt", ACCEPTED), ("other-ca.crt", UNAVAILABLE)] {
        let conf = format!(
            "auth.jwt.jwks = {}\nauth.jwt.ssl_opts.cacertfile = {}\n",
            service.url("/"),
            pki::file(ca).display()
        );
        assert_eq!(answers(&super::broker(&conf), &token), codes, "{ca}");
    }
}

/// From a file, which may hold secrets too, and may be written anew.
#[test]
fn keys_from_a_file() {
    let (es, oct) = (Signer::ec("ES512"), Signer::Secret("of the file"));
    let config = Config::with_plugin(PLUGIN, "auth.jwt.jwks = etc/keys.json\n")
        .file("etc/keys.json", &set(&[&es.jwk("es"), &oct.jwk("oct")]))
        .set("mqtt.allow_anonymous", "false");
    let broker = Broker::start(config);
    assert_eq!(answers(&broker, &signed(&es, "ES512", "es")), ACCEPTED);
    assert_eq!(answers(&broker, &signed(&oct, "HS512", "oct")), ACCEPTED);
    assert_eq!(answers(&broker, &token("{}")), REFUSED);
    let new = Signer::ec("ES256");
    let file = broker.root.join("etc/keys.json");
    std::fs::write(&file, set(&[&new.jwk("new")])).unwrap();
    await_answers(&broker, &signed(&new, "ES256", "new"), ACCEPTED);
    assert_eq!(answers(&broker, &signed(&es, "ES512", "es")), REFUSED);
    // Half of a file leaves the keys as they were.
    std::fs::write(&file, "{\"keys\":[").unwrap();
    await_answers(&broker, &signed(&es, "ES512", "es"), UNAVAILABLE);
    assert_eq!(answers(&broker, &signed(&new, "ES256", "new")), ACCEPTED);
}
