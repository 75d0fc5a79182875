//! Filters that clients subscribe to, and how they stand.

/// A subscription as its client knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// never asked for, or its session ended
    Never,
    /// SUBSCRIBE or UNSUBSCRIBE sent, its answer not seen
    Unknown,
    /// SUBACK seen
    Active,
    /// UNSUBACK seen
    Gone,
}

/// A filter that a client subscribes to, now and then or always.
#[derive(Debug)]
pub struct Subscription {
    /// as in SUBSCRIBE
    pub filter: String,
    /// QoS asked for
    pub qos: u8,
    /// number of the shared group it belongs to
    pub group: Option<u8>,
    /// how it stands
    pub state: State,
    /// when it came to that, in the ledger's count of events
    pub(super) since: u64,
}

impl Subscription {
    /// A subscription that was not asked for yet.
    pub fn new(filter: &str, qos: u8, group: Option<u8>) -> Subscription {
        Subscription {
            filter: filter.into(),
            qos,
            group,
            state: State::Never,
            since: 0,
        }
    }

    pub(super) fn covers(&self, topic: &str) -> bool {
        let bare = match self.filter.strip_prefix("$share/") {
            Some(rest) => rest.split_once('/').map_or("", |(_, bare)| bare),
            None => &self.filter,
        };
        matches(bare, topic)
    }
}

pub(super) fn matches(filter: &str, topic: &str) -> bool {
    let mut topic = topic.split('/');
    for level in filter.split('/') {
        match (level, topic.next()) {
            ("#", _) => return true,
            ("+", Some(_)) => {}
            (level, Some(word)) if level == word => {}
            _ => return false,
        }
    }
    topic.next().is_none()
}
