//! Rows about plugins that hear of each message: what a message costs with one, beside what it costs without, in the
//! same run.

use super::report::{failures, machine_lines, met, micros, middle, sorted, spread};
use super::server::Extra;
use super::{OneToOne, Run};
use serde_json::{Map, Value};
use std::fmt::Write;

/// One row: messages at QoS 0, one to one in a closed loop.
pub struct Row {
    pub name: &'static str,
    pub title: &'static str,
    plugin: Option<Plugin>,
    /// microseconds that a message may cost more than in the row [`NONE`]
    goal: Option<f64>,
}

/// A plugin with its file, and a file that it reads.
struct Plugin {
    name: &'static str,
    keys: &'static str,
    file: (&'static str, &'static str),
}

/// The figure that is compared.
const COST: &str = "broker_us_msg";
/// The row that the others are compared with.
const NONE: &str = "lua-none";

/// What the manual of EMQ begins with.
const SAME: &str = "\
function on_message_publish(clientid, username, topic, payload, qos, retain)
    return topic, payload, qos, retain
end

function register_hook()
    return \"on_message_publish\"
end
";

/// The generator wants what it has sent at the begin, and the length.
const CHANGED: &str = "\
function on_message_publish(clientid, username, topic, payload, qos, retain)
    return topic, payload:sub(1, -2) .. \"+\", qos, retain
end

function register_hook()
    return \"on_message_publish\"
end
";

/// A script that looks at topics, as most do, and means few of them.
const CHOSEN: &str = "\
function on_message_publish(clientid, username, topic, payload, qos, retain)
    if string.match(topic, \"^devices/[^/]+/up$\") then
        return topic, clientid .. \":\" .. payload, qos, retain
    end
    return topic, payload, qos, retain
end

function register_hook()
    return \"on_message_publish\"
end
";

const fn lua(
    name: &'static str,
    title: &'static str,
    keys: &'static str,
    script: &'static str,
    goal: Option<f64>,
) -> Row {
    Row {
        name,
        title,
        plugin: Some(Plugin {
            name: "emq_lua_hook",
            keys,
            file: ("hook_lua/bench.lua", script),
        }),
        goal,
    }
}

pub const ROWS: &[Row] = &[
    Row {
        name: NONE,
        title: "no plugin",
        plugin: None,
        goal: None,
    },
    lua(
        "lua-publish",
        "a script that returns what it got",
        "",
        SAME,
        Some(3.0),
    ),
    lua(
        "lua-publish-keep",
        "… with `lua.state = keep`",
        "lua.state = keep\n",
        SAME,
        None,
    ),
    lua(
        "lua-payload",
        "a script that changes the payload",
        "",
        CHANGED,
        None,
    ),
    lua(
        "lua-match",
        "a script that matches the topic, in vain",
        "",
        CHOSEN,
        None,
    ),
];

impl Row {
    /// Starts the broker, runs the generator, and stops it.
    pub(super) fn run(&self, bench: &OneToOne<'_>) -> Result<Map<String, Value>, String> {
        let mut extra = Extra::default();
        if let Some(plugin) = &self.plugin {
            let (path, text) = plugin.file;
            extra.plugin = Some((plugin.name, plugin.keys.into()));
            extra.files.push((path, text.into()));
        }
        let mut broker = bench.start(&extra)?;
        let figures = bench.measure(&mut broker, &["--pairs", "16", "--window", "100"])?;
        // A plugin that did not start, or complains of each message, would be measured as a cheap one.
        match broker.said() {
            said if said.contains("[error]") => Err(format!("the broker complains: {said}")),
            _ => Ok(figures),
        }
    }
}

/// The part of the report, without a title.
pub fn markdown(rows: &[&Row], runs: &[Run], reps: usize, load: &str) -> String {
    let mut out = machine_lines(load);
    let _ = writeln!(
        out,
        "- {reps} interleaved repetitions, medians; processor time of the broker's process\n\n\
         QoS 0 one to one in a closed loop, payloads of 64 bytes. `added` is what a message costs more than without a \
         plugin.\n\n\
         | row | | processor time of a message | least to most | added | goal | goal met |\n\
         |---|---|--:|--:|--:|--:|---|"
    );
    let without = middle(&sorted(runs, NONE, COST));
    for row in rows {
        let all = sorted(runs, row.name, COST);
        let cost = middle(&all);
        let added = cost.zip(without).filter(|_| row.name != NONE);
        let added = added.map(|(with, without)| with - without);
        let _ = writeln!(
            out,
            "| {} | {} | {} | {} | {} | {} | {} |",
            row.name,
            row.title,
            micros(cost),
            spread(&all),
            micros(added),
            micros(row.goal),
            met(added, row.goal),
        );
    }
    let mut notes = String::new();
    failures(&mut notes, runs);
    let _ = write!(out, "\n{notes}");
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_plugin_adds_is_compared_with_the_goal() {
        let run = |row, us: f64| Run {
            row,
            peer: "emqttd",
            result: Ok(json!({"broker_us_msg": us})),
        };
        let runs = [
            run(NONE, 0.2),
            run("lua-publish", 2.0),
            run(NONE, 0.4),
            run("lua-publish", 9.0),
            run(NONE, 0.3),
            run("lua-publish", 3.8),
            Run {
                row: "lua-match",
                peer: "emqttd",
                result: Err("no luck".into()),
            },
        ];
        let rows: Vec<&Row> = ROWS.iter().collect();
        let text = markdown(&rows, &runs, 3, "0");
        for line in [
            "| lua-none | no plugin | 0.300 µs | 0.200 – 0.400 | – | – | – |",
            "| 3.80 µs | 2.00 – 9.00 | 3.50 µs | 3.00 µs | no, +17 % |",
            "- lua-match emqttd failed: no luck",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn names_are_of_one_row_each() {
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        for (n, name) in names.iter().enumerate() {
            assert!(!names[..n].contains(name), "{name}");
        }
    }
}
