//! What all modules here need: a broker with the API, and with the dashboard.

use std::net::SocketAddr;

use emqttd_tests::http::Http;
use emqttd_tests::{Broker, Config};

/// A broker with `listener.api.mgmt` on a free port of the loopback address.
pub fn config() -> Config {
    Config::new().listener("api.mgmt", &[])
}

/// Starts it.
pub fn broker() -> Broker {
    Broker::start(config())
}

/// Requests of a fresh broker's `admin`.
pub fn api(broker: &Broker) -> Http {
    Http::admin(broker.addr("api.mgmt"))
}

/// With emq_dashboard on any port of the loopback address, and these keys more.
pub fn with_dashboard(config: Config, keys: &str) -> Config {
    let conf = format!("dashboard.listener.http = 127.0.0.1:0\n{keys}");
    config
        .file("etc/plugins/emq_dashboard.conf", &conf)
        .file("data/loaded_plugins", "emq_retainer.\nemq_dashboard.\n")
}

/// Where a listener is, as `emqttd_ctl listeners` shows it: `dashboard:http`.
#[track_caller]
pub fn address(broker: &Broker, protocol: &str) -> SocketAddr {
    let (_, text) = broker.ctl(&["listeners"]);
    let head = format!("listener on {protocol}:");
    let row = text.lines().find_map(|line| line.strip_prefix(&head));
    let row = row.unwrap_or_else(|| panic!("no {protocol} in {text}"));
    row.parse()
        .unwrap_or_else(|_| panic!("{row:?} is no address"))
}
