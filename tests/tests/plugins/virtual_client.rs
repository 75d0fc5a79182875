//! Virtual clients, through which gateways of plugins go the same way as MQTT clients.
