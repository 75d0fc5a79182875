//! Whether any server is there, by what the driver's monitors see.
//!
//! Left to itself the driver lets each question wait for a server to come, up to a limit. Here, while the monitors
//! reach none at all, nobody waits: questions are told at once, those too that wait already.

use crate::server::sentence;
use emqttd_backend::{Fault, Health};
use mongodb::event::EventHandler;
use mongodb::event::sdam::SdamEvent;
use mongodb::options::ServerAddress;
use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// Attempts in a row that make a server one that is gone; the monitors make the second one at once. A server that
/// has never answered needs but one.
const ENOUGH: u32 = 2;

/// Between two knocks.
const PAUSE: Duration = Duration::from_millis(250);

/// Why none is there; `None` = some server is, or it is not known yet.
type Gone = Option<String>;

/// Tells whether any server is there.
#[derive(Debug, Clone)]
pub struct Presence(watch::Receiver<Gone>);

impl Presence {
    /// Of servers that nothing is known of; the handler is for the driver. `health` is told of changes.
    pub fn new(health: &Arc<Health>) -> (Presence, EventHandler<SdamEvent>) {
        let (sender, receiver) = watch::channel(None);
        let health = Arc::clone(health);
        let ledger = Mutex::new(Ledger::default());
        let handler = EventHandler::callback(move |event| {
            let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            match ledger.learn(event) {
                News::Gone(why) => {
                    health.down(&why);
                    sender.send_replace(Some(why));
                }
                News::Back if sender.borrow().is_some() => {
                    health.up();
                    sender.send_replace(None);
                }
                News::Back | News::Nothing => {}
            }
        });
        (Presence(receiver), handler)
    }

    /// What comes of that; no answer as soon as no server is there to give one.
    ///
    /// # Errors
    /// When there is none.
    pub async fn unless_gone<T>(
        &self,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, Fault> {
        let mut gone = self.0.clone();
        let told = async move {
            let why = gone.wait_for(Option::is_some).await;
            why.map(|why| why.clone().unwrap_or_default())
        };
        tokio::select! {
            biased;
            // Otherwise the driver has ended, which the question will be told.
            Ok(why) = told => Err(Fault::Down(why)),
            answer = work => answer,
        }
    }

    /// Knocks whenever no server is there, until one answers: without a question the driver's monitors look only now
    /// and then. Ends with the driver.
    pub async fn knock<F: Future>(mut self, ask: impl Fn() -> F) {
        while self.0.wait_for(Option::is_some).await.is_ok() {
            // Takes as long as a question may wait, when nobody answers.
            ask().await;
            tokio::time::sleep(PAUSE).await;
        }
    }
}

enum News {
    Gone(String),
    Back,
    Nothing,
}

/// What the monitors have seen.
#[derive(Debug, Default)]
struct Ledger {
    servers: HashSet<ServerAddress>,
    /// those that have answered at some time
    known: HashSet<ServerAddress>,
    /// attempts in a row
    failures: HashMap<ServerAddress, u32>,
}

impl Ledger {
    fn learn(&mut self, event: SdamEvent) -> News {
        match event {
            SdamEvent::TopologyDescriptionChanged(event) => {
                let servers = event.new_description.servers();
                self.servers = servers.into_keys().cloned().collect();
                self.known.retain(|server| self.servers.contains(server));
                self.failures
                    .retain(|server, _| self.servers.contains(server));
                News::Nothing
            }
            SdamEvent::ServerHeartbeatSucceeded(event) => {
                self.failures.remove(&event.server_address);
                self.known.insert(event.server_address);
                News::Back
            }
            SdamEvent::ServerHeartbeatFailed(event) => {
                let why = format!("{}: {}", event.server_address, sentence(&event.failure));
                let count = self.failures.entry(event.server_address).or_default();
                *count = count.saturating_add(1);
                match self.servers.iter().all(|server| self.is_gone(server)) {
                    true => News::Gone(why),
                    false => News::Nothing,
                }
            }
            _ => News::Nothing,
        }
    }

    fn is_gone(&self, server: &ServerAddress) -> bool {
        let enough = if self.known.contains(server) {
            ENOUGH
        } else {
            1
        };
        self.failures
            .get(server)
            .is_some_and(|count| *count >= enough)
    }
}
