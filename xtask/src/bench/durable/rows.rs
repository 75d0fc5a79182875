//! The rows about durable sessions.

use super::{Batch, Bench, Figures, join, number, set};
use crate::bench::server::{Server, Stop};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// One row: some steps, and which of their figures are shown.
pub struct Row {
    pub name: &'static str,
    /// Only with `--big`: it takes minutes.
    pub big: bool,
    pub run: fn(&Bench) -> Result<Figures, String>,
    pub figures: &'static [Figure],
}

pub struct Figure {
    pub key: &'static str,
    pub title: &'static str,
    pub unit: &'static str,
    pub goal: Goal,
}

#[derive(Clone, Copy)]
pub enum Goal {
    None,
    AtLeast(f64),
    AtMost(f64),
}

const fn plain(key: &'static str, title: &'static str, unit: &'static str) -> Figure {
    goal(key, title, unit, Goal::None)
}

const fn goal(key: &'static str, title: &'static str, unit: &'static str, goal: Goal) -> Figure {
    Figure {
        key,
        title,
        unit,
        goal,
    }
}

pub const ROWS: &[Row] = &[
    Row {
        name: "durable-q1",
        big: false,
        run: q1,
        figures: &[
            goal(
                "ack_s",
                "QoS 1 to an offline session, 64 publishers, window 64: acknowledged",
                "msg/s",
                Goal::AtLeast(100_000.0),
            ),
            goal("floor_ratio", "… of the floor", "×", Goal::AtLeast(0.5)),
            plain(
                "floor_msg_s",
                "floor: write and fdatasync of the same batches",
                "msg/s",
            ),
            plain(
                "floor_zeros_ratio",
                "… of the floor in a file written before",
                "×",
            ),
            plain("batch_msgs", "… messages a sync", ""),
            plain("batch_msg_bytes", "… bytes a message on disk", "B"),
            plain("ack_p50_us", "… PUBACK p50", "µs"),
            plain("ack_p99_us", "… PUBACK p99", "µs"),
            plain("broker_us_msg", "… processor time", "µs"),
            plain("resume_msg_s", "… then taken by the session", "msg/s"),
        ],
    },
    Row {
        name: "durable-q1-online",
        big: false,
        run: q1_online,
        figures: &[
            goal(
                "ack_s",
                "QoS 1 to a durable session that is there: acknowledged",
                "msg/s",
                Goal::AtLeast(100_000.0),
            ),
            goal("floor_ratio", "… of the floor", "×", Goal::AtLeast(0.5)),
            plain("recv_s", "… delivered meanwhile", "msg/s"),
            plain("batch_msgs", "… messages a sync", ""),
            plain("batch_msg_bytes", "… bytes a message on disk", "B"),
            plain("ack_p50_us", "… PUBACK p50", "µs"),
            plain("ack_p99_us", "… PUBACK p99", "µs"),
            plain("broker_us_msg", "… processor time", "µs"),
            plain("clean_ack_s", "the same to a clean session", "msg/s"),
            plain("clean_broker_us_msg", "… processor time", "µs"),
        ],
    },
    Row {
        name: "durable-q1-10k",
        big: false,
        run: q1_10k,
        figures: &[
            plain(
                "ack_s",
                "QoS 1 to an offline session at 10,000/s: acknowledged",
                "msg/s",
            ),
            plain("ack_p50_us", "… PUBACK p50", "µs"),
            plain("ack_p99_us", "… PUBACK p99", "µs"),
            plain(
                "sync_mean_us",
                "floor: write and fdatasync at that pace, mean",
                "µs",
            ),
            plain("sync_p50_us", "… p50", "µs"),
            plain("sync_p99_us", "… p99", "µs"),
            goal(
                "p99_of_p99",
                "PUBACK p99 / fdatasync p99",
                "×",
                Goal::AtMost(3.0),
            ),
            goal(
                "p99_of_mean",
                "PUBACK p99 / fdatasync mean",
                "×",
                Goal::AtMost(3.0),
            ),
            plain("batch_msgs", "… messages a sync", ""),
            plain("broker_us_msg", "… processor time", "µs"),
        ],
    },
    Row {
        name: "durable-fan-1000-offline",
        big: false,
        run: fan_offline,
        figures: &[
            plain(
                "ack_s",
                "QoS 1 into 1000 offline sessions: acknowledged",
                "msg/s",
            ),
            plain("fan_s", "… queued", "/s"),
            plain("broker_us_fan", "… processor time of one queued", "µs"),
            plain("batch_fan_bytes", "… bytes of one queued on disk", "B"),
            plain("ack_p99_us", "… PUBACK p99", "µs"),
            plain("resume_msg_s", "… then taken by 20 of them", "msg/s"),
        ],
    },
    Row {
        name: "durable-fan-1000-online",
        big: false,
        run: fan_online,
        figures: &[
            plain(
                "recv_s",
                "QoS 1 to 1000 durable sessions that are there",
                "/s",
            ),
            plain("broker_us_fan", "… processor time of a delivery", "µs"),
            plain("p50_us", "… delivery p50", "µs"),
            plain("p99_us", "… delivery p99", "µs"),
            plain("clean_recv_s", "the same to clean sessions", "/s"),
            plain(
                "clean_broker_us_fan",
                "… processor time of a delivery",
                "µs",
            ),
        ],
    },
    Row {
        name: "durable-resume-100k",
        big: false,
        run: resume_100k,
        figures: &[
            plain(
                "first_ms",
                "a session returns to 100,000 messages: the first after",
                "ms",
            ),
            plain("last_ms", "… the last after", "ms"),
            plain("msg_s", "… that is", "msg/s"),
            plain("broker_us_msg", "… processor time", "µs"),
            plain("restart_ms", "after kill -9, until it listens", "ms"),
            plain("restart_first_ms", "… the first message after", "ms"),
            plain("restart_last_ms", "… the last after", "ms"),
            plain("restart_msg_s", "… that is", "msg/s"),
        ],
    },
    Row {
        name: "durable-start",
        big: true,
        run: big_start,
        figures: &[
            plain(
                "sessions",
                "sessions, each with 3 subscriptions and 10 messages",
                "",
            ),
            plain("sessions_s", "… made", "/s"),
            plain("fan_s", "… messages queued", "/s"),
            plain("before_rss_mb", "memory then", "MB"),
            plain("disk_mb", "store on disk", "MB"),
            plain("killed_start_s", "after kill -9, until it listens", "s"),
            plain("killed_rss_mb", "… memory then", "MB"),
            plain("killed_peak_mb", "… at most", "MB"),
            plain("stop_s", "to stop when asked", "s"),
            plain("asked_start_s", "… and then until it listens", "s"),
            plain("asked_rss_mb", "… memory then", "MB"),
            plain(
                "resume_first_ms",
                "100 of them return: first message after",
                "ms",
            ),
            plain("resume_last_ms", "… last after", "ms"),
        ],
    },
];

/// Adds what the bare loop makes of the batches that the store had.
fn floor(bench: &Bench, out: &mut Figures, batch: Option<&Batch>) -> Result<(), String> {
    let Some(batch) = batch else {
        return Ok(());
    };
    set(out, "batch_msgs", batch.messages);
    set(out, "batch_msg_bytes", batch.bytes / batch.messages);
    let rate = number(out, "ack_s");
    for (zeros, name) in [(false, "floor"), (true, "floor_zeros")] {
        let floor = bench.floor(&bench.scratch, batch.bytes, zeros)? * batch.messages;
        set(out, &format!("{name}_msg_s"), floor);
        set(out, &format!("{name}_ratio"), rate / floor);
    }
    Ok(())
}

/// One publishing step, and the average batch of its syncs.
fn publish(
    bench: &Bench,
    server: &mut Server,
    args: &str,
) -> Result<(Figures, Option<Batch>), String> {
    let before = bench.store(server);
    let mut out = bench.measure(server, args)?;
    let after = bench.store(server);
    let batch = Batch::between(before, after, number(&out, "acked_total"));
    if batch.is_none() {
        set(&mut out, "store_silent", 1.0);
    }
    Ok((out, batch))
}

/// The queue has no bound but the duration: every message stays, and is then taken and counted.
fn q1(bench: &Bench) -> Result<Figures, String> {
    let mut server = bench.start()?;
    let (mut out, batch) = publish(bench, &mut server, "durable --pubs 64 --window 64")?;
    let expect = number(&out, "acked_total");
    let taken = bench.generate(&mut server, &format!("resume --expect {expect:.0}"))?;
    join(&mut out, "resume_", &taken, &["msg_s", "first_ms"]);
    drop(server);
    floor(bench, &mut out, batch.as_ref())?;
    Ok(out)
}

fn q1_online(bench: &Bench) -> Result<Figures, String> {
    let load = "durable --pubs 64 --window 64 --online";
    let mut server = bench.start()?;
    let (mut out, batch) = publish(bench, &mut server, load)?;
    drop(server);
    floor(bench, &mut out, batch.as_ref())?;
    let mut server = bench.start()?;
    let clean = bench.measure(&mut server, &format!("{load} --clean"))?;
    join(&mut out, "clean_", &clean, &["ack_s", "broker_us_msg"]);
    Ok(out)
}

/// In slices by turns with the bare loop, so that both meet the same disk.
fn q1_10k(bench: &Bench) -> Result<Figures, String> {
    let mut server = bench.start()?;
    let dir = bench
        .scratch
        .to_str()
        .ok_or("the scratch directory has no UTF-8 name")?;
    if dir.contains(' ') {
        return Err("the scratch directory has a blank in its name".into());
    }
    let load = format!("durable --pubs 64 --rate 10000 --floor-dir {dir}");
    let (mut out, batch) = publish(bench, &mut server, &load)?;
    if let Some(batch) = batch {
        set(&mut out, "batch_msgs", batch.messages);
    }
    let p99 = number(&out, "ack_p99_us");
    let (sync_p99, sync_mean) = (number(&out, "sync_p99_us"), number(&out, "sync_mean_us"));
    set(&mut out, "p99_of_p99", p99 / sync_p99.max(0.1));
    set(&mut out, "p99_of_mean", p99 / sync_mean.max(0.1));
    let expect = number(&out, "acked_total");
    let taken = bench.generate(&mut server, &format!("resume --expect {expect:.0}"))?;
    join(&mut out, "resume_", &taken, &["msg_s"]);
    Ok(out)
}

/// No more than 10,000 publishes, which are 10,000,000 messages owed.
fn fan_offline(bench: &Bench) -> Result<Figures, String> {
    let mut server = bench.start()?;
    let load = "durable --pubs 4 --subs 1000 --window 16 --most 10000 --warmup 0.2";
    let (mut out, batch) = publish(bench, &mut server, load)?;
    if let Some(batch) = batch {
        set(
            &mut out,
            "batch_fan_bytes",
            batch.bytes / batch.messages / 1000.0,
        );
    }
    let expect = number(&out, "acked_total");
    let resume = format!("resume --subs 20 --expect {expect:.0}");
    let taken = bench.generate(&mut server, &resume)?;
    join(&mut out, "resume_", &taken, &["msg_s", "first_ms"]);
    Ok(out)
}

fn fan_online(bench: &Bench) -> Result<Figures, String> {
    let load = "durable --pubs 1 --subs 1000 --window 10 --online --deliveries";
    let mut server = bench.start()?;
    let (mut out, _) = publish(bench, &mut server, load)?;
    drop(server);
    let mut server = bench.start()?;
    let clean = bench.measure(&mut server, &format!("{load} --clean"))?;
    join(&mut out, "clean_", &clean, &["recv_s", "broker_us_fan"]);
    Ok(out)
}

fn resume_100k(bench: &Bench) -> Result<Figures, String> {
    const QUEUE: &str = "durable --most 100000 --warmup 0 --dur 300";
    const RESUME: &str = "resume --expect 100000";
    let mut server = bench.start()?;
    bench.generate(&mut server, QUEUE)?;
    let mut out = bench.generate(&mut server, RESUME)?;
    bench.generate(&mut server, QUEUE)?;
    let mut server = server.again(Stop::Killed, Duration::from_secs(60))?;
    set(&mut out, "restart_ms", server.took.as_secs_f64() * 1e3);
    let again = bench.generate(&mut server, RESUME)?;
    join(
        &mut out,
        "restart_",
        &again,
        &["first_ms", "last_ms", "msg_s"],
    );
    Ok(out)
}

/// Sessions are made by visiting, and 10 publishes reach all of them.
fn big_start(bench: &Bench) -> Result<Figures, String> {
    const PATIENCE: Duration = Duration::from_secs(600);
    let mut server = bench.start()?;
    let populate = format!("populate --sessions {}", bench.sessions);
    let mut out = bench.generate(&mut server, &populate)?;
    let publish = "durable --subs 0 --pubs 1 --window 1 --topic big/all --most 10 --warmup 0 --dur 1800 --patience 300";
    let queued = bench.generate(&mut server, publish)?;
    join(&mut out, "queued_", &queued, &["ack_s"]);
    let fan_s = number(&queued, "ack_s") * bench.sessions as f64;
    set(&mut out, "fan_s", fan_s);
    set(&mut out, "before_rss_mb", server.memory().0 / 1e6);

    let mut server = server.again(Stop::Killed, PATIENCE)?;
    started(&mut out, "killed", &server);
    let check = "resume --prefix b --subs 100 --expect 10 --patience 60";
    let taken = bench.generate(&mut server, check)?;
    join(&mut out, "resume_", &taken, &["first_ms", "last_ms"]);

    let server = server.again(Stop::Asked, PATIENCE)?;
    started(&mut out, "asked", &server);
    set(&mut out, "stop_s", server.stopped.as_secs_f64());
    set(&mut out, "disk_mb", size(&server.home.join("data")) / 1e6);
    Ok(out)
}

fn started(out: &mut Figures, how: &str, server: &Server) {
    let (now, most) = server.memory();
    set(out, &format!("{how}_start_s"), server.took.as_secs_f64());
    set(out, &format!("{how}_rss_mb"), now / 1e6);
    set(out, &format!("{how}_peak_mb"), most / 1e6);
}

/// Bytes on disk of all files below `dir`.
fn size(dir: &Path) -> f64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let data = entry.metadata().ok()?;
            Some(if data.is_dir() {
                size(&entry.path())
            } else {
                (data.blocks() * 512) as f64
            })
        })
        .sum()
}
