//! `emq_coap`: devices that speak CoAP (RFC 7252) as clients of the broker.
//!
//! The transport is `codec` (bytes and messages), `message` (duplicates), `block` (RFC 7959), `observe` (RFC 7641), `peer`
//! (what is kept of an endpoint), and `machine`, `respond` and `notify`, which put them together without any I/O. `task` has
//! the sockets, and `dtls` in front of one of them; `gateway` is the plugin. `request` is what the resources see of it all.
//!
//! The resources are `resource`, which says what a request comes to (`mqtt`, `seed`, `ps` and `well_known` for the dialects), and
//! `app`, which does it in the sessions of clients, a machine without I/O too: `watching` has observations, `topics` what
//! `/ps` keeps in the `store`, and `brokerage` is the way to the broker.

mod app;
mod block;
mod brokerage;
mod clients;
mod codec;
mod commands;
mod dtls;
mod endpoint;
mod form;
mod gateway;
mod link_format;
mod machine;
#[cfg(test)]
mod machine_tests;
mod message;
mod mqtt;
mod notify;
mod observe;
mod peer;
mod plan;
mod ps;
mod request;
mod resource;
mod respond;
mod seed;
mod settings;
mod store;
mod task;
mod topics;
mod watching;
mod well_known;

use emqttd_plugin_sdk::Descriptor;
use gateway::Gateway;
use resource::Resources;

/// The plugin, for the list of a broker's plugins.
pub fn plugin() -> Descriptor {
    Descriptor::new(
        "emq_coap",
        env!("CARGO_PKG_VERSION"),
        "CoAP Gateway",
        |ctx| {
            let gateway = Gateway::start(ctx, |ctx, settings, listeners| {
                Resources::new(ctx, settings, Box::new(move |from| listeners.of(from)))
            })?;
            Ok(Box::new(gateway))
        },
    )
    .gateway()
}
