//! Types that cross as one number. A number keeps its meaning for ever.

use crate::{Access, AclAnswer, AuthAnswer, ExchangeStep, QoS, Reply, RetainStorage, Severity};
use emqttd_plugin_abi::Fault;
use minicbor::decode::{Decoder, Error};
use minicbor::encode::{Encoder, Write};
use minicbor::{Decode, Encode};

/// Answer of a provider that has to wait: it comes with a ticket.
pub const PENDING: u64 = 100;

/// As the number of an answer.
pub fn of_auth(answer: AuthAnswer) -> u64 {
    match answer {
        AuthAnswer::Ignore => 0,
        AuthAnswer::Allow { superuser: false } => 1,
        AuthAnswer::Allow { superuser: true } => 2,
        AuthAnswer::Deny => 3,
        AuthAnswer::Unavailable => 4,
    }
}

/// From the number of an answer; one that is not known admits nobody.
pub fn auth(number: u64) -> AuthAnswer {
    match number {
        0 => AuthAnswer::Ignore,
        1 => AuthAnswer::Allow { superuser: false },
        2 => AuthAnswer::Allow { superuser: true },
        3 => AuthAnswer::Deny,
        _ => AuthAnswer::Unavailable,
    }
}

/// As the number of an answer.
pub fn of_acl(answer: AclAnswer) -> u64 {
    match answer {
        AclAnswer::Ignore => 0,
        AclAnswer::Allow => 1,
        AclAnswer::Deny => 3,
        AclAnswer::Unavailable => 4,
    }
}

/// From the number of an answer; one that is not known allows nothing.
pub fn acl(number: u64) -> AclAnswer {
    match number {
        0 => AclAnswer::Ignore,
        1 => AclAnswer::Allow,
        3 => AclAnswer::Deny,
        _ => AclAnswer::Unavailable,
    }
}

/// As number and data.
pub fn of_step(step: ExchangeStep) -> (u64, Vec<u8>) {
    match step {
        ExchangeStep::Fail => (0, Vec::new()),
        ExchangeStep::Continue(data) => (1, data),
        ExchangeStep::Success {
            data,
            superuser: false,
        } => (2, data),
        ExchangeStep::Success {
            data,
            superuser: true,
        } => (3, data),
    }
}

/// From number and data; a number that is not known admits nobody.
pub fn step(number: u64, data: &[u8]) -> ExchangeStep {
    match number {
        1 => ExchangeStep::Continue(data.into()),
        2 | 3 => ExchangeStep::Success {
            data: data.into(),
            superuser: number == 3,
        },
        _ => ExchangeStep::Fail,
    }
}

/// As number and text.
pub fn of_reply(reply: Reply) -> (u64, Vec<u8>) {
    match reply {
        Reply::Text(text) => (0, text.into_bytes()),
        Reply::Failed(text) => (1, text.into_bytes()),
        Reply::Usage => (2, Vec::new()),
    }
}

/// From number and text.
///
/// # Errors
/// [`Fault::Malformed`] for numbers that are not known.
pub fn reply(number: u64, text: &[u8]) -> Result<Reply, Fault> {
    let text = || String::from_utf8_lossy(text).into_owned();
    match number {
        0 => Ok(Reply::Text(text())),
        1 => Ok(Reply::Failed(text())),
        2 => Ok(Reply::Usage),
        _ => Err(Fault::Malformed),
    }
}

/// What becomes of a message that is published: passes, is dropped, passes changed.
pub const PASS: u64 = 0;
/// See [`PASS`].
pub const DROP: u64 = 1;
/// See [`PASS`]; [`Changed`](super::request::Changed) and a payload follow.
pub const CHANGE: u64 = 2;

/// What a subscribe hook wants: on as it is, stop, on with another table.
pub const NEXT: u64 = 0;
/// See [`NEXT`].
pub const STOP: u64 = 1;
/// See [`NEXT`]; the table follows.
pub const NEXT_WITH: u64 = 2;

macro_rules! numbers {
    ($($type:ident { $($variant:ident = $number:literal),* })*) => { $(
        impl<C> Encode<C> for $type {
            fn encode<W: Write>(
                &self,
                e: &mut Encoder<W>,
                _: &mut C,
            ) -> Result<(), minicbor::encode::Error<W::Error>> {
                e.u8(match self { $($type::$variant => $number),* })?.ok()
            }
        }

        impl<'b, C> Decode<'b, C> for $type {
            fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, Error> {
                match d.u8()? {
                    $($number => Ok($type::$variant),)*
                    _ => Err(Error::message(concat!("no ", stringify!($type)))),
                }
            }
        }
    )* };
}

numbers! {
    QoS { AtMostOnce = 0, AtLeastOnce = 1, ExactlyOnce = 2 }
    Access { Publish = 1, Subscribe = 2 }
    Severity { Warning = 1, Error = 2, Critical = 3 }
    RetainStorage { Ram = 1, Disc = 2, DiscOnly = 3 }
}
