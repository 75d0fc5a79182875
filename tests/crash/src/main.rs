//! Kills a real broker at random instants under load, again and again in the same data directory, and
//! counts what it promised and did not keep. `cargo xtask crash-test` builds and runs it; see
//! docs/durability.md.

mod actor;
mod acts;
mod cast;
mod client;
mod events;
#[cfg(feature = "faults")]
mod faults;
mod findings;
mod ledger;
mod message;
mod node;
mod rng;
mod run;
mod trace;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use findings::Kind;
use run::{Plan, Run};

const HELP: &str = "\
Usage: emqttd-crash --broker PATH [options]

  --broker PATH      the program `emqttd` to test
  --rounds N         how many times it is killed (100)
  --seed S           of all that is chosen (from the clock)
  --shards N         event loops of the broker (2)
  --sync MODE        its persistence.sync (always); with `off` it must find losses
  --millis A-B       traffic before the kill (5-150)
  --load N           messages of each publisher in a round, about (40)
  --drain-every N    rounds after which all that was promised must come (25)
  --no-kill          clients leave, and the broker lives: shows that the harness is right
  --keep-going       goes on after something was found
  --faults           no broker: the store alone, over disks that fail and lose power, at
                     every instant of --rounds recorded runs
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match plan(&args) {
        #[cfg(feature = "faults")]
        Ok(plan) if plan.faults => match faults::sweep(plan.rounds, plan.seed) {
            true => ExitCode::SUCCESS,
            false => ExitCode::FAILURE,
        },
        #[cfg(not(feature = "faults"))]
        Ok(plan) if plan.faults => {
            eprintln!("emqttd-crash: built without the feature `faults`");
            ExitCode::FAILURE
        }
        Ok(plan) => match test(plan) {
            Ok(true) => ExitCode::SUCCESS,
            Ok(false) => ExitCode::FAILURE,
            Err(e) => {
                eprintln!("emqttd-crash: {e}");
                ExitCode::FAILURE
            }
        },
        Err(e) => {
            eprintln!("emqttd-crash: {e}\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn plan(args: &[String]) -> Result<Plan, String> {
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos() as u64);
    let mut plan = Plan {
        broker: PathBuf::new(),
        rounds: 100,
        seed: clock % 1_000_000_007,
        shards: 2,
        sync: "always".into(),
        least: 5,
        most: 150,
        load: 40,
        drain_every: 25,
        no_kill: false,
        keep_going: false,
        faults: false,
    };
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} wants a value"));
        fn number<T: std::str::FromStr>(word: &str, value: &str) -> Result<T, String> {
            value
                .parse()
                .map_err(|_| format!("{word} {value}: not a number"))
        }
        match word.as_str() {
            "--broker" => plan.broker = value()?.into(),
            "--rounds" => plan.rounds = number(word, value()?)?,
            "--seed" => plan.seed = number(word, value()?)?,
            "--shards" => plan.shards = number(word, value()?)?,
            "--sync" => plan.sync = value()?.clone(),
            "--load" => plan.load = number(word, value()?)?,
            "--drain-every" => plan.drain_every = number::<u32>(word, value()?)?.max(1),
            "--millis" => {
                let value = value()?;
                let (least, most) = value.split_once('-').unwrap_or((value, value));
                plan.least = number(word, least)?;
                plan.most = number(word, most)?;
            }
            "--no-kill" => plan.no_kill = true,
            "--faults" => plan.faults = true,
            "--keep-going" => plan.keep_going = true,
            other => return Err(format!("no such option: {other}")),
        }
    }
    if !plan.faults && !plan.broker.is_file() {
        return Err(format!("--broker {}: no such file", plan.broker.display()));
    }
    if plan.least > plan.most {
        return Err("--millis: from the shorter to the longer".into());
    }
    Ok(plan)
}

/// Runs it and prints what came of it; `true` when nothing was found.
fn test(plan: Plan) -> Result<bool, String> {
    let begun = Instant::now();
    let what = if plan.no_kill { "no kill" } else { "kill" };
    println!(
        "crash test: {} rounds ({what}), seed {}, {} shards, sync {}, {}",
        plan.rounds,
        plan.seed,
        plan.shards,
        plan.sync,
        plan.broker.display()
    );
    let mut run = Run::new(plan).map_err(|e| e.to_string())?;
    println!("  in {}", run.node().root.display());
    run.go(|run, round| {
        if round % 50 == 0 {
            let counts = &run.ledger().counts;
            println!(
                "  round {round}: {:.0} s, {} acknowledged, {} delivered, {:.1} MB on disk",
                begun.elapsed().as_secs_f64(),
                counts.acknowledged,
                counts.delivered,
                run.node().data_bytes() as f64 / 1e6
            );
        }
    });
    Ok(report(run, begun))
}

fn report(run: Run, begun: Instant) -> bool {
    let (ledger, node, ends) = run.into_parts();
    let counts = &ledger.counts;
    let mut starts = node.starts.clone();
    starts.sort_unstable();
    let start = |of_hundred: usize| {
        let at = (starts.len() * of_hundred / 100).min(starts.len().saturating_sub(1));
        starts.get(at).map_or(0, |d| d.as_millis())
    };
    println!();
    for (name, value) in [
        ("rounds", u64::from(ledger.round)),
        ("killed under traffic", u64::from(ends.kills)),
        ("killed while it started", u64::from(ends.kills_at_start)),
        ("asked to stop under traffic", u64::from(ends.stops)),
        ("connections dropped", u64::from(ends.drops)),
        (
            "connections ended with DISCONNECT",
            u64::from(ends.disconnects),
        ),
        ("drains", u64::from(ends.drains)),
        ("published", counts.published),
        ("acknowledged", counts.acknowledged),
        ("delivered", counts.delivered),
        ("  of these with QoS 2", counts.delivered_exactly),
        ("duplicates with QoS 1 (allowed)", counts.duplicated_qos1),
        ("SUBACK and UNSUBACK", counts.changes),
        ("sessions resumed", counts.resumed),
        ("sessions expired", counts.expired),
        ("retained topics checked", counts.retained),
        ("wills delivered", counts.wills),
        ("wills taken back", counts.wills_cancelled),
    ] {
        println!("  {name:<36}{value:>10}");
    }
    for kind in Kind::ALL {
        println!("  {kind:<36}{:>10}", ledger.findings.count(kind));
    }
    println!(
        "  start of the broker: median {} ms, p99 {} ms; {:.1} MB on disk; {:.0} s in all",
        start(50),
        start(99),
        node.data_bytes() as f64 / 1e6,
        begun.elapsed().as_secs_f64()
    );
    if ledger.findings.none() {
        println!("  nothing lost, nothing twice");
        node.remove();
        return true;
    }
    println!();
    for (kind, what) in ledger.findings.told() {
        println!("  {kind}: {what}");
    }
    println!("  what it printed last:\n{}", node.tail(15));
    println!(
        "  data directory, logs and what the clients sent and got since the last clean drain \
         (log/clients.txt) are kept in {}",
        node.root.display()
    );
    false
}
