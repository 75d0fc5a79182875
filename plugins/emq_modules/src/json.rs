//! JSON texts as EMQ wrote them: no spaces, keys in a fixed order, nothing but ASCII.

/// Appends `text` as a JSON string. What is not printable ASCII is written as `\u` and four digits, a
/// character beyond the 16-bit range as two of them.
pub(crate) fn push_string(json: &mut String, text: &str) {
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            ' '..='~' => json.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    push_unit(json, *unit);
                }
            }
        }
    }
    json.push('"');
}

fn push_unit(json: &mut String, unit: u16) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    json.push_str("\\u");
    for shift in [12, 8, 4, 0] {
        json.push(DIGITS[usize::from(unit >> shift & 15)].into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &str) -> String {
        let mut json = String::new();
        push_string(&mut json, text);
        json
    }

    #[test]
    fn strings_are_ascii() {
        assert_eq!(string("a b/c~"), r#""a b/c~""#);
        assert_eq!(string("us\"é\\"), r#""us\"\u00e9\\""#);
        assert_eq!(string("\u{1}\t\n\r\u{8}\u{c}"), r#""\u0001\t\n\r\b\f""#);
        assert_eq!(string("\u{7f}\u{2028}"), r#""\u007f\u2028""#);
        assert_eq!(string("𝄞"), r#""\ud834\udd1e""#);
    }
}
