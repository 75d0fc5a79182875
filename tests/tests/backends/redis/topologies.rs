//! Sentinels, and clusters.

use super::*;
use emqttd_tests::servers::{ADMIN_PASSWORD, RedisCluster, RedisSentinel, pki};
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::thread;

#[test]
fn sentinels_say_who_is_the_master() {
    let Some(all) = RedisSentinel::start() else {
        return;
    };
    let conf = |sentinels: &str, more: &str| {
        format!(
            "auth.redis.type = sentinel\nauth.redis.server = {sentinels}\nauth.redis.username = {USER}\n\
             auth.redis.password = {PASSWORD}\n{SHIPPED}{more}"
        )
    };
    let sentinel = format!("127.0.0.1:{}", all.sentinel().port());
    let name = RedisSentinel::MASTER;
    let good =
        format!("auth.redis.sentinel = {name}\nauth.redis.sentinel_password = {ADMIN_PASSWORD}\n");
    // The first of the two is not there.
    let broker = broker(&conf(&format!("127.0.0.1:1, {sentinel}"), &good));
    let user = new_user(&all.master, "p");
    assert_eq!(answer(&broker, &user, "p"), ALLOWED);
    let shown = |conf: &str| {
        reload(&broker, conf);
        auth_test(&broker, "c", &user, "p")
    };
    let wrong = shown(&conf(&sentinel, &good.replace(name, "nomaster")));
    assert!(wrong.contains("it knows no master `nomaster`"), "{wrong}");
    let wrong = shown(&conf(&sentinel, &good.replace(ADMIN_PASSWORD, "x")));
    assert!(wrong.contains("refuses our password"), "{wrong}");
    let wrong = shown(&conf(&sentinel, &format!("auth.redis.sentinel = {name}\n")));
    assert!(wrong.contains("NOAUTH"), "{wrong}");

    // One that still names a master which is gone is not asked for ever.
    let stale = stale_sentinel();
    reload(&broker, &conf(&format!("{stale}, {sentinel}"), &good));
    eventually("the next sentinel is asked", || {
        answer(&broker, &user, "p") == ALLOWED
    });

    reload(&broker, &conf(&sentinel, &good));
    assert_eq!(answer(&broker, &user, "p"), ALLOWED);
    assert_eq!(all.master.cmd(&["WAIT", "1", "10000"]), "1");
    all.master.kill();
    assert_eq!(answer(&broker, &user, "p"), UNAVAILABLE);
    all.await_failover();
    eventually("the new master is asked", || {
        answer(&broker, &user, "p") == ALLOWED
    });
    // It is the new one, and stays so when the old one is back.
    let key = format!("mqtt_user:{user}");
    all.replica.cmd(&["HSET", &key, "password", "q"]);
    assert_eq!(answer(&broker, &user, "q"), ALLOWED);
    all.master.start_again();
    for _ in 0..20 {
        assert_eq!(answer(&broker, &user, "q"), ALLOWED);
    }
}

/// The address of a sentinel that names a port where nobody is. It lives as long as the process.
fn stale_sentinel() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                // Who asks waits for the answer: each read is one command.
                let mut command = [0; 1024];
                while let Ok(read @ 1..) = stream.read(&mut command) {
                    let command = String::from_utf8_lossy(&command[..read]);
                    let answer: &[u8] = match command.contains("SENTINEL") {
                        true => b"*2\r\n$9\r\n127.0.0.1\r\n$1\r\n1\r\n",
                        false if command.contains("PING") => b"+PONG\r\n",
                        false => b"+OK\r\n",
                    };
                    if stream.write_all(answer).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

fn cluster_conf(servers: &str) -> String {
    format!(
        "auth.redis.type = cluster\nauth.redis.server = {servers}\nauth.redis.username = {USER}\n\
         auth.redis.password = {PASSWORD}\n{SHIPPED}"
    )
}

/// Users by the node that has them: one of each, none of them in the slot that has moved.
fn users(cluster: &RedisCluster, moved: Option<&str>) -> Vec<String> {
    let mut users = vec![None; cluster.nodes.len()];
    while users.iter().any(Option::is_none) {
        let name = unique("spread");
        let key = format!("mqtt_user:{name}");
        let slot = cluster.cmd(&["CLUSTER", "KEYSLOT", &key]);
        let node = (slot.parse::<usize>().unwrap() / 5461).min(2);
        if users[node].is_none() && moved != Some(&*slot) {
            cluster.cmd(&["HSET", &key, "password", "p"]);
            cluster.cmd(&["HSET", &format!("mqtt_acl:{name}"), "t", "3"]);
            users[node] = Some(name);
        }
    }
    users.into_iter().flatten().collect()
}

#[test]
fn a_cluster_is_asked_where_the_keys_are() {
    let Some(cluster) = RedisCluster::start() else {
        return;
    };
    let users = self::users(&cluster, None);
    // One node knows of the others.
    let conf = cluster_conf(&format!("127.0.0.1:{}", cluster.nodes[0].port()));
    let broker = broker(&conf);
    for user in &users {
        assert_eq!(answer(&broker, user, "p"), ALLOWED);
        assert_eq!(answer(&broker, user, "x"), REFUSED);
        let mut client = login(&broker, user, "p");
        assert!(may_subscribe(&mut client, "t"));
        assert!(!may_subscribe(&mut client, "u"));
    }
    assert_eq!(answer(&broker, "nobody", "p"), REFUSED);
    // A command whose keys lie apart is refused by the cluster.
    let apart = conf.replace("HGETALL mqtt_acl:%u", "SUNION a:%u b:%u");
    reload(&broker, &apart);
    let mut client = login(&broker, &users[0], "p");
    assert!(!may_subscribe(&mut client, "t"));
    assert!(broker.log().contains("CROSSSLOT"));

    // A slot moves: first one key of it, which is asked for at its new place, then all of it.
    reload(&broker, &conf);
    let (from, to, user) = (&cluster.nodes[0], &cluster.nodes[2], &users[0]);
    assert_eq!(answer(&broker, user, "p"), ALLOWED);
    let key = format!("mqtt_user:{user}");
    let slot = cluster.cmd(&["CLUSTER", "KEYSLOT", &key]);
    let id = |node: &Redis| node.cmd(&["CLUSTER", "MYID"]);
    let (from_id, to_id) = (id(from), id(to));
    to.cmd(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &from_id]);
    from.cmd(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &to_id]);
    assert_eq!(answer(&broker, user, "p"), ALLOWED, "it is still there");
    let port = to.port().to_string();
    from.cmd(&[
        "MIGRATE",
        "127.0.0.1",
        &port,
        &key,
        "0",
        "5000",
        "AUTH2",
        USER,
        PASSWORD,
    ]);
    for _ in 0..10 {
        assert_eq!(answer(&broker, user, "p"), ALLOWED, "ASK");
    }
    for node in [to, from, &cluster.nodes[1]] {
        node.cmd(&["CLUSTER", "SETSLOT", &slot, "NODE", &to_id]);
    }
    for _ in 0..10 {
        assert_eq!(answer(&broker, user, "p"), ALLOWED, "MOVED");
    }

    let users = self::users(&cluster, Some(&slot));
    // One node is gone: only its users are kept out, and it is found again.
    cluster.nodes[1].kill();
    for _ in 0..10 {
        assert_eq!(answer(&broker, &users[1], "p"), UNAVAILABLE);
    }
    // The cluster itself says so for all of its keys, after a while.
    let shown = auth_test(&broker, "c", &users[1], "p");
    assert!(
        shown.contains("does not answer") || shown.contains("CLUSTERDOWN"),
        "{shown}"
    );
    cluster.nodes[1].start_again();
    cluster.await_ok();
    eventually("all users are in", || {
        users
            .iter()
            .all(|user| answer(&broker, user, "p") == ALLOWED)
    });
    // The one that was configured is gone.
    cluster.nodes[0].kill();
    assert_eq!(answer(&broker, &users[0], "nothing"), UNAVAILABLE);
    cluster.nodes[0].start_again();
    cluster.await_ok();
    eventually("all users are in", || {
        users
            .iter()
            .all(|user| answer(&broker, user, "p") == ALLOWED)
    });
    // All of them are.
    for node in &cluster.nodes {
        node.kill();
    }
    assert_eq!(answer(&broker, &users[0], "p"), UNAVAILABLE);
    for node in &cluster.nodes {
        node.start_again();
    }
    cluster.await_ok();
    eventually("all users are in", || {
        users
            .iter()
            .all(|user| answer(&broker, user, "p") == ALLOWED)
    });
}

/// A master dies, and its replica takes over: nobody has to be told.
#[test]
fn a_cluster_fails_over() {
    let Some(cluster) = RedisCluster::start() else {
        return;
    };
    let users = users(&cluster, None);
    let replica = cluster.replica_of(&cluster.nodes[1]);
    // The node that dies is the one that is configured.
    let conf = cluster_conf(&format!("127.0.0.1:{}", cluster.nodes[1].port()));
    let broker = broker(&conf);
    for user in &users {
        assert_eq!(answer(&broker, user, "p"), ALLOWED);
    }
    cluster.nodes[1].kill();
    assert_eq!(answer(&broker, &users[1], "p"), UNAVAILABLE);
    eventually("the replica takes over", || {
        replica.cmd(&["ROLE"]).starts_with("master")
    });
    eventually("it is asked", || answer(&broker, &users[1], "p") == ALLOWED);
    eventually("all users are in", || {
        users
            .iter()
            .all(|user| answer(&broker, user, "p") == ALLOWED)
    });
    // The old one returns as the replica of the new one.
    cluster.nodes[1].start_again();
    for _ in 0..20 {
        assert_eq!(answer(&broker, &users[1], "p"), ALLOWED);
    }
}

/// Nodes know each other by addresses; their certificates are checked by the name that is configured.
#[test]
fn a_cluster_over_tls() {
    let file = |name: &str| pki::file(name).to_str().unwrap().to_owned();
    // Towards each other nodes are clients.
    let (cert, key) = (file("client.crt"), file("client.key"));
    let arguments = [
        "--tls-cluster",
        "yes",
        "--tls-client-cert-file",
        &cert,
        "--tls-client-key-file",
        &key,
    ];
    let Some(cluster) = RedisCluster::start_with(&arguments) else {
        return;
    };
    let users = users(&cluster, None);
    let port = cluster.nodes[1].tls_port();
    let ca = |name| format!("auth.redis.ssl_opts.cacertfile = {}\n", file(name));
    let conf = format!(
        "{}auth.redis.ssl = true\nauth.redis.ssl_opts.server_name = localhost\n",
        cluster_conf(&format!("127.0.0.1:1,127.0.0.1:{port}"))
    );
    let broker = broker(&format!("{conf}{}", ca("ca.crt")));
    for user in &users {
        assert_eq!(answer(&broker, user, "p"), ALLOWED);
    }
    reload(&broker, &format!("{conf}{}", ca("other-ca.crt")));
    assert_eq!(answer(&broker, &users[0], "p"), UNAVAILABLE);
}

/// Single, and there are several; a cluster with a database.
#[test]
fn a_single_server_is_not_a_cluster() {
    let Some(redis) = Redis::shared() else { return };
    let place = format!("127.0.0.1:{}", redis.port());
    let broker = broker(&cluster_conf(&place));
    assert_eq!(answer(&broker, "u", "p"), UNAVAILABLE);
    let shown = auth_test(&broker, "c", "u", "p");
    assert!(shown.contains("cluster support disabled"), "{shown}");
    broker.unload(PLUGIN);
    broker.write_plugin_conf(
        PLUGIN,
        &format!("{}auth.redis.database = 1\n", cluster_conf(&place)),
    );
    let (_, text) = broker.ctl(&["plugins", "load", PLUGIN]);
    assert!(text.contains("a cluster has no other database"), "{text}");
}
