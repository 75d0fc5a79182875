//! Which tokens let a client in.

use super::*;

/// Sheet 0.1, observed 12.
#[test]
fn tokens_and_passwords() {
    let shut = broker("");
    let open = Broker::start(config("").set("mqtt.allow_anonymous", "true"));
    let secret = Signer::Secret(SECRET);
    let good = token("{}");
    let (head, _) = good.rsplit_once('.').unwrap();
    let later = now() + 3600;
    for (token, codes) in [
        (good.clone(), ACCEPTED),
        (secret.token(&alg("HS384"), "{}"), ACCEPTED),
        (
            secret.token(&alg("HS512"), r#"{"username":"another"}"#),
            ACCEPTED,
        ),
        (
            token(&format!(r#"{{"exp":{later},"nbf":1,"iat":1}}"#)),
            ACCEPTED,
        ),
        (
            Signer::Secret("another").token(&alg("HS256"), "{}"),
            REFUSED,
        ),
        (token(&format!(r#"{{"exp":{}}}"#, now() - 2)), REFUSED),
        (token(&format!(r#"{{"nbf":{later}}}"#)), REFUSED),
        (token(r#"{"exp":"never"}"#), REFUSED),
        (token("[]"), REFUSED),
        (format!("{head}."), REFUSED),
        (format!("{head}.AAAA"), REFUSED),
        (format!("{good}.AAAA"), REFUSED),
        (
            format!("{}.{}.", encoded(alg("none")), encoded("{}")),
            REFUSED,
        ),
        (secret.token(&alg("none"), "{}"), REFUSED),
        (secret.token(&alg("RS256"), "{}"), REFUSED),
        (secret.token(&alg("ES256"), "{}"), REFUSED),
        (
            secret.token(r#"{"alg":"HS256","crit":["x"],"x":1}"#, "{}"),
            REFUSED,
        ),
        (secret.token("{}", "{}"), REFUSED),
        // More than any token has, and deeper.
        (
            format!("{}.{}.AAAA", encoded(alg("HS256")), "A".repeat(50_000)),
            REFUSED,
        ),
        (
            token(&format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000))),
            REFUSED,
        ),
    ] {
        assert_eq!(answers(&shut, &token), codes, "{token}");
        assert_eq!(answers(&open, &token), codes, "{token}");
    }
    // What is no token is for the next module; here there is none.
    for password in ["secret", "a.b.c", "eyJhbGci", "{}", "..", "p\r\nw", ""] {
        assert_eq!(answers(&shut, password), REFUSED, "{password:?}");
        assert_eq!(answers(&open, password), ACCEPTED, "{password:?}");
    }
    for (version, refused) in ALL.into_iter().zip(REFUSED) {
        let none = Connect::new(version, &unique("none"));
        assert_eq!(answer(&open, &none), refused);
        assert_eq!(answer(&open, &none.username("u")), refused);
    }
    let (_, figures) = open.ctl(&["plugins", "show", PLUGIN]);
    for row in ["auth/allowed: 12", "auth/ignored: 21", "auth/denied: 54"] {
        assert!(figures.contains(row), "{row} in {figures}");
    }
}

/// A user name is not needed, and is nobody's business.
#[test]
fn without_a_user_name() {
    let broker = broker("");
    let mut connect = Connect::new(Version::V5, "c");
    connect.password = Some(token("{}").into_bytes());
    assert_eq!(answer(&broker, &connect), 0);
}

/// Each kind of public key, from a file below the release's root.
#[test]
fn public_keys() {
    for (names, signer) in [
        (&["RS256", "RS384", "RS512", "PS256"][..], Signer::rsa()),
        (&["ES256"], Signer::ec("ES256")),
        (&["ES384"], Signer::ec("ES384")),
        (&["ES512"], Signer::ec("ES512")),
        (&["EdDSA"], Signer::ed25519()),
    ] {
        let conf = "auth.jwt.pubkey = etc/certs/jwt_public_key.pem\n";
        let pem = signer.pem();
        let file = "etc/certs/jwt_public_key.pem";
        let broker = Broker::start(config(conf).file(file, &pem));
        for name in names {
            let good = signer.token(&alg(name), "{}");
            assert_eq!(answer(&broker, &connect(Version::V311, &good)), 0, "{name}");
            let (head, signature) = good.rsplit_once('.').unwrap();
            let other = format!("{}.{}", encoded(alg(name)), encoded(r#"{"a":1}"#));
            for bad in [format!("{other}.{signature}"), format!("{head}.AAAA")] {
                assert_eq!(answer(&broker, &connect(Version::V311, &bad)), 4, "{name}");
            }
            let expired = signer.token(&alg(name), r#"{"exp":1}"#);
            assert_eq!(
                answer(&broker, &connect(Version::V311, &expired)),
                4,
                "{name}"
            );
        }
        // The secret beside it serves as well, but only its own algorithms; and the public key is no secret.
        assert_eq!(answer(&broker, &connect(Version::V311, &token("{}"))), 0);
        let pem: &'static str = Box::leak(pem.into_boxed_str());
        for secret in [pem, pem.trim()] {
            for name in ["HS256", "HS384", "HS512"] {
                let forged = Signer::Secret(secret).token(&alg(name), "{}");
                assert_eq!(
                    answer(&broker, &connect(Version::V311, &forged)),
                    4,
                    "{name}"
                );
            }
        }
        let confused = signer.token(&alg("HS256"), "{}");
        assert_eq!(answer(&broker, &connect(Version::V311, &confused)), 4);
    }
}

/// A key of its kind only: RS256 where there is nothing but a secret, HS256 where there is nothing but a public key.
#[test]
fn keys_that_are_missing() {
    let signer = Signer::rsa();
    let with_secret = broker("");
    assert_eq!(
        answers(&with_secret, &signer.token(&alg("RS256"), "{}")),
        REFUSED
    );
    let config = Config::with_plugin(PLUGIN, "auth.jwt.pubkey = jwt.pem\n");
    let config = config.file("jwt.pem", &signer.pem());
    let without = Broker::start(config.set("mqtt.allow_anonymous", "false"));
    assert_eq!(
        answers(&without, &signer.token(&alg("RS256"), "{}")),
        ACCEPTED
    );
    assert_eq!(answers(&without, &token("{}")), REFUSED);
    for empty in ["", "\0"] {
        let forged = Signer::Secret(empty).token(&alg("HS256"), "{}");
        assert_eq!(answers(&without, &forged), REFUSED);
    }
}

/// The key is exchanged while the broker runs.
#[test]
fn a_new_public_key() {
    let (old, new) = (Signer::ec("ES256"), Signer::ec("ES256"));
    let config = config("auth.jwt.pubkey = jwt.pem\n")
        .file("jwt.pem", &old.pem())
        .plugin_conf("emq_reloader", "")
        .loaded(&[PLUGIN, "emq_reloader"]);
    let broker = Broker::start(config);
    let (first, second) = (
        old.token(&alg("ES256"), "{}"),
        new.token(&alg("ES256"), "{}"),
    );
    assert_eq!(answers(&broker, &first), ACCEPTED);
    std::fs::write(broker.root.join("jwt.pem"), "rubbish").unwrap();
    let (_, text) = broker.ctl(&["reload", "jwt_keys"]);
    assert!(text.contains("jwt.pem"), "{text}");
    assert_eq!(answers(&broker, &first), ACCEPTED, "as it was");
    std::fs::write(broker.root.join("jwt.pem"), new.pem()).unwrap();
    let (_, text) = broker.ctl(&["reload", "jwt_keys"]);
    assert_eq!(answers(&broker, &second), ACCEPTED, "{text}");
    assert_eq!(answers(&broker, &first), REFUSED);
}

#[test]
fn claims_that_must_be() {
    let broker = broker(
        "auth.jwt.leeway = 30s\nauth.jwt.issuer = me\nauth.jwt.audience = mqtt\n\
         auth.jwt.verify_claims.sub = %u\nauth.jwt.verify_claims.dev = dev-%c\n",
    );
    let claims = |sub: &str, dev: &str, iss: &str, aud: &str, exp: u64| {
        let claims =
            format!(r#"{{"sub":"{sub}","dev":"{dev}","iss":"{iss}","aud":{aud},"exp":{exp}}}"#);
        let connect = Connect::new(Version::V311, "c1").username("alice");
        answer(&broker, &connect.password(&token(&claims)))
    };
    let soon = now() + 60;
    assert_eq!(claims("alice", "dev-c1", "me", r#""mqtt""#, soon), 0);
    assert_eq!(
        claims("alice", "dev-c1", "me", r#"["x","mqtt"]"#, now() - 10),
        0
    );
    assert_eq!(claims("alice", "dev-c1", "me", r#""mqtt""#, now() - 60), 4);
    assert_eq!(claims("bob", "dev-c1", "me", r#""mqtt""#, soon), 4);
    assert_eq!(claims("%u", "dev-c1", "me", r#""mqtt""#, soon), 4);
    assert_eq!(claims("alice", "dev-c2", "me", r#""mqtt""#, soon), 4);
    assert_eq!(claims("alice", "dev-c1", "you", r#""mqtt""#, soon), 4);
    assert_eq!(claims("alice", "dev-c1", "me", r#""http""#, soon), 4);
    assert_eq!(answers(&broker, &token("{}")), REFUSED);
}

#[test]
fn tokens_as_user_names() {
    let broker = broker("auth.jwt.from = username\n");
    for version in ALL {
        let connect = |name: &str| {
            let connect = Connect::new(version, &unique("name")).username(name);
            answer(&broker, &connect.password("anything"))
        };
        assert_eq!(connect(&token("{}")), 0);
        assert_ne!(connect(&token(r#"{"exp":1}"#)), 0);
        assert_ne!(connect("alice"), 0);
    }
}

#[test]
fn auth_test_tells() {
    let broker = broker("auth.jwt.superuser_claim = root\n");
    let good = token(r#"{"root":true,"whisper":"hushhush"}"#);
    for (password, words) in [
        (
            &*good,
            &[
                "alg \"HS256\"",
                "signature is right",
                "for ever; a superuser",
                "result                  : allow",
            ][..],
        ),
        (
            &token(r#"{"exp":1}"#),
            &[
                "signature is right",
                "expired",
                "result                  : deny",
            ],
        ),
        (
            &Signer::Secret("x").token(r#"{"alg":"HS256","kid":"k7"}"#, "{}"),
            &["kid \"k7\"", "not one by a key"],
        ),
        ("hushhush", &["is no token", "ignore"]),
    ] {
        let text = auth_test(&broker, password);
        for word in words {
            assert!(text.contains(word), "{word} in {text}");
        }
        assert!(
            !text.contains("hushhush") && !text.contains(password),
            "{text}"
        );
        assert!(!text.contains(SECRET), "{text}");
    }
    assert!(!broker.log().contains(&good));
}

/// EMQ's own text loads; that its secret is no secret is said.
#[test]
fn the_text_of_emq() {
    let text = include_str!("../../../../etc/plugins/emq_auth_jwt.conf");
    let broker = Broker::start(Config::with_plugin(PLUGIN, text));
    let token = Signer::Secret("emqsecret").token(&alg("HS256"), "{}");
    assert_eq!(answers(&broker, &token), ACCEPTED);
    assert!(broker.log().contains("the one that EMQ shipped"));
}

#[test]
fn configurations_that_make_no_sense() {
    for (conf, files, what) in [
        ("auth.jwt.secret = \n", None, "there is no key"),
        ("auth.jwt.pubkey = nowhere.pem\n", None, "nowhere.pem"),
        (
            "auth.jwt.pubkey = a.pem\n",
            Some("rubbish"),
            "neither a public key",
        ),
        ("auth.jwt.jwks = a.pem\n", Some("{}"), "no list `keys`"),
        ("auth.jwt.jwks = https://\n", None, "URL without a host"),
        ("auth.jwt.from = header\n", None, "auth.jwt.from"),
    ] {
        let mut config = Config::with_plugin(PLUGIN, conf);
        if let Some(text) = files {
            config = config.file("a.pem", text);
        }
        let Err(text) = Broker::try_start(&config) else {
            panic!("started with {conf}");
        };
        assert!(text.contains(what), "{conf}: {text}");
    }
}
