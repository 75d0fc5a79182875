use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn it_is_a_list_by_identifier(ops in prop::collection::vec((0u8..3, 0u16..60), 0..400)) {
        let mut flights = Flights::default();
        let mut model: Vec<(u16, u64, bool)> = Vec::new();
        for (n, (op, id)) in ops.into_iter().enumerate() {
            let at = model.iter().position(|f| f.0 == id);
            match op {
                0 => {
                    flights.insert(Flight::new(id, 1, n as u64, 1, 0));
                    if let Some(at) = at {
                        model.remove(at);
                    }
                    model.push((id, n as u64, false));
                }
                1 => {
                    if let Some(flight) = flights.get_mut(id) {
                        flight.released = true;
                    }
                    if let Some(at) = at {
                        model[at].2 = true;
                    }
                }
                _ => {
                    let removed = flights.remove(id).map(|f| (f.id, f.seq, f.released));
                    prop_assert_eq!(removed, at.map(|at| model.remove(at)));
                }
            }
            prop_assert_eq!(flights.is_empty(), model.is_empty());
            let all: Vec<_> = flights.in_order().iter().map(|f| (f.id, f.seq, f.released)).collect();
            prop_assert_eq!(&all, &model);
        }
    }
}
