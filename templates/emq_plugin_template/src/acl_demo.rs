//! ACL Demo Module.

use crate::say;
use crate::settings::Settings;
use emqttd_plugin_sdk::{Access, AclAnswer, AclProvider, Client, tokio};
use std::sync::Arc;

pub struct AclDemo(pub Arc<Settings>);

impl AclProvider for AclDemo {
    async fn check(&self, client: &Client, access: Access, topic: &str) -> AclAnswer {
        if !self.0.delay.is_zero() {
            tokio::time::sleep(self.0.delay).await;
        }
        let access = match access {
            Access::Publish => "publish",
            Access::Subscribe => "subscribe",
        };
        say(format_args!(
            "ACL Demo: {} {access} {topic}",
            client.clientid
        ));
        match self.0.admit {
            true => AclAnswer::Allow,
            false => AclAnswer::Ignore,
        }
    }
}
