//! TLS to the server, and IPv6.

use super::{Bench, Database, Keys, PUBLIC, login, reload};
use emqttd_tests::Broker;
use std::net::Ipv6Addr;
use std::path::Path;

/// Keys with TLS by that authority.
fn tls<D: Database>(bench: &Bench<'_, D>, ca: &Path) -> Keys {
    let keys = bench
        .keys()
        .set("server", format!("localhost:{}", bench.server.port()));
    let keys = keys.set("ssl", "true");
    keys.set("ssl_opts.cacertfile", ca.display())
}

/// Loads with those keys: nobody gets in, and the log says why.
#[track_caller]
fn fails<D: Database>(broker: &Broker, keys: &Keys, why: &str) {
    let before = broker.log().len();
    reload::<D>(broker, keys);
    assert_eq!(login(broker, "test", "public"), 3);
    super::eventually(why, || broker.log()[before..].to_lowercase().contains(why));
}

pub fn with_right_and_wrong_authority<D: Database>() {
    let Some(server) = D::shared() else { return };
    let bench = Bench::new(server);
    bench.user("test", PUBLIC, None);
    let keys = tls(&bench, &server.ca());
    let broker = bench.broker(&keys);
    assert_eq!(login(&broker, "test", "public"), 0);
    assert_eq!(login(&broker, "test", "wrong"), 4);
    let wrong = tls(&bench, &server.other_ca());
    fails::<D>(&broker, &wrong, "unknownissuer");
    // Whom this machine trusts did not sign it either.
    let machine = wrong.clone().without("ssl_opts.cacertfile");
    broker.write_plugin_conf(D::PLUGIN, &machine.text());
    broker.unload(D::PLUGIN);
    let (_, text) = broker.ctl(&["plugins", "load", D::PLUGIN]);
    let refused = text.contains("trusts nobody");
    assert!(refused || login(&broker, "test", "public") == 3, "{text}");
    if refused {
        broker.write_plugin_conf(D::PLUGIN, &keys.text());
        broker.load(D::PLUGIN);
    }
    // The name of the certificate.
    let named = |name: &str| keys.clone().set("ssl_opts.server_name", name);
    fails::<D>(&broker, &named("db.example.com"), "not valid for name");
    let by_address = keys
        .clone()
        .set("server", format!("127.0.0.1:{}", server.port()));
    reload::<D>(&broker, &by_address);
    assert_eq!(login(&broker, "test", "public"), 0);
    reload::<D>(
        &broker,
        &by_address.set("ssl_opts.server_name", "localhost"),
    );
    assert_eq!(login(&broker, "test", "public"), 0);
    // Nobody looks.
    reload::<D>(&broker, &wrong.set("ssl_opts.verify", "verify_none"));
    assert_eq!(login(&broker, "test", "public"), 0);
    let nothing = keys
        .without("ssl_opts.cacertfile")
        .set("ssl_opts.verify", "verify_none");
    reload::<D>(&broker, &nothing);
    assert_eq!(login(&broker, "test", "public"), 0);
    let log = broker.log();
    assert!(!log.contains("panicked"), "{log}");
}

/// Files that cannot be used stop the load, with a word.
pub fn files_that_are_none<D: Database>() {
    let Some(server) = D::shared() else { return };
    let bench = Bench::new(server);
    let broker = bench.broker(&bench.keys());
    broker.unload(D::PLUGIN);
    let keys = tls(&bench, &server.ca());
    for (keys, why) in [
        (
            keys.clone().set("ssl_opts.cacertfile", "/nowhere.pem"),
            "nowhere.pem",
        ),
        (
            keys.clone()
                .set("ssl_opts.cacertfile", server.client_key().display()),
            "client.key",
        ),
        (
            keys.clone()
                .set("ssl_opts.certfile", server.client_cert().display()),
            "keyfile",
        ),
    ] {
        broker.write_plugin_conf(D::PLUGIN, &keys.text());
        let (_, text) = broker.ctl(&["plugins", "load", D::PLUGIN]);
        assert!(
            text.contains(why) && !broker.is_active(D::PLUGIN),
            "{why} in {text}"
        );
    }
}

/// Sheet 9, check 4.
pub fn against_a_server_without_tls<D: Database>() {
    let Some(server) = D::start_with(&[D::WITHOUT_TLS]) else {
        return;
    };
    let bench = Bench::new(&server);
    bench.user("test", PUBLIC, None);
    let broker = bench.broker(&bench.keys());
    assert_eq!(login(&broker, "test", "public"), 0);
    let why = format!(
        "the server has no tls, and {}.ssl = true asks for it",
        D::HEAD
    );
    fails::<D>(&broker, &tls(&bench, &server.ca()), &why);
}

pub fn over_ipv6<D: Database>() {
    let Some(server) = D::shared() else { return };
    if !Path::new("/proc/net/if_inet6").exists() {
        return;
    }
    let bench = Bench::new(server);
    bench.user("test", PUBLIC, None);
    let server_key = format!("[{}]:{}", Ipv6Addr::LOCALHOST, server.port());
    let broker = bench.broker(&bench.keys().set("server", &server_key));
    assert_eq!(login(&broker, "test", "public"), 0);
    reload::<D>(
        &broker,
        &tls(&bench, &server.ca()).set("server", &server_key),
    );
    assert_eq!(login(&broker, "test", "public"), 0);
}

/// The login of the broker itself fails.
pub fn the_brokers_own_password_is_wrong<D: Database>() {
    let Some(server) = D::shared() else { return };
    let bench = Bench::new(server);
    bench.user("test", PUBLIC, None);
    let broker = bench.broker(&bench.keys());
    fails::<D>(&broker, &bench.keys().set("password", "hunter2"), "mqtt");
    fails::<D>(
        &broker,
        &bench.keys().set("database", "mqtt_nowhere"),
        "mqtt_nowhere",
    );
    let log = broker.log();
    assert!(!log.contains("hunter2") && !log.contains("mqttpw"), "{log}");
    // A host that there is not.
    fails::<D>(
        &broker,
        &bench.keys().set("server", "db.invalid:1"),
        "db.invalid",
    );
}
