//! Topic names and topic filters, as the broker itself checks and matches them.

pub use emqttd_mqtt::topic::{
    MAX_LEN, SubscriptionFilter, TopicError, has_wildcard, levels, matches, validate_filter,
    validate_name,
};
