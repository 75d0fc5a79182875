//! Commands of the configuration.

use emqttd_backend::{Question, Template, Var};
use std::fmt;

/// A command with variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Command {
    /// its words; what is put into one stays in it
    words: Vec<Template>,
    /// its name in capitals
    name: String,
}

/// A command for one client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    words: Vec<Vec<u8>>,
    /// the word that says which node of a cluster is asked
    key: usize,
}

impl Command {
    /// Splits at blanks, and only then looks for `%u` and `%c`: a name with blanks in it adds no arguments.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Command, &'static str> {
        let mut words = text.split_ascii_whitespace();
        let name = words.next().ok_or("takes a command of Redis")?;
        let rest: Vec<_> = words.map(|word| Template::parse(word, Var::WHO)).collect();
        if name.contains('%') || rest.is_empty() {
            return Err("takes a command of Redis with its key, such as `HGETALL mqtt_acl:%u`");
        }
        let mut words = vec![Template::parse(name, &[])];
        words.extend(rest);
        Ok(Command {
            words,
            name: name.to_ascii_uppercase(),
        })
    }

    /// Whether it lists the members of a set, as rules were kept for emqttd 1.x.
    pub fn lists_members(&self) -> bool {
        matches!(&*self.name, "SMEMBERS" | "SUNION" | "SINTER" | "LRANGE")
    }

    /// For one client; `None` = it has no user name, and the command wants it.
    pub fn fill(&self, question: &Question<'_>) -> Option<Query> {
        let words = self.words.iter();
        let words = words.map(|word| word.fill(question, <[u8]>::to_vec));
        Some(Query {
            words: words.collect::<Option<_>>()?,
            key: self.key_position(),
        })
    }

    /// Where its first key stands: scripts have their body and the number of keys before it.
    fn key_position(&self) -> usize {
        match &*self.name {
            "EVAL" | "EVALSHA" | "EVAL_RO" | "EVALSHA_RO" | "FCALL" | "FCALL_RO" => 3,
            _ => 1,
        }
    }
}

impl Query {
    /// As the library sends it.
    pub fn cmd(&self) -> redis::Cmd {
        let mut cmd = redis::Cmd::new();
        for word in &self.words {
            cmd.arg(word.as_slice());
        }
        cmd
    }

    /// The key by which a cluster knows the node; a command without one is any node's.
    pub fn key(&self) -> Option<&[u8]> {
        self.words.get(self.key).map(Vec::as_slice)
    }
}

impl fmt::Display for Query {
    /// Words that are not plain stand in quotes, so that one can see where each ends.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, word) in self.words.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            let word = String::from_utf8_lossy(word);
            let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\');
            match !word.is_empty() && word.chars().all(plain) {
                true => f.write_str(&word)?,
                false => write!(f, "{word:?}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use emqttd_plugin_sdk::Client;
    use emqttd_plugin_sdk::testing::client;

    fn named(clientid: &str, username: &str) -> Client {
        Client {
            username: Some(username.into()),
            ..client(clientid)
        }
    }

    fn filled(command: &str, client: &Client) -> Vec<String> {
        let command = Command::parse(command).unwrap();
        let query = command.fill(&Question::login(client, None)).unwrap();
        let text = |word: Vec<u8>| String::from_utf8(word).unwrap();
        query.words.into_iter().map(text).collect()
    }

    #[test]
    fn a_name_is_one_argument_whatever_is_in_it() {
        for name in [
            "alice",
            "a b",
            "a&b",
            "",
            "x\r\nDEL y",
            "%c",
            "%u",
            "\"q\"",
            "ü",
            "\\",
            "*",
        ] {
            let client = named("c1", name);
            assert_eq!(
                filled("HMGET  mqtt_user:%u password\tsalt ", &client),
                ["HMGET", &format!("mqtt_user:{name}"), "password", "salt"]
            );
            assert_eq!(
                filled("get %u:%c:%u", &client),
                ["get", &format!("{name}:c1:{name}")]
            );
        }
    }

    #[test]
    fn only_its_own_variables() {
        assert_eq!(
            filled("GET %a%P%t%A%x:%c", &named("c1", "u")),
            ["GET", "%a%P%t%A%x:c1"]
        );
        let command = Command::parse("GET %u").unwrap();
        let nobody = client("c1");
        assert_eq!(command.fill(&Question::login(&nobody, None)), None);
        assert_eq!(filled("GET %c", &nobody), ["GET", "c1"]);
    }

    #[test]
    fn what_is_no_command() {
        for text in ["", "  ", "HGETALL", "%u password", "G%c x"] {
            assert!(Command::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_key_decides_about_the_node() {
        let alice = named("c1", "alice");
        for (text, key) in [
            ("HGET mqtt_user:%u password", "mqtt_user:alice"),
            ("EVAL return(1) 1 mqtt_user:%u", "mqtt_user:alice"),
            ("fcall f 1 {%c}x", "{c1}x"),
        ] {
            let query = Command::parse(text).unwrap();
            let query = query.fill(&Question::login(&alice, None)).unwrap();
            assert_eq!(query.key(), Some(key.as_bytes()), "{text}");
        }
        let script = Command::parse("EVAL return(1) 0").unwrap();
        let script = script.fill(&Question::login(&alice, None)).unwrap();
        assert_eq!(script.key(), None);
    }

    #[test]
    fn shown_so_that_words_can_be_told_apart() {
        let shown = |name: &str| {
            let command = Command::parse("HGET mqtt_user:%u password").unwrap();
            let client = named("c", name);
            command
                .fill(&Question::login(&client, None))
                .unwrap()
                .to_string()
        };
        assert_eq!(shown("alice"), "HGET mqtt_user:alice password");
        assert_eq!(shown("a b\r\n"), r#"HGET "mqtt_user:a b\r\n" password"#);
    }
}
