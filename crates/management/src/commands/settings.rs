//! `set` and `show`: values of a running broker. Nothing is written to a file.

use super::Core;
use crate::cli::Cli;
use emqttd_broker::Broker;
use emqttd_config::{Config, SettableKey};
use emqttd_plugin_sdk::Entry;

/// The application whose keys are the core's.
const CORE: &str = "emqttd";

const SET_USAGE: &str = "Usage: config set <variable>=<value> ... [[--node | -n] <node> | --all]\n";

/// Arguments of `set` and `show`, taken apart.
#[derive(Debug, Default, PartialEq, Eq)]
struct Arguments<'a> {
    words: Vec<&'a str>,
    app: Option<&'a str>,
    node: Option<&'a str>,
}

impl<'a> Arguments<'a> {
    /// Options may stand anywhere, as `--app=x` or `--app x`.
    fn parse(args: &[&'a str]) -> Option<Arguments<'a>> {
        let mut out = Arguments::default();
        let mut rest = args.iter();
        while let Some(&arg) = rest.next() {
            if let Some(app) = arg.strip_prefix("--app=") {
                out.app = Some(app);
            } else if let Some(node) = arg.strip_prefix("--node=") {
                out.node = Some(node);
            } else if arg == "--app" {
                out.app = Some(rest.next()?);
            } else if arg == "--node" || arg == "-n" {
                out.node = Some(rest.next()?);
            } else if arg == "--all" {
                // All nodes of a cluster of one.
            } else {
                out.words.push(arg);
            }
        }
        Some(out)
    }
}

/// `set`, `show`: known to the command line, not listed by it.
pub fn register(cli: &Cli, core: &Core) {
    let this = core.clone();
    cli.register_hidden(
        "set",
        Box::new(move |call| {
            let tell = |app: &str, entries| match this.plugins() {
                Some(plugins) => plugins.reconfigure(app, entries),
                None => Ok(()),
            };
            let broker = &this.broker;
            Some(set(call.args, &mut this.config.lock(), broker, &tell))
        }),
    );
    let this = core.clone();
    cli.register_hidden(
        "show",
        Box::new(move |call| {
            Some(show(
                call.args,
                &this.config.lock(),
                &this.broker.node_name(),
            ))
        }),
    );
}

/// Tells a plugin the present values of its keys; why it does not take them.
type Tell<'a> = dyn Fn(&str, Vec<Entry>) -> Result<(), String> + 'a;

/// Changes values. Those of a plugin stay as they were when `tell` says that it does not take them.
fn set(args: &[&str], config: &mut Config, broker: &Broker, tell: &Tell<'_>) -> String {
    if args.is_empty() {
        return table(&config.settable());
    }
    let Some(Arguments {
        words,
        app: Some(app),
        node,
    }) = Arguments::parse(args)
    else {
        return SET_USAGE.into();
    };
    let pairs: Option<Vec<(&str, &str)>> = words.iter().map(|w| w.split_once('=')).collect();
    let Some(pairs) = pairs.filter(|p| !p.is_empty()) else {
        return SET_USAGE.into();
    };
    if node.is_some_and(|n| n != broker.node_name()) {
        return "Invalid node name\n".into();
    }
    // All of them or none: an error in the third must not leave the first two changed.
    let mut changed = config.clone();
    let mut out = String::new();
    let mut settings = None;
    for (key, value) in pairs {
        match changed.set(app, key, value) {
            Ok(new) => settings = Some(new),
            Err(e) => return format!("{e}\n"),
        }
        out += &format!("\"{key}\" set to \"{value}\" successfully\n");
    }
    if app != CORE
        && let Err(why) = tell(app, changed.plugin_entries(app))
    {
        return format!("{app}: {why}\n");
    }
    *config = changed;
    if let Some(settings) = settings {
        broker.reconfigure(settings);
    }
    out
}

fn show(args: &[&str], config: &Config, this: &str) -> String {
    let Some(Arguments {
        words,
        app: Some(app),
        node,
    }) = Arguments::parse(args)
    else {
        return "Invalid config --app: undefined\n".into();
    };
    if node.is_some_and(|n| n != this) {
        return "Invalid node name\n".into();
    }
    let mut columns = vec![("node", this.to_owned())];
    for key in words {
        match config.show(app, key) {
            Ok(value) => columns.push((key, value)),
            Err(e) => return format!("{e}\n"),
        }
    }
    boxed(&columns)
}

/// Every key that may be set; values are cut to their column.
fn table(keys: &[SettableKey]) -> String {
    let line = "-".repeat(96);
    let mut out = format!(
        "{:<40}# {:<20}# {:<20} \"app\"\n{line}\n",
        "key", "value", "datatype"
    );
    for k in keys {
        out += &format!(
            "{:<40}# {:<20.20}# {:<20} {}\n",
            k.key, k.value, k.datatype, k.app
        );
    }
    out + &line + "\nUsage: set key=value --app=appname\n"
}

/// A table of one row, each cell centred.
fn boxed(columns: &[(&str, String)]) -> String {
    let widths: Vec<usize> = columns
        .iter()
        .map(|(a, b)| a.chars().count().max(b.chars().count()))
        .collect();
    let border: String = widths
        .iter()
        .map(|w| format!("+{}", "-".repeat(*w)))
        .collect();
    let row = |cells: Vec<&str>| -> String {
        let cells = cells.iter().zip(&widths).map(|(c, w)| format!("|{c:^w$}"));
        cells.collect::<String>() + "|\n"
    };
    let names = row(columns.iter().map(|(name, _)| *name).collect());
    let values = row(columns.iter().map(|(_, value)| value.as_str()).collect());
    format!("{border}+\n{names}{border}+\n{values}{border}+\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn options_stand_anywhere() {
        let a = Arguments::parse(&["--app=emqttd", "a=b c", "-n", "x@y", "--all"]).unwrap();
        assert_eq!(
            a,
            Arguments {
                words: vec!["a=b c"],
                app: Some("emqttd"),
                node: Some("x@y")
            }
        );
        assert_eq!(Arguments::parse(&["--app"]), None);
        assert_eq!(Arguments::parse(&["--app", "p"]).unwrap().app, Some("p"));
    }

    #[test]
    fn the_list() {
        let key = SettableKey {
            key: "mqtt.keepalive_backoff",
            value: "0.7500".into(),
            datatype: "float",
            app: "emqttd",
        };
        let text = table(&[key]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "key                                     # value               # datatype             \"app\""
        );
        assert_eq!(
            lines[2],
            "mqtt.keepalive_backoff                  # 0.7500              # float                emqttd"
        );
        assert_eq!(lines[1], lines[3]);
        assert_eq!(lines[4], "Usage: set key=value --app=appname");
    }

    #[test]
    fn the_box() {
        let text = boxed(&[
            ("node", "emq@127.0.0.1".into()),
            ("mqtt.acl_nomatch", "allow".into()),
        ]);
        assert_eq!(
            text,
            "+-------------+----------------+\n\
             |    node     |mqtt.acl_nomatch|\n\
             +-------------+----------------+\n\
             |emq@127.0.0.1|     allow      |\n\
             +-------------+----------------+\n"
        );
    }

    #[test]
    fn show_needs_an_app() {
        let config = Config::default();
        assert_eq!(
            show(&["mqtt.acl_nomatch"], &config, "n@h"),
            "Invalid config --app: undefined\n"
        );
        assert_eq!(
            show(&["x", "--app=emqttd", "--node=a@b"], &config, "n@h"),
            "Invalid node name\n"
        );
    }
}
