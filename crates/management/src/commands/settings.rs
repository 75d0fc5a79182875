//! `set` and `show`: values of a running broker. Nothing is written to a file.

use super::Core;
use crate::cli::Cli;
use emqttd_config::{Config, SettableKey};

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
    cli.register_hidden("set", Box::new(move |call| Some(set(call.args, &this))));
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

fn set(args: &[&str], core: &Core) -> String {
    if args.is_empty() {
        return table(&core.config.lock().settable());
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
    if node.is_some_and(|n| n != core.broker.node_name()) {
        return "Invalid node name\n".into();
    }
    match core.configs().set(app, &pairs) {
        Ok(()) => pairs
            .iter()
            .map(|(key, value)| format!("\"{key}\" set to \"{value}\" successfully\n"))
            .collect(),
        Err(error) => format!("{error}\n"),
    }
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
            secret: false,
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
