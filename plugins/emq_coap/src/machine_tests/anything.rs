//! Whatever comes.
#![allow(clippy::unwrap_used)]

use super::rig::*;
use crate::codec::{Code, Kind, Message, Writer};
use crate::endpoint::Endpoint;
use crate::machine::SMALL;
use crate::request::{Action, Observing, Response};
use proptest::prelude::*;
use std::time::Duration;

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => Just(Kind::Confirmable),
        4 => Just(Kind::NonConfirmable),
        1 => Just(Kind::Acknowledgement),
        1 => Just(Kind::Reset),
    ]
}

/// Options that mean something, mostly, and others.
fn options() -> impl Strategy<Value = Vec<(u16, Vec<u8>)>> {
    let number = prop_oneof![
        4 => prop::sample::select(vec![4u16, 6, 11, 12, 15, 17, 23, 27, 28, 60, 258]),
        1 => any::<u16>(),
    ];
    let value = prop_oneof![
        6 => prop::collection::vec(any::<u8>(), 0..4),
        1 => prop::collection::vec(any::<u8>(), 0..700),
    ];
    prop::collection::vec((number, value), 0..6).prop_map(|mut options| {
        options.sort_by_key(|(number, _)| *number);
        options
    })
}

fn message() -> impl Strategy<Value = Msg> {
    let code = (prop::sample::select(vec![0u8, 0, 0, 2, 4, 5]), 1..6u8);
    let token = prop::collection::vec(any::<u8>(), 0..=8);
    let payload = prop::collection::vec(any::<u8>(), 0..70);
    (kind(), code, 0..20u16, token, options(), payload).prop_map(
        |(kind, (class, detail), id, token, options, payload)| Msg {
            kind,
            code: Code::new(class, detail),
            id,
            token,
            options,
            payload,
        },
    )
}

/// What happens.
#[derive(Debug, Clone)]
enum Step {
    Message(Msg),
    Bytes(Vec<u8>),
    /// the last CON that we have sent is acknowledged, or reset
    Settle(bool),
    Respond,
    Notify(usize),
    Wait(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => message().prop_map(Step::Message),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Step::Bytes),
        2 => any::<bool>().prop_map(Step::Settle),
        1 => Just(Step::Respond),
        2 => (0..6000usize).prop_map(Step::Notify),
        1 => any::<u16>().prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn a_message_is_read_as_it_was_written(message in message()) {
        let bytes = message.encode();
        prop_assert_eq!(Msg::decode(&bytes), message);
    }

    #[test]
    fn anything_can_be_decoded(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        let mut bytes = bytes;
        // Mostly the version that there is.
        if let Some(first) = bytes.first_mut() && *first & 7 != 0 {
            *first = 0x40 | *first & 0x3F;
        }
        if let Ok(message) = Message::decode(&bytes) {
            let mut again = Vec::new();
            let Message { kind, code, id, token, .. } = message;
            let mut writer = Writer::new(&mut again, kind, code, id, &token);
            for (number, value) in message.options {
                writer.option(number, value);
            }
            writer.payload(message.payload);
            prop_assert_eq!(Message::decode(&again), Ok(message));
        }
    }

    /// Nothing is answered beyond what it may be, everything is bounded, and nothing is left of it.
    #[test]
    fn anything_may_happen(steps in prop::collection::vec((0..12u16, step()), 0..60)) {
        let mut rig = Rig::new();
        let mut waits = std::collections::HashMap::new();
        let mut receipt = 0;
        for (who, step) in steps {
            let from = if who % 4 == 0 { secure(who) } else { peer(who) };
            rig.answers([answer(who)]);
            let mut most = None;
            match step {
                Step::Message(message) => {
                    most = Some(message.encode().len());
                    rig.send(from, &message);
                }
                Step::Bytes(bytes) => {
                    most = Some(bytes.len());
                    rig.send_bytes(from, &bytes);
                }
                Step::Settle(good) => {
                    let kind = if good { Kind::Acknowledgement } else { Kind::Reset };
                    if let Some(id) = waits.get(&from) {
                        rig.settle(from, kind, *id);
                    }
                }
                Step::Respond => {
                    let tickets = rig.machine.pending.keys().min().copied();
                    if let Some(ticket) = tickets {
                        rig.act(Action::Respond { ticket, response: Response::new(Code::CHANGED) });
                    }
                }
                Step::Notify(size) => {
                    let tickets = rig.machine.observations.keys().min().copied();
                    if let Some(ticket) = tickets {
                        receipt += 1;
                        rig.notify(ticket, receipt, &vec![0; size]);
                    }
                }
                Step::Wait(time) => rig.wait(Duration::from_millis(time.into())),
            }
            let mut got = 0;
            while let Some((to, bytes)) = rig.sent.0.pop_front() {
                let message = Msg::decode(&bytes);
                if message.kind == Kind::Confirmable {
                    waits.insert(to, message.id);
                }
                got += if to == from { bytes.len() } else { 0 };
            }
            if let (Some(sent), Endpoint::Plain(_), None) = (most, from, waits.get(&from)) {
                prop_assert!(got <= SMALL.max(3 * sent), "{} for {}", got, sent);
            }
            let held = rig.machine.held();
            prop_assert!(held.peers <= 16 && held.observations <= 32);
            prop_assert!(held.partial <= 16 * 6 * 4096 && held.waiting <= 8 * 256 * 1024);
        }
        let pending: Vec<_> = rig.machine.pending.keys().copied().collect();
        for ticket in pending {
            rig.act(Action::Respond { ticket, response: Response::new(Code::CHANGED) });
        }
        let observations: Vec<_> = rig.machine.observations.keys().copied().collect();
        for ticket in observations {
            rig.act(Action::Forget { observation: ticket });
        }
        rig.wait(Duration::from_secs(1000));
        prop_assert_eq!(rig.machine.held(), Default::default());
        prop_assert_eq!(rig.machine.timers.len(), 0);
        prop_assert_eq!(rig.machine.budget.slots, crate::machine::SLOTS);
        // Every notification has its fate, once.
        let mut fates: Vec<u64> = rig.app.notified.iter().map(|(receipt, _)| *receipt).collect();
        fates.sort();
        prop_assert_eq!(fates, (1..=receipt).collect::<Vec<_>>());
    }
}

/// Of all kinds; those to a GET that observes begin an observation.
fn answer(who: u16) -> Option<Response> {
    let mut response = Response::content(42, vec![7; usize::from(who) * 200]);
    match who % 6 {
        0 => return None,
        1 => response = Response::new(Code::NOT_FOUND),
        2 => response.observing = Some(Observing::Renewed),
        _ => response.observing = Some(Observing::Begun),
    }
    Some(response)
}
