//! Acknowledgements as the broker gets them. The ledger goes first.

use super::*;

impl World {
    pub(super) fn puback(&mut self, id: u16) {
        let at = self.ledger.flight(id).filter(|at| {
            let flight = &self.ledger.flights[*at];
            !flight.released
                && flight.loaded
                && self.ledger.entries[flight.num as usize - 1].qos == QoS::AtLeastOnce
        });
        let acked = at.map(|at| {
            let num = self.ledger.land(at).num;
            self.ledger.entry(num).state = State::Acked;
            Arc::clone(&self.ledger.entry(num).message)
        });
        self.ledger.begin(Call::Ack, self.now);
        let ack = self.session.puback(id, self.now, &mut self.ledger);
        self.after_ack(ack, acked.is_some(), acked, &[]);
    }

    pub(super) fn pubrec(&mut self, id: u16, refused: bool) {
        let at = self.ledger.flight(id).filter(|at| {
            let flight = &self.ledger.flights[*at];
            flight.released
                || (flight.loaded
                    && self.ledger.entries[flight.num as usize - 1].qos == QoS::ExactlyOnce)
        });
        let version = self.session.version();
        let other_qos = at.is_none() && self.ledger.flight(id).is_some();
        let (mut known, mut acked, mut rels) = (false, None, vec![]);
        match at {
            Some(at) if !self.ledger.flights[at].released => {
                known = true;
                let num = self.ledger.flights[at].num;
                acked = Some(Arc::clone(&self.ledger.entry(num).message));
                if refused {
                    self.ledger.land(at);
                    self.ledger.entry(num).state = State::Refused;
                } else {
                    self.ledger.entry(num).state = State::Acked;
                    let handed = self.client.seen.get(&num).map_or(0, |seen| seen.handed);
                    assert_eq!(handed, 1, "{num} was acknowledged");
                    self.ledger.flights[at].released = true;
                    self.ledger.flights[at].sent_at = self.now;
                    rels.push((id, ReasonCode::SUCCESS));
                }
            }
            Some(at) if !refused => {
                known = true;
                self.ledger.flights[at].sent_at = self.now;
                rels.push((id, ReasonCode::SUCCESS));
            }
            None if !refused && !other_qos && version == Version::V5 => {
                rels.push((id, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND));
            }
            None if !refused && !other_qos => rels.push((id, ReasonCode::SUCCESS)),
            _ => {}
        }
        self.ledger.begin(Call::Ack, self.now);
        let ack = self.session.pubrec(id, refused, self.now, &mut self.ledger);
        self.after_ack(ack, known, acked, &rels);
    }

    pub(super) fn pubcomp(&mut self, id: u16) {
        let at = self
            .ledger
            .flight(id)
            .filter(|at| self.ledger.flights[*at].released);
        if let Some(at) = at {
            self.ledger.land(at);
        }
        self.ledger.begin(Call::Ack, self.now);
        let ack = self.session.pubcomp(id, self.now, &mut self.ledger);
        self.after_ack(ack, at.is_some(), None, &[]);
    }

    fn after_ack(
        &mut self,
        ack: Ack,
        known: bool,
        acked: Option<Arc<Message>>,
        rels: &[(u16, ReasonCode)],
    ) {
        assert_eq!(ack, if known { Ack::Known } else { Ack::Missed });
        let told = &self.ledger.acked;
        assert_eq!(
            told.len(),
            usize::from(acked.is_some()),
            "acknowledged messages told"
        );
        assert!(
            acked.iter().zip(told).all(|(a, b)| Arc::ptr_eq(a, b)),
            "another message is told to be acknowledged"
        );
        let owed = self
            .ledger
            .rels_owed
            .iter()
            .map(|id| (*id, ReasonCode::SUCCESS));
        let wanted: Vec<_> = rels.iter().copied().chain(owed).collect();
        assert_eq!(self.ledger.rels, wanted, "PUBREL");
        self.after_call();
    }

    /// An acknowledgement that fits nothing: an unknown identifier, or the wrong flow.
    pub(super) fn stray_ack(&mut self) {
        if !self.session.online() {
            return;
        }
        let id = match self.ledger.flights.len() {
            0 => 1 + self.rng.below(40) as u16,
            len if self.rng.percent(70) => self.ledger.flights[self.rng.index(len)].id,
            _ => 1 + self.rng.below(65_535) as u16,
        };
        let state = self.ledger.flight(id).map(|at| {
            let flight = &self.ledger.flights[at];
            (
                self.ledger.entries[flight.num as usize - 1].qos,
                flight.released,
            )
        });
        self.log(|| format!("stray acknowledgement {id}, which is {state:?}"));
        match (state, self.rng.below(3)) {
            (None, 0) => self.puback(id),
            (None, 1) => self.pubcomp(id),
            (None, _) => {
                let refused = self.rng.percent(50);
                self.pubrec(id, refused);
            }
            (Some((QoS::AtLeastOnce, _)), 0) => self.pubcomp(id),
            (Some((QoS::AtLeastOnce, _)), _) => {
                let refused = self.rng.percent(50);
                self.pubrec(id, refused);
            }
            (Some((_, false)), 0) => self.pubcomp(id),
            (Some(_), 1) => self.puback(id),
            (Some((_, true)), _) => {
                let refused = self.rng.percent(50);
                self.pubrec(id, refused);
            }
            _ => {}
        }
    }
}
