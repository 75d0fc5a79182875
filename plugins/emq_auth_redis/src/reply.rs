//! What Redis answers.

use redis::Value;
use std::borrow::Cow;

/// What there is of a user's password.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stored {
    /// no such user, or none with a password
    Nothing,
    /// with or without a salt
    Password {
        hash: Vec<u8>,
        salt: Option<Vec<u8>>,
    },
}

/// A reply that the command should not have given, as a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Strange(pub String);

impl Stored {
    /// Reads one string, or a list of password and salt. What stands behind these is not looked at.
    pub fn read(reply: &Value) -> Result<Stored, Strange> {
        let fields = match reply {
            Value::Array(fields) => fields.as_slice(),
            one => std::slice::from_ref(one),
        };
        let field = |index: usize| match fields.get(index) {
            None | Some(Value::Nil) => Ok(None),
            Some(value) => match bytes(value) {
                Some(bytes) => Ok(Some(bytes.into_owned())),
                None => Err(strange(
                    "auth_cmd",
                    "a password, or password and salt",
                    reply,
                )),
            },
        };
        Ok(match field(0)? {
            None => Stored::Nothing,
            Some(hash) => Stored::Password {
                hash,
                salt: field(1)?,
            },
        })
    }
}

/// Whether the reply to `super_cmd` says `1`.
pub(crate) fn says_yes(reply: &Value) -> bool {
    match reply {
        Value::Array(fields) => fields.first().is_some_and(says_yes),
        value => bytes(value).is_some_and(|bytes| *bytes == *b"1"),
    }
}

/// A name with its value.
pub(crate) type Pair<'a> = (Cow<'a, [u8]>, Cow<'a, [u8]>);

/// Names with values, one after the other, as `HGETALL` lists them.
pub(crate) fn pairs<'a>(reply: &'a Value, asked_by: &str) -> Result<Vec<Pair<'a>>, Strange> {
    let members = members(reply, asked_by)?;
    let (pairs, rest) = members.as_chunks::<2>();
    match rest {
        [] => Ok(pairs
            .iter()
            .map(|[name, value]| (name.clone(), value.clone()))
            .collect()),
        _ => Err(strange(asked_by, "names with their values", reply)),
    }
}

/// A list of strings; nothing is an empty one.
pub(crate) fn members<'a>(reply: &'a Value, asked_by: &str) -> Result<Vec<Cow<'a, [u8]>>, Strange> {
    let all = match reply {
        Value::Nil => Some(Vec::new()),
        Value::Array(members) => members.iter().map(bytes).collect(),
        _ => None,
    };
    all.ok_or_else(|| strange(asked_by, "a list of strings", reply))
}

/// A string, in any of the forms that the protocol has for it.
fn bytes(value: &Value) -> Option<Cow<'_, [u8]>> {
    match value {
        Value::BulkString(bytes) => Some(Cow::Borrowed(bytes)),
        Value::SimpleString(text) => Some(Cow::Borrowed(text.as_bytes())),
        Value::Okay => Some(Cow::Borrowed(b"OK")),
        Value::Int(number) => Some(Cow::Owned(number.to_string().into_bytes())),
        _ => None,
    }
}

fn strange(asked_by: &str, wanted: &str, reply: &Value) -> Strange {
    let kind = match reply {
        Value::Nil => "nothing",
        Value::Int(_) => "a number",
        Value::Array(_) => "another list",
        Value::BulkString(_) | Value::SimpleString(_) | Value::Okay => "a string",
        _ => "something else",
    };
    Strange(format!("{asked_by} was to give {wanted} and gave {kind}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn text(text: &str) -> Value {
        Value::BulkString(text.into())
    }

    fn password(hash: &str, salt: Option<&str>) -> Result<Stored, Strange> {
        Ok(Stored::Password {
            hash: hash.into(),
            salt: salt.map(Into::into),
        })
    }

    #[test]
    fn passwords() {
        let list = |values: &[Value]| Stored::read(&Value::Array(values.to_vec()));
        assert_eq!(Stored::read(&text("h")), password("h", None));
        assert_eq!(Stored::read(&text("")), password("", None));
        assert_eq!(Stored::read(&Value::Int(12)), password("12", None));
        assert_eq!(Stored::read(&Value::Okay), password("OK", None));
        assert_eq!(Stored::read(&Value::Nil), Ok(Stored::Nothing));
        assert_eq!(list(&[]), Ok(Stored::Nothing));
        assert_eq!(list(&[Value::Nil, text("s")]), Ok(Stored::Nothing));
        assert_eq!(list(&[text("h")]), password("h", None));
        assert_eq!(list(&[text("h"), Value::Nil]), password("h", None));
        assert_eq!(list(&[text("h"), text("s")]), password("h", Some("s")));
        assert_eq!(
            list(&[text("h"), text("s"), Value::Array(vec![])]),
            password("h", Some("s"))
        );
        assert!(list(&[Value::Array(vec![])]).is_err());
        assert!(list(&[text("h"), Value::Array(vec![])]).is_err());
    }

    #[test]
    fn superusers() {
        for (reply, yes) in [
            (text("1"), true),
            (Value::Int(1), true),
            (Value::Array(vec![text("1")]), true),
            (text("0"), false),
            (text("true"), false),
            (text("11"), false),
            (text(" 1"), false),
            (text(""), false),
            (Value::Nil, false),
            (Value::Array(vec![Value::Nil]), false),
            (Value::Array(vec![]), false),
            (Value::Array(vec![text("0"), text("1")]), false),
        ] {
            assert_eq!(says_yes(&reply), yes, "{reply:?}");
        }
    }

    #[test]
    fn hashes() {
        let list = Value::Array(vec![text("a"), text("1"), text("b"), Value::Int(2)]);
        let all = pairs(&list, "acl_cmd").unwrap();
        let all: Vec<(&[u8], &[u8])> = all.iter().map(|(n, v)| (&**n, &**v)).collect();
        let wanted: [(&[u8], &[u8]); 2] = [(b"a", b"1"), (b"b", b"2")];
        assert_eq!(all, wanted);
        assert!(pairs(&Value::Array(vec![]), "x").unwrap().is_empty());
        assert!(pairs(&Value::Nil, "x").unwrap().is_empty());
        for odd in [
            text("a"),
            Value::Int(1),
            Value::Array(vec![text("a")]),
            Value::Array(vec![text("a"), Value::Nil]),
        ] {
            let Strange(why) = pairs(&odd, "acl_cmd").unwrap_err();
            assert!(why.starts_with("acl_cmd was to give "), "{why}");
        }
    }
}
