//! The servers themselves: they answer over TLS, keep their data over a SIGKILL, hang and go on, and are gone
//! when the test process is.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use emqttd_tests::servers::{
    ADMIN_PASSWORD, Ldap, Mongo, Mysql, PASSWORD, Pgsql, Redis, RedisCluster, RedisSentinel,
    Server, USER,
};
use emqttd_tests::unique;

/// Runs a client of the server: what it printed, or its complaint.
fn client(command: &mut Command) -> Result<String, String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("{command:?}: {e}"));
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// A server that hangs takes connections and says nothing; the same connection is answered when it goes on.
#[track_caller]
fn hangs_and_resumes(server: &Server, request: &[u8]) {
    server.hang();
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap();
    stream.write_all(request).unwrap();
    let mut byte = [0];
    stream
        .set_read_timeout(Some(Duration::from_millis(300)))
        .unwrap();
    let silence = stream.read_exact(&mut byte).unwrap_err();
    assert_eq!(silence.kind(), ErrorKind::WouldBlock);
    server.resume();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream.read_exact(&mut byte).unwrap();
}

/// Nothing listens after a SIGKILL, and the process that comes then is another one.
#[track_caller]
fn killed_and_started_again(server: &Server) {
    let pid = server.pid();
    server.kill();
    assert!(!server.is_running() && !is_alive(pid));
    let refused = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    server.start_again();
    assert!(server.is_running() && server.pid() != pid);
}

/// Whether a process has not ended.
fn is_alive(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(") ").map_or("X", |(_, rest)| &rest[..1]);
    !matches!(state, "Z" | "X")
}

#[track_caller]
fn speaks_ipv6(server: &Server) {
    if Path::new("/proc/net/if_inet6").exists() {
        TcpStream::connect((Ipv6Addr::LOCALHOST, server.port())).unwrap();
    }
}

// MariaDB

fn mariadb(mysql: &Mysql, password: &str, ca: &Path) -> Command {
    let mut command = mysql.client();
    command.args(["-N", "-h", "localhost", "--protocol=tcp", "-u", USER]);
    command.args(["-P", &mysql.port().to_string()]);
    command.arg(format!("-p{password}"));
    command.arg("--ssl-ca").arg(ca);
    command.args(["--ssl-verify-server-cert", "mqtt"]);
    command
}

#[test]
fn mysql_answers_over_tls() {
    let Some(mysql) = Mysql::shared() else { return };
    let ask = |password, ca: &Path| {
        client(mariadb(mysql, password, ca).args(["-e", "SHOW STATUS LIKE 'Ssl_cipher'"]))
    };
    let cipher = ask(PASSWORD, &mysql.ca()).unwrap();
    assert!(cipher.starts_with("Ssl_cipher\tTLS_"), "{cipher}");
    let wrong = ask("x", &mysql.ca()).unwrap_err();
    assert!(wrong.contains("Access denied"), "{wrong}");
    let stranger = ask(PASSWORD, &mysql.other_ca()).unwrap_err();
    assert!(stranger.contains("TLS/SSL error"), "{stranger}");
    speaks_ipv6(mysql);

    // A user who needs a certificate.
    let user = unique("certified");
    mysql.sql(&format!(
        "CREATE USER {user}@'%' IDENTIFIED BY '{PASSWORD}' REQUIRE SUBJECT '/CN=mqtt'; \
         GRANT ALL ON mqtt.* TO {user}@'%'"
    ));
    let certified = |with: bool| {
        let mut command = mariadb(mysql, PASSWORD, &mysql.ca());
        command.args(["-u", &user, "-e", "SELECT 1"]);
        if with {
            command.arg("--ssl-cert").arg(mysql.client_cert());
            command.arg("--ssl-key").arg(mysql.client_key());
        }
        client(&mut command)
    };
    assert_eq!(certified(true).as_deref(), Ok("1"));
    assert!(certified(false).unwrap_err().contains("Access denied"));
}

#[test]
fn mysql_keeps_its_data_and_hangs() {
    let Some(mysql) = Mysql::start() else { return };
    let database = mysql.fresh_database();
    mysql.sql_in(
        &database,
        "CREATE TABLE t (a varchar(9)); INSERT INTO t VALUES ('ü'), (NULL)",
    );
    killed_and_started_again(&mysql);
    assert_eq!(
        mysql.sql_in(&database, "SELECT a FROM t ORDER BY a DESC"),
        "ü\nNULL\n"
    );
    mysql.restart();
    assert_eq!(mysql.sql_in(&database, "SELECT count(*) FROM t"), "2\n");
    hangs_and_resumes(&mysql, b"");
}

// PostgreSQL

fn psql(pgsql: &Pgsql, user: &str, password: &str, more: &str) -> Command {
    let mut command = Command::new("psql");
    let place = format!(
        "host=localhost port={} dbname=mqtt user={user} {more}",
        pgsql.port()
    );
    command.env("PGPASSWORD", password).env("LC_ALL", "C");
    command.args(["-X", "-A", "-t", "-d", &place]);
    command.args([
        "-c",
        "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
    ]);
    command
}

#[test]
fn pgsql_answers_over_tls() {
    let Some(pgsql) = Pgsql::shared() else { return };
    let verified = |ca: &Path| format!("sslmode=verify-full sslrootcert={}", ca.display());
    let (ca, other) = (verified(&pgsql.ca()), verified(&pgsql.other_ca()));
    let ask = |user, password, more: &str| client(&mut psql(pgsql, user, password, more));
    assert_eq!(ask(USER, PASSWORD, &ca).as_deref(), Ok("t"));
    assert_eq!(ask(USER, PASSWORD, "sslmode=disable").as_deref(), Ok("f"));
    let wrong = ask(USER, "x", &ca).unwrap_err();
    assert!(wrong.contains("password authentication failed"), "{wrong}");
    let stranger = ask(USER, PASSWORD, &other).unwrap_err();
    assert!(stranger.contains("certificate verify failed"), "{stranger}");
    speaks_ipv6(pgsql);

    // A user who needs a certificate.
    let (cert, key) = (pgsql.client_cert(), pgsql.client_key());
    let with = format!("{ca} sslcert={} sslkey={}", cert.display(), key.display());
    assert_eq!(ask("certified", PASSWORD, &with).as_deref(), Ok("t"));
    let without = ask("certified", PASSWORD, &format!("{ca} sslcert=/nowhere"));
    assert!(without.unwrap_err().contains("client certificate"));
}

#[test]
fn pgsql_keeps_its_data_and_hangs() {
    let Some(pgsql) = Pgsql::start() else { return };
    let database = pgsql.fresh_database();
    pgsql.sql_in(
        &database,
        "CREATE TABLE t (a text); INSERT INTO t VALUES ('ü'), (NULL)",
    );
    // What was committed lies in the operating system's cache, which outlives the process.
    killed_and_started_again(&pgsql);
    assert_eq!(
        pgsql.sql_in(&database, "SELECT a FROM t ORDER BY a"),
        "ü\n\n"
    );
    pgsql.restart();
    assert_eq!(pgsql.admin(&database, "SELECT count(*) FROM t"), "2\n");
    // A request for TLS, which is answered with one letter.
    hangs_and_resumes(&pgsql, &[0, 0, 0, 8, 4, 210, 22, 47]);
}

// Redis

fn redis_cli(redis: &Redis, user: &[&str], ca: &Path) -> Command {
    let mut command = Command::new("redis-cli");
    command.args(["-e", "-h", "localhost", "-p", &redis.tls_port().to_string()]);
    command.args(["--tls", "--cacert"]).arg(ca);
    command.args(["--no-auth-warning"]).args(user);
    command
}

#[test]
fn redis_answers_over_tls() {
    let Some(redis) = Redis::shared() else { return };
    let ask = |user: &[&str], ca: &Path| client(redis_cli(redis, user, ca).args(["ACL", "WHOAMI"]));
    let mqtt = ["--user", USER, "--pass", PASSWORD];
    assert_eq!(ask(&mqtt, &redis.ca()).as_deref(), Ok(USER));
    let admin = ["-a", ADMIN_PASSWORD];
    assert_eq!(ask(&admin, &redis.ca()).as_deref(), Ok("default"));
    let wrong = ask(&["--user", USER, "--pass", "x"], &redis.ca()).unwrap_err();
    assert!(wrong.contains("NOAUTH"), "{wrong}");
    let stranger = ask(&mqtt, &redis.other_ca()).unwrap_err();
    assert!(stranger.contains("verify failed"), "{stranger}");
    speaks_ipv6(redis);
}

#[test]
fn redis_asks_for_a_certificate() {
    let Some(redis) = Redis::start_with(&["--tls-auth-clients", "yes"]) else {
        return;
    };
    let mqtt = ["--user", USER, "--pass", PASSWORD];
    let mut without = redis_cli(&redis, &mqtt, &redis.ca());
    assert!(client(without.arg("PING")).is_err());
    let mut with = redis_cli(&redis, &mqtt, &redis.ca());
    with.arg("--cert").arg(redis.client_cert());
    with.arg("--key").arg(redis.client_key());
    assert_eq!(client(with.arg("PING")).as_deref(), Ok("PONG"));
}

#[test]
fn redis_keeps_its_data_and_hangs() {
    let Some(redis) = Redis::start() else { return };
    assert_eq!(
        redis.cmd(&["HSET", "mqtt_user:a b", "password", "x\"y"]),
        "1"
    );
    killed_and_started_again(&redis);
    assert_eq!(redis.cmd(&["HGET", "mqtt_user:a b", "password"]), "x\"y");
    redis.restart();
    assert_eq!(redis.cmd(&["DBSIZE"]), "1");
    hangs_and_resumes(&redis, b"PING\r\n");
}

#[test]
fn redis_cluster_spreads_its_keys() {
    let Some(cluster) = RedisCluster::start() else {
        return;
    };
    for key in ["a", "b", "c", "d", "e", "f", "g", "h"] {
        assert_eq!(cluster.cmd(&["SET", key, key]), "OK");
        assert_eq!(cluster.cmd(&["GET", key]), key);
    }
    for node in &cluster.nodes {
        assert_ne!(node.cmd(&["DBSIZE"]), "0");
    }
    cluster.nodes[2].kill();
    cluster.nodes[2].start_again();
    cluster.await_ok();
}

#[test]
fn redis_sentinel_fails_over() {
    let Some(all) = RedisSentinel::start() else {
        return;
    };
    assert_eq!(all.master.cmd(&["SET", "k", "v"]), "OK");
    // One replica has it.
    assert_eq!(all.master.cmd(&["WAIT", "1", "10000"]), "1");
    assert_eq!(all.master_port(), all.master.port());
    all.master.kill();
    all.await_failover();
    assert_eq!(all.replica.cmd(&["GET", "k"]), "v");
}

// OpenLDAP

/// An anonymous bind.
const BIND: &[u8] = &[
    0x30, 0x0c, 0x02, 0x01, 0x01, 0x60, 0x07, 0x02, 0x01, 0x03, 0x04, 0x00, 0x80, 0x00,
];

fn ldapwhoami(url: &str, dn: &str, password: &str, ca: &Path) -> Result<String, String> {
    let mut command = Command::new("ldapwhoami");
    command.args(["-x", "-H", url, "-D", dn, "-w", password]);
    if url.starts_with("ldap:") {
        // StartTLS, or nothing.
        command.arg("-ZZ");
    }
    client(command.env("LDAPTLS_CACERT", ca))
}

/// Adds a person and tells its name.
fn person(ldap: &Ldap, password: &str) -> String {
    let uid = unique("person");
    ldap.add(&format!(
        "dn: uid={uid},ou=people,dc=example,dc=com\nobjectClass: inetOrgPerson\n\
         uid: {uid}\ncn: {uid}\nsn: x\nuserPassword: {password}\n"
    ));
    format!("uid={uid},ou=people,dc=example,dc=com")
}

#[test]
fn ldap_answers_over_tls() {
    let Some(ldap) = Ldap::shared() else { return };
    let dn = person(ldap, "alicepw");
    let starttls = format!("ldap://localhost:{}", ldap.port());
    let ldaps = format!("ldaps://localhost:{}", ldap.tls_port());
    for url in [starttls, ldaps] {
        let me = ldapwhoami(&url, &dn, "alicepw", &ldap.ca());
        assert_eq!(me, Ok(format!("dn:{dn}")), "{url}");
        let reader = "cn=mqtt,dc=example,dc=com";
        let me = ldapwhoami(&url, reader, PASSWORD, &ldap.ca());
        assert_eq!(me, Ok(format!("dn:{reader}")), "{url}");
        let wrong = ldapwhoami(&url, &dn, "x", &ldap.ca()).unwrap_err();
        assert!(wrong.contains("Invalid credentials"), "{wrong}");
        let stranger = ldapwhoami(&url, &dn, "alicepw", &ldap.other_ca());
        assert!(stranger.is_err(), "{url} {stranger:?}");
    }
    speaks_ipv6(ldap);
}

#[test]
fn ldap_has_the_schema_of_emq() {
    let Some(ldap) = Ldap::shared() else { return };
    ldap.add(
        "dn: cn=test,ou=auth,dc=emqtt,dc=com\nobjectClass: mqttUser\ncn: test\nusername: test\n\
         password: 8d969eef6ecad3c29a3a629280e686cf0c3f5d5a86aff3ca12020c923adc6c92\n",
    );
    let found = ldap.search("cn=test,ou=auth,dc=emqtt,dc=com", "(username=TEST)");
    assert!(found.contains("\npassword: 8d969eef"), "{found}");
}

#[test]
fn ldap_keeps_its_data_and_hangs() {
    let Some(ldap) = Ldap::start() else { return };
    let dn = person(&ldap, "x");
    killed_and_started_again(&ldap);
    assert!(ldap.search(&dn, "(sn=x)").contains(&dn));
    ldap.modify(&format!(
        "dn: {dn}\nchangetype: modify\nreplace: sn\nsn: y\n"
    ));
    ldap.restart();
    assert!(ldap.search(&dn, "(sn=y)").contains(&dn));
    hangs_and_resumes(&ldap, BIND);
    ldap.delete(&dn);
    assert_eq!(
        ldap.search("ou=people,dc=example,dc=com", "(uid=*)").trim(),
        ""
    );
}

// MongoDB

#[test]
fn mongo_answers_over_tls() {
    let Some(mongo) = Mongo::start_tls() else {
        return;
    };
    let database = mongo.fresh_database();
    mongo.insert(&database, "c", r#"[{"a": "ü"}]"#);
    let ask = |user: &str, ca: &Path| {
        let url = format!("mongodb://{user}@localhost:{}/", mongo.port());
        let code = "import pymongo, sys; print(pymongo.MongoClient(sys.argv[1], tls=True, \
                    tlsCAFile=sys.argv[2], serverSelectionTimeoutMS=3000)\
                    [sys.argv[3]].c.count_documents({}))";
        client(
            Command::new(mongo.python())
                .args(["-c", code, &url])
                .arg(ca)
                .arg(&database),
        )
    };
    let mqtt = format!("{USER}:{PASSWORD}");
    assert_eq!(ask(&mqtt, &mongo.ca()).as_deref(), Ok("1"));
    let wrong = ask(&format!("{USER}:x"), &mongo.ca()).unwrap_err();
    assert!(wrong.contains("AuthenticationFailed"), "{wrong}");
    let stranger = ask(&mqtt, &mongo.other_ca()).unwrap_err();
    assert!(stranger.contains("certificate verify failed"), "{stranger}");
}

#[test]
fn mongo_keeps_its_data_and_hangs() {
    let Some(mongo) = Mongo::own() else { return };
    let database = mongo.fresh_database();
    mongo.insert(
        &database,
        "c",
        r#"[{"_id": 1, "a": "x"}, {"_id": 2, "a": null}]"#,
    );
    killed_and_started_again(&mongo);
    let found = mongo.find(&database, "c", r#"{"a": null}"#);
    assert_eq!(found.trim(), r#"[{"_id": 2, "a": null}]"#);
    mongo.restart();
    let count = mongo.run(&database, r#"{"count": "c"}"#);
    assert!(count.contains(r#""n": 2"#), "{count}");
    hangs_and_resumes(&mongo, Mongo::HELLO);
}

#[test]
fn mongo_is_a_replica_set_on_demand() {
    let Some(mongo) = Mongo::start_replica_set() else {
        return;
    };
    let hello = mongo.run("admin", r#"{"hello": 1}"#);
    assert!(hello.contains(r#""setName": "secantus""#), "{hello}");
}

// The end of the test process

/// Set in the process that is killed.
const VICTIM: &str = "EMQTTD_TEST_VICTIM";

/// No test by itself: the process that [`servers_end_with_the_test_process`] kills. It starts servers, tells
/// their processes and directories, and waits.
#[test]
fn victim() {
    if std::env::var_os(VICTIM).is_none() {
        return;
    }
    let tell = |server: Option<&Server>| {
        if let Some(server) = server {
            println!("\nserver {} {}", server.pid(), server.dir().display());
        }
    };
    tell(Mysql::shared().map(|s| &**s));
    tell(Pgsql::shared().map(|s| &**s));
    tell(Redis::shared().map(|s| &**s));
    tell(Ldap::shared().map(|s| &**s));
    println!("\nall");
    loop {
        std::thread::park();
    }
}

#[test]
fn servers_end_with_the_test_process() {
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "common::victim", "--nocapture"])
        .env(VICTIM, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(victim.stdout.take().unwrap());
    let lines = output.lines().map(Result::unwrap);
    let servers: Vec<(u32, String)> = lines
        .take_while(|line| line != "all")
        .filter_map(|line| {
            let (pid, dir) = line.strip_prefix("server ")?.split_once(' ')?;
            Some((pid.parse().unwrap(), dir.to_owned()))
        })
        .collect();
    let there = |(pid, dir): &(u32, String)| is_alive(*pid) || Path::new(dir).exists();
    assert!(
        victim.try_wait().unwrap().is_none(),
        "it waits to be killed"
    );
    assert!(servers.iter().all(there), "{servers:?}");
    victim.kill().unwrap();
    victim.wait().unwrap();
    let start = Instant::now();
    while servers.iter().any(there) {
        assert!(start.elapsed() < Duration::from_secs(30), "{servers:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
