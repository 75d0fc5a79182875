//! Superusers, and what attributes allow.

use super::*;
use emqttd_tests::Sub;

/// Which attributes of a person stand for what.
const RIGHTS: &str = "auth.ldap.superuser_attribute = businessCategory\n\
                      auth.ldap.publish_attribute = employeeType\n\
                      auth.ldap.subscribe_attribute = departmentNumber\n\
                      auth.ldap.pubsub_attribute = carLicense\n";

/// As in the seed, with somebody to read entries.
fn bind(ldap: &Ldap) -> String {
    format!(
        "{}auth.ldap.bind_dn = cn=mqtt,dc=example,dc=com\nauth.ldap.bind_password = {PASSWORD}\n",
        seed(ldap)
    )
}

/// A broker whose other rules allow nothing but `open/#`.
fn strict(conf: &str) -> Broker {
    Broker::start(
        Config::with_plugin(PLUGIN, conf)
            .set("mqtt.allow_anonymous", "false")
            .set("mqtt.acl_nomatch", "deny")
            .acl("{allow, all, pubsub, [\"open/#\"]}.\n{deny, all}.\n"),
    )
}

fn may_publish(client: &mut Client, topic: &str) -> bool {
    client.pub_(topic, 1, "x") < 0x80
}

fn may_subscribe(client: &mut Client, filter: &str) -> bool {
    client.subscribe(&[Sub::new(filter, 0)], &[])[0] < 0x80
}

#[test]
fn superusers() {
    let Some(ldap) = Ldap::shared() else { return };
    let broker = strict(&bind(ldap));
    for conf in [bind(ldap), search(ldap)] {
        reload(&broker, &(conf + RIGHTS));
        for (more, superuser) in [
            ("businessCategory: TRUE\n", true),
            ("businessCategory: true\n", true),
            ("businessCategory: x\nbusinessCategory: 1\n", true),
            ("businessCategory: FALSE\n", false),
            ("businessCategory: 0\n", false),
            ("businessCategory: 10\n", false),
            ("", false),
        ] {
            let name = person(ldap, "pw", more);
            assert_eq!(login(&broker, &name, "x"), 4, "{more}");
            let mut client = broker.open(&connect(Version::V5, &name, "pw"));
            assert_eq!(may_publish(&mut client, "any"), superuser, "{more}");
            assert_eq!(may_subscribe(&mut client, "#"), superuser, "{more}");
        }
    }
}

#[test]
fn topics_of_attributes() {
    let Some(ldap) = Ldap::shared() else { return };
    let name = person(
        ldap,
        "pw",
        "employeeType: p/#\nemployeeType: u/%u/x-%c\nemployeeType: b/+/c\n\
         departmentNumber: s/+\ncarLicense: both\n",
    );
    let none = person(ldap, "pw", "");
    let one = person(ldap, "pw", "employeeType: p\n");
    let odd = person(
        ldap,
        "pw",
        "carLicense: a/#/b\ncarLicense: t+\ncarLicense: fine\n",
    );
    let broker = strict(&bind(ldap));
    for conf in [bind(ldap), search(ldap)] {
        reload(&broker, &(conf + RIGHTS));
        let open = |name: &str| broker.open(&connect(Version::V5, name, "pw"));
        let mut client = open(&name);
        let id = unique("id");
        let mut with_id = broker.open(
            &Connect::new(Version::V5, &id)
                .username(&name)
                .password("pw"),
        );
        assert!(may_publish(&mut with_id, &format!("u/{name}/x-{id}")));
        assert!(!may_publish(&mut with_id, &format!("u/{name}/x-{id}2")));
        assert!(!may_publish(&mut with_id, &format!("u/{one}/x-{id}")));
        for (topic, publish, subscribe) in [
            ("p/a/b", true, false),
            ("b/x/c", true, false),
            ("b/x/d", false, false),
            ("s/a", false, true),
            ("s/a/b", false, false),
            ("both", true, true),
            ("other", false, false),
            // Who has any of the attributes has nothing but what they say.
            ("open/x", false, false),
        ] {
            assert_eq!(may_publish(&mut client, topic), publish, "{topic}");
            assert_eq!(may_subscribe(&mut client, topic), subscribe, "{topic}");
        }
        for (filter, wanted) in [("s/+", true), ("s/#", false), ("#", false), ("p/#", false)] {
            assert_eq!(may_subscribe(&mut client, filter), wanted, "{filter}");
        }
        // None of them: the next module decides.
        let mut client = open(&none);
        assert!(may_publish(&mut client, "open/x") && may_subscribe(&mut client, "open/#"));
        assert!(!may_publish(&mut client, "p/a"));
        // One of them counts for both.
        let mut client = open(&one);
        assert!(may_publish(&mut client, "p") && !may_subscribe(&mut client, "open/x"));
        let mut client = open(&odd);
        assert!(may_publish(&mut client, "fine") && !may_publish(&mut client, "t"));
    }
    let log = broker.log();
    assert!(log.contains("allows nothing"), "{log}");
}

#[test]
fn names_never_widen_a_filter() {
    let Some(ldap) = Ldap::shared() else { return };
    let broker = strict(&(bind(ldap) + RIGHTS));
    for (uid, rdn) in [("+", r"\+"), ("#", r"\#"), ("a/b", "a/b")] {
        let dn = format!("uid={rdn},ou=people,dc=example,dc=com");
        ldap.add(&format!(
            "dn: {dn}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn: x\nsn: x\nuserPassword: pw\n\
             carLicense: own/%u\ncarLicense: own/%c/x\n"
        ));
        let id = unique("id");
        let connect = Connect::new(Version::V5, &id).username(uid).password("pw");
        let mut client = broker.open(&connect);
        for topic in ["own/x", "own/a/b", "own/a"] {
            assert!(!may_publish(&mut client, topic), "{uid} {topic}");
        }
        for filter in ["own/+", "own/#", "own/a/b"] {
            assert!(!may_subscribe(&mut client, filter), "{uid} {filter}");
        }
        assert!(may_publish(&mut client, &format!("own/{id}/x")));
        ldap.delete(&dn);
    }
}

/// What changes in the directory counts when the cached decision is forgotten.
#[test]
fn changes_are_seen() {
    let Some(ldap) = Ldap::shared() else { return };
    let name = person(ldap, "pw", "carLicense: old\n");
    let broker = strict(&(bind(ldap) + RIGHTS));
    let mut client = broker.open(&connect(Version::V5, &name, "pw"));
    assert!(may_publish(&mut client, "old") && !may_publish(&mut client, "new"));
    let asked = metric(&broker, "acl/asked");
    for _ in 0..10 {
        assert!(may_publish(&mut client, "old"));
    }
    assert_eq!(metric(&broker, "acl/asked"), asked);
    ldap.modify(&format!(
        "dn: uid={name},ou=people,dc=example,dc=com\nchangetype: modify\n\
         replace: carLicense\ncarLicense: new\n"
    ));
    broker.ctl(&["acl", "cache", "clean"]);
    assert!(!may_publish(&mut client, "old") && may_publish(&mut client, "new"));
}

/// Without an ACL attribute the plugin has no place in the chain; with one, `acl test` tells what it saw.
#[test]
fn what_acl_test_tells() {
    let Some(ldap) = Ldap::shared() else { return };
    let name = person(ldap, "pw", "carLicense: mine\n");
    let broker = strict(&bind(ldap));
    let test = |topic: &str| {
        let args = ["acl", "test", "c1", &name, "127.0.0.1", "publish", topic];
        broker.ctl(&args).1
    };
    assert!(!test("mine").contains(PLUGIN), "{}", test("mine"));
    reload(&broker, &(bind(ldap) + RIGHTS));
    let text = test("mine");
    for part in [PLUGIN, "allow", "carLicense: 1 values", &name] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    assert!(test("other").contains("deny"), "{}", test("other"));
    assert!(!text.contains(PASSWORD), "{text}");
}
