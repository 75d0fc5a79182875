#![allow(clippy::unwrap_used)]

use super::*;
use crate::{Batch, Owed};
use proptest::prelude::*;

#[test]
fn varints_come_back_and_their_lengths_are_right() {
    for shift in 0..64 {
        for value in [1u64 << shift, (1u64 << shift) - 1, u64::MAX >> shift] {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            assert_eq!(out.len(), varint_len(value), "{value}");
            let mut c = Cursor(&out);
            assert_eq!(c.varint(), Some(value));
            assert!(c.0.is_empty());
            assert_eq!(Cursor(&out[..out.len() - 1]).varint(), None);
        }
    }
}

#[test]
fn every_record_of_a_batch_comes_back() {
    let mut batch = Batch::new();
    batch.put(1, b"key", b"value");
    batch.delete(2, b"key");
    batch.begin(3);
    batch.end(4);
    let owed = [
        Owed {
            owner: 5,
            seq: 6,
            extra: b"",
        },
        Owed {
            owner: 7,
            seq: u64::MAX,
            extra: b"extra",
        },
    ];
    batch.message(&[b"bo", b"", b"dy"], 9, &owed);
    batch.message(&[b"for nobody"], 9, &[]);
    batch.sent(u64::MAX, 65535, u64::MAX, u64::MAX, u32::MAX, u8::MAX);
    batch.released(1, 2);
    batch.completed(3, 4);
    batch.taken_back(5, 6);
    batch.done(7, 8, 9);
    let records: Vec<Placed<'_>> = Records::new(&batch.bytes).map(|r| r.unwrap()).collect();
    let rejoined: Vec<u8> = records.iter().flat_map(|r| r.raw.iter().copied()).collect();
    assert_eq!(rejoined, batch.bytes);
    let mut records = records.into_iter().map(|r| r.record);
    let Some(Record::Put {
        table: 1,
        key: b"key",
        value: b"value",
        crc,
        covered,
    }) = records.next()
    else {
        panic!()
    };
    assert_eq!(crc, crc32fast::hash(covered));
    assert!(matches!(
        records.next(),
        Some(Record::Delete {
            table: 2,
            key: b"key",
            born: 0
        })
    ));
    assert!(matches!(records.next(), Some(Record::Begin { owner: 3 })));
    assert!(matches!(
        records.next(),
        Some(Record::End { owner: 4, born: 0 })
    ));
    let Some(Record::Message(message)) = records.next() else {
        panic!()
    };
    assert!(message.intact());
    assert_eq!((message.size, message.count), (9, 2));
    let mut refs = Vec::new();
    assert_eq!(message.refs(|r| refs.push(r)), Some(&b"body"[..]));
    assert_eq!(
        refs[1],
        Ref {
            owner: 7,
            seq: u64::MAX,
            extra: b"extra"
        }
    );
    let most = u64::MAX;
    assert!(matches!(
        records.next(),
        Some(Record::Sent { by, id: 65535, owner, seq, size: u32::MAX, note: u8::MAX })
            if by == most && owner == most && seq == most
    ));
    assert!(matches!(
        records.next(),
        Some(Record::Released { by: 1, id: 2 })
    ));
    assert!(matches!(
        records.next(),
        Some(Record::Completed { by: 3, id: 4 })
    ));
    assert!(matches!(
        records.next(),
        Some(Record::TakenBack { by: 5, id: 6 })
    ));
    assert!(matches!(
        records.next(),
        Some(Record::Done {
            owner: 7,
            seq: 8,
            size: 9
        })
    ));
    assert!(records.next().is_none());
}

proptest! {
    #[test]
    fn any_bytes_are_walked_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        for placed in Records::new(&bytes).flatten() {
            if let Record::Message(message) = placed.record {
                message.refs(|_| ());
            }
        }
    }
}
