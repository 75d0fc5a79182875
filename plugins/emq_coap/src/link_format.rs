//! Links of RFC 6690: `</ps/t>;ct=42,</mqtt>`.

use std::fmt::Write;

/// A link: what it points to, and its attributes in their order, values without quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
    /// between `<` and `>`, as written
    pub target: String,
    /// names and values; `""` for an attribute without one
    pub attributes: Vec<(String, String)>,
}

impl Link {
    /// The first value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        let mut attributes = self.attributes.iter();
        let (_, value) = attributes.find(|(n, _)| n == name)?;
        Some(value)
    }
}

/// Attributes of a link at the most.
const MOST: usize = 32;

/// The only link of a document; `None` when there is none, another one, or anything malformed.
pub fn parse_one(text: &str) -> Option<Link> {
    let rest = text.trim_start().strip_prefix('<')?;
    let (target, mut rest) = rest.split_once('>')?;
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Some(Link {
                target: target.into(),
                attributes,
            });
        }
        let (name, value, behind) = attribute(rest.strip_prefix(';')?.trim_start())?;
        if attributes.len() == MOST {
            return None;
        }
        attributes.push((name.into(), value));
        rest = behind;
    }
}

/// `name`, `name=token` or `name="quoted"`, and what follows.
fn attribute(text: &str) -> Option<(&str, String, &str)> {
    let end = text.find(['=', ';', ',']).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let name = name.trim_end();
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic() && b != b'"') {
        return None;
    }
    let Some(value) = rest.strip_prefix('=') else {
        return Some((name, String::new(), rest));
    };
    let value = value.trim_start();
    if let Some(quoted) = value.strip_prefix('"') {
        let (value, rest) = unquote(quoted)?;
        return Some((name, value, rest));
    }
    let end = value.find([';', ',']).unwrap_or(value.len());
    let (value, rest) = value.split_at(end);
    Some((name, value.trim_end().into(), rest))
}

/// The text up to the closing quote, and what follows it.
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

/// Writes a link to a topic of `/ps` behind those that are there.
pub fn write_topic(out: &mut String, topic: &str, format: Option<u16>) {
    out.push_str(if out.is_empty() { "</ps/" } else { ",</ps/" });
    for byte in topic.bytes() {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'~' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                out.push(char::from(byte));
            }
            // A String takes everything.
            _ => write!(out, "%{byte:02X}").unwrap_or_default(),
        }
    }
    out.push('>');
    if let Some(format) = format {
        write!(out, ";ct={format}").unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn one_link() {
        let link = parse_one("<topic1>;ct=42").unwrap();
        assert_eq!(link.target, "topic1");
        assert_eq!(link.attribute("ct"), Some("42"));
        assert_eq!(link.attribute("rt"), None);
        let link = parse_one(" <a/b> ; rt=\"x;\\\"y,\" ;obs; ct = 50 ").unwrap();
        assert_eq!(link.target, "a/b");
        assert_eq!(link.attribute("rt"), Some("x;\"y,"));
        assert_eq!(link.attribute("obs"), Some(""));
        assert_eq!(link.attribute("ct"), Some("50"));
        assert_eq!(parse_one("<t>").unwrap().attributes, []);
    }

    #[test]
    fn what_is_no_link() {
        for text in [
            "",
            "t",
            "t;ct=42",
            "<t",
            "<t>ct=42",
            "<t>;",
            "<t>;=1",
            "<t>;a=\"b",
            "<t>;a=\"b\\",
            "<t>;a=\"b\"x",
            "<t>,<u>",
            "<t>;ct=42,<u>",
            "<t>;c\u{e4}=1",
        ] {
            assert_eq!(parse_one(text), None, "{text}");
        }
        assert_eq!(parse_one(&format!("<t>{}", ";a=b".repeat(100_000))), None);
    }

    #[test]
    fn links_to_topics() {
        let mut text = String::new();
        write_topic(&mut text, "a/b c", Some(42));
        write_topic(&mut text, "\u{e4}>", None);
        assert_eq!(text, "</ps/a/b%20c>;ct=42,</ps/%C3%A4%3E>");
        assert_eq!(
            parse_one(text.split(',').next().unwrap()).unwrap().target,
            "/ps/a/b%20c"
        );
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read_as_the_same_topic(name in ".{1,40}") {
            let mut text = String::new();
            write_topic(&mut text, &name, Some(50));
            let link = parse_one(&text).unwrap();
            assert_eq!(link.attribute("ct"), Some("50"));
            let target = link.target.strip_prefix("/ps/").unwrap();
            assert_eq!(crate::form::decode(target.as_bytes()), name.as_bytes());
        }

        #[test]
        fn anything_is_read_or_refused(text in "[<>;,=\"\\\\ a-c]{0,30}") {
            if let Some(link) = parse_one(&text) {
                assert!(text.contains(&link.target));
            }
        }
    }
}
