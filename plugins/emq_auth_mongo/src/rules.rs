//! Documents with rules: `{username: "test", publish: ["t/1"], subscribe: ["user/%u"], pubsub: ["a/#"]}`.

use crate::fields::field;
use emqttd_plugin_sdk::rule::{Placeholders, TopicPattern};
use emqttd_plugin_sdk::{Access, ClientRef};
use mongodb::bson::{RawArray, RawBsonRef, RawDocument};

/// Whether a document allows that.
///
/// `odd` is told of filters that make no sense, which allow nothing.
///
/// # Errors
/// What is wrong with the document, which then counts as if it were not there.
pub fn allows(
    document: &RawDocument,
    who: &ClientRef<'_>,
    access: Access,
    topic: &str,
    odd: impl Fn(&str),
) -> Result<bool, String> {
    let own = match access {
        Access::Publish => "publish",
        Access::Subscribe => "subscribe",
    };
    // Both are looked at before either counts: half a document is none.
    let arrays = [array(document, own)?, array(document, "pubsub")?];
    for filter in arrays.into_iter().flatten().flatten() {
        let filter = match filter.map_err(|error| error.to_string())? {
            RawBsonRef::String(filter) => filter,
            _ => {
                odd("a filter that is no text is passed over");
                continue;
            }
        };
        match TopicPattern::parse(filter, Placeholders::Anywhere) {
            Ok(pattern) if pattern.matches(who, true, topic) => return Ok(true),
            Ok(_) => {}
            Err(error) => odd(&format!("the filter {filter:?} is passed over: {error}")),
        }
    }
    Ok(false)
}

/// An array of the document; a field that is not there is an empty one.
fn array<'a>(document: &'a RawDocument, name: &str) -> Result<Option<&'a RawArray>, String> {
    match field(document, name)? {
        None => Ok(None),
        Some(RawBsonRef::Array(array)) => Ok(Some(array)),
        Some(_) => Err(format!("`{name}` is no array")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use Access::{Publish, Subscribe};
    use emqttd_plugin_sdk::testing::by_name;
    use mongodb::bson::{Document, RawDocumentBuf, doc};
    use std::cell::Cell;

    fn ask(document: &Document, who: (&str, &str), access: Access, topic: &str) -> Option<bool> {
        let document = RawDocumentBuf::try_from(document).unwrap();
        let who = by_name(who.0, Some(who.1));
        allows(&document, &who, access, topic, |_| {}).ok()
    }

    #[test]
    fn the_example_of_the_seed() {
        let test = doc! {"username": "test", "publish": ["t/1", "t/2"], "subscribe": ["user/%u", "client/%c"]};
        let admin = doc! {"username": "admin", "pubsub": ["#"]};
        let me = ("c1", "test");
        for (document, access, topic, wanted) in [
            (&test, Publish, "t/1", true),
            (&test, Publish, "t/2", true),
            (&test, Publish, "t/3", false),
            (&test, Publish, "user/test", false),
            (&test, Subscribe, "user/test", true),
            (&test, Subscribe, "user/admin", false),
            (&test, Subscribe, "client/c1", true),
            (&test, Subscribe, "client/+", false),
            (&test, Subscribe, "#", false),
            (&test, Subscribe, "t/1", false),
            (&admin, Publish, "any/thing", true),
            (&admin, Subscribe, "#", true),
        ] {
            let answer = ask(document, me, access, topic);
            assert_eq!(answer, Some(wanted), "{access:?} {topic}");
        }
    }

    #[test]
    fn names_are_no_wildcards_and_no_levels() {
        let rules = doc! {"pubsub": ["a/%u/b", "x%c/#"]};
        assert_eq!(ask(&rules, ("c", "u"), Publish, "a/u/b"), Some(true));
        assert_eq!(ask(&rules, ("c", "u"), Publish, "xc/y"), Some(true));
        for name in ["+", "#", "a/b", ""] {
            let topic = format!("a/{name}/b");
            assert_eq!(ask(&rules, ("c", name), Subscribe, &topic), Some(false));
            let topic = format!("x{name}/y");
            assert_eq!(ask(&rules, (name, "u"), Subscribe, &topic), Some(false));
        }
    }

    #[test]
    fn documents_that_make_no_sense() {
        for bad in [
            doc! {"publish": "t"},
            doc! {"pubsub": {"a": "t"}, "publish": ["t"]},
            doc! {"pubsub": 1},
        ] {
            assert_eq!(ask(&bad, ("c", "u"), Publish, "t"), None, "{bad}");
        }
        // What is not asked about does not matter.
        let half = doc! {"publish": ["t"], "subscribe": 1};
        assert_eq!(ask(&half, ("c", "u"), Publish, "t"), Some(true));
        for nothing in [doc! {}, doc! {"publish": null}, doc! {"publish": []}] {
            assert_eq!(ask(&nothing, ("c", "u"), Publish, "t"), Some(false));
        }
    }

    #[test]
    fn filters_that_make_no_sense() {
        let rules = doc! {"publish": [1, null, "", "a/#/b", "t"]};
        let rules = RawDocumentBuf::try_from(&rules).unwrap();
        let odd = Cell::new(0);
        let count = |_: &str| odd.set(odd.get() + 1);
        let allowed = allows(&rules, &by_name("c", None), Publish, "t", count);
        assert_eq!((allowed, odd.get()), (Ok(true), 4));
    }
}
