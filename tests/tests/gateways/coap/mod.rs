//! `emq_coap`: three dialects of CoAP, byte by byte and with the clients of others.

mod dialects;
pub mod endpoint;
mod others;
mod ps;
mod transport;
