//! The servers, by MongoDB's own driver.

use crate::presence::Presence;
use crate::settings::Connection;
use emqttd_backend::{Fault, Health};
use emqttd_plugin_sdk::{Context, StartError};
use mongodb::bson::{Document, RawDocument, RawDocumentBuf, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::{Client, Database};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

/// For the start of the plugin: a server that is there has answered by then.
const START_PATIENCE: Duration = Duration::from_secs(1);
/// Documents of a batch, each of which the driver holds as a whole.
const BATCH: u32 = 100;

/// Answers of a member that is no primary any more, or not yet, or about to end: another one will be asked.
const NOT_NOW: [i32; 8] = [91, 189, 10_058, 10_107, 11_600, 11_602, 13_435, 13_436];

/// A database of one server, of a replica set or of a sharded cluster.
///
/// The driver connects in the background, looks after all members, and asks one that is fit to be read from.
#[derive(Debug)]
pub struct Server {
    database: Database,
    presence: Presence,
}

impl Server {
    /// Begins to connect; waits for that only a moment.
    ///
    /// # Errors
    /// When the options make no sense together, or a file of TLS cannot be read.
    pub fn start(
        ctx: &Context,
        connection: &Connection,
        health: &Arc<Health>,
    ) -> Result<Server, StartError> {
        let (mut options, tls) = connection.options()?;
        let (presence, handler) = Presence::new(health);
        options.sdam_event_handler = Some(handler);
        let server = ctx.block_on(async {
            let client = Client::with_options(options).map_err(|error| sentence(&error))?;
            // They have been read.
            drop(tls);
            let server = Server {
                database: client.database(&connection.database),
                presence,
            };
            match tokio::time::timeout(START_PATIENCE, server.ping()).await {
                // What does not come at all is told by whoever waits for it.
                Ok(Ok(())) | Err(_) => {}
                Ok(Err(fault)) => health.down(fault.why()),
            }
            Ok::<_, StartError>(server)
        })?;
        let database = server.database.clone();
        let knock = move || {
            let database = database.clone();
            async move { database.run_command(doc! {"ping": 1}).await }
        };
        ctx.spawn(server.presence.clone().knock(knock));
        Ok(server)
    }

    async fn ping(&self) -> Result<(), Fault> {
        let ping = async {
            let answer = self.database.run_command(doc! {"ping": 1}).await;
            answer.map_err(|error| fault(&error))
        };
        self.presence.unless_gone(ping).await.map(drop)
    }

    /// One document that matches.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn first(
        &self,
        collection: &str,
        filter: Document,
    ) -> Result<Option<RawDocumentBuf>, Fault> {
        let collection = self.database.collection::<RawDocumentBuf>(collection);
        let find = async {
            let found = collection.find_one(filter).await;
            found.map_err(|error| fault(&error))
        };
        self.presence.unless_gone(find).await
    }

    /// Shows the documents that match, `most` at most, until `look` has seen enough; gives how many it saw.
    ///
    /// # Errors
    /// When there is no answer.
    pub async fn each(
        &self,
        collection: &str,
        filter: Document,
        most: u32,
        mut look: impl FnMut(&RawDocument) -> ControlFlow<()>,
    ) -> Result<u32, Fault> {
        let collection = self.database.collection::<RawDocumentBuf>(collection);
        let find = collection
            .find(filter)
            .limit(i64::from(most))
            .batch_size(BATCH);
        let walk = async {
            let mut cursor = find.await.map_err(|error| fault(&error))?;
            let mut seen = 0;
            while seen < most && cursor.advance().await.map_err(|error| fault(&error))? {
                seen += 1;
                if look(cursor.current()).is_break() {
                    break;
                }
            }
            Ok(seen)
        };
        self.presence.unless_gone(walk).await
    }
}

/// What an error of the driver means.
pub fn fault(error: &Error) -> Fault {
    let why = sentence(error);
    match *error.kind {
        ErrorKind::Io(_)
        | ErrorKind::ServerSelection { .. }
        | ErrorKind::ConnectionPoolCleared { .. }
        | ErrorKind::DnsResolve { .. }
        | ErrorKind::Authentication { .. }
        | ErrorKind::IncompatibleServer { .. }
        | ErrorKind::InvalidTlsConfig { .. }
        | ErrorKind::Shutdown => Fault::Down(why),
        ErrorKind::Command(ref command) if NOT_NOW.contains(&command.code) => Fault::Down(why),
        _ => Fault::Refused(why),
    }
}

/// Without what is only for programs (labels, copies of replies).
pub fn sentence(error: &Error) -> String {
    error.kind.to_string()
}
