//! Where the entry of a client is, and what comes back of it.

use crate::settings::Mode;
use emqttd_backend::{Question, Template, Trace};
use ldap3::{Scope, SearchEntry, dn_escape, ldap_escape};

/// Bytes that name an entry in a question, escaped. Directories close connections on questions that are much
/// longer, which no client may bring about.
const LONGEST: usize = 16 * 1024;

/// Where an entry is, or would be.
#[derive(Debug, Clone)]
pub struct Place {
    pub base: String,
    pub scope: Scope,
    pub filter: String,
}

impl Place {
    /// That of the client; `None` = it has no name, or none that an entry could have.
    pub fn of(mode: &Mode, question: &Question<'_>, trace: &mut Trace) -> Option<Place> {
        if question.username() == Some("") {
            trace.note(|| "not asked: the user name is empty".into());
            return None;
        }
        let place = match mode {
            Mode::Bind { dn } => fill(dn, question).map(|base| Place {
                base,
                scope: Scope::Base,
                filter: "(objectClass=*)".into(),
            }),
            Mode::Search {
                base,
                key,
                key_attribute,
                ..
            } => fill(base, question)
                .zip(key.value(question))
                .and_then(|(base, value)| {
                    let value = ldap_escape(std::str::from_utf8(&value).ok()?);
                    Some(Place {
                        base,
                        scope: Scope::Subtree,
                        filter: format!("({key_attribute}={value})"),
                    })
                }),
        };
        let Some(place) = place else {
            trace.note(|| "not asked: the client has no user name".into());
            return None;
        };
        if place.base.len() + place.filter.len() > LONGEST {
            trace.note(|| {
                format!("not asked: its entry would have a name of more than {LONGEST} bytes")
            });
            return None;
        }
        Some(place)
    }
}

/// A DN, with what a client has sent as values in it and never as parts of it.
fn fill(dn: &Template, question: &Question<'_>) -> Option<String> {
    let escape = |value: &[u8]| {
        // Names are UTF-8; of bytes that are not there would be nothing left to find.
        let value = std::str::from_utf8(value).unwrap_or_default();
        dn_escape(value).into_owned().into_bytes()
    };
    String::from_utf8(dn.fill(question, escape)?).ok()
}

/// An entry that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub dn: String,
    attributes: Vec<(String, Vec<Vec<u8>>)>,
}

impl From<SearchEntry> for Entry {
    fn from(found: SearchEntry) -> Entry {
        let text = found.attrs.into_iter().map(|(name, values)| {
            let values = values.into_iter().map(String::into_bytes).collect();
            (name, values)
        });
        Entry {
            dn: found.dn,
            attributes: text.chain(found.bin_attrs).collect(),
        }
    }
}

impl Entry {
    /// The values of an attribute. Its name may be in either case and have options (`userPassword;x-old`).
    pub fn values(&self, name: &str) -> Vec<&[u8]> {
        let named = |given: &str| {
            let plain = given.split(';').next().unwrap_or(given);
            plain.eq_ignore_ascii_case(name)
        };
        let found = self.attributes.iter().filter(|(given, _)| named(given));
        found.flat_map(|(_, all)| all).map(Vec::as_slice).collect()
    }
}

#[cfg(test)]
pub mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use emqttd_backend::Var;
    use emqttd_password::Form;
    use emqttd_plugin_sdk::testing::client;

    /// An entry with these attributes.
    pub fn entry(attributes: &[(&str, &[&str])]) -> Entry {
        let bytes = |values: &[&str]| values.iter().map(|v| v.as_bytes().to_vec()).collect();
        Entry {
            dn: "cn=x".into(),
            attributes: attributes
                .iter()
                .map(|(name, values)| ((*name).into(), bytes(values)))
                .collect(),
        }
    }

    fn search(base: &str, key: Var) -> Mode {
        Mode::Search {
            base: Template::parse(base, Var::WHO),
            key,
            key_attribute: "username".into(),
            password_attribute: "password".into(),
            form: Form::Plain,
        }
    }

    fn place(mode: &Mode, clientid: &str, username: Option<&str>) -> Option<(String, String)> {
        let mut client = client(clientid);
        client.username = username.map(Into::into);
        let question = Question::login(&client, None);
        let place = Place::of(mode, &question, &mut Trace::off())?;
        Some((place.base, place.filter))
    }

    #[test]
    fn names_are_values() {
        let mode = search("cn=%u,ou=auth", Var::Username);
        for (name, dn, filter) in [
            ("alice", "cn=alice", "alice"),
            ("a,ou=x", r"cn=a\2cou\3dx", "a,ou=x"),
            (
                "*)(username=*",
                r"cn=*)(username\3d*",
                r"\2a\29\28username=\2a",
            ),
            (" a ", r"cn=\20a\20", " a "),
            ("#a#", r"cn=\23a#", "#a#"),
            (r#"\"<>;+"#, r"cn=\5c\22\3c\3e\3b\2b", r#"\5c"<>;+"#),
            ("\0", r"cn=\00", r"\00"),
            ("ü€🦀", "cn=ü€🦀", "ü€🦀"),
            ("%c%u", "cn=%c%u", "%c%u"),
            ("a\r\nb", "cn=a\r\nb", "a\r\nb"),
        ] {
            let (base, found) = place(&mode, "c", Some(name)).unwrap();
            assert_eq!(base, format!("{dn},ou=auth"), "{name}");
            assert_eq!(found, format!("(username={filter})"), "{name}");
            assert!(ldap3::parse_filter(&found).is_ok(), "{name}");
        }
    }

    #[test]
    fn what_is_looked_for() {
        let by_id = search("cn=%c,ou=auth", Var::Clientid);
        let found = place(&by_id, "c,1", Some("u"));
        assert_eq!(
            found.unwrap(),
            (r"cn=c\2c1,ou=auth".into(), "(username=c,1)".into())
        );
        // Nobody's user name is needed here.
        assert!(place(&by_id, "c", None).is_some());
        let bind = Mode::Bind {
            dn: Template::parse("uid=%u,ou=%c,ou=%u", Var::WHO),
        };
        let found = place(&bind, "c", Some("a+b")).unwrap();
        assert_eq!(
            found,
            (r"uid=a\2bb,ou=c,ou=a\2bb".into(), "(objectClass=*)".into())
        );
        for mode in [bind, search("ou=auth", Var::Username)] {
            assert_eq!(place(&mode, "c", None), None);
            assert_eq!(place(&mode, "c", Some("")), None);
            assert_eq!(place(&mode, "c", Some(&"x".repeat(65_535))), None);
        }
    }

    #[test]
    fn values_of_an_attribute() {
        let entry = entry(&[
            ("userPassword", &["a", "b"]),
            ("userpassword;x-old", &["c"]),
            ("userPasswords", &["d"]),
            ("empty", &[]),
        ]);
        let values = |name| entry.values(name);
        assert_eq!(values("USERPASSWORD"), [b"a", b"b", b"c"]);
        assert_eq!(values("empty"), [b""; 0]);
        assert_eq!(values("none"), [b""; 0]);
    }
}
