//! Auth Demo Module.

use crate::say;
use crate::settings::Settings;
use emqttd_plugin_sdk::{AuthAnswer, AuthProvider, Client, tokio};
use std::sync::Arc;

pub struct AuthDemo(pub Arc<Settings>);

impl AuthProvider for AuthDemo {
    async fn check(&self, client: &Client, password: Option<&[u8]>) -> AuthAnswer {
        // The event loop goes on meanwhile; only this client waits.
        if !self.0.delay.is_zero() {
            tokio::time::sleep(self.0.delay).await;
        }
        say(format_args!(
            "Auth Demo: clientId={}, username={}, password={}",
            client.clientid,
            client.username.as_deref().unwrap_or("undefined"),
            password.map_or("undefined".into(), String::from_utf8_lossy),
        ));
        match self.0.admit {
            true => AuthAnswer::Allow { superuser: false },
            false => AuthAnswer::Ignore,
        }
    }
}
