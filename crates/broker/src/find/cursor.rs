//! Where a page ends, as a text that means nothing to who keeps it.

use super::key::Key;
use crate::info::AdminError;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::borrow::Cow;

/// No cursor is longer: three texts of an MQTT string's length at the most.
const LONGEST: usize = 4 * (3 * 65_536 + 64) / 3;

/// Where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cursor {
    /// behind this name in a slot of a shard; without a name with the whole slot
    Slot(u16, u32, Option<String>),
    /// from this number on
    Number(u64),
    /// behind this key
    Key(Key<'static>),
}

/// What a cursor belongs to: the kind of rows, and their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Question {
    /// a letter for each kind of rows
    pub kind: u8,
    /// number of the order; 0 = as they lie
    pub order: u8,
    pub descending: bool,
}

impl Question {
    /// The cursor as a text.
    pub fn write(self, cursor: &Cursor) -> String {
        let mut bytes = vec![self.kind, self.order, u8::from(self.descending)];
        match cursor {
            Cursor::Slot(shard, slot, name) => {
                bytes.extend(shard.to_be_bytes());
                bytes.extend(slot.to_be_bytes());
                bytes.extend(
                    name.iter()
                        .flat_map(|name| [&[1], name.as_bytes()].concat()),
                );
            }
            Cursor::Number(number) => bytes.extend(number.to_be_bytes()),
            Cursor::Key(key) => {
                bytes.extend(key.number.to_be_bytes());
                for text in [&key.text, &key.id] {
                    bytes.extend((text.len() as u32).to_be_bytes());
                    bytes.extend(text.as_bytes());
                }
                bytes.extend(key.name.as_bytes());
            }
        }
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn read(self, text: &str) -> Option<Vec<u8>> {
        if text.len() > LONGEST {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let head = [self.kind, self.order, u8::from(self.descending)];
        Some(bytes.strip_prefix(&head[..])?.to_vec())
    }

    /// A [`Cursor::Slot`].
    pub fn slot(self, text: &str) -> Result<(u16, u32, Option<String>), AdminError> {
        let read = || {
            let bytes = self.read(text)?;
            let (shard, rest) = bytes.split_first_chunk()?;
            let (slot, rest) = rest.split_first_chunk()?;
            let name = match rest {
                [] => None,
                [1, name @ ..] => Some(String::from_utf8(name.to_vec()).ok()?),
                _ => return None,
            };
            Some((u16::from_be_bytes(*shard), u32::from_be_bytes(*slot), name))
        };
        read().ok_or_else(bad)
    }

    /// A [`Cursor::Number`].
    pub fn number(self, text: &str) -> Result<u64, AdminError> {
        let bytes = self.read(text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(u64::from_be_bytes).ok_or_else(bad)
    }

    /// A [`Cursor::Key`].
    pub fn key(self, text: &str) -> Result<Key<'static>, AdminError> {
        let read = || {
            let bytes = self.read(text)?;
            let (number, rest) = bytes.split_first_chunk()?;
            let (text, rest) = text_of(rest)?;
            let (id, name) = text_of(rest)?;
            let name = std::str::from_utf8(name).ok()?;
            Some(Key {
                number: u128::from_be_bytes(*number),
                text,
                id,
                name: Cow::Owned(name.into()),
            })
        };
        read().ok_or_else(bad)
    }
}

/// A text with its length before it, and what follows.
fn text_of(bytes: &[u8]) -> Option<(Cow<'static, str>, &[u8])> {
    let (len, rest) = bytes.split_first_chunk()?;
    let (text, rest) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
    let text = std::str::from_utf8(text).ok()?;
    Some((Cow::Owned(text.into()), rest))
}

pub(crate) fn bad() -> AdminError {
    AdminError::Other("the cursor is not one of this question".into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const QUESTION: Question = Question {
        kind: b'c',
        order: 2,
        descending: true,
    };

    proptest! {
        #[test]
        fn comes_back_as_it_was(number: u128, text in ".{0,20}", id in ".{0,20}", name in ".{0,20}", slot: u32, named: bool) {
            let name_of_slot = named.then(|| name.clone());
            let (text, id, name) = (text.into(), id.into(), name.into());
            let key = Key { number, text, id, name };
            prop_assert_eq!(QUESTION.key(&QUESTION.write(&Cursor::Key(key.clone()))), Ok(key));
            let place = Cursor::Slot(7, slot, name_of_slot.clone());
            prop_assert_eq!(QUESTION.slot(&QUESTION.write(&place)), Ok((7, slot, name_of_slot)));
            let at = number as u64;
            prop_assert_eq!(QUESTION.number(&QUESTION.write(&Cursor::Number(at))), Ok(at));
        }

        /// Anybody may send anything.
        #[test]
        fn whatever_comes_is_read_or_refused(text in "[A-Za-z0-9_-]{0,80}", bytes: Vec<u8>) {
            let head = [QUESTION.kind, QUESTION.order, 1];
            for text in [text, URL_SAFE_NO_PAD.encode([&head[..], &bytes].concat())] {
                let _ = (QUESTION.key(&text), QUESTION.slot(&text), QUESTION.number(&text));
            }
        }
    }

    #[test]
    fn of_another_question_is_refused() {
        let text = QUESTION.write(&Cursor::Number(1));
        for other in [
            Question {
                kind: b's',
                ..QUESTION
            },
            Question {
                order: 1,
                ..QUESTION
            },
            Question {
                descending: false,
                ..QUESTION
            },
        ] {
            assert_eq!(other.number(&text), Err(bad()));
        }
        assert_eq!(QUESTION.key(&text), Err(bad()));
        assert_eq!(QUESTION.number(""), Err(bad()));
        assert_eq!(QUESTION.number("%"), Err(bad()));
    }
}
