//! TLS to the server.

use super::relay::Relay;
use super::*;
use emqttd_tests::servers::Server;

fn with_tls(address: &str, database: &str, more: &str) -> String {
    format!(
        "{}{QUERIES}auth.mongo.ssl = true\n{more}",
        keys_at(address, database)
    )
}

fn ca(mongo: &Server) -> String {
    format!(
        "auth.mongo.ssl_opts.cacertfile = {}\n",
        mongo.ca().display()
    )
}

fn other_ca(mongo: &Server) -> String {
    format!(
        "auth.mongo.ssl_opts.cacertfile = {}\n",
        mongo.other_ca().display()
    )
}

const NONE: &str = "auth.mongo.ssl_opts.verify = verify_none\n";

/// Loads the plugin with that file and logs a user in.
#[track_caller]
fn outcome(broker: &Broker, conf: &str) -> u8 {
    broker.unload(PLUGIN);
    broker.write_plugin_conf(PLUGIN, conf);
    broker.load(PLUGIN);
    login(broker, "u", "public")
}

#[test]
fn whom_to_believe() {
    let Some(mongo) = Mongo::start_tls() else {
        return;
    };
    let database = mongo.fresh_database();
    let users = format!(r#"[{{"username": "u", "password": "{PUBLIC}"}}]"#);
    mongo.insert(&database, "mqtt_user", &users);
    let conf =
        |host: &str, more: &str| with_tls(&format!("{host}:{}", mongo.port()), &database, more);
    let relay = Relay::start("127.0.0.2".parse().unwrap(), mongo.port());
    let elsewhere = |more: &str| with_tls(&relay.address(), &database, more);
    let broker = Broker::start(config(&conf("127.0.0.1", &ca(&mongo))));
    admitted(&broker, "u", "public");
    for (what, conf, code) in [
        ("by name", conf("localhost", &ca(&mongo)), 0),
        ("another authority", conf("127.0.0.1", &other_ca(&mongo)), 3),
        ("those of this machine", conf("127.0.0.1", ""), 3),
        (
            "an address that the certificate has not",
            elsewhere(&ca(&mongo)),
            3,
        ),
        (
            "anyone there",
            elsewhere(&format!("{NONE}{}", ca(&mongo))),
            0,
        ),
        ("anyone", conf("127.0.0.1", NONE), 0),
        (
            "anyone, and another authority",
            conf("127.0.0.1", &format!("{NONE}{}", other_ca(&mongo))),
            0,
        ),
        (
            "without TLS",
            format!("{}{QUERIES}", keys(&mongo, &database)),
            3,
        ),
    ] {
        assert_eq!(outcome(&broker, &conf), code, "{what}");
    }
    assert!(broker.log().contains("certificate"), "{}", broker.log());
}

#[test]
fn a_certificate_of_the_broker() {
    let Some(mongo) = Mongo::start_tls_with(&["--tls-require-client-cert"]) else {
        return;
    };
    // Fixtures cannot be inserted without a certificate: that the server answers at all is what is looked at.
    let conf = |more: &str| {
        let address = format!("localhost:{}", mongo.port());
        with_tls(&address, "mqtt", &format!("{}{more}", ca(&mongo)))
    };
    let certified = format!(
        "auth.mongo.ssl_opts.certfile = {}\nauth.mongo.ssl_opts.keyfile = {}\n",
        mongo.client_cert().display(),
        mongo.client_key().display()
    );
    let broker = Broker::start(config(&conf(&certified)));
    // Asked, and not known.
    assert_eq!(login(&broker, "u", "public"), 4);
    assert_eq!(outcome(&broker, &conf(&format!("{certified}{NONE}"))), 4);
    assert_eq!(outcome(&broker, &conf("")), 3);
    // Nothing of the key lies about.
    let left = |dir: &std::path::Path| {
        let files = std::fs::read_dir(dir).unwrap().flatten();
        let pems = files.filter(|file| {
            let text = std::fs::read(file.path()).unwrap_or_default();
            text.windows(11).any(|part| part == b"PRIVATE KEY")
        });
        pems.count()
    };
    assert_eq!(left(&broker.root.join("data")), 0);
    // Half of an identity is a mistake that is told.
    broker.unload(PLUGIN);
    let half = format!(
        "auth.mongo.ssl_opts.certfile = {}\n",
        mongo.client_cert().display()
    );
    broker.write_plugin_conf(PLUGIN, &conf(&half));
    let (_, text) = broker.ctl(&["plugins", "load", PLUGIN]);
    assert!(
        text.contains("auth.mongo.ssl_opts.certfile") && text.contains("belong together"),
        "{text}"
    );
}
