//! Names with passwords in a table: what `emq_auth_clientid` and `emq_auth_username` share.
//!
//! A [`Kind`] says in what the two differ. The names are kept in the broker's store with their passwords hashed
//! ([`emqttd_password::Stored`]), and in memory, so that a CONNECT asks no disk. Those of the configuration file are
//! hashed in the background after the start; until then a password is compared with what the file says.

mod book;
mod command;
mod door;
mod mechanism;
mod settings;

use book::Book;
use command::Desk;
use door::Door;
use emqttd_password::Given;
use emqttd_plugin_sdk::{Client, Context, Descriptor, Plugin, StartError};
use mechanism::Scram;
use settings::Settings;
use std::sync::Arc;

/// One plugin of this sort.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// its name
    pub plugin: &'static str,
    /// its version
    pub version: &'static str,
    /// shown by `plugins list`
    pub description: &'static str,
    /// what its keys begin with: `auth.user`
    pub keys: &'static str,
    /// the last word of the key that has a name: `username`
    pub field: &'static str,
    /// its command: `users`
    pub command: &'static str,
    /// rows of the command's usage: list, add, update, del
    pub usage: [(&'static str, &'static str); 4],
    /// its table, named as EMQ's
    pub table: &'static str,
    /// a row of EMQ's own table
    pub old_row: fn(&[u8]) -> Option<Given>,
    /// an entry of the file replaces what the table has, at each start; else it is only taken when the table
    /// has none of its name
    pub file_wins: bool,
    /// offers SCRAM-SHA-256
    pub scram: bool,
    /// by what a client is known
    pub name_of: fn(&Client) -> Option<&str>,
}

impl Kind {
    /// The plugin, for the list of a broker's plugins.
    pub fn descriptor(&'static self) -> Descriptor {
        let start = move |ctx: &Context| start(self, ctx);
        Descriptor::new(self.plugin, self.version, self.description, start).guard()
    }
}

fn start(kind: &'static Kind, ctx: &Context) -> Result<Box<dyn Plugin>, StartError> {
    let settings = Settings::read(kind, &ctx.config())?;
    let book = Arc::new(Book::open(kind, ctx.table(kind.table), &settings)?);
    ctx.auth(0, Door::new(kind, ctx, &book));
    if let Some(iterations) = settings.scram_iterations {
        ctx.mechanism(Scram::new(&book, &ctx.table("scram"), iterations)?);
    }
    let desk = Desk::new(kind, &book, &settings);
    ctx.command(kind.command, &kind.usage, move |call| desk.answer(call));
    book::settle_in_background(&book, ctx);
    Ok(Box::new(Running { book }))
}

/// The plugin while it runs.
struct Running {
    book: Arc<Book>,
}

impl Plugin for Running {
    fn stop(&self) {
        self.book.close();
    }
}
