//! Real servers for tests: MariaDB, PostgreSQL, Redis, OpenLDAP and MongoDB as scratch instances.
//!
//! Each instance listens on 127.0.0.1 and ::1 at ports of its own between 21000 and 27999, keeps its data in a
//! temporary directory, has TLS with the certificates of [`pki`], and knows user `mqtt` with password
//! `mqttpw`. [`Server`] has what they share: ports, certificate files, kill, stop, start again, hang.
//!
//! ```no_run
//! # use emqttd_tests::servers::Mysql;
//! let Some(mysql) = Mysql::shared() else { return };
//! let database = mysql.fresh_database();
//! mysql.sql_in(&database, "CREATE TABLE mqtt_user (username varchar(100), password varchar(100))");
//! let server = format!("auth.mysql.server = 127.0.0.1:{}", mysql.port());
//! ```
//!
//! `start` gives an instance that belongs to the test: it may be killed or made to hang. `shared` gives the one
//! instance of the test process, for tests that only ask; each of them uses a database, or names, of its own.
//! Both are `None`, with the reason printed, when the server is not installed; with `CI=true` that is a panic. Only
//! on Linux: processes are looked after by way of `/proc`.
//!
//! Nothing is left behind: a small guard process holds the server and ends it, and removes its data, when the
//! test process ends in any way (see [`process`]).

pub mod http;
mod instance;
mod ldap;
mod mongo;
mod mysql;
mod pgsql;
pub mod pki;
pub mod ports;
pub mod process;
mod redis;
pub mod sink;
mod template;

pub use instance::Server;
pub use ldap::Ldap;
pub use mongo::Mongo;
pub use mysql::Mysql;
pub use pgsql::Pgsql;
pub use redis::{Redis, RedisCluster, RedisSentinel};
pub use template::keep;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The user that brokers log in as.
pub const USER: &str = "mqtt";
/// The password of [`USER`].
pub const PASSWORD: &str = "mqttpw";
/// The password of the administrator: `root` of MariaDB and PostgreSQL, `default` of Redis, `root` of MongoDB,
/// `cn=root,dc=example,dc=com` of OpenLDAP.
pub const ADMIN_PASSWORD: &str = "rootpw";

/// Says why a test is skipped; in CI that is a failure.
pub fn skip(why: &str) {
    assert!(
        std::env::var("CI").as_deref() != Ok("true"),
        "{why}: not allowed in CI"
    );
    eprintln!("skipped: {why}");
}

/// A program, looked for in the path, where Debian puts servers, and in `more`.
fn find(program: &str, more: &[PathBuf]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = more.iter().cloned().chain(std::env::split_paths(&path));
    let places = places.chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    places
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// As [`find`]; what is missing is said, with the Debian package that has it.
fn need(program: &str, package: &str, more: &[PathBuf]) -> Option<PathBuf> {
    if !is_linux() {
        return None;
    }
    let found = find(program, more);
    if found.is_none() {
        skip(&format!("{program} is not installed (Debian: {package})"));
    }
    found
}

/// Whether servers can be looked after here; if not, that is said.
fn is_linux() -> bool {
    if !cfg!(target_os = "linux") {
        skip("servers are started on Linux only");
    }
    cfg!(target_os = "linux")
}

/// Runs a program with `input`; it has to succeed. Returns what it printed.
#[track_caller]
fn run(command: &mut Command, input: &str) -> String {
    let (ok, text) = attempt(command, input);
    assert!(ok, "{command:?}\n{input}\n{text}");
    text
}

/// Runs a program with `input`: whether it succeeded, and what it printed; of a failure also its complaints.
#[track_caller]
fn attempt(command: &mut Command, input: &str) -> (bool, String) {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // One that fails early does not read it all; its complaint says more than the broken pipe.
        scope.spawn(move || stdin.write_all(input.as_bytes()));
        child.wait_with_output().unwrap()
    });
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        text += &String::from_utf8_lossy(&output.stderr);
    }
    (output.status.success(), text)
}

/// Whether this process may become other users, as which servers have to run then.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Cargo's target directory, which has this program somewhere below.
pub fn target() -> PathBuf {
    let me = std::env::current_exe().unwrap();
    let marked = |dir: &&Path| dir.join("CACHEDIR.TAG").is_file();
    let dir = me.ancestors().skip(1).find(marked);
    dir.or_else(|| me.ancestors().nth(3)).unwrap().to_path_buf()
}
