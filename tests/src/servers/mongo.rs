//! MongoDB, or what stands in for it.
//!
//! MongoDB itself is in no registry. `secantusdb` of PyPI speaks its protocol, on the same storage engine, with
//! SCRAM-SHA-256, roles and TLS; SCRAM-SHA-1 and replica sets of several members it has not. With
//! `MONGODB_URL` in the environment, a real server is used; the user of that URL has to be an administrator.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;

use super::instance::{Place, Server};
use super::process::{Process, await_that};
use super::{ADMIN_PASSWORD, is_linux, run, skip, target, template};
use crate::unique;

/// The program between the tests and pymongo.
const PROGRAM: &str = include_str!("mongo.py");

/// A MongoDB with users `root` and `mqtt` in database `admin`. One port has either TLS or not.
pub struct Mongo {
    /// none of `MONGODB_URL`
    server: Option<Server>,
    python: PathBuf,
    url: String,
    address: String,
    tls: bool,
}

/// Panics with an instance of `MONGODB_URL`, which [`Mongo::own`] and the like never return.
impl Deref for Mongo {
    type Target = Server;

    fn deref(&self) -> &Server {
        self.server.as_ref().expect("a server of ours")
    }
}

impl Mongo {
    /// The message `{hello: 1, $db: "admin"}`, which is answered without a login.
    pub const HELLO: &[u8] = b"\x34\0\0\0\x01\0\0\0\0\0\0\0\xdd\x07\0\0\0\0\0\0\0\
        \x1f\0\0\0\x10hello\0\x01\0\0\0\x02$db\0\x06\0\0\0admin\0\0";

    /// A new instance without TLS, or that of `MONGODB_URL`.
    pub fn start() -> Option<Mongo> {
        match std::env::var("MONGODB_URL") {
            Ok(url) => Mongo::external(url),
            Err(_) => Mongo::scratch(false, &[]),
        }
    }

    /// A new instance that may be killed and made to hang, which one of `MONGODB_URL` may not.
    pub fn own() -> Option<Mongo> {
        if is_external("it is not ours to kill") {
            return None;
        }
        Mongo::scratch(false, &[])
    }

    /// A new instance that speaks TLS only.
    pub fn start_tls() -> Option<Mongo> {
        Mongo::start_tls_with(&[])
    }

    /// As [`Mongo::start_tls`], with further options such as `--tls-require-client-cert`.
    pub fn start_tls_with(options: &[&str]) -> Option<Mongo> {
        if is_external("its certificates are not ours") {
            return None;
        }
        Mongo::scratch(true, options)
    }

    /// As [`Mongo::own`], as the primary of the replica set `secantus`, which has one member.
    pub fn start_replica_set() -> Option<Mongo> {
        if is_external("its topology is not ours") {
            return None;
        }
        Mongo::launch(false, &[])
    }

    /// The instance of this test process.
    pub fn shared() -> Option<&'static Mongo> {
        static SHARED: OnceLock<Option<Mongo>> = OnceLock::new();
        SHARED.get_or_init(Mongo::start).as_ref()
    }

    fn external(url: String) -> Option<Mongo> {
        let python = python()?;
        let mut mongo = Mongo {
            server: None,
            python,
            url,
            address: String::new(),
            tls: false,
        };
        mongo.call("user", "");
        mongo.address = mongo.call("address", "").trim().to_owned();
        Some(mongo)
    }

    fn scratch(tls: bool, options: &[&str]) -> Option<Mongo> {
        Mongo::launch(tls, &[&["--standalone"], options].concat())
    }

    fn launch(tls: bool, options: &[&str]) -> Option<Mongo> {
        let python = python()?;
        let program = python.with_file_name("secantusd-py");
        let installed = "import importlib.metadata as m; print(m.version('secantusdb'))";
        let version = run(Command::new(&python).args(["-c", installed]), "") + PROGRAM;
        let prepared = template::keep("mongo", &version, |dir| prepare(&python, &program, dir));
        let place = Place::new("mongo", 1);
        template::copy(&prepared, &place.dir.join("data"));
        place.certificates(None);
        let port = place.port(0);
        let mut command = base(&program, &place, &place.dir.join("data"));
        command.push("--auth".into());
        if tls {
            for (option, file) in [
                ("--tls-cert-file", "tls/server.crt"),
                ("--tls-key-file", "tls/server.key"),
                ("--tls-ca-file", "tls/ca.crt"),
            ] {
                command.extend([option.into(), place.path(file)]);
            }
        }
        command.extend(options.iter().map(|option| (*option).into()));
        let answers = if tls { accepts } else { says_hello };
        let server = place.start(command, tls.then_some(0), Signal::TERM, answers);
        Some(Mongo {
            server: Some(server),
            python,
            url: format!("mongodb://root:{ADMIN_PASSWORD}@127.0.0.1:{port}/?authSource=admin"),
            address: format!("127.0.0.1:{port}"),
            tls,
        })
    }

    /// Host and port.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The port, also of a server of `MONGODB_URL`.
    pub fn port(&self) -> u16 {
        let port = self.address.rsplit_once(':').map(|(_, port)| port.parse());
        port.unwrap().unwrap()
    }

    /// The Python that has pymongo.
    pub fn python(&self) -> &Path {
        &self.python
    }

    /// A name for a database that nobody else uses; MongoDB makes it when it is first written to.
    pub fn fresh_database(&self) -> String {
        format!("mqtt_{}_{}", std::process::id(), unique("db"))
    }

    /// Inserts documents: a JSON array, in MongoDB's extended form where need be.
    #[track_caller]
    pub fn insert(&self, database: &str, collection: &str, documents: &str) {
        let order =
            format!(r#"{{"db":"{database}","collection":"{collection}","documents":{documents}}}"#);
        self.call("insert", &order);
    }

    /// Runs a command, a JSON object, in a database; returns the answer as JSON.
    #[track_caller]
    pub fn run(&self, database: &str, command: &str) -> String {
        self.call(
            "run",
            &format!(r#"{{"db":"{database}","command":{command}}}"#),
        )
    }

    /// The documents of a collection that match a filter, a JSON object, as a JSON array.
    #[track_caller]
    pub fn find(&self, database: &str, collection: &str, filter: &str) -> String {
        let order =
            format!(r#"{{"db":"{database}","collection":"{collection}","filter":{filter}}}"#);
        self.call("find", &order)
    }

    #[track_caller]
    fn call(&self, what: &str, order: &str) -> String {
        let ca = self.server.as_ref().filter(|_| self.tls).map(Server::ca);
        let mut command = Command::new(&self.python);
        command.args(["-c", PROGRAM, what, &self.url]).args(ca);
        run(&mut command, order)
    }
}

/// Whether `MONGODB_URL` names the server; says why a test is skipped then.
fn is_external(why: &str) -> bool {
    let external = std::env::var_os("MONGODB_URL").is_some();
    if external {
        // By wish, so that it is no failure in CI.
        eprintln!("skipped: MONGODB_URL names the server, and {why}");
    }
    external
}

/// The Python that has secantusdb and pymongo: `$EMQTTD_TEST_MONGO_PYTHON`, or that of `target/tools`.
fn python() -> Option<PathBuf> {
    if !is_linux() {
        return None;
    }
    let named = std::env::var_os("EMQTTD_TEST_MONGO_PYTHON").map(PathBuf::from);
    let python = named.unwrap_or_else(|| target().join("tools/mongo/bin/python"));
    if !python.with_file_name("secantusd-py").is_file() {
        skip("no Python with secantusdb and pymongo (cargo xtask test installs one)");
        return None;
    }
    Some(python)
}

fn base(program: &Path, place: &Place, data: &Path) -> Vec<String> {
    // Instead of the configuration of this machine.
    let none = place.path("none.toml");
    std::fs::write(&none, "").unwrap();
    vec![
        program.to_str().unwrap().into(),
        "--host".into(),
        "127.0.0.1".into(),
        "--port".into(),
        place.port(0).to_string(),
        "--storage-path".into(),
        data.to_str().unwrap().into(),
        "--cache-size".into(),
        "32M".into(),
        "--config".into(),
        none,
    ]
}

/// Makes the users, while no login is asked for.
fn prepare(python: &Path, program: &Path, dir: &Path) {
    let place = Place::new("mongo-new", 1);
    let port = place.port(0);
    let command = [base(program, &place, dir), vec!["--standalone".into()]].concat();
    let server = Process::start(&command, &place.dir.join("log"), &place.dir);
    await_that("MongoDB", || hello(port) || !server.is_alive());
    let url = format!("mongodb://127.0.0.1:{port}/");
    run(
        Command::new(python).args(["-c", PROGRAM, "users", &url]),
        "",
    );
    server.stop(Signal::TERM);
    let _ = std::fs::remove_dir_all(&place.dir);
}

fn says_hello(server: &Server) -> bool {
    hello(server.port())
}

fn accepts(server: &Server) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())).is_ok()
}

/// Any answer is enough.
fn hello(port: u16) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else {
        return false;
    };
    let mut start = [0; 16];
    stream
        .set_read_timeout(Some(Duration::from_secs(1)))
        .is_ok()
        && stream.write_all(Mongo::HELLO).is_ok()
        && stream.read_exact(&mut start).is_ok()
}
