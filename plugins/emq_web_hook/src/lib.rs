//! `emq_web_hook`: what happens to clients, sessions and messages is posted to a web server.
//!
//! A hook runs on an event loop: it finds the rules that ask for the event ([`rules`]), writes the body ([`body`]) and
//! leaves it in the outbox ([`outbox`]), which never waits. Tasks beside the event loops post from there.

mod body;
mod event;
mod figures;
mod hooks;
mod keeper;
mod lanes;
mod outbox;
mod owner;
mod rules;
mod sender;
mod settings;
mod spill;
mod spool;
mod trouble;

use emqttd_plugin_sdk::{Context, Descriptor, Plugin, StartError};
use hooks::WebHooks;
use outbox::Outbox;
use rules::Rules;
use settings::Settings;
use std::sync::Arc;

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_web_hook",
        env!("CARGO_PKG_VERSION"),
        "EMQ Webhook Plugin",
        |ctx| Ok(Box::new(Running::start(ctx)?)),
    )
}

/// The plugin while it runs.
struct Running {
    outbox: Arc<Outbox>,
}

impl Running {
    fn start(ctx: &Context) -> Result<Running, StartError> {
        let config = ctx.config();
        let rules = Rules::read(&config)?;
        if rules.points() == 0 {
            log::warn!("emq_web_hook: there is no web.hook.rule, so nothing is posted");
        }
        let outbox = Outbox::start(ctx, Settings::read(&config)?)?;
        let post = Arc::clone(&outbox);
        ctx.hooks(0, WebHooks::new(rules, move |event| post.push(event)));
        Ok(Running { outbox })
    }
}

impl Plugin for Running {
    fn reconfigure(&self, ctx: &Context) -> Result<(), String> {
        self.outbox.reconfigure(ctx)
    }

    fn stop(&self) {
        self.outbox.stop();
    }
}
