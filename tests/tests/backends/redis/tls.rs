//! TLS to Redis.

use super::*;
use emqttd_tests::servers::pki;

fn conf(host: &str, redis: &Redis, options: &[(&str, String)]) -> String {
    let mut text = format!(
        "auth.redis.server = {host}:{}\nauth.redis.username = {USER}\nauth.redis.password = {PASSWORD}\n\
         {SHIPPED}auth.redis.ssl = true\n",
        redis.tls_port()
    );
    for (key, value) in options {
        text += &format!("auth.redis.ssl_opts.{key} = {value}\n");
    }
    text
}

fn file(name: &str) -> String {
    pki::file(name).to_str().unwrap().into()
}

#[test]
fn who_is_believed() {
    let Some(redis) = Redis::shared() else { return };
    let (ca, other) = (file("ca.crt"), file("other-ca.crt"));
    let trusting = |ca: &str| vec![("cacertfile", ca.to_string())];
    let name = new_user(redis, "p");
    let broker = broker(&conf("localhost", redis, &trusting(&ca)));
    assert_eq!(answer(&broker, &name, "p"), ALLOWED);
    let tries = |conf: String| {
        reload(&broker, &conf);
        (
            answer(&broker, &name, "p"),
            auth_test(&broker, "c", &name, "p"),
        )
    };
    assert_eq!(tries(conf("127.0.0.1", redis, &trusting(&ca))).0, ALLOWED);
    let (code, shown) = tries(conf("localhost", redis, &trusting(&other)));
    assert_eq!(code, UNAVAILABLE);
    assert!(shown.contains("TLS: invalid peer certificate"), "{shown}");
    let mut none = trusting(&other);
    none.push(("verify", "verify_none".into()));
    assert_eq!(tries(conf("localhost", redis, &none)).0, ALLOWED);
    // Its certificate is not for that name.
    let mut named = trusting(&ca);
    named.push(("server_name", "elsewhere.example".into()));
    let (code, shown) = tries(conf("localhost", redis, &named));
    assert_eq!(code, UNAVAILABLE);
    assert!(shown.contains("elsewhere.example"), "{shown}");
    // The port without TLS takes no handshake, and a server with TLS no plain words.
    let plain = conf("localhost", redis, &trusting(&ca));
    let plain = plain.replace(&redis.tls_port().to_string(), &redis.port().to_string());
    assert_eq!(tries(plain).0, UNAVAILABLE);
    let unencrypted = format!("{}{SHIPPED}", server(redis));
    let unencrypted = unencrypted.replace(&redis.port().to_string(), &redis.tls_port().to_string());
    assert_eq!(tries(unencrypted).0, UNAVAILABLE);
}

#[test]
fn another_name_and_a_certificate_of_ours() {
    let (cert, key) = (file("misnamed.crt"), file("misnamed.key"));
    let arguments = [
        "--tls-cert-file",
        &cert,
        "--tls-key-file",
        &key,
        "--tls-auth-clients",
        "yes",
    ];
    let Some(redis) = Redis::start_with(&arguments) else {
        return;
    };
    let name = new_user(&redis, "p");
    let mut options = vec![
        ("cacertfile", file("ca.crt")),
        ("server_name", "elsewhere.example".into()),
    ];
    let broker = broker(&conf("localhost", &redis, &options));
    assert_eq!(answer(&broker, &name, "p"), UNAVAILABLE, "no certificate");
    options.push(("certfile", file("client.crt")));
    options.push(("keyfile", file("client.key")));
    reload(&broker, &conf("localhost", &redis, &options));
    assert_eq!(answer(&broker, &name, "p"), ALLOWED);
    redis.restart();
    eventually("back", || answer(&broker, &name, "p") == ALLOWED);
    options.remove(1);
    reload(&broker, &conf("localhost", &redis, &options));
    assert_eq!(answer(&broker, &name, "p"), UNAVAILABLE, "another name");
}
