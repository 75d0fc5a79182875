#![allow(clippy::unwrap_used)]

mod server;

use super::*;
use bytes::Bytes;
use emqttd_plugin_sdk::testing::FakeBroker;
use emqttd_plugin_sdk::{Config, Descriptor, Plugin};
use server::{Mode, Server};
use std::ops::Range;

struct Running(Arc<Outbox>);

impl Plugin for Running {
    fn reconfigure(&self, ctx: &Context) -> Result<(), String> {
        self.0.reconfigure(ctx)
    }

    fn stop(&self) {
        self.0.stop();
    }
}

/// Starts an outbox for this server.
fn start(broker: &FakeBroker, server: &Server, keys: &[(&str, &str)]) -> Arc<Outbox> {
    let slot = Arc::new(Mutex::new(None));
    let inner = Arc::clone(&slot);
    let descriptor = Descriptor::new("emq_web_hook", "1", "", move |ctx| {
        let outbox = Outbox::start(ctx, Settings::read(&ctx.config())?)?;
        *inner.lock() = Some(Arc::clone(&outbox));
        Ok(Box::new(Running(outbox)))
    });
    let url = server.url();
    let mut pairs = vec![("web.hook.api.url", &*url), ("web.hook.pool", "1")];
    pairs.extend_from_slice(keys);
    broker.start(&descriptor, Config::of(&pairs)).unwrap();
    slot.lock().take().unwrap()
}

fn unix() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap())
}

fn push(outbox: &Outbox, lane: u64, text: impl ToString) {
    outbox.push(Event {
        lane,
        at: unix(),
        body: Bytes::from(text.to_string()),
    });
}

fn push_all(outbox: &Outbox, numbers: Range<usize>) {
    numbers.for_each(|number| push(outbox, 0, number));
}

fn numbers(numbers: Range<usize>) -> Vec<String> {
    numbers.map(|number| number.to_string()).collect()
}

fn await_figure(broker: &FakeBroker, name: &str, wanted: u64) {
    broker.eventually(|| (broker.metric(name) == Some(wanted)).then_some(()));
}

fn figure(broker: &FakeBroker, name: &str) -> u64 {
    broker.metric(name).unwrap()
}

/// Nothing is left, neither in memory nor on disk.
fn await_empty(broker: &FakeBroker) {
    for name in ["queued", "queued_bytes", "spilled"] {
        await_figure(broker, name, 0);
    }
    broker.eventually(|| (rows(broker) == 0).then_some(()));
}

/// Rows with events.
fn rows(broker: &FakeBroker) -> usize {
    let rows = broker.rows("spool");
    rows.iter().filter(|(key, _)| key.len() == 8).count()
}

const SPILL: [(&str, &str); 3] = [
    ("web.hook.on_full", "spill"),
    ("web.hook.queue.max_count", "10"),
    ("web.hook.timeout", "1m"),
];

#[test]
fn events_are_posted_in_order() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Status(204)));
    let outbox = start(&broker, &server, &[("web.hook.header.x-one", "1")]);
    push_all(&outbox, 0..50);
    assert_eq!(server.wait_for(50), numbers(0..50));
    let post = &server.posts()[0];
    assert_eq!(post.headers["content-type"], "application/json");
    assert_eq!(post.headers["x-one"], "1");
    await_figure(&broker, "sent", 50);
    await_empty(&broker);
    assert_eq!(figure(&broker, "failed"), 0);
    assert!(broker.alarms().is_empty());
}

#[test]
fn a_client_that_has_trouble_holds_up_its_lane_alone() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Hang));
    let outbox = start(&broker, &server, &[("web.hook.pool", "2")]);
    push(&outbox, 0, "a");
    server.wait_for_seen(1);
    push(&outbox, 0, "b");
    push(&outbox, 1, "c");
    server.wait_for_seen(2);
    assert_eq!(figure(&broker, "queued"), 3);
    server.set(Mode::Status(200));
    let mut taken = server.wait_for(3);
    taken.retain(|text| text != "c");
    assert_eq!(taken, ["a", "b"]);
}

#[test]
fn batches_are_arrays() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Status(503)));
    let outbox = start(&broker, &server, &[("web.hook.batch_size", "3")]);
    push(&outbox, 0, 0);
    server.wait_for_seen(1);
    push_all(&outbox, 1..8);
    server.set(Mode::Status(200));
    let wanted = ["[0]", "[1,2,3]", "[4,5,6]", "[7]"];
    assert_eq!(server.wait_for(4), wanted);
    await_figure(&broker, "sent", 8);
    await_empty(&broker);
}

/// However many there are: a request of a hundred megabytes helps nobody.
#[test]
fn batches_are_bounded_by_bytes() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Status(503)));
    let outbox = start(&broker, &server, &[("web.hook.batch_size", "100")]);
    push(&outbox, 0, 0);
    server.wait_for_seen(1);
    for _ in 0..5 {
        push(
            &outbox,
            0,
            format!("\"{}\"", "x".repeat(MOST_BYTES / 2 - 200)),
        );
    }
    push(&outbox, 0, format!("\"{}\"", "x".repeat(2 * MOST_BYTES)));
    server.set(Mode::Status(200));
    let lengths: Vec<usize> = server.wait_for(5).iter().map(String::len).collect();
    assert!(lengths[1] < MOST_BYTES && lengths[1] > MOST_BYTES * 9 / 10);
    assert_eq!(lengths[2], lengths[1]);
    assert!(lengths[3] < MOST_BYTES && lengths[4] > 2 * MOST_BYTES);
}

#[test]
fn what_fails_is_tried_again_before_anything_else() {
    for status in [408, 425, 429, 500, 503] {
        let (broker, server) = (FakeBroker::new(), Server::start(Mode::Status(status)));
        let outbox = start(&broker, &server, &[]);
        push_all(&outbox, 0..5);
        broker.eventually(|| (figure(&broker, "failed") >= 2).then_some(()));
        let alarm = &broker.alarms()["web_hook_unreachable"];
        assert!(alarm.summary.ends_with(&format!("/hook: answers {status}")));
        server.set(Mode::Status(200));
        assert_eq!(server.wait_for(5), numbers(0..5));
        await_figure(&broker, "sent", 5);
        assert!(
            server
                .posts()
                .iter()
                .filter(|p| p.status >= 400)
                .all(|p| p.body == "0")
        );
        broker.eventually(|| broker.alarms().is_empty().then_some(()));
    }
}

#[test]
fn nobody_is_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Status(200)));
    let outbox = start(&broker, &server, &[("web.hook.api.url", &url)]);
    push_all(&outbox, 0..3);
    broker.eventually(|| broker.alarms().get("web_hook_unreachable").cloned());
    // Another URL is tried at once, and is one that can be read.
    assert!(broker.set("web.hook.api.url", "nowhere").is_err());
    broker.set("web.hook.api.url", &server.url()).unwrap();
    assert_eq!(server.wait_for(3), numbers(0..3));
}

/// Nobody waits for the answer of a server that is no longer meant.
#[test]
fn another_url_ends_requests_that_hang() {
    let broker = FakeBroker::new();
    let (hangs, server) = (Server::start(Mode::Hang), Server::start(Mode::Status(200)));
    let outbox = start(&broker, &hangs, &[("web.hook.timeout", "1h")]);
    push_all(&outbox, 0..3);
    hangs.wait_for_seen(1);
    broker.set("web.hook.api.url", &server.url()).unwrap();
    assert_eq!(server.wait_for(3), numbers(0..3));
    assert_eq!(figure(&broker, "failed"), 0);
}

#[test]
fn what_the_server_does_not_want_is_not_sent_again() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Status(404)));
    let outbox = start(&broker, &server, &[("web.hook.batch_size", "4")]);
    push_all(&outbox, 0..20);
    await_figure(&broker, "dropped/refused", 20);
    await_empty(&broker);
    assert_eq!((figure(&broker, "failed"), figure(&broker, "sent")), (0, 0));
    assert!(!broker.alarms().contains_key("web_hook_unreachable"));
    let alarm = broker.eventually(|| broker.alarms().get("web_hook_dropping").cloned());
    assert_eq!(alarm.summary, "20 refused (status 404)");
}

#[test]
fn a_deadline_ends_what_hangs() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Hang));
    let keys = [("web.hook.timeout", "1m"), ("web.hook.deadline", "300ms")];
    let outbox = start(&broker, &server, &keys);
    let begin = Instant::now();
    push_all(&outbox, 0..3);
    await_figure(&broker, "dropped/expired", 3);
    assert!(begin.elapsed() >= Duration::from_millis(290));
    assert!(
        begin.elapsed() < Duration::from_secs(3),
        "{:?}",
        begin.elapsed()
    );
    await_empty(&broker);
    server.set(Mode::Status(200));
    push(&outbox, 0, "later");
    assert_eq!(server.wait_for(1), ["later"]);
}

/// In a batch those that are too old go, the others are sent.
#[test]
fn a_deadline_for_each_event_of_a_batch() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Status(503)));
    let keys = [("web.hook.batch_size", "10"), ("web.hook.deadline", "30s")];
    let outbox = start(&broker, &server, &keys);
    push(&outbox, 0, 0);
    server.wait_for_seen(1);
    outbox.push(Event {
        lane: 0,
        at: unix() - 29_000,
        body: Bytes::from_static(b"1"),
    });
    push(&outbox, 0, 2);
    // The three are not in one request at first: the first one goes alone until it is taken.
    server.set(Mode::Status(200));
    let first = server.wait_for(2);
    assert_eq!(first, ["[0]", "[1,2]"]);
    server.set(Mode::Status(503));
    let seen = server.posts().len();
    outbox.push(Event {
        lane: 0,
        at: unix() - 29_000,
        body: Bytes::from_static(b"[]"),
    });
    push(&outbox, 0, 3);
    push(&outbox, 0, 4);
    await_figure(&broker, "dropped/expired", 1);
    server.set(Mode::Status(200));
    let taken = server.wait_for(3);
    assert!(server.posts().len() > seen);
    assert!(!taken[2..].concat().contains("[]"), "{taken:?}");
    await_figure(&broker, "sent", 5);
    await_empty(&broker);
}

/// The clock of the machine counts once.
#[test]
fn a_clock_that_is_set() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Status(200)));
    let outbox = start(&broker, &server, &[("web.hook.deadline", "10s")]);
    let left = |at| {
        let event = Event {
            lane: 0,
            at,
            body: Bytes::new(),
        };
        outbox.expires(&event).saturating_sub(outbox.now())
    };
    assert!((9_900..=10_000).contains(&left(unix())));
    // An hour back since then, and forth.
    assert!((9_900..=10_000).contains(&left(unix() + 3_600_000)));
    assert_eq!(left(u64::MAX), left(unix()));
    assert!((3_900..=4_000).contains(&left(unix() - 6_000)));
    assert_eq!(left(0), 0);
}

#[test]
fn the_oldest_go_when_it_is_full() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Hang));
    let keys = [
        ("web.hook.queue.max_count", "5"),
        ("web.hook.timeout", "1m"),
    ];
    let outbox = start(&broker, &server, &keys);
    push(&outbox, 0, 0);
    server.wait_for_seen(1);
    push_all(&outbox, 1..20);
    assert_eq!(figure(&broker, "queued"), 5);
    assert_eq!(figure(&broker, "dropped/full"), 15);
    let alarm = broker.eventually(|| broker.alarms().get("web_hook_dropping").cloned());
    assert_eq!(alarm.summary, "15 full");
    server.set(Mode::Status(200));
    assert_eq!(server.wait_for(5), ["0", "16", "17", "18", "19"]);
    await_empty(&broker);
}

#[test]
fn the_newest_go_when_it_is_full() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Hang));
    let keys = [
        ("web.hook.queue.max_count", "5"),
        ("web.hook.timeout", "1m"),
        ("web.hook.on_full", "drop_newest"),
    ];
    let outbox = start(&broker, &server, &keys);
    push_all(&outbox, 0..20);
    assert_eq!(figure(&broker, "queued"), 5);
    assert_eq!(figure(&broker, "dropped/full"), 15);
    server.wait_for_seen(1);
    server.set(Mode::Status(200));
    assert_eq!(server.wait_for(5), numbers(0..5));
}

#[test]
fn an_event_larger_than_the_queue_drops_no_other() {
    for on_full in ["drop_oldest", "drop_newest", "spill"] {
        let (broker, server) = (FakeBroker::new(), Server::start(Mode::Hang));
        let keys = [
            ("web.hook.queue.max_bytes", "10KB"),
            ("web.hook.timeout", "1m"),
            ("web.hook.on_full", on_full),
        ];
        let outbox = start(&broker, &server, &keys);
        push_all(&outbox, 0..3);
        server.wait_for_seen(1);
        push(&outbox, 0, "x".repeat(11 << 10));
        assert_eq!(figure(&broker, "queued"), 3, "{on_full}");
        assert_eq!(figure(&broker, "dropped/full"), 1);
        // Nor one that has no room beside what is under way.
        let (broker, server) = (FakeBroker::new(), Server::start(Mode::Hang));
        let outbox = start(&broker, &server, &keys);
        push(&outbox, 0, "x".repeat(2 << 10));
        server.wait_for_seen(1);
        push(&outbox, 0, "y");
        push(&outbox, 0, "x".repeat(9 << 10));
        assert_eq!(figure(&broker, "queued"), 2, "{on_full}");
        assert_eq!(figure(&broker, "dropped/full"), 1);
    }
}

#[test]
fn the_end_while_the_server_hangs() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Hang));
    let keys = [("web.hook.timeout", "1m"), ("web.hook.pool", "3")];
    let outbox = start(&broker, &server, &keys);
    for lane in 0..30 {
        push(&outbox, lane, lane);
    }
    server.wait_for_seen(3);
    let stopped = outbox.figures.losses()[Reason::Stopped as usize];
    let begin = Instant::now();
    broker.stop();
    assert!(
        begin.elapsed() < Duration::from_secs(1),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(stopped, 0);
    assert_eq!(outbox.figures.losses()[Reason::Stopped as usize], 30);
    // What comes too late is lost as well, and nobody falls over it.
    push(&outbox, 0, "late");
    outbox.stop();
    assert_eq!(outbox.figures.losses()[Reason::Stopped as usize], 31);
    assert!(broker.rows("spool").is_empty());
}

#[test]
fn what_there_is_no_room_for_waits_on_disk() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Hang));
    let outbox = start(&broker, &server, &SPILL);
    push_all(&outbox, 0..3000);
    await_figure(&broker, "spilled", 2990);
    assert_eq!(figure(&broker, "queued"), 10);
    server.set(Mode::Status(200));
    assert_eq!(server.wait_for(3000), numbers(0..3000));
    await_empty(&broker);
    assert_eq!(figure(&broker, "sent"), 3000);
    assert_eq!(outbox.figures.losses(), [0; 5]);
}

/// While the server takes events all the time, some faster and some slower than they come.
#[test]
fn order_and_memory_while_all_runs() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Status(200)));
    let keys = [
        ("web.hook.on_full", "spill"),
        ("web.hook.queue.max_count", "100"),
        ("web.hook.queue.max_bytes", "256KB"),
        ("web.hook.pool", "4"),
        ("web.hook.batch_size", "10"),
        ("web.hook.timeout", "1m"),
    ];
    let outbox = start(&broker, &server, &keys);
    const CLIENTS: usize = 7;
    const EACH: usize = 600;
    for number in 0..EACH {
        for client in 0..CLIENTS {
            // What the disk cannot take yet is lost, which is another test.
            let room = || figure(&broker, "queued_bytes") < 40 << 10;
            broker.eventually(|| room().then_some(()));
            push(&outbox, client as u64, format!("[{client},{number}]"));
            assert!(figure(&broker, "queued_bytes") <= 256 << 10);
        }
        if number % 100 == 50 {
            server.set(Mode::Hang);
        } else if number % 100 == 99 {
            server.set(Mode::Status(200));
        }
    }
    await_figure(&broker, "sent", (CLIENTS * EACH) as u64);
    await_empty(&broker);
    let mut last = [0; CLIENTS];
    let all: String = server.taken().concat();
    let mut count = 0;
    for event in all.split(['[', ']']).filter(|part| part.len() > 1) {
        let (client, number) = event.split_once(',').unwrap();
        let (client, number): (usize, usize) = (client.parse().unwrap(), number.parse().unwrap());
        assert_eq!(number, last[client]);
        last[client] += 1;
        count += 1;
    }
    assert_eq!(count, CLIENTS * EACH);
    assert_eq!(outbox.figures.losses(), [0; 5]);
}

/// What was under way goes to disk, too; and the next one may have other lanes and batches.
#[test]
fn over_a_restart() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Hang));
    let outbox = start(&broker, &server, &SPILL);
    push_all(&outbox, 0..500);
    server.wait_for_seen(1);
    let begin = Instant::now();
    broker.stop();
    assert!(
        begin.elapsed() < Duration::from_secs(2),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(outbox.figures.losses(), [0; 5]);
    let mut keys = SPILL.to_vec();
    keys.extend([("web.hook.pool", "5"), ("web.hook.batch_size", "7")]);
    let outbox = start(&broker, &server, &keys);
    assert_eq!(figure(&broker, "spilled") + figure(&broker, "queued"), 500);
    push_all(&outbox, 500..600);
    broker.stop();
    // One that does not spill delivers them as well, in their order.
    server.set(Mode::Status(200));
    let outbox = start(&broker, &server, &[("web.hook.deadline", "10s")]);
    push_all(&outbox, 600..620);
    assert_eq!(server.wait_for(620), numbers(0..620));
    await_empty(&broker);
    broker.stop();
    // And nothing is left for the next.
    start(&broker, &server, &SPILL);
    await_empty(&broker);
    assert_eq!(server.taken().len(), 620);
}

#[test]
fn a_few_in_memory_over_a_restart() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Hang));
    let outbox = start(&broker, &server, &SPILL);
    push_all(&outbox, 0..3);
    server.wait_for_seen(1);
    broker.stop();
    assert_eq!(rows(&broker), 1);
    server.set(Mode::Status(200));
    start(&broker, &server, &SPILL);
    assert_eq!(server.wait_for(3), numbers(0..3));
    await_empty(&broker);
}

/// The store fails: the newest are dropped once the tail is full; what there was room for arrives.
#[test]
fn a_store_that_fails() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Hang));
    let mut keys = SPILL.to_vec();
    keys.push(("web.hook.queue.max_bytes", "64KB"));
    let outbox = start(&broker, &server, &keys);
    broker.store_fails(Some("no room"));
    push_all(&outbox, 0..1000);
    let lost = figure(&broker, "dropped/disk");
    assert!((700..990).contains(&lost), "{lost}");
    assert!(figure(&broker, "queued_bytes") <= 64 << 10);
    let alarm = broker.eventually(|| broker.alarms().get("web_hook_dropping").cloned());
    assert_eq!(alarm.summary, format!("{lost} disk"));
    let kept = 1000 - lost as usize;
    server.set(Mode::Status(200));
    // Past the disk.
    assert_eq!(server.wait_for(kept), numbers(0..kept));
    await_figure(&broker, "queued", 0);
    // And when it works again all is as before.
    broker.store_fails(None);
    server.set(Mode::Hang);
    push_all(&outbox, 0..100);
    await_figure(&broker, "spilled", 90);
    server.set(Mode::Status(200));
    assert_eq!(server.wait_for(kept + 100)[kept..], numbers(0..100));
    await_empty(&broker);
}

/// At the end, too; what was on disk stays there.
#[test]
fn a_store_that_fails_at_the_end() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Hang));
    let outbox = start(&broker, &server, &SPILL);
    push_all(&outbox, 0..100);
    await_figure(&broker, "spilled", 90);
    broker.store_fails(Some("no room"));
    let begin = Instant::now();
    broker.stop();
    assert!(
        begin.elapsed() < Duration::from_secs(1),
        "{:?}",
        begin.elapsed()
    );
    assert_eq!(outbox.figures.losses()[Reason::Disk as usize], 10);
    broker.store_fails(None);
    server.set(Mode::Status(200));
    start(&broker, &server, &SPILL);
    assert_eq!(server.wait_for(90), numbers(10..100));
    await_empty(&broker);
}

/// A life begins when the one before has put everything on disk.
#[test]
fn one_life_at_a_time() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Hang));
    let outbox = start(&broker, &server, &SPILL);
    let dir = outbox.ctx.data_dir();
    let taken = || Owner::take(&dir, Duration::from_millis(1));
    assert!(taken().is_none());
    broker.stop();
    let former = taken().unwrap();
    std::thread::scope(|scope| {
        let next = scope.spawn(|| start(&broker, &server, &SPILL));
        std::thread::sleep(Duration::from_millis(200));
        assert!(!next.is_finished());
        drop(former);
        next.join().unwrap();
    });
}

/// The tasks of a life that only delivers what is left write nothing any more either when it has ended.
#[test]
fn the_end_shuts_the_disk() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Hang));
    let outbox = start(&broker, &server, &SPILL);
    push_all(&outbox, 0..100);
    broker.stop();
    let outbox = start(&broker, &server, &[("web.hook.timeout", "1m")]);
    let spool = outbox.spool.clone().unwrap();
    broker.stop();
    assert!(spool.delete(0).is_err());
    assert!(spool.reserve(0, u64::MAX / 2).is_err());
}

/// One that the server falls over does not stop all others for ever.
#[test]
fn an_event_that_is_never_taken() {
    for batch in ["1", "7"] {
        let (broker, server) = (FakeBroker::new(), Server::start(Mode::Poison));
        let keys = [
            ("web.hook.on_full", "spill"),
            ("web.hook.queue.max_count", "100"),
            ("web.hook.queue.max_bytes", "4MB"),
            ("web.hook.pool", "4"),
            ("web.hook.deadline", "300ms"),
            ("web.hook.batch_size", batch),
        ];
        let outbox = start(&broker, &server, &keys);
        push(&outbox, 0, 0);
        push(&outbox, 0, "poison");
        push(&outbox, 0, "poison");
        for number in 1..2000 {
            push(&outbox, number % 4, number);
        }
        await_figure(&broker, "sent", 2000);
        await_empty(&broker);
        assert_eq!(outbox.figures.losses(), [0, 0, 2, 0, 0], "{batch}");
        let all = server.taken().join(",").replace(['[', ']'], "");
        let mut all: Vec<usize> = all.split(',').map(|n| n.parse().unwrap()).collect();
        for lane in 0..4 {
            assert!(all.iter().filter(|n| **n % 4 == lane).is_sorted());
        }
        all.sort_unstable();
        assert!(all.into_iter().eq(0..2000));
    }
}

/// A server that takes nothing at all has trouble of its own, and nothing is lost.
#[test]
fn a_server_with_errors_alone() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Status(200)));
    let mut keys = SPILL.to_vec();
    keys.extend([("web.hook.pool", "3"), ("web.hook.deadline", "200ms")]);
    let outbox = start(&broker, &server, &keys);
    for lane in 0..3 {
        push(&outbox, lane, lane);
    }
    await_figure(&broker, "sent", 3);
    server.set(Mode::Status(500));
    for number in 3..9 {
        push(&outbox, number % 2, number);
    }
    let begin = Instant::now();
    broker.eventually(|| (begin.elapsed() > Duration::from_secs(2)).then_some(()));
    assert!(figure(&broker, "failed") >= 6);
    server.set(Mode::Status(200));
    assert_eq!(server.wait_for(9).len(), 9);
    assert_eq!(outbox.figures.losses(), [0; 5]);
}

/// What would only seem to be on disk is refused.
#[test]
fn a_store_that_is_none() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Status(200)));
    broker.tables_are_volatile();
    let descriptor = Descriptor::new("emq_web_hook", "1", "", move |ctx| {
        Outbox::start(ctx, Settings::read(&ctx.config())?)?;
        Ok(Box::new(()))
    });
    let why = broker.start(&descriptor, Config::of(&SPILL)).unwrap_err().0;
    for key in ["web.hook.on_full = spill", "persistence.sync = off"] {
        assert!(why.contains(key), "{why}");
    }
    let outbox = start(&broker, &server, &[]);
    push(&outbox, 0, "a");
    server.wait_for(1);
}

/// What cannot be read at the start is said; who does not need it starts.
#[test]
fn a_store_that_cannot_be_read() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Status(200)));
    broker.store_fails(Some("bad sector"));
    let outbox = start(&broker, &server, &[]);
    push(&outbox, 0, "a");
    server.wait_for(1);
    broker.stop();
    let descriptor = Descriptor::new("emq_web_hook", "1", "", move |ctx| {
        Outbox::start(ctx, Settings::read(&ctx.config())?)?;
        Ok(Box::new(()))
    });
    let why = broker.start(&descriptor, Config::of(&SPILL)).unwrap_err();
    assert!(why.0.ends_with("cannot be read: bad sector"), "{why}");
}

/// A server that has trouble is not made to have more.
#[test]
fn pauses_between_attempts() {
    let (broker, server) = (FakeBroker::new(), Server::start(Mode::Status(503)));
    let keys = [("web.hook.deadline", "250ms")];
    let outbox = start(&broker, &server, &keys);
    // The next one waits for what the one before it has found.
    for number in 0..4 {
        push(&outbox, 0, number);
        await_figure(&broker, "dropped/expired", number + 1);
    }
    let failed = figure(&broker, "failed");
    assert!((3..=8).contains(&failed), "{failed}");
}
