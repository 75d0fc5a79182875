//! emqttd router.
