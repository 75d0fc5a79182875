//! The command: `users`, `clientid`.

use crate::Kind;
use crate::book::{Book, Refusal};
use crate::settings::Settings;
use emqttd_plugin_sdk::{Call, Reply};
use std::collections::HashSet;
use std::sync::Arc;

/// Answers the command.
pub(crate) struct Desk {
    kind: &'static Kind,
    book: Arc<Book>,
    /// names of the file
    in_file: HashSet<String>,
}

impl Desk {
    pub(crate) fn new(kind: &'static Kind, book: &Arc<Book>, settings: &Settings) -> Desk {
        Desk {
            kind,
            book: Arc::clone(book),
            in_file: settings
                .entries
                .iter()
                .map(|(name, _)| name.clone())
                .collect(),
        }
    }

    pub(crate) fn answer(&self, call: Call<'_>) -> Reply {
        match *call.args {
            ["list"] => {
                let names = self.book.names();
                Reply::Text(names.iter().map(|name| format!("{name}\n")).collect())
            }
            ["add", name, password] => {
                let added = given(password, call).and_then(|pw| self.book.add(name, pw));
                self.reply(name, "added", added)
            }
            ["update", name, password] => {
                let updated = given(password, call).and_then(|pw| self.book.update(name, pw));
                self.reply(name, "updated", updated)
            }
            ["del", name] => self.reply(name, "deleted", self.book.delete(name)),
            _ => Reply::Usage,
        }
    }

    fn reply(&self, name: &str, done: &str, result: Result<(), Refusal>) -> Reply {
        let command = self.kind.command;
        match result {
            Ok(()) => {
                log::info!("{command}: {name:?} {done}");
                if self.in_file.contains(name) && (self.kind.file_wins || done == "deleted") {
                    log::warn!(
                        "{command}: {name:?} stands in the file, which counts at the next start"
                    );
                }
                Reply::Text("ok\n".into())
            }
            Err(Refusal::Existed) => Reply::Text("{error,existed}\n".into()),
            Err(Refusal::NoExisted) => Reply::Text("{error,noexisted}\n".into()),
            Err(Refusal::Failed(error)) => Reply::Failed(format!("Error: {error}\n")),
        }
    }
}

/// The password: the argument, or for `-` the line of standard input, which no list of processes shows.
fn given<'a>(argument: &'a str, call: Call<'a>) -> Result<&'a str, Refusal> {
    match (argument, call.stdin) {
        ("-", None) => Err(Refusal::Failed("no password on standard input".into())),
        ("-", Some(line)) => Ok(line.trim_end_matches(['\r', '\n'])),
        (argument, _) => Ok(argument),
    }
}
