//! Keys of our own: made once, kept, shown to nobody.

use crate::records::Records;
use emqttd_broker::Broker;

/// The secrets by name.
pub(crate) struct Secrets(Records<[u8; 32]>);

impl Secrets {
    pub fn new(broker: &Broker) -> Secrets {
        Secrets(Records::new(broker.table("management/secrets")))
    }

    /// The secret of that name, which is made when there is none.
    ///
    /// # Errors
    /// A sentence: it cannot be read or stored, or the system gives no random numbers.
    pub fn get(&self, name: &str) -> Result<[u8; 32], String> {
        let known = || self.0.look(|rows| rows.get(name).copied());
        let said = |error: std::io::Error| format!("the secret {name}: {error}");
        if let Some(secret) = known().map_err(said)? {
            return Ok(secret);
        }
        let held = self.0.changing();
        if let Some(secret) = known().map_err(said)? {
            return Ok(secret);
        }
        let secret = emqttd_password::random().ok_or("the system gives no random numbers")?;
        self.0.put(&held, name, secret).map_err(said)?;
        Ok(secret)
    }
}
