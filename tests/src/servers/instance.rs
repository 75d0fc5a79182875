//! What all servers have in common.

use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};
use std::time::Instant;

use rustix::process::Signal;

use super::pki;
use super::ports::{self, Port};
use super::process::{PATIENCE, Process, give, scratch_dir, set_mode};

/// A scratch instance of a server. Dropping it ends the server and removes its data.
pub struct Server {
    name: &'static str,
    dir: PathBuf,
    ports: Vec<Port>,
    tls_port: Option<u16>,
    command: Vec<String>,
    answers: fn(&Server) -> bool,
    stop_signal: Signal,
    process: Mutex<Option<Process>>,
}

/// A place for an instance: a directory and ports.
pub(super) struct Place {
    pub name: &'static str,
    pub dir: PathBuf,
    ports: Vec<Port>,
}

impl Place {
    /// With `ports` ports.
    pub fn new(name: &'static str, ports: usize) -> Place {
        Place {
            name,
            dir: scratch_dir(name),
            ports: (0..ports).map(|_| ports::reserve()).collect(),
        }
    }

    pub fn port(&self, n: usize) -> u16 {
        self.ports[n].number
    }

    /// A file of the directory, as text.
    pub fn path(&self, name: &str) -> String {
        self.dir.join(name).to_str().unwrap().into()
    }

    /// Puts the server's certificate into `tls/`, its key readable only by `user`, when we are root.
    pub fn certificates(&self, user: Option<&str>) {
        let dir = self.dir.join("tls");
        fs::create_dir(&dir).unwrap();
        set_mode(&dir, 0o755);
        for name in ["ca.crt", "server.crt", "server.key"] {
            fs::copy(pki::file(name), dir.join(name)).unwrap();
        }
        if let Some(user) = user {
            give(&dir, user);
        }
    }

    /// Starts the server; `answers` tells when it is there, and `tls` is the number of its port for TLS.
    pub fn start(
        self,
        command: Vec<String>,
        tls: Option<usize>,
        stop_signal: Signal,
        answers: fn(&Server) -> bool,
    ) -> Server {
        let server = Server {
            name: self.name,
            tls_port: tls.map(|n| self.port(n)),
            dir: self.dir,
            ports: self.ports,
            command,
            answers,
            stop_signal,
            process: Mutex::new(None),
        };
        server.start_again();
        server
    }
}

impl Server {
    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        // A test that failed meanwhile has not harmed the server.
        self.process.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// The port without TLS, or the only one.
    pub fn port(&self) -> u16 {
        self.ports[0].number
    }

    /// The port that speaks TLS from the first byte. Those of MariaDB and PostgreSQL are the plain ones.
    pub fn tls_port(&self) -> u16 {
        self.tls_port.unwrap_or_else(|| self.port())
    }

    /// One of the ports that the server was given.
    pub(super) fn nth_port(&self, n: usize) -> u16 {
        self.ports[n].number
    }

    /// The certificate of the authority that issued the server's.
    pub fn ca(&self) -> PathBuf {
        pki::file("ca.crt")
    }

    /// The certificate of another authority.
    pub fn other_ca(&self) -> PathBuf {
        pki::file("other-ca.crt")
    }

    /// A certificate for `mqtt` that servers accept.
    pub fn client_cert(&self) -> PathBuf {
        pki::file("client.crt")
    }

    /// The key of [`Server::client_cert`].
    pub fn client_key(&self) -> PathBuf {
        pki::file("client.key")
    }

    /// Where the server keeps what it has.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What the server printed.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.dir.join("log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The id of the server's process; it has to run.
    pub fn pid(&self) -> u32 {
        let process = self.process();
        let process = process.as_ref().expect("the server runs");
        process.pid().as_raw_nonzero().get().cast_unsigned()
    }

    /// Whether the server's process is there.
    pub fn is_running(&self) -> bool {
        self.process().as_ref().is_some_and(Process::is_alive)
    }

    /// SIGKILL to all processes of the server; its data stay.
    pub fn kill(&self) {
        if let Some(process) = self.process().take() {
            process.kill();
        }
    }

    /// Ends the server in order, which ends its connections; its data stay.
    pub fn stop(&self) {
        if let Some(process) = self.process().take() {
            process.stop(self.stop_signal);
        }
    }

    /// Starts a server that was killed or stopped, at the same ports and with the same data, and waits until
    /// it answers.
    #[track_caller]
    pub fn start_again(&self) {
        let mut process = self.process();
        assert!(process.is_none(), "{} runs already", self.name);
        let log = self.dir.join("log");
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let started = process.insert(Process::start(&self.command, &log, &self.dir));
        let pid = started.pid();
        drop(process);
        let deadline = Instant::now() + PATIENCE;
        while !(self.answers)(self) {
            assert!(
                self.is_running() && Instant::now() < deadline,
                "{} {pid:?} does not start: {}\n{}",
                self.name,
                self.command.join(" "),
                self.log()
            );
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// [`Server::stop`] and [`Server::start_again`].
    #[track_caller]
    pub fn restart(&self) {
        self.stop();
        self.start_again();
    }

    /// Stops all processes of the server (SIGSTOP): connections stay and are taken, and nothing is answered.
    pub fn hang(&self) {
        if let Some(process) = &*self.process() {
            process.hang();
        }
    }

    /// Lets the server go on after [`Server::hang`].
    pub fn resume(&self) {
        if let Some(process) = &*self.process() {
            process.resume();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = self.log();
            let lines: Vec<&str> = log.lines().collect();
            let tail = lines[lines.len().saturating_sub(10)..].join("\n  ");
            eprintln!("the end of the log of {}:\n  {tail}", self.name);
        }
        match self.process().take() {
            Some(process) => process.abandon(),
            None => drop(fs::remove_dir_all(&self.dir)),
        }
    }
}
