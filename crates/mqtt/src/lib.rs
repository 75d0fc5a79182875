//! emqttd mqtt.
