//! Rows about sessions that outlive their connections, with the store at `persistence.sync = always`.
//!
//! Here the acknowledgement counts: it says that the message is on the disk. What the disk allows is measured in the
//! same run, by a loop that writes and syncs the same bytes with no broker around it.

mod rows;
pub mod table;

pub use rows::{ROWS, Row};

use super::peers::Relay;
use super::server::{Extra, Peer, Programs, Server};
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// What the rows are run with.
pub struct Bench<'a> {
    pub programs: &'a Programs,
    /// where brokers have their directories
    pub scratch: PathBuf,
    pub duration: f64,
    pub warmup: f64,
    /// `persistence.sync`, in place of the default
    pub sync: Option<String>,
    /// of the row about starting
    pub sessions: u64,
}

/// Figures by name.
pub type Figures = Map<String, Value>;

/// Lines of configuration beside those of all rows: queues have no bound, since what is dropped is not measured.
const CONFIG: &str = "mqtt.mqueue.max_bytes = 0\n";

/// What a generator may need at most for a row that is not bounded by `--duration`.
const LONG: Duration = Duration::from_secs(1800);

impl Bench<'_> {
    /// A broker with an empty store.
    fn start(&self) -> Result<Server, String> {
        let sync = self.sync.as_ref();
        let sync = sync.map_or(String::new(), |s| format!("persistence.sync = {s}\n"));
        let extra = Extra {
            config: format!("{CONFIG}{sync}"),
            ..Extra::default()
        };
        Server::start(Peer::Ours, self.programs, Relay::No, &self.scratch, &extra)
    }

    /// Runs the generator for the duration of a measurement.
    fn measure(&self, server: &mut Server, args: &str) -> Result<Figures, String> {
        let mut args = format!("{args} --dur {}", self.duration);
        if !args.contains("--warmup") {
            args += &format!(" --warmup {}", self.warmup);
        }
        self.generate(server, &args)
    }

    /// Runs the generator until it has done what it is told.
    fn generate(&self, server: &mut Server, args: &str) -> Result<Figures, String> {
        let mut command = Command::new(&self.programs.mqload);
        command.args(args.split(' ')).args([
            "--port",
            &server.port.to_string(),
            "--pid",
            &server.pids(),
        ]);
        match super::generate(&mut command, LONG) {
            _ if !server.alive() => Err(format!("the broker died: {}", server.said())),
            Ok(Value::Object(figures)) => Ok(figures),
            Ok(other) => Err(format!("{args}: {other}")),
            Err(e) => Err(format!("{args}: {e}")),
        }
    }

    /// Writes and syncs without a broker, so many bytes at a time; gives syncs a second.
    fn floor(&self, dir: &Path, bytes: f64, zeros: bool) -> Result<f64, String> {
        let mut command = Command::new(&self.programs.mqload);
        command.arg("floor").arg("--dir").arg(dir);
        let dur = self.duration.clamp(0.2, 3.0);
        command.args(["--bytes", &format!("{:.0}", bytes.max(1.0))]);
        command.args(["--dur", &dur.to_string()]);
        if zeros {
            command.arg("--zeros");
        }
        let value = super::generate(&mut command, LONG)?;
        value
            .get("syncs_s")
            .and_then(Value::as_f64)
            .ok_or(format!("no rate in {value}"))
    }

    /// What the store says of itself; `None` where there is none.
    fn store(&self, server: &Server) -> Option<StoreCount> {
        let ctl = self.programs.ours.with_file_name("emqttd_ctl");
        let output = Command::new(ctl)
            .arg("store")
            .current_dir(&server.home)
            .stdin(Stdio::null())
            .output()
            .ok()?;
        StoreCount::parse(&String::from_utf8_lossy(&output.stdout))
    }
}

/// What `emqttd_ctl store` counts.
#[derive(Clone, Copy, Debug, PartialEq)]
struct StoreCount {
    /// bytes of the log so far
    position: f64,
    syncs: f64,
}

impl StoreCount {
    fn parse(text: &str) -> Option<StoreCount> {
        let of = |wanted: &str| {
            let mut rows = text.lines().filter_map(|line| line.split_once(':'));
            let (_, value) = rows.find(|(name, _)| name.trim() == wanted)?;
            value.trim().parse().ok()
        };
        Some(StoreCount {
            position: of("position")?,
            syncs: of("syncs")?,
        })
    }
}

/// The average of what one sync made durable.
struct Batch {
    messages: f64,
    bytes: f64,
}

impl Batch {
    fn between(
        before: Option<StoreCount>,
        after: Option<StoreCount>,
        messages: f64,
    ) -> Option<Batch> {
        let (before, after) = before.zip(after)?;
        let syncs = after.syncs - before.syncs;
        (syncs >= 1.0 && messages >= 1.0).then(|| Batch {
            messages: messages / syncs,
            bytes: (after.position - before.position) / syncs,
        })
    }
}

/// A figure of a step; 0 if it is not there.
fn number(figures: &Figures, key: &str) -> f64 {
    figures.get(key).and_then(Value::as_f64).unwrap_or_default()
}

fn set(figures: &mut Figures, key: &str, value: f64) {
    figures.insert(key.into(), value.into());
}

/// Takes over some figures of a further step under names that begin with `prefix`, and adds up what went wrong.
fn join(into: &mut Figures, prefix: &str, step: &Figures, keys: &[&str]) {
    for key in keys {
        set(into, &format!("{prefix}{key}"), number(step, key));
    }
    for key in FAULTS {
        let sum = number(into, key) + number(step, key);
        set(into, key, sum);
    }
}

/// What must be zero.
const FAULTS: [&str; 5] = ["lost", "dups", "gaps", "bad", "closed"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_is_read_from_its_rows() {
        let text = "directory     : data/store\nposition      : 1234567\ndurable       : 7\nsyncs         : 89\n\
                    sync_p50_ms   : 1.500\n";
        let count = StoreCount::parse(text);
        assert_eq!(
            count,
            Some(StoreCount {
                position: 1_234_567.0,
                syncs: 89.0
            })
        );
        let off = "Nothing is stored: persistence.sync = off.\n";
        assert_eq!(StoreCount::parse(off), None);
    }

    #[test]
    fn a_batch_is_the_average_of_a_sync() {
        let count = |position, syncs| Some(StoreCount { position, syncs });
        let batch = Batch::between(count(1000.0, 10.0), count(21_000.0, 30.0), 200.0);
        let batch = batch.expect("there were syncs");
        assert_eq!((batch.messages, batch.bytes), (10.0, 1000.0));
        assert!(Batch::between(count(1.0, 1.0), count(1.0, 1.0), 5.0).is_none());
    }
}
