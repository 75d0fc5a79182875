//! A broker with a plugin of one's own built in: `docs/plugin-guide.md`, section 8.

use emqttd_plugin_sdk::{Context, Descriptor, Plugin, Publish, StartError};
use std::process::ExitCode;

fn plugin() -> Descriptor {
    Descriptor::new("emq_plugin_abc", "0.1.0", "Says that it is there", start)
}

fn start(ctx: &Context) -> Result<Box<dyn Plugin>, StartError> {
    ctx.publish(Publish::new("abc/hello", "here I am"))
        .map_err(|error| error.0)?;
    Ok(Box::new(()))
}

fn main() -> ExitCode {
    emqttd::run(vec![
        emq_auth_clientid::plugin(),
        emq_auth_username::plugin(),
        emq_modules::plugin(),
        emq_recon::plugin(),
        emq_reloader::plugin(),
        emq_retainer::plugin(),
        plugin(),
    ])
}
