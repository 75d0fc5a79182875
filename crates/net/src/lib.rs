//! emqttd net.
