//! `cargo xtask hook-soak`: a web hook hears of every message while its target stops, hangs and comes back at random.
//!
//! By turns the publishers run without the plugin and with it. With it they may not get slower, memory stays within
//! the queue's bound, and of what they publish nothing is unaccounted for: with `on_full = spill` each event arrives,
//! with `drop_oldest` each has arrived or is counted as dropped, and those of one client come in their order.

use crate::bench;
use crate::node::{self, Broker};
use crate::plugin_soak::{KEYS, resident};
use crate::shell::{at, build, option, target};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, sleep};
use std::time::{Duration, Instant, SystemTime};

const PLUGIN: &str = "emq_web_hook";

/// What waits in memory: little more than a second of it, so that each longer outage fills it.
const QUEUE_MB: u64 = 4;
/// What the plugin may take beside its queue: requests under way and their copies in connections, what is written to
/// disk and read from it, the store's own cache, and what the allocator keeps of all that.
const SLACK_MB: u64 = 40;
/// Publishers, each with a subscriber.
const PAIRS: u64 = 8;
/// A run that is shorter tells nothing about speed.
const LONG: u64 = 120;
/// The publishers' p99 with the plugin, in place of that without: two cores are shared by the broker, the generator
/// and the target, and a thread that posts takes one of them for a moment.
const TIMES: f64 = 1.5;
const MORE_US: f64 = 1500.0;
/// How long the target may get nothing new before the rest counts as lost: longer than any pause between attempts.
const PATIENCE: Duration = Duration::from_secs(30);

struct Plan {
    /// for each of `on_full`
    seconds: u64,
    rate: u64,
    batch: u64,
    /// events that wait in memory
    queue: u64,
    profile: String,
    seed: u64,
    on_full: &'static [&'static str],
}

/// `[--short] [--seconds N] [--rate N] [--batch N] [--seed N] [--profile NAME]`
pub fn run(args: &[String]) -> Result<(), String> {
    if args.iter().any(|arg| arg == "--short") {
        return short();
    }
    let number = |name: &str, usual: u64| match option(args, name) {
        None => Ok(usual),
        Some(text) => match text.parse::<u64>() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("{name} {text}: a number above zero is expected")),
        },
    };
    let clock = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    soak(&Plan {
        seconds: number("--seconds", 300)? / 2,
        rate: number("--rate", 10_000)?,
        batch: number("--batch", 100)?,
        queue: 100_000,
        seed: number("--seed", u64::from(clock.subsec_nanos()) + 1)?,
        profile: option(args, "--profile").unwrap_or("release").into(),
        on_full: &["drop_oldest", "spill"],
    })
}

/// What every run of the tests does.
pub fn short() -> Result<(), String> {
    soak(&Plan {
        seconds: 8,
        rate: 1_000,
        batch: 10,
        queue: 200,
        seed: 7,
        profile: "dev".into(),
        on_full: &["spill"],
    })
}

fn soak(plan: &Plan) -> Result<(), String> {
    build(&plan.profile)?;
    let mqload = bench::generator()?;
    println!("seed {}", plan.seed);
    let mut wrong = Vec::new();
    for on_full in plan.on_full {
        let outcome = part(plan, on_full, &mqload).map_err(|e| format!("{on_full}: {e}"))?;
        wrong.extend(outcome.report(plan, on_full));
    }
    match wrong.as_slice() {
        [] => Ok(()),
        wrong => Err(wrong.join("\n")),
    }
}

/// How it went.
#[derive(Default)]
struct Outcome {
    /// the publishers' p99 in microseconds, in each of their runs
    without: Vec<f64>,
    with: Vec<f64>,
    /// messages that were published while the plugin was there
    published: u64,
    /// what the sink has to say
    arrived: Value,
    /// events that the plugin says it has delivered, and dropped
    sent: u64,
    dropped: u64,
    /// resident memory in KB: before the plugin was there, and the most there was with it
    before: u64,
    most: u64,
    /// how long the target needed for what had waited
    caught_up: Duration,
    wrong: Vec<String>,
}

fn part(plan: &Plan, on_full: &str, mqload: &Path) -> Result<Outcome, String> {
    let tree = target().join("hook-soak");
    let port = node::make(&tree, &plan.profile, KEYS)?;
    let sink_port = node::free_port()?;
    configure(&tree, plan, on_full, sink_port)?;
    let mut sink = Sink::start(mqload, sink_port)?;
    let mut broker = Broker::start(&tree)?;
    let mut outcome = Outcome::default();
    let spills = on_full == "spill";
    let mut chance = Chance(plan.seed);
    // At least two runs of each kind.
    let length = (plan.seconds / 10).clamp(2, 15);
    let rounds = (plan.seconds / (2 * length)).max(2);
    for round in 0..rounds {
        let publishers = |number| Publishers::start(mqload, port, plan, length, number);
        let figures = publishers(2 * round + 1)?.end()?;
        outcome.see(&figures, false);
        if round == 0 {
            outcome.before = resident(broker.pid())?;
        }
        let memory = Memory::watch(broker.pid());
        load(&broker, "load")?;
        let mut running = publishers(2 * round + 2)?;
        while running.run() {
            chance.trouble(&mut sink, || running.run())?;
        }
        let figures = running.end()?;
        outcome.see(&figures, true);
        outcome.published += count(&figures, "sent");
        let last = round + 1 == rounds;
        if !spills || last {
            sink.tell("serve")?;
            outcome.caught_up = outcome.caught_up.max(settled(&broker)?);
            outcome.read(&broker)?;
        }
        if !last {
            load(&broker, "unload")?;
        }
        outcome.most = outcome.most.max(memory.end()?);
        if !broker.runs() {
            return Err("the broker has ended".into());
        }
    }
    outcome.arrived = sink.report()?;
    broker.stop()?;
    Ok(outcome)
}

/// The plugin's file; it is not loaded when the broker starts.
fn configure(tree: &Path, plan: &Plan, on_full: &str, port: u16) -> Result<(), String> {
    let conf = tree.join(format!("etc/plugins/{PLUGIN}.conf"));
    let (batch, queue) = (plan.batch, plan.queue);
    let text = format!(
        "web.hook.api.url = http://127.0.0.1:{port}\n\
         web.hook.rule.message.publish.1 = {{\"action\": \"on_message_publish\"}}\n\
         web.hook.encode_payload = base64\n\
         web.hook.batch_size = {batch}\n\
         web.hook.timeout = 2s\n\
         web.hook.deadline = 30s\n\
         web.hook.queue.max_count = {queue}\n\
         web.hook.queue.max_bytes = {QUEUE_MB}MB\n\
         web.hook.on_full = {on_full}\n\
         web.hook.spill.max_bytes = 4GB\n"
    );
    at(&conf, fs::write(&conf, text))?;
    let list = tree.join("data/loaded_plugins");
    at(&list, fs::write(&list, ""))
}

fn load(broker: &Broker, verb: &str) -> Result<(), String> {
    let text = broker.ctl(&["plugins", verb, PLUGIN])?;
    match text.contains(&format!("Plugin {PLUGIN} {verb}ed successfully.")) {
        true => Ok(()),
        false => Err(format!("plugins {verb} {PLUGIN}: {text}")),
    }
}

/// A figure of the plugin.
fn metric(status: &str, name: &str) -> Result<u64, String> {
    let name = format!("{PLUGIN}/{name}");
    let line = status.lines().find_map(|line| {
        let rest = line.trim().strip_prefix(&*name)?;
        // There may be a longer name.
        let rest = rest.strip_prefix([' ', ':', '='])?;
        rest.trim_matches(|c: char| !c.is_ascii_digit())
            .parse()
            .ok()
    });
    line.ok_or_else(|| format!("no {name} in: {status}"))
}

/// Waits until nothing waits any more; says how long that took.
fn settled(broker: &Broker) -> Result<Duration, String> {
    let begun = Instant::now();
    let (mut last, mut progress) = (0, begun);
    loop {
        let status = broker.ctl(&["plugins", "show", PLUGIN])?;
        let waits = metric(&status, "queued")? + metric(&status, "spilled")?;
        if waits == 0 {
            return Ok(begun.elapsed());
        }
        let done = metric(&status, "sent")?;
        if done != last {
            (last, progress) = (done, Instant::now());
        }
        if progress.elapsed() > PATIENCE {
            return Err(format!("{waits} events wait, and none of them goes"));
        }
        sleep(Duration::from_millis(100));
    }
}

fn count(value: &Value, name: &str) -> u64 {
    value.get(name).and_then(Value::as_u64).unwrap_or(0)
}

impl Outcome {
    /// A run of the publishers.
    fn see(&mut self, figures: &Value, with: bool) {
        let p99 = figures.get("p99_us").and_then(Value::as_f64);
        let list = if with {
            &mut self.with
        } else {
            &mut self.without
        };
        list.extend(p99);
        for name in ["lost", "gaps", "closed", "bad"] {
            if figures.get(name).and_then(Value::as_i64) != Some(0) {
                self.wrong.push(format!("publishers: {name}: {figures}"));
            }
        }
    }

    /// The plugin's figures, which begin anew when it is loaded.
    fn read(&mut self, broker: &Broker) -> Result<(), String> {
        let status = broker.ctl(&["plugins", "show", PLUGIN])?;
        self.sent += metric(&status, "sent")?;
        for reason in ["full", "expired", "refused", "disk", "stopped"] {
            self.dropped += metric(&status, &format!("dropped/{reason}"))?;
        }
        Ok(())
    }

    /// Prints it; gives what is wrong.
    fn report(mut self, plan: &Plan, on_full: &str) -> Vec<String> {
        let (without, with) = (median(&mut self.without), median(&mut self.with));
        let unique = count(&self.arrived, "unique");
        println!(
            "\non_full = {on_full}: {} messages, {unique} arrived, {} dropped, {} duplicates, {} posts\n\
             p99 of the publishers: {without:.0} us without the plugin, {with:.0} us with it\n  \
             without: {:?}\n  with: {:?}\n\
             resident memory: {} MB before, {} MB at most\n\
             the target came back, and had all after {:.1} s",
            self.published,
            self.dropped,
            count(&self.arrived, "duplicates"),
            count(&self.arrived, "posts"),
            self.without,
            self.with,
            self.before >> 10,
            self.most >> 10,
            self.caught_up.as_secs_f64(),
        );
        let mut wrong = std::mem::take(&mut self.wrong);
        for name in ["late", "bad"] {
            if count(&self.arrived, name) != 0 {
                wrong.push(format!("{name}: {}", self.arrived));
            }
        }
        if on_full == "spill" {
            if unique != self.published || self.dropped > 0 {
                wrong.push(format!("not all have arrived: {}", self.arrived));
            }
        } else if self.sent + self.dropped != self.published || unique < self.sent {
            wrong.push(format!(
                "{} delivered and {} dropped of {}; at the target: {}",
                self.sent, self.dropped, self.published, self.arrived
            ));
        }
        let grown = self.most.saturating_sub(self.before) >> 10;
        if grown > QUEUE_MB + SLACK_MB {
            wrong.push(format!("memory grew by {grown} MB"));
        }
        if plan.seconds >= LONG && with > TIMES * without + MORE_US {
            wrong.push(format!(
                "publishers' p99: {with:.0} us, and {without:.0} without the plugin"
            ));
        }
        wrong.iter().map(|w| format!("{on_full}: {w}")).collect()
    }
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Random numbers (xorshift).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    /// Something happens to the target, and then it works for a while; both end when it is over.
    fn trouble(
        &mut self,
        sink: &mut Sink,
        mut goes_on: impl FnMut() -> bool,
    ) -> Result<(), String> {
        const MODES: [&str; 5] = ["stop", "hang", "freeze", "cut", "status 503"];
        let mode = MODES[usize::try_from(self.below(5)).unwrap_or(0)];
        for mode in [mode, "serve"] {
            sink.tell(mode)?;
            let end = Instant::now() + Duration::from_millis(500 + self.below(5500));
            while Instant::now() < end && goes_on() {
                sleep(Duration::from_millis(20));
            }
        }
        Ok(())
    }
}

/// The target: `mqload sink`.
pub struct Sink {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Sink {
    /// Starts it; it answers.
    pub fn start(mqload: &Path, port: u16) -> Result<Sink, String> {
        let mut child = Command::new(mqload)
            .args(["sink", "--port", &port.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{}: {e}", mqload.display()))?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = output.ok_or("the sink has no output")?;
        Ok(Sink {
            child,
            input,
            output: BufReader::new(output),
        })
    }

    /// What it is to do from now on.
    pub fn tell(&mut self, what: &str) -> Result<(), String> {
        let input = self.input.as_mut().ok_or("the sink has ended")?;
        writeln!(input, "{what}").map_err(|e| format!("the sink: {e}"))
    }

    /// What has come.
    pub fn report(&mut self) -> Result<Value, String> {
        self.tell("report")?;
        let mut line = String::new();
        let read = self.output.read_line(&mut line);
        read.map_err(|e| format!("the sink: {e}"))?;
        serde_json::from_str(&line).map_err(|e| format!("the sink: {e}: {line}"))
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // Both fail when it has ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The generator.
struct Publishers(Option<Child>);

impl Publishers {
    fn start(
        mqload: &Path,
        port: u16,
        plan: &Plan,
        seconds: u64,
        number: u64,
    ) -> Result<Publishers, String> {
        let mut command = Command::new(mqload);
        command.arg("p2p");
        for (name, value) in [
            ("--port", u64::from(port)),
            ("--pairs", PAIRS),
            ("--qos", 1),
            ("--rate", plan.rate),
            ("--warmup", 1),
            ("--dur", seconds),
            // Other names each time: the sink counts for each.
            ("--idbase", number),
        ] {
            command.args([name, &value.to_string()]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("{}: {e}", mqload.display()))?;
        Ok(Publishers(Some(child)))
    }

    /// Whether they still run.
    fn run(&mut self) -> bool {
        let child = self.0.as_mut();
        child.is_some_and(|child| child.try_wait().is_ok_and(|status| status.is_none()))
    }

    /// What they saw, once they have ended.
    fn end(mut self) -> Result<Value, String> {
        let child = self.0.take().ok_or("the generator has ended")?;
        let output = child
            .wait_with_output()
            .map_err(|e| format!("waiting for the generator: {e}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&text).map_err(|e| format!("the generator: {e}: {text}"))
    }
}

impl Drop for Publishers {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Both fail when it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Looks at resident memory until it is told to end.
struct Memory {
    thread: JoinHandle<Result<(), String>>,
    ends: Arc<AtomicBool>,
    most: Arc<AtomicU64>,
}

impl Memory {
    fn watch(pid: u32) -> Memory {
        let (ends, most) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicU64::new(0)),
        );
        let (ended, seen) = (Arc::clone(&ends), Arc::clone(&most));
        let thread = std::thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                seen.fetch_max(resident(pid)?, Ordering::Relaxed);
                sleep(Duration::from_millis(100));
            }
            Ok(())
        });
        Memory { thread, ends, most }
    }

    /// The most there was, in KB.
    fn end(self) -> Result<u64, String> {
        self.ends.store(true, Ordering::Relaxed);
        let watched = self.thread.join();
        watched.map_err(|_| "the thread that looks at memory panicked")??;
        Ok(self.most.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_the_plugin() {
        let status = "a\n  emq_web_hook/sent_more: 13\n  emq_web_hook/sent: 12\n";
        assert_eq!(metric(status, "sent"), Ok(12));
        assert!(metric(status, "queued").is_err());
    }

    #[test]
    fn medians() {
        assert_eq!(median(&mut [3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&mut []), 0.0);
    }
}
