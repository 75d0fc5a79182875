//! Reading a file of `key = value` lines.
//!
//! A line is `key = value`, a comment when its first character that is not blank is `#`, or blank.
//! The value is the rest of the line without the blanks around it: there are no quotes, and a `#`
//! inside belongs to the value. Bytes are UTF-8, or Latin-1 when they are not valid UTF-8.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use crate::Problem;

/// No configuration file comes near; a larger one is something else.
const MAX_FILE: u64 = 4 << 20;

/// One `key = value` line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) key: String,
    pub(crate) value: String,
    /// counted from 1
    pub(crate) number: usize,
    /// column of the key in characters, counted from 1
    pub(crate) key_column: usize,
    /// column of the value
    pub(crate) value_column: usize,
}

/// What `{{ platform_..._dir }}` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Platform {
    pub(crate) etc_dir: String,
    pub(crate) log_dir: String,
    pub(crate) data_dir: String,
}

impl Default for Platform {
    fn default() -> Self {
        Self {
            etc_dir: "etc".into(),
            log_dir: "log".into(),
            data_dir: "data".into(),
        }
    }
}

impl Platform {
    /// `value` with the placeholders it knows filled in; other braces are left as they are.
    fn fill<'a>(&self, value: &'a str) -> Cow<'a, str> {
        if !value.contains("{{") {
            return Cow::Borrowed(value);
        }
        let mut out = String::with_capacity(value.len());
        let mut rest = value;
        while let Some(open) = rest.find("{{") {
            out.push_str(&rest[..open]);
            let inner = &rest[open + 2..];
            let known = inner.find("}}").and_then(|close| {
                let dir = match inner[..close].trim() {
                    "platform_etc_dir" => &self.etc_dir,
                    "platform_log_dir" => &self.log_dir,
                    "platform_data_dir" => &self.data_dir,
                    _ => return None,
                };
                Some((dir, close))
            });
            match known {
                Some((dir, close)) => {
                    out.push_str(dir);
                    rest = &inner[close + 2..];
                }
                None => {
                    out.push_str("{{");
                    rest = inner;
                }
            }
        }
        out.push_str(rest);
        Cow::Owned(out)
    }
}

/// Bytes of a file (symbolic links are followed).
pub(crate) fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(MAX_FILE + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(io::Error::other("larger than 4 MB"));
    }
    Ok(bytes)
}

/// Text of a file: UTF-8 with or without a byte order mark, otherwise Latin-1.
pub(crate) fn decode(bytes: &[u8]) -> Cow<'_, str> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(bytes.iter().map(|&byte| char::from(byte)).collect()),
    }
}

/// Reads the lines of a file's text; problems have line and column but no file.
pub(crate) fn read(text: &str, platform: &Platform) -> (Vec<Line>, Vec<Problem>) {
    let mut lines = Vec::new();
    let mut problems = Vec::new();
    for (index, text) in text.split('\n').enumerate() {
        let number = index + 1;
        match read_line(text.trim_end_matches('\r'), number, platform) {
            Ok(Some(line)) => lines.push(line),
            Ok(None) => {}
            Err((column, message)) => problems.push(Problem::error(message).at(number, column)),
        }
    }
    (lines, problems)
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r')
}

fn read_line(
    text: &str,
    number: usize,
    platform: &Platform,
) -> Result<Option<Line>, (usize, String)> {
    let body = text.trim_start_matches(is_blank);
    if body.is_empty() || body.starts_with('#') {
        return Ok(None);
    }
    let column_of = |offset: usize| text[..offset].chars().count() + 1;
    let key_offset = text.len() - body.len();
    let Some((key, value)) = body.split_once('=') else {
        return Err((
            column_of(key_offset),
            "a line is `key = value`, or a comment that begins with `#`".into(),
        ));
    };
    let key = key.trim_end_matches(is_blank);
    if let Some((offset, message)) = key_fault(key) {
        return Err((column_of(key_offset + offset), message));
    }
    let value_offset = text.len() - value.trim_start_matches(is_blank).len();
    Ok(Some(Line {
        key: key.to_owned(),
        value: platform.fill(value.trim_matches(is_blank)).into_owned(),
        number,
        key_column: column_of(key_offset),
        value_column: column_of(value_offset),
    }))
}

/// Byte offset of what is wrong with a key, and what.
fn key_fault(key: &str) -> Option<(usize, String)> {
    let mut empty = true;
    let mut chars = key.char_indices().peekable();
    while let Some((offset, c)) = chars.next() {
        match c {
            '.' if empty => return Some((offset, "a word of the key is missing".into())),
            '.' => empty = true,
            '\\' if chars.next_if(|&(_, next)| next == '.').is_some() => empty = false,
            c if c.is_ascii_alphanumeric() || "_-@/:".contains(c) => empty = false,
            c => {
                return Some((
                    offset,
                    format!(
                        "`{}` cannot stand in a key (letters, digits, `_ - @ / :` and `\\.` can)",
                        c.escape_debug()
                    ),
                ));
            }
        }
    }
    empty.then(|| (key.len(), "a word of the key is missing".into()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn one(text: &str) -> Line {
        let (lines, problems) = read(text, &Platform::default());
        assert_eq!(problems, []);
        assert_eq!(lines.len(), 1, "{text:?}");
        lines.into_iter().next().unwrap()
    }

    fn fault(text: &str) -> Problem {
        let (lines, problems) = read(text, &Platform::default());
        assert_eq!(lines, []);
        assert_eq!(problems.len(), 1, "{text:?}");
        problems.into_iter().next().unwrap()
    }

    #[test]
    fn blanks_around_key_and_value_are_left_out() {
        for text in ["a.b=v", "a.b =v", "\t a.b\t=\tv  \r", "a.b= v"] {
            let line = one(text);
            assert_eq!((line.key.as_str(), line.value.as_str()), ("a.b", "v"));
        }
        let line = one("  a.b = v w");
        assert_eq!((line.key_column, line.value_column), (3, 9));
        assert_eq!(line.value, "v w");
    }

    #[test]
    fn comments_stand_alone() {
        let (lines, problems) = read("# a\n   ## b = c\r\n\n", &Platform::default());
        assert_eq!((lines.len(), problems.len()), (0, 0));
        assert_eq!(one("p = x#y # z").value, "x#y # z");
    }

    #[test]
    fn values_hold_anything() {
        for value in ["a=b", "#", "%", "{", "$%^&*()", "}}{{", "{{ what }}", "{{"] {
            assert_eq!(one(&format!("k = {value}")).value, value);
        }
        assert_eq!(one("k =").value, "");
    }

    #[test]
    fn placeholders_are_filled() {
        assert_eq!(
            one("k ={{ platform_etc_dir }}/acl.conf").value,
            "etc/acl.conf"
        );
        assert_eq!(
            one("k = {{platform_log_dir}}/a{{platform_data_dir}}").value,
            "log/adata"
        );
    }

    #[test]
    fn keys_are_checked() {
        assert_eq!(one(r"auth.a\.b@c/d:e-f_g = 1").key, r"auth.a\.b@c/d:e-f_g");
        assert_eq!(fault("no equals sign").column, Some(1));
        assert_eq!(fault("  a..b = 1").column, Some(5));
        assert_eq!(fault("a.b. = 1").column, Some(5));
        assert_eq!(fault("= 1").column, Some(1));
        let problem = fault("ok = 1".replace("ok", "ä b").as_str());
        assert_eq!((problem.line, problem.column), (Some(1), Some(1)));
    }

    #[test]
    fn bytes_are_utf8_or_latin1() {
        assert_eq!(decode("ü".as_bytes()), "ü");
        assert_eq!(decode(b"\xfc"), "ü");
        assert_eq!(decode(b"\xef\xbb\xbfk = v"), "k = v");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            key in "[a-z][a-z0-9_]{0,8}(\\.[A-Za-z0-9_@/:-]{1,8}){0,4}",
            value in "[!-~]([ -~]{0,30}[!-~])?",
            blanks in "[ \t]{0,3}",
        ) {
            prop_assume!(!value.contains("{{"));
            let (lines, problems) = read(&format!("{blanks}{key}{blanks}={blanks}{value}{blanks}\r\n"), &Platform::default());
            prop_assert!(problems.is_empty());
            prop_assert_eq!(&lines[0].key, &key);
            prop_assert_eq!(&lines[0].value, &value);
        }

        #[test]
        fn arbitrary_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let text = decode(&bytes);
            let (lines, problems) = read(&text, &Platform::default());
            let meant = text.split('\n').filter(|line| {
                let line = line.trim_matches(is_blank);
                !line.is_empty() && !line.starts_with('#')
            }).count();
            prop_assert_eq!(lines.len() + problems.len(), meant);
        }
    }
}
