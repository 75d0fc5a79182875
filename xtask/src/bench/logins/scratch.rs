//! A scratch server of the tests, for the time of a row.

use crate::shell::{binaries, cargo, run};
use crate::tools;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// A running server with its users; ends with this value.
pub struct Scratch {
    child: Child,
    pub port: u16,
}

impl Scratch {
    /// Starts a server with so many users, whose passwords it has as SHA-256 or as bcrypt.
    pub fn start(server: &str, users: u64, bcrypt: bool) -> Result<Scratch, String> {
        static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
        let build = ["build", "-p", "emqttd-tests", "--bin", "scratch-servers"];
        BUILT.get_or_init(|| run(&mut cargo(&build))).clone()?;
        let program = binaries("dev").join("scratch-servers");
        let mut child = Command::new(&program)
            .args([server, "--users", &users.to_string()])
            .args(bcrypt.then_some("--bcrypt"))
            .env("EMQTTD_TEST_MONGO_PYTHON", tools::mongo_python())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{}: {e}", program.display()))?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            let read = BufReader::new(output).read_line(&mut line);
            read.map_err(|e| format!("{server}: {e}"))?;
        }
        let mut scratch = Scratch { child, port: 0 };
        let told: Value = serde_json::from_str(&line).unwrap_or_default();
        let port = told.get("port").and_then(Value::as_u64);
        scratch.port = port
            .and_then(|port| u16::try_from(port).ok())
            .ok_or(format!("{server} did not start: {line}"))?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
