//! emqttd management.
