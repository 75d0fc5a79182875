//! `emq_auth_ldap` against OpenLDAP.

mod failures;
mod rights;
mod tls;

use std::io::{Read as _, Write as _};
use std::net::{Ipv6Addr, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use emqttd_tests::servers::{ADMIN_PASSWORD, Ldap, PASSWORD};
use emqttd_tests::{ALL, Broker, Client, Config, Connect, Version, unique};

const PLUGIN: &str = "emq_auth_ldap";

/// CONNACK, in MQTT 3.1, 3.1.1 and 5.
const ACCEPTED: [u8; 3] = [0; 3];
const REFUSED: [u8; 3] = [4, 4, 0x86];
const UNAVAILABLE: [u8; 3] = [3, 3, 0x88];

/// The plugin's section of the seed as it stands, but for the lost host names.
fn seed(ldap: &Ldap) -> String {
    format!(
        "auth.ldap.servers = 127.0.0.1:{}\n\n\
         auth.ldap.port = 389\n\n\
         auth.ldap.timeout = 30\n\n\
         auth.ldap.user_dn = uid=%u,ou=People,dc=example,dc=com\n\n\
         auth.ldap.ssl = false\n",
        ldap.port()
    )
}

/// What 2.3 shipped, with the port of the server.
fn shipped(ldap: &Ldap) -> String {
    let text = include_str!("../../../etc/plugins/emq_auth_ldap.conf");
    let port = format!("auth.ldap.port = {}\n", ldap.port());
    assert!(text.contains("auth.ldap.port = 389\n"));
    text.replace("auth.ldap.port = 389\n", &port)
}

/// 2.3's way in the tree `dc=example,dc=com`, as its administrator, with `userPassword`.
fn search(ldap: &Ldap) -> String {
    format!(
        "auth.ldap.servers = 127.0.0.1\nauth.ldap.port = {}\n\
         auth.ldap.bind_dn = {}\nauth.ldap.bind_password = {ADMIN_PASSWORD}\n\
         auth.ldap.auth_dn = ou=people,dc=example,dc=com\nauth.ldap.password_hash = plain\n\
         auth.ldap.username_attribute = uid\nauth.ldap.password_attribute = userPassword\n",
        ldap.port(),
        Ldap::ADMIN,
    )
}

/// A broker that lets nobody in of whom the directory says nothing.
fn broker(conf: &str) -> Broker {
    Broker::start(Config::with_plugin(PLUGIN, conf).set("mqtt.allow_anonymous", "false"))
}

/// Loads the plugin with another file.
#[track_caller]
fn reload(broker: &Broker, conf: &str) {
    broker.write_plugin_conf(PLUGIN, conf);
    if broker.is_active(PLUGIN) {
        broker.unload(PLUGIN);
    }
    broker.load(PLUGIN);
}

/// A person below `ou=people`, with more lines of LDIF: the user name.
fn person(ldap: &Ldap, password: &str, more: &str) -> String {
    let uid = unique("person");
    ldap.add(&format!(
        "dn: uid={uid},ou=people,dc=example,dc=com\nobjectClass: inetOrgPerson\n\
         uid: {uid}\ncn: {uid}\nsn: x\nuserPassword: {password}\n{more}"
    ));
    uid
}

/// An entry of 2.3's class: the user name.
fn mqtt_user(ldap: &Ldap, password: &str) -> String {
    let name = unique("user");
    ldap.add(&format!(
        "dn: cn={name},ou=auth,dc=emqtt,dc=com\nobjectClass: mqttUser\n\
         cn: {name}\nusername: {name}\npassword: {password}\n"
    ));
    name
}

fn connect(version: Version, name: &str, password: &str) -> Connect {
    Connect::new(version, &unique("ldap"))
        .username(name)
        .password(password)
}

/// The code of CONNACK.
#[track_caller]
fn answer(broker: &Broker, connect: &Connect) -> u8 {
    let mut client = broker.raw(connect.version);
    client.send(&connect.encode());
    client.connack().1
}

/// In all versions.
#[track_caller]
fn answers(broker: &Broker, name: &str, password: &str, codes: [u8; 3]) {
    for (version, code) in ALL.into_iter().zip(codes) {
        let connect = connect(version, name, password);
        assert_eq!(answer(broker, &connect), code, "{version} {name:?}");
    }
}

/// The code of one CONNECT of MQTT 3.1.1.
#[track_caller]
fn login(broker: &Broker, name: &str, password: &str) -> u8 {
    answer(broker, &connect(Version::V311, name, password))
}

/// Tries until a login is answered so.
#[track_caller]
fn eventually(broker: &Broker, name: &str, password: &str, code: u8) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while login(broker, name, password) != code {
        assert!(Instant::now() < deadline, "{name} never gets {code}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// A counter of the plugin, such as `auth/asked`.
#[track_caller]
fn metric(broker: &Broker, name: &str) -> u64 {
    let (_, text) = broker.ctl(&["plugins", "show", PLUGIN]);
    let head = format!("{PLUGIN}/{name}: ");
    let row = text.lines().find(|row| row.starts_with(&head));
    let row = row.unwrap_or_else(|| panic!("no {name} in {text}"));
    row.rsplit(' ').next().unwrap().parse().unwrap()
}

/// `auth test` with a password.
fn auth_test(broker: &Broker, clientid: &str, username: &str, password: &str) -> String {
    let mut ctl = Command::new(broker.root.join("bin/emqttd_ctl"))
        .args(["auth", "test", clientid, username, "127.0.0.1", "-"])
        .current_dir(&broker.root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let line = format!("{password}\n");
    ctl.stdin
        .take()
        .unwrap()
        .write_all(line.as_bytes())
        .unwrap();
    let output = ctl.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// Names with which a client could try to be somebody else, or nobody in particular.
fn hostile(victim: &str) -> Vec<String> {
    let mut names: Vec<String> = [
        "*)(uid=*",
        "*)(username=*",
        "*",
        "x' or '1'='1",
        r#"{"$gt":""}"#,
        "a b",
        "a&b",
        "+",
        "#",
        "a/b",
        "\r\n",
        "%u",
        "%c",
        " ",
        "\\",
        "\\2a",
        "ü€🦀",
        ",",
        "=",
    ]
    .map(String::from)
    .to_vec();
    names.push(format!("{victim},ou=people"));
    names.push(format!("{victim},ou=people,dc=example,dc=com"));
    names.push(format!("{victim}+cn={victim}"));
    names.push(format!("{victim})(objectClass=*"));
    names.push(format!("x)(|(uid={victim})"));
    names.push(format!("{}*", &victim[..victim.len() - 1]));
    names.push(format!("x\r\nuid: {victim}"));
    for length in [100, 1_000, 4_000, 20_000, 60_000] {
        names.push("x".repeat(length));
        names.push(",".repeat(length));
    }
    names
}

/// Sheet 6, check 4.
#[test]
fn the_section_of_the_seed() {
    let Some(ldap) = Ldap::shared() else { return };
    let alice = person(ldap, "alicepw", "");
    let broker = broker(&seed(ldap));
    answers(&broker, &alice, "alicepw", ACCEPTED);
    answers(&broker, &alice, "wrong", REFUSED);
    answers(&broker, &unique("nobody"), "alicepw", REFUSED);
    // Wrong, and not nearly empty.
    answers(&broker, &alice, " ", REFUSED);
    // No ACL: what acl.conf says is all there is.
    let mut client = broker.open(&connect(Version::V5, &alice, "alicepw"));
    client.sub("any/#", 1);
    assert!(client.pub_("any/thing", 1, "x") < 0x80);
}

/// Whether a bind as that person succeeds without a password, and the connection that was used.
fn bind_without_password(ldap: &Ldap, uid: &str) -> (bool, TcpStream) {
    let dn = format!("uid={uid},ou=people,dc=example,dc=com");
    let dn_length = u8::try_from(dn.len()).unwrap();
    let bind = [
        &[0x30, dn_length + 12, 0x02, 0x01, 0x01, 0x60, dn_length + 7][..],
        &[0x02, 0x01, 0x03, 0x04, dn_length],
        dn.as_bytes(),
        &[0x80, 0x00],
    ]
    .concat();
    let mut stream = TcpStream::connect(("127.0.0.1", ldap.port())).unwrap();
    stream.write_all(&bind).unwrap();
    let mut reply = [0; 10];
    stream.read_exact(&mut reply).unwrap();
    (reply.ends_with(&[0x0a, 0x01, 0x00]), stream)
}

/// No password, an empty one, and one that a server could take for empty never reach a bind: this server would
/// let them all in.
#[test]
fn an_empty_password_is_none() {
    let Some(ldap) = Ldap::start_with("allow bind_anon_dn") else {
        return;
    };
    let alice = person(&ldap, "alicepw", "");
    assert!(bind_without_password(&ldap, &alice).0);
    let broker = Broker::start(Config::with_plugin(PLUGIN, &seed(&ldap)));
    for (version, code) in ALL.into_iter().zip(REFUSED) {
        let bare = || Connect::new(version, &unique("bare"));
        let named = || bare().username(&alice);
        // Though anonymous clients are allowed.
        assert_eq!(answer(&broker, &bare()), code, "{version}");
        assert_eq!(answer(&broker, &named()), code, "{version}");
        assert_eq!(answer(&broker, &named().password("")), code, "{version}");
        let nameless = bare().username("").password("alicepw");
        assert_eq!(answer(&broker, &nameless), code, "{version}");
    }
    assert_eq!(metric(&broker, "auth/asked"), 0);
    let mut binary = connect(Version::V311, &alice, "");
    for password in [&b"\0"[..], b"\0alicepw", b"alicepw\0", &[0xff, 0xfe]] {
        binary.password = Some(password.to_vec());
        assert_eq!(answer(&broker, &binary), 4, "{password:?}");
    }
    answers(&broker, &alice, "alicepw", ACCEPTED);
}

/// Sheet 6, checks 1 and 2, with the file that 2.3 shipped. Unknown users are let in where nobody else decides.
#[test]
fn the_file_and_the_entry_of_2_3() {
    let Some(ldap) = Ldap::start() else { return };
    ldap.add(
        "dn: cn=test,ou=auth,dc=emqtt,dc=com\nobjectClass: mqttUser\ncn: test\nusername: test\n\
         password: 8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92\n",
    );
    // A place without a user of that name.
    ldap.add("dn: cn=empty,ou=auth,dc=emqtt,dc=com\nobjectClass: organizationalRole\ncn: empty\n");
    let broker = Broker::start(Config::with_plugin(PLUGIN, &shipped(&ldap)));
    answers(&broker, "test", "123456", ACCEPTED);
    answers(&broker, "test", "x", REFUSED);
    // The hash is not the password.
    let hash = "8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92";
    answers(&broker, "test", hash, REFUSED);
    answers(&broker, "missing", "123456", REFUSED);
    answers(&broker, "empty", "123456", ACCEPTED);
    assert_eq!(metric(&broker, "auth/ignored"), 3);

    // In capitals, as the directory compares; and upper-case digits.
    answers(&broker, "TEST", "123456", ACCEPTED);
    let upper = mqtt_user(&ldap, &hash.to_uppercase());
    answers(&broker, &upper, "123456", ACCEPTED);

    // Below a base that is the same for all, unknown users are simply not there.
    let below = shipped(&ldap).replace("= cn=%u,ou=auth", "= ou=auth");
    reload(&broker, &below);
    answers(&broker, "test", "123456", ACCEPTED);
    answers(&broker, "test", "x", REFUSED);
    answers(&broker, "missing", "123456", ACCEPTED);
}

/// Sheet 6, check 3.
#[test]
fn client_ids_decide() {
    let Some(ldap) = Ldap::shared() else { return };
    let id = mqtt_user(ldap, "secret");
    let conf = shipped(ldap)
        .replace("cn=%u", "cn=%c")
        .replace("password_hash = sha256", "password_hash = plain");
    let broker = broker(&conf);
    let connect = |id: &str, password| {
        Connect::new(Version::V311, id)
            .username("somebody")
            .password(password)
    };
    assert_eq!(answer(&broker, &connect(&id, "secret")), 0);
    assert_eq!(answer(&broker, &connect(&id, "x")), 4);
    assert_eq!(answer(&broker, &connect(&unique("other"), "secret")), 4);
    let mut by_name = connect(&unique("other"), "secret");
    by_name.username = Some(id.clone());
    assert_eq!(answer(&broker, &by_name), 4);

    // The same by a bind.
    let alice = person(ldap, "alicepw", "");
    reload(&broker, &seed(ldap).replace("uid=%u", "uid=%c"));
    assert_eq!(answer(&broker, &connect(&alice, "alicepw")), 0);
    assert_eq!(answer(&broker, &connect(&unique("other"), "alicepw")), 4);
}

/// Sheet 6, check 5.
#[test]
fn hostile_names_find_nothing() {
    let Some(ldap) = Ldap::shared() else { return };
    // Nobody else's name begins like this one.
    let victim = unique("victim");
    ldap.add(&format!(
        "dn: uid={victim}z,ou=people,dc=example,dc=com\nobjectClass: inetOrgPerson\n\
         uid: {victim}z\ncn: {victim}z\nsn: x\nuserPassword: victimpw\n"
    ));
    let victim = format!("{victim}z");
    let config = |conf: &str| {
        Config::with_plugin(PLUGIN, conf)
            .set("mqtt.allow_anonymous", "false")
            .set("mqtt.max_clientid_len", "65535")
    };
    let broker = Broker::start(config(&seed(ldap)));
    for conf in [
        seed(ldap),
        seed(ldap).replace(",ou=People", ""),
        search(ldap),
        search(ldap).replace("= ou=people", "= uid=%u,ou=people"),
        search(ldap).replace("= ou=people", "= uid=%u"),
    ] {
        reload(&broker, &conf);
        for name in hostile(&victim) {
            let code = login(&broker, &name, "victimpw");
            let shown: String = name.chars().take(50).collect();
            assert_eq!(code, 4, "{shown:?} ({})", name.len());
        }
        let found = if conf.contains("ou=") { 0 } else { 4 };
        assert_eq!(login(&broker, &victim, "victimpw"), found);
        assert_eq!(metric(&broker, "auth/unavailable"), 0);
    }
    // As client ids, which have fewer bounds than names.
    reload(&broker, &seed(ldap).replace("uid=%u", "uid=%c"));
    for id in hostile(&victim) {
        let connect = Connect::new(Version::V311, &id)
            .username("u")
            .password("victimpw");
        assert_ne!(answer(&broker, &connect), 0, "{id:?}");
    }
    assert_eq!(metric(&broker, "auth/unavailable"), 0);
    let log = broker.log();
    let complaints = log.lines().filter(|line| line.contains("LDAP server"));
    assert_eq!(complaints.collect::<Vec<_>>(), [""; 0]);
}

/// A name is the value of its attribute, whatever is in it.
#[test]
fn odd_names_are_found() {
    let Some(ldap) = Ldap::shared() else { return };
    let broker = broker(&seed(ldap));
    for conf in [seed(ldap), search(ldap)] {
        reload(&broker, &conf);
        for (rdn, name) in [
            (r"a\,b", "a,b"),
            (r"a\+b\=c", "a+b=c"),
            (r"\#x", "#x"),
            (r#"q\"uo\\te"#, r#"q"uo\te"#),
            (r"\<x\>\;", "<x>;"),
            ("st*r(s)", "st*r(s)"),
            ("ü€🦀", "ü€🦀"),
            ("a/b", "a/b"),
            ("%u", "%u"),
        ] {
            let dn = format!("uid={rdn},ou=people,dc=example,dc=com");
            let base64 = base64(name.as_bytes());
            let dn64 = self::base64(dn.as_bytes());
            ldap.add(&format!(
                "dn:: {dn64}\nobjectClass: inetOrgPerson\nuid:: {base64}\ncn: x\nsn: x\n\
                 userPassword: pw\n"
            ));
            assert_eq!(login(&broker, name, "pw"), 0, "{name}");
            assert_eq!(login(&broker, name, "x"), 4, "{name}");
            ldap.delete(&dn);
            assert_eq!(login(&broker, name, "pw"), 4, "{name}");
        }
    }
}

/// For LDIF, which has no other way for some bytes.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, n| {
            bits << 8 | u32::from(chunk.get(n).copied().unwrap_or(0))
        });
        for n in 0..4 {
            let letter = match n <= chunk.len() {
                true => LETTERS[(bits >> (18 - 6 * n)) as usize & 63],
                false => b'=',
            };
            text.push(char::from(letter));
        }
    }
    text
}

#[test]
fn every_form_of_a_password() {
    let Some(ldap) = Ldap::shared() else { return };
    let broker = broker(&shipped(ldap));
    for (form, password, stored) in [
        ("plain", "public", "public"),
        ("md5", "public", "4c9184f37cff01bcdc32dc486ec36961"),
        ("sha", "public", "61c9b2b17db77a27841bbeeabff923448b0f6388"),
        (
            "sha256",
            "public",
            "efa1f375d76194fa51a3556a97e641e61685f914d446979da50a551a4333ffd7",
        ),
        (
            "bcrypt",
            "foo",
            "$2a$12$sSS8Eg.ovVzaHzi1nUHYK.HbUIOdlQI0iS22Q5rd5z.JVVYH6sfm6",
        ),
        (
            "argon2id",
            "public",
            "$argon2id$v=19$m=1024,t=2,p=1$c2FsdHNhbHQ$W7NxEaKlbhP7e2V9q2lXRp1dK9Faz/a48uZIVbZE9Y4",
        ),
        (
            "scrypt",
            "public",
            "$scrypt$ln=10,r=8,p=1$c2FsdHNhbHQ$WB5HcKmM6Pugif1eB4G3QrXBt62XX5dP7Fk1jHpq1TM",
        ),
    ] {
        let conf = shipped(ldap).replace("_hash = sha256", &format!("_hash = {form}"));
        reload(&broker, &conf);
        let name = mqtt_user(ldap, stored);
        assert_eq!(login(&broker, &name, password), 0, "{form}");
        assert_eq!(login(&broker, &name, &password.to_uppercase()), 4, "{form}");
        if form != "plain" {
            assert_eq!(login(&broker, &name, stored), 4, "{form}");
        }
        let broken = mqtt_user(ldap, "nonsense");
        assert_eq!(login(&broker, &broken, password), 4, "{form}");
    }
}

/// As OpenLDAP keeps them in `userPassword`, whatever `password_hash` says.
#[test]
fn schemes_of_directories() {
    let Some(ldap) = Ldap::shared() else { return };
    let broker = broker(&search(ldap));
    for scheme in ["{SSHA}", "{SHA}", "{SMD5}", "{MD5}", "{CLEARTEXT}"] {
        let mut slappasswd = Command::new("/usr/sbin/slappasswd");
        let made = slappasswd
            .args(["-h", scheme, "-s", "p w€"])
            .output()
            .unwrap();
        let stored = String::from_utf8(made.stdout).unwrap();
        let stored = stored.trim();
        let name = person(ldap, stored, "");
        assert_eq!(login(&broker, &name, "p w€"), 0, "{stored}");
        assert_eq!(login(&broker, &name, "x"), 4, "{stored}");
        if stored.starts_with('{') {
            assert_eq!(login(&broker, &name, stored), 4, "{stored}");
        }
    }
    // One of several is enough, and a scheme that nobody can check is none.
    let name = person(
        ldap,
        "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=",
        "userPassword: other\nuserPassword: {CRYPT}$6$x$y\n",
    );
    assert_eq!(login(&broker, &name, "secret"), 0);
    assert_eq!(login(&broker, &name, "other"), 0);
    assert_eq!(login(&broker, &name, "{CRYPT}$6$x$y"), 4);
    let log = broker.log();
    assert!(log.contains("is of scheme {CRYPT}"), "{log}");
}

#[test]
fn entries_that_make_no_sense() {
    let Some(ldap) = Ldap::shared() else { return };
    let broker = broker(&search(ldap));
    let without = unique("without");
    let twice = person(ldap, "pw", "");
    ldap.add(&format!(
        "dn: uid={without},ou=people,dc=example,dc=com\nobjectClass: inetOrgPerson\n\
         uid: {without}\ncn: x\nsn: x\n"
    ));
    ldap.add(&format!(
        "dn: cn=again,uid={twice},ou=people,dc=example,dc=com\nobjectClass: inetOrgPerson\n\
         uid: {twice}\ncn: again\nsn: x\nuserPassword: pw\n"
    ));
    assert_eq!(login(&broker, &without, "pw"), 4);
    assert_eq!(login(&broker, &twice, "pw"), 4);
    let log = broker.log();
    assert!(log.contains("has no attribute userPassword"), "{log}");
    assert!(log.contains("more than one entry"), "{log}");
    // As somebody who may not read passwords.
    let reader = search(ldap)
        .replace(Ldap::ADMIN, "cn=mqtt,dc=example,dc=com")
        .replace(ADMIN_PASSWORD, PASSWORD);
    reload(&broker, &reader);
    let alice = person(ldap, "pw", "");
    assert_eq!(login(&broker, &alice, "pw"), 4);
}

#[test]
fn many_at_once() {
    let Some(ldap) = Ldap::shared() else { return };
    let names: Vec<String> = (0..20).map(|_| person(ldap, "pw", "")).collect();
    let broker = broker(&seed(ldap));
    for conf in [seed(ldap), search(ldap)] {
        reload(&broker, &conf);
        let mut clients: Vec<(Client, u8)> = (0..200)
            .map(|n| {
                let password = if n % 3 == 0 { "x" } else { "pw" };
                let connect = connect(Version::V311, &names[n % names.len()], password);
                let mut client = broker.raw(Version::V311);
                client.send(&connect.encode());
                (client, if n % 3 == 0 { 4 } else { 0 })
            })
            .collect();
        for (client, code) in &mut clients {
            assert_eq!(client.connack().1, *code);
        }
        assert_eq!(metric(&broker, "auth/asked"), 200);
        assert_eq!(metric(&broker, "auth/denied"), 67);
        assert_eq!(metric(&broker, "auth/allowed"), 133);
        assert_eq!(metric(&broker, "auth/unavailable"), 0);
    }
}

#[test]
fn over_ipv6_and_by_name() {
    let Some(ldap) = Ldap::shared() else { return };
    let alice = person(ldap, "pw", "");
    let broker = broker(&seed(ldap));
    let mut hosts = vec!["localhost".to_string()];
    if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok() {
        hosts.push("[::1]".into());
    }
    for host in hosts {
        let here = format!("{host}:{}", ldap.port());
        let with_port = seed(ldap).replace(&format!("127.0.0.1:{}", ldap.port()), &here);
        let url = with_port.replace(&here, &format!("ldap://{here}/"));
        for conf in [with_port, url] {
            reload(&broker, &conf);
            assert_eq!(login(&broker, &alice, "pw"), 0, "{conf}");
        }
    }
}

#[test]
fn what_auth_test_tells() {
    let Some(ldap) = Ldap::shared() else { return };
    let alice = person(ldap, "s3cret", "");
    let broker = broker(&seed(ldap));
    let dn = format!("uid={alice},ou=People,dc=example,dc=com");
    let at = format!("127.0.0.1:{}", ldap.port());
    let secrets = ["s3cret", "wr0ng", ADMIN_PASSWORD];
    let tell = |password: &str, parts: &[&str]| {
        let text = auth_test(&broker, "c1", &alice, password);
        for part in parts {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        for secret in secrets {
            assert!(!text.contains(secret), "{text}");
        }
    };
    let bind = format!("bind as {dn} at {at}: ");
    tell("s3cret", &[&bind, "success (0)", " ms", ": allow"]);
    tell("wr0ng", &[&bind, "invalidCredentials (49)", ": deny"]);
    tell("", &["not asked", ": deny"]);

    reload(&broker, &search(ldap));
    let search = format!("search for (uid={alice}) below ou=people,dc=example,dc=com at {at}: ");
    let head = [&*search, "success (0), 1 entries"];
    tell(
        "s3cret",
        &[&head[..], &["password by `plain`: right"]].concat(),
    );
    tell(
        "wr0ng",
        &[&head[..], &["password by `plain`: wrong"]].concat(),
    );
    let text = auth_test(&broker, "c1", "a*\r\nb", "x");
    assert!(
        text.contains(r"(uid=a\2a  b)") && text.contains("0 entries"),
        "{text}"
    );
    let log = broker.log();
    assert!(!secrets.iter().any(|secret| log.contains(secret)), "{log}");
}

#[test]
fn keys_that_cannot_be_used() {
    let Some(ldap) = Ldap::shared() else { return };
    let broker = broker(&seed(ldap));
    broker.unload(PLUGIN);
    let seed = seed(ldap);
    for (conf, part) in [
        (seed.replace("%u", "all"), "auth.ldap.user_dn"),
        (seed.replace("127.0.0.1", "ldapi://x"), "auth.ldap.servers"),
        (
            format!("{seed}auth.ldap.pubsub_attribute = description\n"),
            "needs auth.ldap.bind_dn",
        ),
        (
            search(ldap).replace("auth.ldap.bind_password", "#"),
            "auth.ldap.bind_dn",
        ),
        (
            search(ldap).replace("_hash = plain", "_hash = salt,sha256"),
            "auth.ldap.password_hash",
        ),
        (
            seed.replace(
                "ssl = false",
                "ssl = true\nauth.ldap.ssl.cacertfile = etc/none.pem",
            ),
            "etc/none.pem",
        ),
    ] {
        broker.write_plugin_conf(PLUGIN, &conf);
        let (_, text) = broker.ctl(&["plugins", "load", PLUGIN]);
        assert!(text.contains(part), "{part} is not in {text}");
        assert!(!text.contains(ADMIN_PASSWORD), "{text}");
        assert!(!broker.is_active(PLUGIN));
    }
}
