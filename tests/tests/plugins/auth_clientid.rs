//! `emq_auth_clientid`: passwords by client id, from configuration and by the verb `clientid`.

use emqttd_tests::{Broker, Config, Connect, End, Version, unique};

const PLUGIN: &str = "emq_auth_clientid";

/// Bad user name or password.
const REFUSED: [u8; 3] = [4, 4, 0x86];

const FILE: &str = "auth.client.hash_cost = light
auth.client.1.clientid = id
auth.client.1.password = passwd
auth.client.2.clientid = dev:devid
auth.client.2.password = passwd2
auth.client.4.clientid = client~!@#$%^&*()_+
auth.client.4.password = passwd~!@#$%^&*()_+";

fn config(anonymous: bool) -> Config {
    Config::with_plugin(PLUGIN, FILE).set("mqtt.allow_anonymous", &anonymous.to_string())
}

/// The code of CONNACK, for MQTT 3.1, 3.1.1, and 5.
#[track_caller]
fn answers(broker: &Broker, id: &str, password: Option<&str>, name: Option<&str>) -> [u8; 3] {
    emqttd_tests::ALL.map(|version| {
        let mut connect = Connect::new(version, id);
        // MQTT 3 has no password without a user name.
        connect.username = name.map(Into::into).or(password.map(|_| "any".into()));
        connect.password = password.map(Into::into);
        let mut client = broker.raw(version);
        client.send(&connect.encode());
        client.connack().1
    })
}

#[track_caller]
fn clientid(broker: &Broker, args: &[&str], printed: &str) {
    let (code, text) = broker.ctl(&[&["clientid"], args].concat());
    assert_eq!((code, &*text), (0, printed), "clientid {args:?}");
}

/// Sheet 4, checks 1 to 4 and 6.
#[test]
fn entries_of_the_file() {
    for anonymous in [false, true] {
        let broker = Broker::start(config(anonymous));
        let unknown = if anonymous { [0; 3] } else { REFUSED };
        assert_eq!(answers(&broker, "id", Some("passwd"), None), [0; 3]);
        assert_eq!(answers(&broker, "id", Some("x"), None), REFUSED);
        assert_eq!(answers(&broker, "id", Some(""), None), REFUSED);
        assert_eq!(answers(&broker, "id", None, None), REFUSED);
        assert_eq!(answers(&broker, "dev:devid", Some("passwd2"), None), [0; 3]);
        let (id, password) = ("client~!@#$%^&*()_+", "passwd~!@#$%^&*()_+");
        assert_eq!(answers(&broker, id, Some(password), None), [0; 3]);
        assert_eq!(answers(&broker, id, Some("passwd"), None), REFUSED);
        // Nobody that is known, and nobody with a password.
        assert_eq!(answers(&broker, "other", Some("passwd"), None), unknown);
        assert_eq!(answers(&broker, "other", None, None), REFUSED);
        // The user name is not looked at.
        for name in ["id", "other", ""] {
            assert_eq!(answers(&broker, "id", Some("passwd"), Some(name)), [0; 3]);
            assert_eq!(answers(&broker, "id", Some("x"), Some(name)), REFUSED);
        }
        // An id that the broker makes up; MQTT 3.1 has none.
        let made_up = answers(&broker, "", Some("passwd"), None);
        assert_eq!(made_up[1..], unknown[1..]);
    }
}

/// Sheet 4, check 5.
#[test]
fn the_file_counts_at_each_start() {
    let mut broker = Broker::start(config(false));
    assert_eq!(answers(&broker, "id", Some("passwd"), None), [0; 3]);
    broker.end(End::Stop);
    broker.write_plugin_conf(PLUGIN, &FILE.replace("= passwd\n", "= changed\n"));
    broker.start_again();
    assert_eq!(answers(&broker, "id", Some("changed"), None), [0; 3]);
    assert_eq!(answers(&broker, "id", Some("passwd"), None), REFUSED);
    // Against what was changed by hand, too.
    clientid(&broker, &["update", "id", "by hand"], "ok\n");
    assert_eq!(answers(&broker, "id", Some("by hand"), None), [0; 3]);
    broker.unload(PLUGIN);
    broker.load(PLUGIN);
    assert_eq!(answers(&broker, "id", Some("changed"), None), [0; 3]);
    assert_eq!(answers(&broker, "id", Some("by hand"), None), REFUSED);
    broker.write_plugin_conf(PLUGIN, &FILE.replace("= passwd\n", "= reloaded\n"));
    let (_, text) = broker.ctl(&["plugins", "reload", PLUGIN]);
    assert!(text.contains("reloaded successfully"), "{text}");
    assert_eq!(answers(&broker, "id", Some("reloaded"), None), [0; 3]);
    assert_eq!(answers(&broker, "id", Some("changed"), None), REFUSED);
}

#[test]
fn the_verb() {
    let mut broker = Broker::start(
        Config::with_plugin(PLUGIN, "auth.client.hash_cost = light")
            .set("mqtt.allow_anonymous", "false"),
    );
    clientid(&broker, &["list"], "");
    clientid(&broker, &["add", "c 1", "pw"], "ok\n");
    clientid(&broker, &["add", "c 1", "other"], "{error,existed}\n");
    assert_eq!(answers(&broker, "c 1", Some("pw"), None), [0; 3]);
    assert_eq!(answers(&broker, "c 1", Some("other"), None), REFUSED);
    let mut connect = Connect::new(Version::V5, "c 1");
    connect.password = Some("pw".into());
    let mut connected = broker.open(&connect);
    clientid(&broker, &["update", "c 1", "new"], "ok\n");
    clientid(
        &broker,
        &["update", &unique("nobody"), "new"],
        "{error,noexisted}\n",
    );
    connected.ping();
    assert_eq!(answers(&broker, "c 1", Some("pw"), None), REFUSED);
    connected.ping();
    clientid(&broker, &["add", "c2", "pw"], "ok\n");
    clientid(&broker, &["list"], "c 1\nc2\n");
    broker.restart(End::Kill);
    clientid(&broker, &["list"], "c 1\nc2\n");
    assert_eq!(answers(&broker, "c 1", Some("new"), None), [0; 3]);
    clientid(&broker, &["del", "c 1"], "ok\n");
    clientid(&broker, &["del", "c 1"], "ok\n");
    assert_eq!(answers(&broker, "c 1", Some("new"), None), REFUSED);
    assert_eq!(answers(&broker, "c2", Some("pw"), None), [0; 3]);
    let (code, text) = broker.ctl(&["clientid", "del"]);
    assert_eq!(code, 0);
    assert_eq!(text.lines().count(), 4, "{text}");
    assert!(text.starts_with("clientid list "), "{text}");
}

/// The form of 2.0-rc.2.
#[test]
fn a_password_behind_a_key_with_the_id() {
    let conf = "auth.client.hash_cost = light\nauth.client.meter7 = passwd\n";
    let broker =
        Broker::start(Config::with_plugin(PLUGIN, conf).set("mqtt.allow_anonymous", "false"));
    assert_eq!(answers(&broker, "meter7", Some("passwd"), None), [0; 3]);
    assert_eq!(answers(&broker, "meter7", Some("x"), None), REFUSED);
}

#[test]
fn a_bad_file_is_refused() {
    let broker = Broker::start(Config::new());
    for (conf, part) in [
        ("auth.client.1.clientid = id\n", "auth.client.1.clientid"),
        (
            "\nauth.client.1.password = hunter2\n",
            "emq_auth_clientid.conf:2",
        ),
        (
            "auth.client.1.clientid = id\nauth.client.1.password =\n",
            "auth.client.1.password",
        ),
        (
            "auth.client.1.clientid =\nauth.client.1.password = hunter2\n",
            "auth.client.1.clientid",
        ),
        (
            "auth.client.password_hash = sha256\nauth.client.1.clientid = id\nauth.client.1.password = hunter2\n",
            "auth.client.1.password",
        ),
    ] {
        broker.write_plugin_conf(PLUGIN, conf);
        let (_, text) = broker.ctl(&["plugins", "load", PLUGIN]);
        assert!(
            text.contains("load plugin error") && text.contains(part),
            "{text}"
        );
        assert!(!text.contains("hunter2"), "{text}");
        assert!(!broker.is_active(PLUGIN));
    }
    // As without it.
    assert_eq!(answers(&broker, "id", None, None), [0; 3]);
}

/// The one loaded last is asked first; what it does not know goes to the other.
#[test]
fn together_with_users() {
    let broker = Broker::start(
        config(false)
            .plugin_conf(
                "emq_auth_username",
                "auth.user.hash_cost = light\nauth.user.1.username = bob\nauth.user.1.password = secret\n",
            )
            .loaded(&[PLUGIN, "emq_auth_username"]),
    );
    assert_eq!(answers(&broker, "id", Some("passwd"), Some("eve")), [0; 3]);
    assert_eq!(
        answers(&broker, "other", Some("secret"), Some("bob")),
        [0; 3]
    );
    assert_eq!(answers(&broker, "id", Some("secret"), Some("bob")), [0; 3]);
    // bob's password is wrong, and the client id's is not looked at any more.
    assert_eq!(answers(&broker, "id", Some("passwd"), Some("bob")), REFUSED);
    assert_eq!(
        answers(&broker, "other", Some("passwd"), Some("eve")),
        REFUSED
    );
}
