//! A server of the SockJS protocol 0.3, for an application that exchanges messages with its clients.
//!
//! [`frame`] is what goes over the wire whatever the transport, [`session`] what a client has with the application,
//! [`transport`] how frames come in responses of HTTP, [`websocket`] how through WebSockets, [`server`] which request
//! gets what.

pub mod frame;
mod hixie;
mod reply;
mod route;
pub mod server;
pub mod session;
mod sessions;
mod stall;
mod transport;
mod websocket;
