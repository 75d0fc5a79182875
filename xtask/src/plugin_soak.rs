//! `cargo xtask plugin-soak`: every plugin comes and goes, again and again, on a broker with traffic.

use crate::bench;
use crate::node::{self, Broker};
use crate::shell::{at, build, cargo, option, root, run as run_command, target};
use serde_json::Value;
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The plugins of this version, in the order in which they are loaded.
const PLUGINS: &[&str] = &[
    "emq_retainer",
    "emq_modules",
    "emq_recon",
    "emq_reloader",
    "emq_auth_clientid",
    "emq_auth_username",
];

/// The plugin from a library, and its configuration: hooks at all points, none of which prints a line.
const TEMPLATE: &str = "emq_plugin_template";
const SILENT: &str = "[{emq_plugin_template, [{say, off}]}].\n";

/// So that nothing is dropped that was accepted: the queues are as long as it takes.
pub const KEYS: &str = "\
log.console.level = error
mqtt.allow_anonymous = true
mqtt.acl_nomatch = allow
mqtt.session.max_inflight = 1000
mqtt.session.max_awaiting_rel = 0
mqtt.mqueue.max_length = 0
";

/// Every message goes through the hook of emq_modules while that is loaded, and keeps its topic.
const MODULES: &str = "\
module.presence = on
module.subscription = on
module.subscription.1.topic = never/%c
module.subscription.1.qos = 1
module.rewrite = on
module.rewrite.rule.1 = p2p/# ^p2p/(.+)$ p2p/$1
";

/// A shorter run tells nothing about memory, nor about speed.
const LONG: u64 = 60;

/// Growth that is no leak: what the allocator keeps of a moment with more to do.
const SLACK_KB: u64 = 4 * 1024;

struct Plan {
    seconds: u64,
    rate: u64,
    profile: String,
    /// with a plugin from a library
    template: bool,
}

/// `[--seconds N] [--rate N] [--profile NAME]`
pub fn run(args: &[String]) -> Result<(), String> {
    let number = |name: &str, usual: u64| match option(args, name) {
        None => Ok(usual),
        Some(text) => match text.parse::<u64>() {
            Ok(number) if number > 0 => Ok(number),
            _ => Err(format!("{name} {text}: a number above zero is expected")),
        },
    };
    soak(&Plan {
        seconds: number("--seconds", 300)?,
        rate: number("--rate", 20_000)?,
        profile: option(args, "--profile").unwrap_or("release").into(),
        template: true,
    })
}

/// What every run of the tests does.
pub fn short() -> Result<(), String> {
    soak(&Plan {
        seconds: 5,
        rate: 3_000,
        profile: "dev".into(),
        template: false,
    })
}

fn soak(plan: &Plan) -> Result<(), String> {
    build(&plan.profile)?;
    let mqload = bench::generator()?;
    let tree = target().join("plugin-soak");
    let port = node::make(&tree, &plan.profile, KEYS)?;
    let mut plugins = PLUGINS.to_vec();
    configure(&tree)?;
    if plan.template {
        install_template(&tree)?;
        plugins.push(TEMPLATE);
    }
    let mut broker = Broker::start(&tree)?;
    let mut generators = Generators::start(&mqload, port, plan)?;
    let turned = turn(&mut broker, &mut generators, &plugins);
    let outcomes = generators.end()?;
    let turned = turned?;
    // The plugins go with it, in order.
    broker.stop()?;
    report(plan, &turned, &outcomes)
}

/// Files for all plugins, and an empty list of those to load.
fn configure(tree: &Path) -> Result<(), String> {
    node::configure_plugin(tree, "emq_modules", MODULES)?;
    node::configure_plugin(tree, "emq_reloader", "reloader.interval = 1s\n")?;
    for (plugin, head, field) in [
        ("emq_auth_clientid", "auth.client", "clientid"),
        ("emq_auth_username", "auth.user", "username"),
    ] {
        let keys = format!("{head}.1.{field} = somebody\n{head}.1.password = secret\n");
        node::configure_plugin(tree, plugin, &keys)?;
    }
    let list = tree.join("data/loaded_plugins");
    at(&list, fs::write(&list, ""))
}

/// Builds the template outside of the workspace, as a stranger does, and puts it into the tree.
fn install_template(tree: &Path) -> Result<(), String> {
    let place = target().join("strangers");
    let manifest = root().join("templates").join(TEMPLATE).join("Cargo.toml");
    run_command(
        cargo(&["build", "--quiet", "--release", "--manifest-path"])
            .arg(manifest)
            .arg("--target-dir")
            .arg(&place),
    )?;
    let file = format!("{DLL_PREFIX}{TEMPLATE}{DLL_SUFFIX}");
    let (built, dir) = (place.join("release").join(&file), tree.join("plugins"));
    at(&dir, fs::create_dir_all(&dir))?;
    at(&built, fs::copy(&built, dir.join(&file)))?;
    let conf = tree.join(format!("etc/plugins/{TEMPLATE}.config"));
    at(&conf, fs::write(&conf, SILENT))
}

/// Generators of traffic, one for each QoS.
struct Generators(Vec<Child>);

impl Generators {
    fn start(mqload: &Path, port: u16, plan: &Plan) -> Result<Generators, String> {
        let mut all = Generators(Vec::new());
        for qos in 0..3_u64 {
            let mut command = Command::new(mqload);
            command.arg("p2p");
            for (name, value) in [
                ("--port", u64::from(port)),
                ("--pairs", 8),
                ("--qos", qos),
                ("--rate", (plan.rate / 3).max(1)),
                ("--warmup", 1),
                ("--dur", plan.seconds),
                ("--idbase", qos + 1),
            ] {
                command.args([name, &value.to_string()]);
            }
            let child = command
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .spawn()
                .map_err(|e| format!("{}: {e}", mqload.display()))?;
            all.0.push(child);
        }
        Ok(all)
    }

    /// Whether all of them still run.
    fn run(&mut self) -> bool {
        self.0
            .iter_mut()
            .all(|child| child.try_wait().is_ok_and(|status| status.is_none()))
    }

    /// What each of them saw, once it has ended.
    fn end(mut self) -> Result<Vec<Value>, String> {
        let mut outcomes = Vec::new();
        for child in std::mem::take(&mut self.0) {
            let output = child
                .wait_with_output()
                .map_err(|e| format!("waiting for a generator: {e}"))?;
            let text = String::from_utf8_lossy(&output.stdout);
            let outcome =
                serde_json::from_str(&text).map_err(|e| format!("a generator: {e}: {text}"))?;
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }
}

impl Drop for Generators {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Both fail when it has ended.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// How it went.
struct Turned {
    /// how often all plugins were loaded and unloaded
    rounds: u64,
    /// resident memory with all plugins unloaded, in KB, after each round, with the seconds since the start
    memory: Vec<(f64, u64)>,
    /// the longest load or unload, with what it was
    longest: (Duration, String),
}

/// Loads and unloads while the generators run.
fn turn(
    broker: &mut Broker,
    generators: &mut Generators,
    plugins: &[&'static str],
) -> Result<Turned, String> {
    let begun = Instant::now();
    let mut turned = Turned {
        rounds: 0,
        memory: Vec::new(),
        longest: (Duration::ZERO, String::new()),
    };
    while generators.run() {
        // Each time another one is the first.
        let first = usize::try_from(turned.rounds).unwrap_or(0) % plugins.len();
        let mut order = plugins.to_vec();
        order.rotate_left(first);
        for verb in ["load", "unload"] {
            for plugin in &order {
                let before = Instant::now();
                let text = broker.ctl(&["plugins", verb, plugin])?;
                let wanted = format!("Plugin {plugin} {verb}ed successfully.");
                if !text.contains(&wanted) {
                    let state = if broker.runs() { "runs" } else { "has ended" };
                    return Err(format!("plugins {verb} {plugin}: {text}the broker {state}"));
                }
                let took = before.elapsed();
                if took > turned.longest.0 {
                    turned.longest = (took, format!("{verb} {plugin}"));
                }
            }
            let active = broker
                .ctl(&["plugins", "list"])?
                .matches("active=true")
                .count();
            let wanted = if verb == "load" { plugins.len() } else { 0 };
            if active != wanted {
                return Err(format!(
                    "after all {verb}: {active} are active, not {wanted}"
                ));
            }
        }
        turned.rounds += 1;
        let seconds = begun.elapsed().as_secs_f64();
        turned.memory.push((seconds, resident(broker.pid())?));
    }
    Ok(turned)
}

/// Resident memory of a process in KB.
pub fn resident(pid: u32) -> Result<u64, String> {
    let path = Path::new("/proc").join(pid.to_string()).join("status");
    let text = at(&path, fs::read_to_string(&path))?;
    text.lines()
        .find_map(|line| {
            line.strip_prefix("VmRSS:")?
                .split_whitespace()
                .next()?
                .parse()
                .ok()
        })
        .ok_or_else(|| format!("{}: no VmRSS", path.display()))
}

/// The most that a part of the run had, as fractions of it.
fn most(memory: &[(f64, u64)], from: f64, to: f64) -> Option<u64> {
    let end = memory.last()?.0;
    memory
        .iter()
        .filter(|(at, _)| (from * end..=to * end).contains(at))
        .map(|&(_, kb)| kb)
        .max()
}

fn report(plan: &Plan, turned: &Turned, outcomes: &[Value]) -> Result<(), String> {
    let mut wrong = Vec::new();
    println!(
        "\n{} rounds in {} s; the longest was {} with {} ms",
        turned.rounds,
        plan.seconds,
        turned.longest.1,
        turned.longest.0.as_millis()
    );
    for outcome in outcomes {
        let count = |name: &str| outcome.get(name).and_then(Value::as_i64);
        let qos = count("qos").unwrap_or(-1);
        println!(
            "QoS {qos}: {} msg/s, {} lost, {} out of order, {} connections closed; p50 {} us, p99.9 {} us",
            count("recv_s").unwrap_or(-1),
            count("lost").unwrap_or(-1),
            count("gaps").unwrap_or(-1),
            count("closed").unwrap_or(-1),
            count("p50_us").unwrap_or(-1),
            count("p999_us").unwrap_or(-1),
        );
        for name in ["lost", "gaps", "closed", "bad"] {
            if count(name) != Some(0) {
                wrong.push(format!("QoS {qos}: {name} = {:?}: {outcome}", count(name)));
            }
        }
        let least = plan.rate as f64 / 3.0 * 0.95;
        if plan.seconds >= LONG && (count("recv_s").unwrap_or(0) as f64) < least {
            wrong.push(format!("QoS {qos}: less than {least:.0} messages a second"));
        }
    }
    if turned.rounds < 2 {
        wrong.push("there was no time for two rounds".into());
    }
    // The first part is warm-up: tables and buffers find their size.
    let memory = &turned.memory;
    if let (Some(before), Some(after)) = (most(memory, 0.2, 0.5), most(memory, 0.7, 1.0)) {
        println!(
            "resident memory after a round: {before} KB at most in the second part of the run, {after} KB in the last"
        );
        if plan.seconds >= LONG && after > before + SLACK_KB {
            wrong.push(format!("memory grew by {} KB", after - before));
        }
    }
    match wrong.as_slice() {
        [] => Ok(()),
        wrong => Err(wrong.join("\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_of_a_part() {
        let memory = [(1.0, 9), (3.0, 4), (4.0, 5), (9.0, 7), (10.0, 6)];
        assert_eq!(most(&memory, 0.2, 0.5), Some(5));
        assert_eq!(most(&memory, 0.7, 1.0), Some(7));
        assert_eq!(most(&[], 0.0, 1.0), None);
    }
}
