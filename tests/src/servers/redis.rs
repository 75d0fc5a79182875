//! Redis: alone, as a cluster, and with a sentinel.

use std::ops::Deref;
use std::process::Command;
use std::sync::OnceLock;

use rustix::process::Signal;

use super::instance::{Place, Server};
use super::process::await_that;
use super::{ADMIN_PASSWORD, PASSWORD, USER, attempt, need, run};

/// A Redis with a plain port and one for TLS. The password without a user name is that of the administrator;
/// user `mqtt` may do everything as well.
pub struct Redis {
    server: Server,
}

impl Deref for Redis {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Redis {
    /// A new instance.
    pub fn start() -> Option<Redis> {
        Redis::start_with(&[])
    }

    /// With further arguments of `redis-server`.
    pub fn start_with(arguments: &[&str]) -> Option<Redis> {
        Redis::launch(arguments, |_| Vec::new())
    }

    fn launch(arguments: &[&str], more: impl FnOnce(&Place) -> Vec<String>) -> Option<Redis> {
        let program = need("redis-server", "redis-server", &[])?;
        need("redis-cli", "redis-tools", &[])?;
        let place = Place::new("redis", 3);
        place.certificates(None);
        let mut command: Vec<String> = vec![program.to_str().unwrap().into()];
        command.extend(listening(&place));
        for (option, value) in [
            ("--save", ""),
            ("--appendonly", "yes"),
            ("--appendfsync", "no"),
            ("--requirepass", ADMIN_PASSWORD),
            ("--masterauth", ADMIN_PASSWORD),
            ("--repl-diskless-sync-delay", "0"),
        ] {
            command.extend([option.into(), value.into()]);
        }
        let password = format!(">{PASSWORD}");
        command.extend(["--user", USER, "on", &password, "~*", "&*", "+@all"].map(String::from));
        command.extend(arguments.iter().map(|argument| (*argument).into()));
        command.extend(more(&place));
        Some(Redis {
            server: place.start(command, Some(1), Signal::TERM, answers),
        })
    }

    /// The instance of this test process.
    pub fn shared() -> Option<&'static Redis> {
        static SHARED: OnceLock<Option<Redis>> = OnceLock::new();
        SHARED.get_or_init(Redis::start).as_ref()
    }

    /// Sends one command as the administrator by `redis-cli`; an error of the server fails the test. Returns
    /// the answer, without the newline.
    #[track_caller]
    pub fn cmd(&self, words: &[&str]) -> String {
        command(self, words)
    }
}

#[track_caller]
fn command(server: &Server, words: &[&str]) -> String {
    let text = run(cli(server).arg("-e").args(words), "");
    text.trim_end_matches('\n').to_owned()
}

/// `redis-cli`, as the administrator.
fn cli(server: &Server) -> Command {
    let mut client = Command::new("redis-cli");
    client.env("REDISCLI_AUTH", ADMIN_PASSWORD);
    client.args(["-h", "127.0.0.1", "-p", &server.port().to_string()]);
    client
}

/// Ports, certificates and the directory: port 0 is plain, port 1 for TLS, port 2 for the bus of a cluster.
fn listening(place: &Place) -> Vec<String> {
    let mut words: Vec<String> = ["--bind", "127.0.0.1", "-::1"].map(String::from).into();
    for (option, value) in [
        ("--port", place.port(0).to_string()),
        ("--tls-port", place.port(1).to_string()),
        ("--tls-cert-file", place.path("tls/server.crt")),
        ("--tls-key-file", place.path("tls/server.key")),
        ("--tls-ca-cert-file", place.path("tls/ca.crt")),
        ("--tls-auth-clients", "optional".into()),
        ("--dir", place.path("")),
        ("--daemonize", "no".into()),
    ] {
        words.extend([option.into(), value]);
    }
    words
}

/// Whether the data are loaded: who has not said who they are is refused before as well as afterwards.
fn answers(server: &Server) -> bool {
    let ping = cli(server).args(["-e", "PING"]).output();
    ping.is_ok_and(|ping| ping.stdout.trim_ascii_end() == b"PONG")
}

/// A cluster of three masters, each with a third of the slots.
pub struct RedisCluster {
    /// the nodes, in the order of their slots
    pub nodes: Vec<Redis>,
}

impl RedisCluster {
    /// Starts the nodes and waits until they know each other.
    pub fn start() -> Option<RedisCluster> {
        RedisCluster::start_with(&[])
    }

    /// With further arguments of `redis-server`. With `--tls-cluster yes` nodes tell clients that speak TLS
    /// each other's ports for TLS, and speak it among themselves.
    pub fn start_with(arguments: &[&str]) -> Option<RedisCluster> {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(node(arguments)?);
        }
        let ranges = [("0", "5460"), ("5461", "10922"), ("10923", "16383")];
        for (node, (first, last)) in nodes.iter().zip(ranges) {
            node.cmd(&["CLUSTER", "ADDSLOTSRANGE", first, last]);
        }
        for other in &nodes[1..] {
            let (port, bus) = (other.port().to_string(), other.nth_port(2).to_string());
            nodes[0].cmd(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        }
        let cluster = RedisCluster { nodes };
        cluster.await_ok();
        Some(cluster)
    }

    /// Waits until all nodes find the cluster complete.
    #[track_caller]
    pub fn await_ok(&self) {
        await_that("complete cluster", || {
            self.nodes.iter().all(|node| {
                let (ok, text) = attempt(cli(node).args(["CLUSTER", "INFO"]), "");
                ok && text.contains("cluster_state:ok") && text.contains("cluster_known_nodes:3")
            })
        });
    }

    /// Starts a replica of a node, and waits until it follows.
    #[track_caller]
    pub fn replica_of(&self, master: &Redis) -> Redis {
        let replica = node(&[]).expect("the cluster's nodes could be started");
        let (port, bus) = (master.port().to_string(), master.nth_port(2).to_string());
        replica.cmd(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]);
        let id = master.cmd(&["CLUSTER", "MYID"]);
        await_that("acquaintance of replica and master", || {
            let words = ["-e", "CLUSTER", "REPLICATE", &id];
            attempt(cli(&replica).args(words), "").0
        });
        await_that("replica that follows", || {
            let info = replica.cmd(&["INFO", "replication"]);
            info.contains("master_link_status:up")
        });
        // Those who have not heard of it would not vote for it.
        let known = format!("{} ", replica.cmd(&["CLUSTER", "MYID"]));
        await_that("cluster that knows the replica", || {
            self.nodes.iter().all(|node| {
                let nodes = node.cmd(&["CLUSTER", "NODES"]);
                let line = nodes.lines().find(|line| line.starts_with(&known));
                line.is_some_and(|line| line.contains(" slave "))
            })
        });
        replica
    }

    /// Sends one command to the node that has the key.
    #[track_caller]
    pub fn cmd(&self, words: &[&str]) -> String {
        let text = run(cli(&self.nodes[0]).args(["-c", "-e"]).args(words), "");
        text.trim_end_matches('\n').to_owned()
    }
}

/// A node of a cluster that has no slots yet.
fn node(arguments: &[&str]) -> Option<Redis> {
    let fixed = ["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"];
    Redis::launch(&[&fixed, arguments].concat(), |place| {
        let bus = place.port(2).to_string();
        vec!["--cluster-port".into(), bus]
    })
}

/// A master, its replica, and a sentinel that calls the master `mymaster`.
pub struct RedisSentinel {
    /// the one that was the master at the start
    pub master: Redis,
    /// the one that was the replica at the start
    pub replica: Redis,
    sentinel: Server,
}

impl RedisSentinel {
    /// The name under which the sentinel knows the master.
    pub const MASTER: &'static str = "mymaster";

    /// Starts the three and waits until the replica follows and the sentinel knows of both.
    pub fn start() -> Option<RedisSentinel> {
        let program = need("redis-server", "redis-server", &[])?;
        let master = Redis::start()?;
        let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &master.port().to_string()])?;
        let place = Place::new("sentinel", 3);
        place.certificates(None);
        let name = RedisSentinel::MASTER;
        let conf = format!(
            "requirepass {ADMIN_PASSWORD}\n\
             sentinel monitor {name} 127.0.0.1 {} 1\n\
             sentinel auth-pass {name} {ADMIN_PASSWORD}\n\
             sentinel down-after-milliseconds {name} 500\n\
             sentinel failover-timeout {name} 5000\n\
             sentinel parallel-syncs {name} 1\n",
            master.port()
        );
        std::fs::write(place.dir.join("sentinel.conf"), conf).unwrap();
        let mut words = vec![
            program.to_str().unwrap().into(),
            place.path("sentinel.conf"),
            "--sentinel".into(),
        ];
        words.extend(listening(&place));
        let sentinel = place.start(words, Some(1), Signal::TERM, answers);
        let all = RedisSentinel {
            master,
            replica,
            sentinel,
        };
        await_that("replica that follows", || {
            let info = all.replica.cmd(&["INFO", "replication"]);
            info.contains("master_link_status:up")
        });
        await_that("replica that the sentinel knows", || {
            let text = command(&all.sentinel, &["SENTINEL", "REPLICAS", name]);
            text.contains(&all.replica.port().to_string())
        });
        Some(all)
    }

    /// The sentinel itself; it wants the administrator's password.
    pub fn sentinel(&self) -> &Server {
        &self.sentinel
    }

    /// The port of the master as the sentinel has it now.
    pub fn master_port(&self) -> u16 {
        let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", Self::MASTER];
        let text = command(&self.sentinel, &words);
        let port = text
            .lines()
            .nth(1)
            .and_then(|port| port.trim().parse().ok());
        port.unwrap_or_else(|| panic!("no master in {text:?}"))
    }

    /// Waits until the sentinel has made the replica the master.
    pub fn await_failover(&self) {
        await_that("failover", || self.master_port() == self.replica.port());
    }
}
