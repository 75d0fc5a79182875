//! MariaDB.

use std::io::Read;
use std::net::{Ipv4Addr, TcpStream};
use std::ops::Deref;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::process::Signal;

use super::instance::{Place, Server};
use super::ports::has_ipv6;
use super::process::give;
use super::{ADMIN_PASSWORD, PASSWORD, USER, is_root, need, run, template};
use crate::unique;

/// A MariaDB with database `mqtt`. `root` may log in at the socket only; `mqtt` may do all with databases
/// whose names begin with `mqtt`. TLS is on, at the same port as plain text.
pub struct Mysql {
    server: Server,
}

impl Deref for Mysql {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Mysql {
    /// A new instance.
    pub fn start() -> Option<Mysql> {
        Mysql::start_with(&[])
    }

    /// With further options of `mariadbd`.
    pub fn start_with(options: &[&str]) -> Option<Mysql> {
        let program = need("mariadbd", "mariadb-server", &[])?;
        need("mariadb", "mariadb-client", &[])?;
        need("mariadb-install-db", "mariadb-server", &[])?;
        let program = program.to_str().unwrap();
        let version = run(Command::new(program).arg("--version"), "");
        let prepared = template::keep("mysql", &version, |dir| prepare(program, dir));

        let place = Place::new("mysql", 1);
        let data = place.dir.join("data");
        template::copy(&prepared, &data);
        let user = is_root().then_some("mysql");
        place.certificates(user);
        let mut command: Vec<String> = vec![program.into(), "--no-defaults".into()];
        command.extend(user.map(|user| format!("--user={user}")));
        command.extend(small(&data));
        let addresses = if has_ipv6() {
            "127.0.0.1,::1"
        } else {
            "127.0.0.1"
        };
        for (option, value) in [
            ("bind-address", addresses.into()),
            ("port", place.port(0).to_string()),
            ("socket", place.path("data/sock")),
            ("pid-file", place.path("data/pid")),
            ("ssl-ca", place.path("tls/ca.crt")),
            ("ssl-cert", place.path("tls/server.crt")),
            ("ssl-key", place.path("tls/server.key")),
        ] {
            command.push(format!("--{option}={value}"));
        }
        command.extend(options.iter().map(|option| (*option).into()));
        let server = place.start(command, None, Signal::TERM, answers);
        Some(Mysql { server })
    }

    /// The instance of this test process.
    pub fn shared() -> Option<&'static Mysql> {
        static SHARED: OnceLock<Option<Mysql>> = OnceLock::new();
        SHARED.get_or_init(Mysql::start).as_ref()
    }

    /// Makes an empty database that `mqtt` may use, and tells its name.
    #[track_caller]
    pub fn fresh_database(&self) -> String {
        let name = format!("mqtt_{}", unique("db"));
        self.sql(&format!("CREATE DATABASE {name}"));
        name
    }

    /// Runs statements as `root` in database `mqtt`, by the server's own client; returns the rows, columns
    /// separated by tabs.
    #[track_caller]
    pub fn sql(&self, statements: &str) -> String {
        self.sql_in("mqtt", statements)
    }

    /// As [`Mysql::sql`], in a database.
    #[track_caller]
    pub fn sql_in(&self, database: &str, statements: &str) -> String {
        let mut client = self.client();
        client.args(["-N", "-B", "--default-character-set=utf8mb4", "-uroot"]);
        client.arg(format!("-p{ADMIN_PASSWORD}"));
        client.arg("-S").arg(self.dir().join("data/sock"));
        run(client.arg(database), statements)
    }

    /// `mariadb`, without the options of this machine.
    pub fn client(&self) -> Command {
        let mut command = Command::new("mariadb");
        command.arg("--no-defaults");
        command
    }
}

/// Options that make a server small and fast. What was committed survives its end, not that of the machine.
fn small(data: &Path) -> Vec<String> {
    let data = format!("--datadir={}", data.display());
    let fixed = [
        "--innodb-buffer-pool-size=16M",
        "--innodb-log-file-size=8M",
        "--innodb-log-buffer-size=2M",
        "--innodb-flush-log-at-trx-commit=2",
        "--innodb-flush-method=nosync",
        "--innodb-doublewrite=0",
        "--innodb-fast-shutdown=2",
        "--innodb-buffer-pool-dump-at-shutdown=0",
        "--innodb-buffer-pool-load-at-startup=0",
        "--aria-pagecache-buffer-size=8M",
        "--key-buffer-size=2M",
        "--performance-schema=0",
        "--skip-log-bin",
        "--max-connections=400",
        "--character-set-server=utf8mb4",
    ];
    let fixed = fixed.into_iter().map(String::from);
    std::iter::once(data).chain(fixed).collect()
}

/// Fills an empty data directory.
fn prepare(program: &str, dir: &Path) {
    let user = is_root().then_some("--user=mysql");
    if user.is_some() {
        give(dir, "mysql");
    }
    let mut install = Command::new("mariadb-install-db");
    install
        .args(["--no-defaults", "--skip-test-db", "--skip-name-resolve"])
        .arg("--auth-root-authentication-method=normal")
        .args(user)
        .args(small(dir));
    run(&mut install, "");
    let accounts = format!(
        "FLUSH PRIVILEGES;\n\
         ALTER USER root@localhost IDENTIFIED BY '{ADMIN_PASSWORD}';\n\
         CREATE DATABASE mqtt;\n\
         CREATE USER {USER}@'%' IDENTIFIED BY '{PASSWORD}';\n\
         GRANT ALL ON `mqtt%`.* TO {USER}@'%';\n"
    );
    let mut bootstrap = Command::new(program);
    bootstrap.arg("--no-defaults").args(user).args(small(dir));
    run(bootstrap.arg("--bootstrap"), &accounts);
}

/// A server that takes connections greets them.
fn answers(server: &Server) -> bool {
    let Ok(mut stream) = TcpStream::connect((Ipv4Addr::LOCALHOST, server.port())) else {
        return false;
    };
    let mut packet = [0; 5];
    stream.set_read_timeout(Some(Duration::from_secs(1))).is_ok()
        && stream.read_exact(&mut packet).is_ok()
        // After the header comes the version of the protocol; 0xff would be an error.
        && packet[4] == 10
}
