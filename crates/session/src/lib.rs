//! emqttd session.
