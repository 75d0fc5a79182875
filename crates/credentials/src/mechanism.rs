//! SCRAM-SHA-256 as a mechanism of MQTT 5 enhanced authentication.

use crate::book::{Book, Record};
use emqttd_password::scram::{Challenge, ClientFirst, Keys, NAME};
use emqttd_plugin_sdk::{AuthMechanism, Client, Exchange, ExchangeStep, StartError, Table};
use std::sync::Arc;

/// The row of the secret by which names that are not there get their salts.
const SECRET: &[u8] = b"salt of nobody";

/// The mechanism.
pub(crate) struct Scram {
    book: Arc<Book>,
    secret: Arc<[u8]>,
    iterations: u32,
}

impl Scram {
    /// `table` keeps a secret: the salt of a name that is not there must outlive restarts, as that of a user
    /// does, lest the two be told apart. Blocks.
    pub(crate) fn new(
        book: &Arc<Book>,
        table: &Table,
        iterations: u32,
    ) -> Result<Scram, StartError> {
        let stored = table.get(SECRET).map_err(|error| error.to_string())?;
        let secret = match stored.filter(|secret| secret.len() >= 32) {
            Some(secret) => secret,
            None => {
                let secret =
                    emqttd_password::random().ok_or("the system gives no random numbers")?;
                let put = table.put(SECRET, &secret);
                put.map_err(|error| error.to_string())?;
                secret.to_vec()
            }
        };
        Ok(Scram {
            book: Arc::clone(book),
            secret: secret.into(),
            iterations,
        })
    }
}

impl AuthMechanism for Scram {
    fn method(&self) -> &str {
        NAME
    }

    fn begin(&self, _: &Client) -> Box<dyn Exchange> {
        Box::new(Dialogue {
            book: Arc::clone(&self.book),
            secret: Arc::clone(&self.secret),
            iterations: self.iterations,
            state: State::Begun,
            proved: None,
        })
    }
}

/// An exchange with one client.
struct Dialogue {
    book: Arc<Book>,
    secret: Arc<[u8]>,
    iterations: u32,
    state: State,
    /// who it is, once that is proved
    proved: Option<Arc<str>>,
}

enum State {
    Begun,
    Challenged(Box<Challenged>),
    Over,
}

struct Challenged {
    name: Arc<str>,
    /// `None`: there is no such user, or none of whom the broker has keys
    record: Option<Arc<Record>>,
    challenge: Challenge,
}

impl Dialogue {
    fn challenge(&self, data: &[u8]) -> Option<Challenged> {
        let first = ClientFirst::parse(data).ok()?;
        let name = first.username();
        let record = self
            .book
            .get(name)
            .filter(|record| record.scram().is_some());
        // Made in any case: the answer takes the same time.
        let nobody = Keys::of_nobody(name, self.iterations, &self.secret);
        let keys = record.as_ref().and_then(|record| record.scram().cloned());
        let challenge = Challenge::new(&first, keys.unwrap_or(nobody)).ok()?;
        Some(Challenged {
            name: name.into(),
            record,
            challenge,
        })
    }

    fn decide(&self, challenged: &Challenged, data: &[u8]) -> Option<String> {
        let answer = challenged.challenge.check(data)?;
        let name = &challenged.name;
        let record = challenged.record.as_ref()?;
        self.book.is_current(name, record).then_some(answer)
    }
}

impl Exchange for Dialogue {
    fn step(&mut self, data: &[u8]) -> ExchangeStep {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Begun => match self.challenge(data) {
                Some(challenged) => {
                    let message = challenged.challenge.message().as_bytes().to_vec();
                    self.state = State::Challenged(Box::new(challenged));
                    ExchangeStep::Continue(message)
                }
                None => ExchangeStep::Fail,
            },
            State::Challenged(challenged) => match self.decide(&challenged, data) {
                Some(answer) => {
                    self.proved = Some(Arc::clone(&challenged.name));
                    ExchangeStep::Success {
                        data: answer.into_bytes(),
                        superuser: false,
                    }
                }
                None => ExchangeStep::Fail,
            },
            State::Over => ExchangeStep::Fail,
        }
    }

    fn username(&self) -> Option<&str> {
        self.proved.as_deref()
    }
}
