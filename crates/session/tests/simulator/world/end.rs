//! The end of a round: what must hold when nothing is under way, and the two ways to end it.

use super::*;

impl World {
    /// Both ends work without haste or loss until nothing is under way.
    fn settle(&mut self) {
        self.client.pump(&mut self.up);
        loop {
            let mut moved = self.read_and_sync() | self.carry_down() | self.carry_up();
            if self.client.pending_len() > 0 {
                self.client.acknowledge(&mut self.rng, &mut self.up);
                moved = true;
            }
            if !moved {
                return;
            }
        }
    }

    /// The client keeps reading and the connection stays: everything is delivered.
    pub fn finish(&mut self) {
        if !self.alive || !self.session.online() {
            self.connect_somehow();
        }
        self.settle();
        assert_eq!(self.session.inflight_len(), 0, "still in flight");
        assert_eq!(self.session.queue_len(), 0, "still queued");
        assert!(self.session.has_room(), "the window is not whole");
        assert!(self.client.is_quiet(), "the client still waits");
        // What the broker of a 3.x client had no room for is sent again on the next connection.
        for _ in 0..=self.client.outgoing_len() {
            if self.client.outgoing_len() > 0 {
                self.connect_somehow();
                self.settle();
            }
        }
        assert_eq!(
            self.client.outgoing_len(),
            0,
            "messages of the client's are not finished"
        );
        assert_eq!(
            self.session.awaiting_rel_len(),
            0,
            "messages wait for PUBREL"
        );
        self.inflow.check(&self.client.completed);
        self.check_deliveries();
        self.check_nothing_leaks();
        self.check_window();
        self.disconnect();
        assert_eq!(self.session.deadline(), None);
    }

    fn check_deliveries(&self) {
        for (at, entry) in self.ledger.entries.iter().enumerate() {
            let num = at as u32 + 1;
            let seen = self.client.seen.get(&num).copied().unwrap_or_default();
            let holds = match (entry.state, entry.qos) {
                (State::Written, QoS::AtMostOnce) => seen.packets <= 1,
                (State::Acked, QoS::AtLeastOnce) => seen.handed >= 1,
                (State::Acked, QoS::ExactlyOnce) => seen.handed == 1,
                (State::Refused, QoS::ExactlyOnce) => seen.handed == 0,
                (State::Dropped | State::Expired, QoS::AtLeastOnce) if entry.crashed => true,
                (State::Dropped | State::Expired, _) => seen.packets == 0,
                // It leaves at QoS 2 only when the store knows of it.
                (State::Lost, QoS::ExactlyOnce) if entry.seq == 0 => seen.handed <= 1,
                (State::Lost, QoS::ExactlyOnce) => seen.packets == 0,
                (State::Lost, _) => true,
                (State::Unreadable, qos) => qos == QoS::AtLeastOnce || seen.handed <= 1,
                // It may have arrived on an earlier connection that took larger packets.
                (State::TooLarge, QoS::AtMostOnce) => seen.packets == 0,
                (State::TooLarge, QoS::AtLeastOnce) => true,
                (State::TooLarge, QoS::ExactlyOnce) => seen.handed <= 1,
                _ => false,
            };
            assert!(
                holds,
                "delivery {num}, {:?}, is {:?}, and the client has {seen:?}",
                entry.qos, entry.state
            );
        }
    }

    /// As many messages as the window has places are sent at once, and no more.
    fn check_window(&mut self) {
        let window = self
            .ledger
            .connection
            .expect("there is a connection")
            .window;
        if window > 64 || self.ledger.connection.is_some_and(|c| c.max_packet < 60) {
            return;
        }
        let parts = MessageParts {
            topic: "low",
            properties: &[],
            payload: b"",
            qos: QoS::AtLeastOnce,
            retain: false,
        };
        let message = Arc::new(Message::new(parts, None, self.now, u64::MAX));
        for _ in 0..window {
            let sent = self.deliver_message(Arc::clone(&message), QoS::AtLeastOnce, false);
            assert_eq!(sent, Sent::Now, "a place of the window was lost");
        }
        let sent = self.deliver_message(message, QoS::ExactlyOnce, false);
        assert_ne!(sent, Sent::Now, "the window has grown");
        self.settle();
        self.check_deliveries();
    }

    /// The session ends: what may go to others of a group is handed out, and nothing else [MQTT-4.8.2-5].
    pub fn end_session(self) {
        let World {
            session, ledger, ..
        } = self;
        let entry = |num: u32| &ledger.entries[num as usize - 1];
        let flying = ledger
            .flights
            .iter()
            .filter(|flight| !flight.released && entry(flight.num).group)
            .map(|flight| (flight.num, flight.loaded));
        let sent = |loaded, qos| {
            flying
                .clone()
                .filter(move |(num, there)| *there == loaded && (!loaded || entry(*num).qos == qos))
                .map(|(num, _)| num)
        };
        let lost: Vec<u32> = sent(true, QoS::ExactlyOnce)
            .filter(|num| entry(*num).seq != 0)
            .collect();
        let unloaded: Vec<u64> = sent(false, QoS::AtLeastOnce)
            .map(|num| entry(num).seq)
            .collect();
        let flying = sent(true, QoS::AtLeastOnce);
        let queued = ledger.lanes.values().rev().flatten().copied();
        let wanted: Vec<u32> = flying
            .chain(queued)
            .filter(|num| entry(*num).group)
            .collect();
        let owed = session.into_owed();
        let nums = |list: &[Delivery]| list.iter().map(|d| d.sub_id).collect::<Vec<_>>();
        assert_eq!(nums(&owed.pass_on), wanted, "owed to the group");
        assert_eq!(nums(&owed.lost), lost, "not to be given to others");
        let told: Vec<u64> = owed.unloaded.iter().map(|(_, seq)| *seq).collect();
        assert_eq!(told, unloaded, "owed to the group and not read");
    }

    /// Uses up packet identifiers until they are about to begin anew, with one message kept in flight.
    pub fn near_the_last_id(&mut self) {
        self.connect(Version::V5, u16::MAX, usize::MAX);
        let parts = MessageParts {
            topic: "low",
            properties: &[],
            payload: b"",
            qos: QoS::AtLeastOnce,
            retain: false,
        };
        let message = Arc::new(Message::new(parts, None, self.now, u64::MAX));
        self.deliver_message(Arc::clone(&message), QoS::ExactlyOnce, false);
        let mut id = 0;
        while id < 65_530 {
            let sent = self.deliver_message(Arc::clone(&message), QoS::AtLeastOnce, false);
            if sent != Sent::Now {
                return;
            }
            id = self.ledger.flights.last().expect("it was sent").id;
            while self.carry_down() {}
            self.client.drop_ack_of(id);
            self.puback(id);
        }
    }
}
