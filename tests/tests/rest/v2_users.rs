//! Users of the API and the dashboard.

use emqttd_tests::http::Http;
use emqttd_tests::{Broker, End};
use serde_json::{Value, json};

use crate::common::{api, broker};

const USERS: &str = "/api/v2/users";

fn auth(broker: &Broker, username: &str, password: &str) -> Value {
    let nobody = Http::at(broker.addr("api.mgmt"));
    let body = json!({ "username": username, "password": password });
    let answer = nobody.post("/api/v2/auth", &body);
    assert_eq!(answer.status, 200);
    answer.json()
}

fn encoded(name: &str) -> String {
    name.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[test]
fn rest_life_of_a_user() {
    let mut broker = broker();
    for name in ["bob", "a/b%2F", "用户", "with blank"] {
        let http = api(&broker);
        let path = format!("{USERS}/{}", encoded(name));
        assert_eq!(http.get(&path).result(), json!([]));
        let new = json!({ "username": name, "password": "first one", "tags": "viewer" });
        assert_eq!(
            http.post(USERS, &new).json(),
            json!({ "code": 0, "result": [] }),
            "{name}"
        );
        assert_eq!(
            http.post(USERS, &new).json(),
            json!({ "code": 113, "message": "User already exist" })
        );
        let row = |tags: &str| json!({ "username": name, "tags": tags });
        assert_eq!(http.get(&path).result(), row("viewer"));
        assert!(
            http.get(USERS)
                .result()
                .as_array()
                .unwrap()
                .contains(&row("viewer"))
        );
        assert_eq!(http.put(&path, &json!({ "tags": "é" })).result(), json!([]));
        assert_eq!(http.get(&path).result(), row("é"));

        assert_eq!(auth(&broker, name, "first one")["code"], 0);
        let theirs = Http::at(broker.addr("api.mgmt")).basic(name, "first one");
        theirs.get("/api/v2/management/nodes").result();
        let change = format!("/api/v2/change_pwd/{}", encoded(name));
        let body = json!({ "old_pwd": "wrong", "new_pwd": "second one" });
        assert_eq!(
            http.put(&change, &body).json(),
            json!({ "code": 114, "message": "OldPassword error" })
        );
        let body = json!({ "old_pwd": "first one", "new_pwd": "second one" });
        assert_eq!(http.put(&change, &body).result(), json!([]));
        assert_eq!(theirs.get("/api/v2/management/nodes").status, 401);
        assert_eq!(auth(&broker, name, "second one")["code"], 0);

        // Users outlive a restart.
        broker.restart(End::Stop);
        assert_eq!(auth(&broker, name, "second one")["code"], 0);
        let http = api(&broker);
        assert_eq!(http.delete(&path).result(), json!([]));
        assert_eq!(
            http.delete(&path).json(),
            json!({ "code": 105, "message": "User not found" })
        );
        assert_eq!(auth(&broker, name, "second one")["code"], 103);
        let gone = Http::at(broker.addr("api.mgmt")).basic(name, "second one");
        assert_eq!(gone.get("/api/v2/management/nodes").status, 401);
    }
}

#[test]
fn rest_users_refuse() {
    let broker = broker();
    let http = api(&broker);
    assert_eq!(
        http.delete(&format!("{USERS}/admin")).json(),
        json!({ "code": 106, "message": "admin cannot be deleted" })
    );
    let admin = json!([{ "username": "admin", "tags": "administrator" }]);
    assert_eq!(http.get(USERS).result(), admin);
    let unknown = json!({ "code": 105, "message": "User not found" });
    assert_eq!(
        http.put(&format!("{USERS}/none"), &json!({ "tags": "t" }))
            .json(),
        unknown
    );
    let change = json!({ "old_pwd": "a", "new_pwd": "b" });
    assert_eq!(http.put("/api/v2/change_pwd/none", &change).json(), unknown);
    for (body, code) in [
        (json!({ "username": "x", "password": "secret" }), 107),
        (json!({ "username": "x", "tags": "t" }), 107),
        (
            json!({ "username": 5, "password": "secret", "tags": "t" }),
            108,
        ),
        (
            json!({ "username": "", "password": "secret", "tags": "t" }),
            102,
        ),
        (json!({ "username": "x", "password": "", "tags": "t" }), 102),
        (
            json!({ "username": "x".repeat(10_000), "password": "secret", "tags": "t" }),
            102,
        ),
    ] {
        let answer = http.post(USERS, &body);
        assert_eq!(
            (answer.status, answer.code()),
            (200, code),
            "{}",
            answer.text()
        );
    }
    assert_eq!(http.get(USERS).result(), admin);
    assert_eq!(
        http.put("/api/v2/change_pwd/admin", &json!({ "old_pwd": "public" }))
            .code(),
        107
    );
}

#[test]
fn rest_auth_tells_nobody_who_there_is() {
    let broker = broker();
    assert_eq!(
        auth(&broker, "admin", "public"),
        json!({ "code": 0, "result": [] })
    );
    let wrong = json!({ "code": 103, "message": "Password error" });
    assert_eq!(auth(&broker, "admin", "bad"), wrong);
    assert_eq!(auth(&broker, "nobody", "bad"), wrong);
    let nobody = Http::at(broker.addr("api.mgmt"));
    assert_eq!(
        nobody
            .post("/api/v2/auth", &json!({ "username": "admin" }))
            .code(),
        107
    );
    assert_eq!(
        nobody
            .post("/api/v2/auth/", &json!({ "username": 1, "password": "" }))
            .code(),
        108
    );
    assert_eq!(nobody.send("POST", "/api/v2/auth", Some(b"x")).code(), 109);
}
