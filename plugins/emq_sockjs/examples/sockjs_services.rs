//! The services that the tests of the SockJS protocol expect: `/echo`, `/close`, `/disabled_websocket_echo` and
//! `/cookie_needed_echo`.
//!
//! `cargo run -p emq_sockjs --example sockjs_services -- 127.0.0.1:8081`

#[path = "../tests/protocol/services.rs"]
mod services;

use std::sync::Arc;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1);
    let address = address.unwrap_or_else(|| "127.0.0.1:8081".to_owned());
    let listener = tokio::net::TcpListener::bind(address).await?;
    println!("http://{}", listener.local_addr()?);
    services::serve(Arc::new(services::server()), listener).await;
    Ok(())
}
