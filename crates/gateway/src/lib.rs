//! What gateways share: sockets over TCP with TLS, and over UDP.
//!
//! Both open in [`Plugin`](emqttd_plugin_sdk::Plugin)'s start, so that an address in use is an error of
//! `plugins load`, and show themselves in `emqttd_ctl listeners`.
//!
//! ```no_run
//! use emqttd_gateway::{TcpListener, TcpSettings};
//! use emqttd_plugin_sdk::{Context, Plugin, StartError};
//!
//! fn start(ctx: &Context) -> Result<Box<dyn Plugin>, StartError> {
//!     let listener = TcpListener::open(ctx, TcpSettings {
//!         protocol: "toy:tcp".into(),
//!         listen_on: "7000".into(),
//!         key: "toy.listener",
//!         acceptors: 4,
//!         max_clients: 512,
//!         tls: None,
//!     })?;
//!     let control = listener.control();
//!     listener.serve(ctx, |connection| async move {
//!         println!("{} is here", connection.peer.peername);
//!     });
//!     struct Toy(emqttd_gateway::Control);
//!     impl Plugin for Toy {
//!         fn stop(&self) {
//!             self.0.close();
//!         }
//!     }
//!     Ok(Box::new(Toy(control)))
//! }
//! ```

mod address;
mod fair;
mod gone;
mod source;
mod stream;
mod tcp;
mod tls;
mod udp;

pub use address::address;
pub use fair::Datagram;
pub use gone::{Gone, Guard, until_dropped};
pub use source::{Shares, Source, Turns};
pub use stream::Stream;
pub use tcp::{Connection, Control, TcpListener, TcpSettings};
pub use tls::tls_settings;
pub use udp::{Inbox, UdpSettings, UdpSocket};
