#![allow(clippy::unwrap_used)]
use super::*;
use emqttd_plugin_sdk::testing::FakeBroker;
use emqttd_plugin_sdk::{Config, Descriptor};
use std::sync::Arc;

fn started(broker: &FakeBroker) -> (Arc<Trouble>, Figures) {
    let slot = Arc::new(Mutex::new(None));
    let inner = Arc::clone(&slot);
    let descriptor = Descriptor::new("emq_web_hook", "1", "", move |ctx| {
        *inner.lock() = Some((Arc::new(Trouble::new(ctx)), Figures::new(ctx)));
        Ok(Box::new(()))
    });
    broker.start(&descriptor, Config::default()).unwrap();
    slot.lock().take().unwrap()
}

#[test]
fn an_alarm_while_the_server_is_gone() {
    let broker = FakeBroker::new();
    let (trouble, _) = started(&broker);
    trouble.fails("no answer");
    assert_eq!(broker.alarms()[UNREACHABLE].summary, "no answer");
    assert!(trouble.state.lock().logged);
    trouble.answers();
    assert!(broker.alarms().is_empty());
    // One request of many is no outage.
    trouble.fails("no answer");
    assert!(broker.alarms().is_empty());
    // Nor are some that fail while others are answered now and then.
    trouble.answered.store(1, Ordering::Relaxed);
    for _ in 0..10 {
        trouble.fails("no answer");
        assert!(broker.alarms().is_empty());
    }
    // And who has not been told of it is not told of its end.
    trouble.answered.store(0, Ordering::Relaxed);
    trouble.fails("no answer");
    assert_eq!(broker.alarms().len(), 1);
    assert!(!trouble.state.lock().logged);
}

#[test]
fn an_alarm_while_events_are_lost() {
    let broker = FakeBroker::new();
    let (trouble, figures) = started(&broker);
    let begin = Instant::now();
    let look = |seconds| trouble.look(&figures, begin + Duration::from_secs(seconds));
    let told = || Some(broker.alarms().get(DROPPING)?.summary.clone());
    look(0);
    assert_eq!(told(), None);
    figures.dropped(Reason::Full, 3);
    look(1);
    assert_eq!(told().unwrap(), "3 full");
    // It is summed up now and then.
    figures.dropped(Reason::Refused, 2);
    trouble.refuses(404);
    look(2);
    assert_eq!(told().unwrap(), "3 full");
    look(31);
    assert_eq!(told().unwrap(), "3 full, 2 refused (status 404)");
    look(61);
    assert!(told().is_some());
    look(62);
    assert_eq!(told(), None);
    // The next one counts from there.
    figures.dropped(Reason::Disk, 1);
    look(100);
    assert_eq!(told().unwrap(), "1 disk");
}
