//! Plugins' files with Erlang terms: `[{app, [{key, value}, ...]}].` becomes keys and values.

use crate::plugin::find_plugin;
use crate::reader::Line;
use crate::term::{Kind, Position, Term, read_terms};
use crate::{Problem, schema};

/// Lists inside lists deeper than this are no configuration.
const MAX_DEPTH: usize = 8;

/// The plugin whose terms are not all keys and values.
const SOCKJS: &str = "emq_sockjs";

/// What a file with terms says.
#[derive(Debug, Default)]
pub(crate) struct TermFile {
    /// as if they stood in a `.conf` file
    pub(crate) lines: Vec<Line>,
    /// with line and column but without file
    pub(crate) problems: Vec<Problem>,
}

/// Reads the file of the plugin `name`. `is_key` tells which keys there are: `{key, value}` stands for `key`,
/// or for `key` behind the words that begin the plugin's keys.
pub(crate) fn read(text: &str, name: &str, is_key: &dyn Fn(&str) -> bool) -> TermFile {
    let (terms, errors) = read_terms(text);
    let mut reader = Reader {
        heads: heads(name),
        name,
        is_key,
        file: TermFile::default(),
    };
    for error in errors {
        reader
            .file
            .problems
            .push(Problem::error(error.message).at(error.line, error.column));
    }
    for term in &terms {
        match &term.kind {
            Kind::List(apps) => apps.iter().for_each(|app| reader.app(app)),
            _ => reader.app(term),
        }
    }
    reader.file
}

/// What may stand before a key of the plugin: nothing, `emq_x.y`, `x.y`, and for `emq_auth_x` also `auth.x`.
fn heads(name: &str) -> Vec<String> {
    let short = name.strip_prefix("emq_").unwrap_or(name);
    let mut heads = vec![String::new()];
    for head in [name.to_owned(), short.to_owned(), short.replace('_', ".")] {
        let head = head + ".";
        if !heads.contains(&head) {
            heads.push(head);
        }
    }
    heads
}

struct Reader<'a> {
    name: &'a str,
    heads: Vec<String>,
    is_key: &'a dyn Fn(&str) -> bool,
    file: TermFile,
}

impl Reader<'_> {
    fn error(&mut self, at: Position, message: impl Into<String>) {
        self.file
            .problems
            .push(Problem::error(message).at(at.line, at.column));
    }

    /// `{app, [{key, value}, ...]}`
    fn app(&mut self, term: &Term) {
        let parts = match &term.kind {
            Kind::Tuple(parts) => parts.as_slice(),
            _ => &[],
        };
        let [app, values] = parts else {
            return self.error(term.at, "[{plugin, [{key, value}, ...]}]. is expected");
        };
        let (Some(app), Kind::List(values)) = (app.atom(), &values.kind) else {
            return self.error(term.at, "[{plugin, [{key, value}, ...]}]. is expected");
        };
        if app != self.name && !same_plugin(app, self.name) {
            let message = format!("{app} has a file of its own; this one is for {}", self.name);
            return self.error(term.at, message);
        }
        for value in values {
            self.pair("", value, 0);
        }
    }

    /// `{key, value}`, or a key alone, which is on.
    fn pair(&mut self, before: &str, term: &Term, depth: usize) {
        if depth > MAX_DEPTH {
            return self.error(term.at, "nested too deeply");
        }
        let (key, value) = match &term.kind {
            Kind::Atom(name) => (Some(name.clone()), None),
            Kind::Tuple(parts) => match parts.as_slice() {
                [key, value] => (word(key), Some(value)),
                _ => (None, None),
            },
            _ => (None, None),
        };
        let Some(key) = key else {
            return self.error(term.at, format!("{{key, value}} is expected, not {term}"));
        };
        // The part for STOMP of what is now one file with keys of one name.
        let key = match before {
            "" if key == "stomp" && self.name == SOCKJS => "sockjs".into(),
            "" => key,
            before => format!("{before}.{key}"),
        };
        match value {
            Some(value) if key == "cowboy_listener" && self.name == SOCKJS => {
                self.cowboy_listener(term.at, value);
            }
            Some(Term {
                kind: Kind::Integer(delay),
                at: value_at,
            }) if key.ends_with("_delay") && self.name == SOCKJS => {
                self.assign(&key, format!("{delay}ms"), term.at, *value_at);
            }
            None => self.assign(&key, "on".into(), term.at, term.at),
            Some(Term {
                kind: Kind::List(rules),
                ..
            }) if key == "rules" && self.name == "emq_modules" => {
                for (index, rule) in rules.iter().enumerate() {
                    self.rewrite(index + 1, rule);
                }
            }
            Some(value) => match scalar(value) {
                Some(text) => self.assign(&key, text, term.at, value.at),
                None => match &value.kind {
                    Kind::List(items) if items.iter().all(is_pair) => items
                        .iter()
                        .for_each(|item| self.pair(&key, item, depth + 1)),
                    _ => self.error(
                        value.at,
                        format!("{key}: a text, a name or a number is expected, not {value}"),
                    ),
                },
            },
        }
    }

    /// `{rewrite, "x/#", "^x/y/(.+)$", "z/y/$1"}` of 2.0.
    fn rewrite(&mut self, number: usize, rule: &Term) {
        const FORM: &str = "{rewrite, \"filter\", \"expression\", \"destination\"} is expected";
        let parts = match &rule.kind {
            Kind::Tuple(parts) => parts.as_slice(),
            _ => &[],
        };
        let [verb, words @ ..] = parts else {
            return self.error(rule.at, FORM);
        };
        let words: Vec<&str> = words.iter().filter_map(Term::text).collect();
        if verb.atom() != Some("rewrite") || words.len() != 3 || parts.len() != 4 {
            return self.error(rule.at, FORM);
        }
        let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
        self.file.lines.push(Line {
            key: format!("module.rewrite.rule.{number}"),
            value: quoted.join(" "),
            number: rule.at.line,
            key_column: rule.at.column,
            value_column: rule.at.column,
        });
    }

    /// `{name, port, acceptors}`, as in the file of emq_sockjs.
    fn cowboy_listener(&mut self, at: Position, value: &Term) {
        let parts = match &value.kind {
            Kind::Tuple(parts) => parts.as_slice(),
            _ => &[],
        };
        let scalars: Vec<_> = parts.iter().map(scalar).collect();
        let [Some(_name), Some(port), Some(acceptors)] = scalars.as_slice() else {
            return self.error(value.at, "{name, port, acceptors} is expected");
        };
        self.assign("sockjs.listener", port.clone(), at, parts[1].at);
        let acceptors_at = parts[2].at;
        self.assign(
            "sockjs.listener.acceptors",
            acceptors.clone(),
            at,
            acceptors_at,
        );
    }

    fn assign(&mut self, key: &str, value: String, at: Position, value_at: Position) {
        // An unknown one is reported as it would stand in a .conf file.
        let key = self
            .resolve(key)
            .unwrap_or_else(|| match key.contains('.') {
                true => key.to_owned(),
                false => format!("{}.{key}", self.name),
            });
        self.file.lines.push(Line {
            key,
            value,
            number: at.line,
            key_column: at.column,
            value_column: value_at.column,
        });
    }

    fn resolve(&self, key: &str) -> Option<String> {
        self.heads
            .iter()
            .map(|head| format!("{head}{key}"))
            .find(|key| (self.is_key)(key))
    }
}

fn same_plugin(app: &str, name: &str) -> bool {
    find_plugin(app).is_some_and(|plugin| find_plugin(name) == Some(plugin))
}

fn is_pair(term: &Term) -> bool {
    matches!(&term.kind, Kind::Tuple(parts) if parts.len() == 2)
}

fn word(term: &Term) -> Option<String> {
    term.atom().or_else(|| term.text()).map(str::to_owned)
}

/// A value that fits into a line: a text, a name, a number, or several of them, which get commas.
fn scalar(term: &Term) -> Option<String> {
    let text = match &term.kind {
        Kind::Atom(text) | Kind::Text(text) | Kind::Binary(text) => text.clone(),
        Kind::Integer(number) => number.to_string(),
        Kind::List(items) if !items.is_empty() => {
            let texts: Option<Vec<String>> = items
                .iter()
                .map(|item| match item.kind {
                    Kind::List(_) => None,
                    _ => scalar(item),
                })
                .collect();
            texts?.join(",")
        }
        Kind::List(_) | Kind::Tuple(_) => return None,
    };
    // A line of a file cannot hold it, so it was never meant.
    (!text.contains(['\n', '\r', '\0'])).then_some(text)
}

/// `true` and `false` of Erlang for the switches of `.conf` files, and the other way round.
pub(crate) fn in_words_of(key: &str, value: &str) -> Option<&'static str> {
    use crate::value::Type;
    match (schema::find(key)?.kind, value) {
        (Type::Flag, "true") => Some("on"),
        (Type::Flag, "false") => Some("off"),
        (Type::Bool, "on") => Some("true"),
        (Type::Bool, "off") => Some("false"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn keys(text: &str, name: &str) -> Vec<(String, String)> {
        let file = read(text, name, &|key| schema::find(key).is_some());
        assert_eq!(file.problems, []);
        file.lines
            .into_iter()
            .map(|line| (line.key, line.value))
            .collect()
    }

    fn problems(text: &str, name: &str) -> Vec<String> {
        let file = read(text, name, &|key| schema::find(key).is_some());
        file.problems.iter().map(Problem::to_string).collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|&(key, value)| (key.to_owned(), value.to_owned()))
            .collect()
    }

    #[test]
    fn pairs_are_keys() {
        let text = "%% comment\n[{emq_recon, [{gc_interval, \"5m\"}]}].";
        assert_eq!(
            keys(text, "emq_recon"),
            owned(&[("recon.gc_interval", "5m")])
        );
        let text =
            "{emq_auth_mysql, [{server, \"h:1\"}, {pool, 8}, {'auth.mysql.database', mqtt}]}.";
        assert_eq!(
            keys(text, "emq_auth_mysql"),
            owned(&[
                ("auth.mysql.server", "h:1"),
                ("auth.mysql.pool", "8"),
                ("auth.mysql.database", "mqtt")
            ])
        );
        let text =
            "[{emq_auth_mongo, [{topology, [{pool_size, 1}]}, {server, [\"a:1\", \"b:2\"]}]}].";
        assert_eq!(
            keys(text, "emq_auth_mongo"),
            owned(&[
                ("auth.mongo.topology.pool_size", "1"),
                ("auth.mongo.server", "a:1,b:2")
            ])
        );
    }

    #[test]
    fn rules_of_2_0_are_numbered() {
        let text = r#"[{emq_mod_rewrite, [{rules, [
            {rewrite, "x/#", "^x/y/(.+)$", "z/y/$1"},
            {rewrite, "y/+/z/#", "^y/(.+)/z/(.+)$", "y/z/$2"}
        ]}]}]."#;
        assert_eq!(
            keys(text, "emq_modules"),
            owned(&[
                ("module.rewrite.rule.1", r#""x/#" "^x/y/(.+)$" "z/y/$1""#),
                (
                    "module.rewrite.rule.2",
                    r#""y/+/z/#" "^y/(.+)/z/(.+)$" "y/z/$2""#
                )
            ])
        );
        assert!(
            problems("[{emq_modules, [{rules, [{rewrite, a}]}]}].", "emq_modules")[0]
                .starts_with("{rewrite,")
        );
    }

    #[test]
    fn the_file_of_emq_sockjs() {
        let text = r#"[
          {emq_sockjs, [

            {sockjs, []},

            {cowboy_listener, {stomp_sockjs, 61616, 4}},

            %% TODO: unused...
            {stomp, [
              {frame, [
                {max_headers,       10},
                {max_header_length, 1024},
                {max_body_length,   8192}
              ]}
            ]}
          ]}
        ]."#;
        let listener = [
            ("sockjs.listener", "61616"),
            ("sockjs.listener.acceptors", "4"),
        ];
        let frame = [
            ("sockjs.frame.max_headers", "10"),
            ("sockjs.frame.max_header_length", "1024"),
            ("sockjs.frame.max_body_length", "8192"),
        ];
        assert_eq!(
            keys(text, "emq_sockjs"),
            owned(&[&listener[..], &frame].concat())
        );
        let text = r#"[{emqttd_sockjs, [
            {sockjs, [{websocket, false}, {heartbeat_delay, 25000}, {disconnect_delay, "7s"},
                {response_limit, 4096}, {sockjs_url, "/x.js"}, {cookie_needed, true}]},
            {cowboy_listener, {http, "127.0.0.1:0", 2}},
            {stomp, [{default_user, [{login, "tom"}, {passcode, "secret"}]}, {allow_anonymous, false}]}
        ]}]."#;
        assert_eq!(
            keys(text, "emq_sockjs"),
            owned(&[
                ("sockjs.websocket", "false"),
                ("sockjs.heartbeat_delay", "25000ms"),
                ("sockjs.disconnect_delay", "7s"),
                ("sockjs.response_limit", "4096"),
                ("sockjs.sockjs_url", "/x.js"),
                ("sockjs.cookie_needed", "true"),
                ("sockjs.listener", "127.0.0.1:0"),
                ("sockjs.listener.acceptors", "2"),
                ("sockjs.default_user.login", "tom"),
                ("sockjs.default_user.passcode", "secret"),
                ("sockjs.allow_anonymous", "false"),
            ])
        );
        assert_eq!(in_words_of("sockjs.websocket", "false"), Some("off"));
        for text in [
            "[{emq_sockjs, [{cowboy_listener, 61616}]}].",
            "[{emq_sockjs, [{cowboy_listener, {stomp_sockjs, 61616}}]}].",
            "[{emq_sockjs, [{cowboy_listener, {stomp_sockjs, {a, b}, 4}}]}].",
        ] {
            let expected = "{name, port, acceptors} is expected";
            assert!(problems(text, "emq_sockjs")[0].contains(expected), "{text}");
        }
    }

    #[test]
    fn mistakes_have_their_place() {
        let file = read(
            "[{emq_recon,\n [{gc_interval, {a, b, c}}]}].",
            "emq_recon",
            &|_| true,
        );
        assert_eq!(file.problems[0].line, Some(2));
        for text in [
            "} not erlang {",
            "[emq_recon].",
            "[{emq_recon, x}].",
            "[{emq_stomp, []}].",
            "[{emq_recon, [{1, 2}]}].",
            "[{emq_recon, [{gc_interval, \"a\nb\"}]}].",
        ] {
            assert!(!problems(text, "emq_recon").is_empty(), "{text}");
        }
    }
}
