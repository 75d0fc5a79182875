use emqttd_plugin_sdk::QoS;
use emqttd_plugin_sdk::virtual_client::Incoming;

pub(crate) fn incoming(topic: &str, payload: &str) -> Incoming {
    Incoming {
        topic: topic.into(),
        payload: payload.into(),
        qos: QoS::AtMostOnce,
        retain: false,
        dup: false,
        id: 0,
        subscriptions: Vec::new(),
    }
}
