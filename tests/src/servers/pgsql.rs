//! PostgreSQL.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::process::Signal;

use super::instance::{Place, Server};
use super::process::give;
use super::{ADMIN_PASSWORD, PASSWORD, USER, find, is_root, need, run, template};
use crate::unique;

/// Passwords are SCRAM-SHA-256. User `certified` has to show a client certificate as well.
const HBA: &str = "\
local   all all                scram-sha-256\n\
hostssl all certified all      scram-sha-256 clientcert=verify-ca\n\
host    all certified all      reject\n\
host    all all 127.0.0.1/32   scram-sha-256\n\
host    all all ::1/128        scram-sha-256\n";

/// A PostgreSQL with database `mqtt`, which belongs to `mqtt`; `root` is the administrator. TLS is on, at the
/// same port as plain text. User `certified`, password `mqttpw`, is let in only with TLS and a client
/// certificate.
pub struct Pgsql {
    server: Server,
}

impl Deref for Pgsql {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Pgsql {
    /// A new instance.
    pub fn start() -> Option<Pgsql> {
        Pgsql::start_with(&[])
    }

    /// With further settings, such as `password_encryption=md5`.
    pub fn start_with(settings: &[&str]) -> Option<Pgsql> {
        let programs = programs();
        let program = need("postgres", "postgresql", &programs)?;
        need("psql", "postgresql-client", &[])?;
        let initdb = need("initdb", "postgresql", &programs)?;
        let version = run(Command::new(&program).arg("--version"), "") + HBA;
        let prepared = template::keep("pgsql", &version, |dir| prepare(&program, &initdb, dir));

        let place = Place::new("pgsql", 1);
        template::copy(&prepared, &place.dir.join("data"));
        place.certificates(is_root().then_some("postgres"));
        let mut command = as_user();
        command.push(program.to_str().unwrap().into());
        command.extend(["-D".into(), place.path("data")]);
        let socket = place.path("data");
        for (name, value) in [
            ("port", place.port(0).to_string()),
            ("listen_addresses", "127.0.0.1,::1".into()),
            ("unix_socket_directories", socket),
            ("ssl", "on".into()),
            ("ssl_ca_file", place.path("tls/ca.crt")),
            ("ssl_cert_file", place.path("tls/server.crt")),
            ("ssl_key_file", place.path("tls/server.key")),
            ("fsync", "off".into()),
            ("full_page_writes", "off".into()),
            ("shared_buffers", "16MB".into()),
            ("max_connections", "200".into()),
            ("max_wal_senders", "0".into()),
            ("wal_level", "minimal".into()),
            ("autovacuum", "off".into()),
            ("logging_collector", "off".into()),
        ] {
            command.extend(["-c".into(), format!("{name}={value}")]);
        }
        for setting in settings {
            command.extend(["-c".into(), (*setting).into()]);
        }
        let server = place.start(command, None, Signal::INT, answers);
        Some(Pgsql { server })
    }

    /// The instance of this test process.
    pub fn shared() -> Option<&'static Pgsql> {
        static SHARED: OnceLock<Option<Pgsql>> = OnceLock::new();
        SHARED.get_or_init(Pgsql::start).as_ref()
    }

    /// Makes an empty database that belongs to `mqtt`, and tells its name.
    #[track_caller]
    pub fn fresh_database(&self) -> String {
        let name = format!("mqtt_{}", unique("db"));
        self.sql_in("postgres", &format!("CREATE DATABASE {name} OWNER {USER}"));
        name
    }

    /// Runs statements as `mqtt` in database `mqtt`, by the server's own client; returns the rows, columns
    /// separated by `|`.
    #[track_caller]
    pub fn sql(&self, statements: &str) -> String {
        self.psql("mqtt", USER, PASSWORD, statements)
    }

    /// As [`Pgsql::sql`], in a database; in `postgres` as the administrator.
    #[track_caller]
    pub fn sql_in(&self, database: &str, statements: &str) -> String {
        if database == "postgres" {
            self.admin(database, statements)
        } else {
            self.psql(database, USER, PASSWORD, statements)
        }
    }

    /// As [`Pgsql::sql_in`], as the administrator in any database.
    #[track_caller]
    pub fn admin(&self, database: &str, statements: &str) -> String {
        self.psql(database, "root", ADMIN_PASSWORD, statements)
    }

    #[track_caller]
    fn psql(&self, database: &str, user: &str, password: &str, statements: &str) -> String {
        let place = format!(
            "host=127.0.0.1 port={} dbname={database} user={user}",
            self.port()
        );
        let mut client = Command::new("psql");
        client
            .env("PGPASSWORD", password)
            .env("PGSSLMODE", "disable");
        client.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
        run(client.args(["-d", &place]), statements)
    }
}

/// Directories with the programs of the newest release that is installed.
fn programs() -> Vec<PathBuf> {
    let entries = fs::read_dir("/usr/lib/postgresql");
    let mut found: Vec<(u32, PathBuf)> = entries
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, entry.path().join("bin")))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, dir)| dir).collect()
}

/// PostgreSQL does not run as root.
fn as_user() -> Vec<String> {
    if !is_root() {
        return Vec::new();
    }
    let setpriv = find("setpriv", &[]).expect("setpriv of util-linux");
    let words = ["--reuid=postgres", "--regid=postgres", "--clear-groups"];
    let words = words.into_iter().map(String::from);
    std::iter::once(setpriv.to_str().unwrap().into())
        .chain(words)
        .collect()
}

fn command(program: &Path) -> Command {
    let words = as_user();
    let mut words = words.iter();
    match words.next() {
        Some(first) => {
            let mut command = Command::new(first);
            command.args(words).arg(program);
            command
        }
        None => Command::new(program),
    }
}

/// Fills an empty data directory.
fn prepare(program: &Path, initdb: &Path, dir: &Path) {
    let password = dir.with_file_name("password");
    fs::write(&password, ADMIN_PASSWORD).unwrap();
    if is_root() {
        give(dir, "postgres");
    }
    let mut init = command(initdb);
    init.current_dir("/").arg("-D").arg(dir);
    init.args(["-U", "root", "-E", "UTF8", "--locale=C.UTF-8"]);
    init.args(["--auth=scram-sha-256", "--no-sync", "--wal-segsize=1"]);
    let pwfile = format!("--pwfile={}", password.display());
    run(init.arg(pwfile), "");
    fs::write(dir.join("pg_hba.conf"), HBA).unwrap();
    let mut single = command(program);
    single.current_dir("/").arg("--single").arg("-D").arg(dir);
    let statements = format!(
        "CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'\n\
         CREATE ROLE certified LOGIN PASSWORD '{PASSWORD}' IN ROLE {USER}\n\
         CREATE DATABASE mqtt OWNER {USER}\n"
    );
    run(single.args(["-c", "fsync=off", "postgres"]), &statements);
}

/// The server writes down when it is ready, in a file that tells its process id first.
fn answers(server: &Server) -> bool {
    let text = fs::read_to_string(server.dir().join("data/postmaster.pid")).unwrap_or_default();
    let pid = text
        .lines()
        .next()
        .and_then(|line| line.trim().parse().ok());
    pid == Some(server.pid())
        && text
            .lines()
            .nth(7)
            .is_some_and(|line| line.trim() == "ready")
}
