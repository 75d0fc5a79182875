//! Who comes in, with what, and what they may.

use std::time::{Duration, Instant};

use crate::common::{address, api, broker, config, with_dashboard};
use emqttd_tests::http::{Answer, Http};
use emqttd_tests::{Broker, End};
use serde_json::{Value, json};

const NODES: &str = "/api/v2/management/nodes";

/// Sets another password than the one that everybody knows.
fn with_password(broker: &Broker) -> Http {
    let (exit, text) = broker.ctl(&["admins", "passwd", "admin", "a better one"]);
    assert_eq!((exit, text.as_str()), (0, "ok\n"));
    Http::at(broker.addr("api.mgmt")).basic("admin", "a better one")
}

fn login(http: &Http, user: &str, password: &str) -> Answer {
    http.post(
        "/api/v2/login",
        &json!({ "username": user, "password": password }),
    )
}

/// What the audit log has of that action: who, via, outcome.
fn audited(http: &Http, action: &str) -> Vec<(String, String, String)> {
    let word = |entry: &Value, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let result = http.get("/api/v2/audit?limit=1000").result();
    let entries = result.as_array().or_else(|| result["objects"].as_array());
    let entries = entries.unwrap_or_else(|| panic!("{result}")).clone();
    let of_action = entries.iter().filter(|entry| entry["action"] == action);
    of_action
        .map(|entry| {
            (
                word(entry, "who"),
                word(entry, "via"),
                word(entry, "outcome"),
            )
        })
        .collect()
}

#[test]
fn rest_basic_auth_lets_in_and_nothing_keeps_out() {
    let broker = broker();
    let answer = api(&broker).get(NODES);
    assert_eq!(answer.result()[0]["name"], "emq@127.0.0.1");
    let nobody = Http::at(broker.addr("api.mgmt"));
    for http in [
        nobody.clone(),
        nobody.clone().basic("admin", "wrong"),
        nobody.clone().basic("", ""),
        nobody.clone().header("Authorization", "Basic"),
        nobody.clone().header("Authorization", "Basic !!!"),
        nobody
            .clone()
            .header("Authorization", "Digest username=admin"),
        nobody.clone().header("Authorization", "admin:public"),
    ] {
        let answer = http.get(NODES);
        assert_eq!((answer.status, answer.text().as_str()), (401, ""));
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Basic Realm=\"emqx control center\"")
        );
    }
    // A page asks without the browser's own box.
    let page = nobody
        .clone()
        .header("X-Requested-With", "emqttd-dashboard");
    for http in [page, nobody.bearer("nonsense")] {
        let answer = http.get(NODES);
        assert_eq!(
            (answer.status, answer.header("www-authenticate")),
            (401, None)
        );
    }
    let me = api(&broker).get("/api/v2/me").result();
    assert_eq!(
        (&me["username"], &me["via"]),
        (&json!("admin"), &json!("basic"))
    );
}

#[test]
fn rest_the_default_password_counts_on_the_machine_itself_only() {
    let broker = broker();
    let admin = api(&broker);
    assert_eq!(admin.get(NODES).status, 200);
    for (name, value) in [
        ("X-Forwarded-For", "127.0.0.1"),
        ("X-Real-IP", "127.0.0.1"),
        ("Forwarded", "for=127.0.0.1"),
        ("Via", "1.1 proxy"),
        ("Host", "evil.example"),
        ("Host", "localhost.evil.example:8080"),
    ] {
        let answer = admin.clone().header(name, value).get(NODES);
        assert_eq!(answer.status, 401, "{name}: {value}");
        assert!(
            answer
                .text()
                .contains("emqttd_ctl admins passwd admin <password>"),
            "{}",
            answer.text()
        );
    }
    // Another one counts from everywhere.
    let admin = with_password(&broker);
    assert_eq!(
        admin
            .clone()
            .header("X-Forwarded-For", "192.0.2.1")
            .get(NODES)
            .status,
        200
    );
    assert_eq!(api(&broker).get(NODES).status, 401);
}

#[test]
fn rest_the_page_insists_on_another_password() {
    let broker = Broker::start(with_dashboard(config(), ""));
    let page = Http::at(address(&broker, "dashboard:http"));
    let session = login(&page, "admin", "public").result();
    assert_eq!(session["must_change_password"], true);
    assert_eq!(session["username"], "admin");
    let token = page.clone().bearer(session["token"].as_str().unwrap());
    assert_eq!(
        token.get("/api/v2/me").result()["must_change_password"],
        true
    );
    for answer in [
        token.get(NODES),
        token.get("/api/v2/users"),
        token.post("/api/v2/login/refresh", &json!({})),
        token.put(
            "/api/v2/change_pwd/other",
            &json!({ "old_pwd": "public", "new_pwd": "x y z" }),
        ),
        token.post(
            "/api/v2/users",
            &json!({ "username": "evil", "password": "evil", "tags": "" }),
        ),
    ] {
        assert_eq!(answer.status, 403, "{}", answer.text());
        assert_eq!(answer.code(), 102);
    }
    let wrong = token.put(
        "/api/v2/change_pwd/admin",
        &json!({ "old_pwd": "no", "new_pwd": "a better one" }),
    );
    assert_eq!(wrong.code(), 114);
    let done = token.put(
        "/api/v2/change_pwd/admin",
        &json!({ "old_pwd": "public", "new_pwd": "a better one" }),
    );
    assert_eq!(done.code(), 0, "{}", done.text());
    // The token was one of the old password.
    assert_eq!(token.get("/api/v2/me").status, 401);
    let session = login(&page, "admin", "a better one").result();
    assert_eq!(session["must_change_password"], false);
    let token = page.clone().bearer(session["token"].as_str().unwrap());
    assert_eq!(token.get(NODES).status, 200);
    let changed = audited(&token, "PUT /api/v2/change_pwd/admin");
    assert_eq!(changed.len(), 2, "{changed:?}");
    assert_eq!(changed[0], ("admin".into(), "token".into(), "200".into()));
    assert_eq!(changed[1].2, "200 code 114");
    // From afar the sentence says what to do.
    let afar = Http::at(broker.addr("api.mgmt")).header("X-Forwarded-For", "192.0.2.1");
    let answer = login(&afar, "admin", "public");
    assert_eq!((answer.status, answer.code()), (200, 103));
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(
        message.contains("emqttd_ctl admins passwd admin"),
        "{message}"
    );
}

#[test]
fn rest_tokens_are_renewed_ended_and_outlive_a_restart() {
    let mut broker = broker();
    with_password(&broker);
    let token_of = |broker: &Broker| {
        let http = Http::at(broker.addr("api.mgmt"));
        let session = login(&http, "admin", "a better one").result();
        assert_eq!(session["expires_in"], 900);
        session["token"].as_str().unwrap().to_owned()
    };
    let text = token_of(&broker);
    let of = |broker: &Broker, token: &str| Http::at(broker.addr("api.mgmt")).bearer(token);
    let renewed = of(&broker, &text)
        .post("/api/v2/login/refresh", &json!({}))
        .result();
    let renewed = renewed["token"].as_str().unwrap().to_owned();
    let other = token_of(&broker);
    broker.restart(End::Stop);
    for token in [&text, &renewed, &other] {
        assert_eq!(
            of(&broker, token).get("/api/v2/me").result()["via"],
            "token"
        );
    }
    assert_eq!(
        of(&broker, &renewed)
            .post("/api/v2/logout", &json!({}))
            .code(),
        0
    );
    // All tokens of that login are void, and of no other.
    assert_eq!(of(&broker, &text).get("/api/v2/me").status, 401);
    assert_eq!(
        of(&broker, &renewed)
            .post("/api/v2/login/refresh", &json!({}))
            .status,
        401
    );
    assert_eq!(of(&broker, &other).get("/api/v2/me").status, 200);
    // Nor does a restart bring them back.
    broker.restart(End::Kill);
    assert_eq!(of(&broker, &text).get("/api/v2/me").status, 401);
    assert_eq!(of(&broker, &renewed).get("/api/v2/me").status, 401);
    assert_eq!(of(&broker, &other).get("/api/v2/me").status, 200);
    // One letter less, one more, one other.
    let mut bent = other.clone().into_bytes();
    bent[40] = if bent[40] == b'A' { b'B' } else { b'A' };
    let bent = String::from_utf8(bent).unwrap();
    for wrong in [
        &other[1..],
        &format!("{other}A"),
        &bent,
        "",
        "ak_0123456789abcdef.x",
    ] {
        assert_eq!(of(&broker, wrong).get("/api/v2/me").status, 401, "{wrong}");
    }
    // A user that is gone takes all of it along, and one of that name who comes later inherits nothing.
    let (_, text) = broker.ctl(&["admins", "add", "ann", "secret word", "x"]);
    assert_eq!(text, "ok\n");
    let ann = Http::at(broker.addr("api.mgmt")).basic("ann", "secret word");
    assert_eq!(ann.get(NODES).status, 200);
    let http = Http::at(broker.addr("api.mgmt"));
    let of_ann = login(&http, "ann", "secret word").result()["token"]
        .as_str()
        .unwrap()
        .to_owned();
    for step in [
        &["admins", "del", "ann"][..],
        &["admins", "add", "ann", "another word", "x"],
    ] {
        assert_eq!(broker.ctl(step).1, "ok\n");
        assert_eq!(ann.get(NODES).status, 401);
        assert_eq!(of(&broker, &of_ann).get("/api/v2/me").status, 401);
    }
}

#[test]
fn rest_api_keys_do_what_their_scopes_say() {
    let broker = broker();
    let admin = with_password(&broker);
    let made = admin
        .post(
            "/api/v2/api_keys",
            &json!({ "name": "reader", "scopes": ["read"] }),
        )
        .result();
    let (id, secret) = (
        made["id"].as_str().unwrap(),
        made["secret"].as_str().unwrap(),
    );
    let nobody = Http::at(broker.addr("api.mgmt"));
    for reader in [
        nobody.clone().bearer(&format!("{id}.{secret}")),
        nobody.clone().basic(id, secret),
    ] {
        assert_eq!(reader.get(NODES).status, 200);
        let me = reader.get("/api/v2/me").result();
        assert_eq!(
            (&me["via"], &me["scopes"]),
            (&json!("key"), &json!(["read"]))
        );
        for (answer, scope) in [
            (
                reader.post(
                    "/api/v2/mqtt/publish",
                    &json!({ "topic": "a", "payload": "b" }),
                ),
                "publish",
            ),
            (reader.delete("/api/v2/clients/x"), "clients"),
            (
                reader.put(
                    "/api/v2/nodes/emq@127.0.0.1/plugins/emq_recon",
                    &json!({ "active": true }),
                ),
                "manage",
            ),
            (reader.get("/api/v2/users"), "admin"),
            (reader.get("/api/v2/api_keys"), "admin"),
            (reader.get("/api/v2/audit"), "admin"),
            (reader.post("/api/v2/users", &json!({})), "admin"),
        ] {
            assert_eq!((answer.status, answer.code()), (403, 102), "{scope}");
            let expected = format!("the key lacks the scope `{scope}`");
            assert_eq!(answer.json()["message"], expected);
        }
    }
    let refused = audited(&admin, "DELETE /api/v2/clients/x");
    assert_eq!(refused[0], (id.into(), "key".into(), "403 code 102".into()));
    for wrong in [
        format!("{id}.wrong"),
        format!("{id}."),
        format!("ak_0000000000000000.{secret}"),
    ] {
        assert_eq!(nobody.clone().bearer(&wrong).get(NODES).status, 401);
    }
    let gone = admin.delete(&format!("/api/v2/api_keys/{id}"));
    assert_eq!(gone.code(), 0);
    assert_eq!(
        nobody.bearer(&format!("{id}.{secret}")).get(NODES).status,
        401
    );
}

#[test]
fn rest_wrong_passwords_have_to_wait() {
    let broker = broker();
    let admin = with_password(&broker);
    assert_eq!(admin.get(NODES).status, 200);
    let nobody = Http::at(broker.addr("api.mgmt"));
    for n in 0..10 {
        let answer = login(&nobody, &format!("u{n}"), "wrong");
        assert_eq!((answer.status, answer.code()), (200, 103));
        assert_eq!(answer.json()["message"], "Password error");
    }
    let answer = login(&nobody, "u", "wrong");
    assert_eq!((answer.status, answer.code()), (429, 103));
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=61).contains(&wait));
    assert_eq!(nobody.clone().basic("v", "wrong").get(NODES).status, 429);
    let auth = nobody.post(
        "/api/v2/auth",
        &json!({ "username": "admin", "password": "x" }),
    );
    assert_eq!(auth.status, 429);
    // Who is known already goes on.
    assert_eq!(admin.get(NODES).status, 200);
    let failed = audited(&admin, "POST /api/v2/login");
    assert_eq!(failed.len(), 10, "{failed:?}");
    assert!(
        failed
            .iter()
            .all(|(_, via, outcome)| via == "login" && outcome.contains("wrong"))
    );
    let text = std::fs::read_to_string(broker.root.join("log/audit.log")).unwrap_or_default();
    assert!(!text.contains("a better one"), "{text}");
}

#[test]
fn rest_refused_tokens_and_keys_are_in_the_audit_log_and_do_not_fill_it() {
    let broker = broker();
    let http = api(&broker);
    let bearer = |token: &str| Http::at(broker.addr("api.mgmt")).bearer(token);
    for _ in 0..20 {
        let forged = bearer("ak_0123456789abcdef.guess").get("/api/v2/refused");
        assert_eq!(forged.status, 401);
        assert_eq!(bearer("guess").get("/api/v2/refused").status, 401);
    }
    // One of an address in a minute; a minute may have gone by on a machine that does much else.
    let noted = audited(&http, "GET /api/v2/refused");
    assert!(matches!(noted.len(), 1..=3), "{noted:?}");
    let (who, via, outcome) = noted.last().unwrap();
    assert_eq!((who.as_str(), via.as_str()), ("ak_0123456789abcdef", "key"));
    assert_eq!(outcome, "the API key does not count");
    assert!(!http.get("/api/v2/audit").text().contains("guess"));
}

#[test]
fn rest_an_unknown_user_takes_as_long_as_a_wrong_password() {
    let broker = broker();
    let admin = with_password(&broker);
    assert_eq!(admin.get(NODES).status, 200);
    let nobody = Http::at(broker.addr("api.mgmt"));
    let mut times = [Duration::MAX; 2];
    for _ in 0..4 {
        for (user, best) in ["admin", "nobody"].into_iter().zip(&mut times) {
            let begun = Instant::now();
            assert_eq!(login(&nobody, user, "wrong").code(), 103);
            *best = begun.elapsed().min(*best);
        }
    }
    // What an attacker would see is a difference of the whole hash: a factor of ten and more.
    let [known, unknown] = times;
    assert!(
        unknown * 3 > known && known * 3 > unknown,
        "{known:?} {unknown:?}"
    );
}

#[test]
fn rest_pages_of_others_change_nothing() {
    let broker = broker();
    let admin = with_password(&broker);
    let body = json!({ "topic": "a", "payload": "b" });
    for origin in ["null", "http://evil.example", "https://127.0.0.1"] {
        let foreign = admin.clone().header("Origin", origin);
        assert_eq!(
            foreign.post("/api/v2/mqtt/publish", &body).status,
            403,
            "{origin}"
        );
        assert_eq!(login(&foreign, "admin", "a better one").status, 403);
        let answer = foreign.get(NODES);
        assert_eq!(answer.status, 200);
        assert!(
            answer
                .headers
                .iter()
                .all(|(name, _)| !name.starts_with("access-control"))
        );
        let asked = foreign.send("OPTIONS", "/api/v2/mqtt/publish", None);
        assert!(
            asked
                .headers
                .iter()
                .all(|(name, _)| !name.starts_with("access-control"))
        );
    }
    let own = format!("http://{}", broker.addr("api.mgmt"));
    assert_eq!(
        admin
            .clone()
            .header("Origin", &own)
            .post("/api/v2/mqtt/publish", &body)
            .code(),
        0
    );
}

#[test]
fn rest_metrics_ask_for_a_login_when_they_are_told_to() {
    let broker = Broker::start(config().set("management.metrics.auth", "on"));
    let nobody = Http::at(broker.addr("api.mgmt"));
    assert_eq!(nobody.get("/metrics").status, 401);
    assert_eq!(nobody.get("/health").status, 200);
    assert_eq!(api(&broker).get("/metrics").status, 200);
}
