//! The servers, by MongoDB's own driver.

use crate::settings::Connection;
use emqttd_backend::{Fault, Health};
use emqttd_plugin_sdk::{Context, StartError};
use mongodb::bson::{Document, RawDocument, RawDocumentBuf, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::event::EventHandler;
use mongodb::event::sdam::{SdamEvent, TopologyDescription};
use mongodb::options::ReadPreference;
use mongodb::{Client, Database, ServerInfo};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
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
        options.sdam_event_handler = Some(watch(health, connection.reads.clone()));
        ctx.block_on(async {
            let client = Client::with_options(options).map_err(|error| sentence(&error))?;
            // They have been read.
            drop(tls);
            let database = client.database(&connection.database);
            let ping = database.run_command(doc! {"ping": 1});
            match tokio::time::timeout(START_PATIENCE, ping).await {
                Ok(Ok(_)) => health.up(),
                Ok(Err(error)) => health.down(&sentence(&error)),
                // What does not come at all is told by whoever waits for it.
                Err(_) => {}
            }
            Ok(Server { database })
        })
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
        collection
            .find_one(filter)
            .await
            .map_err(|error| fault(&error))
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
        let mut cursor = find.await.map_err(|error| fault(&error))?;
        let mut seen = 0;
        while seen < most && cursor.advance().await.map_err(|error| fault(&error))? {
            seen += 1;
            if look(cursor.current()).is_break() {
                break;
            }
        }
        Ok(seen)
    }
}

/// Tells `health` when no server is left that could be asked, and when one is there again.
fn watch(health: &Arc<Health>, reads: ReadPreference) -> EventHandler<SdamEvent> {
    let health = Arc::clone(health);
    let known: Mutex<Option<TopologyDescription>> = Mutex::default();
    let is_readable = move |topology: &TopologyDescription| {
        topology.has_readable_server(Some(reads.clone().into()))
    };
    EventHandler::callback(move |event| {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            SdamEvent::TopologyDescriptionChanged(event) => {
                if is_readable(&event.new_description) && !known.as_ref().is_some_and(&is_readable)
                {
                    health.up();
                }
                *known = Some(event.new_description);
            }
            // One failure is found out by the next question too: only what lasts is worth an alarm.
            SdamEvent::ServerHeartbeatFailed(event) => {
                let has_failed = |server: ServerInfo<'_>| {
                    *server.address() == event.server_address || server.error().is_some()
                };
                let all = |topology: &TopologyDescription| {
                    !is_readable(topology) && topology.servers().into_values().all(has_failed)
                };
                if known.as_ref().is_some_and(all) {
                    let why = sentence(&event.failure);
                    health.down(&format!("{}: {why}", event.server_address));
                }
            }
            _ => {}
        }
    })
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
fn sentence(error: &Error) -> String {
    error.kind.to_string()
}
