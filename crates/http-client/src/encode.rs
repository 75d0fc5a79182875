//! `application/x-www-form-urlencoded`.

/// Appends `bytes` as EMQ wrote them: letters, digits and `.-_~` as they are, a space as `+`, all else as `%XX`.
pub fn form_encoded(out: &mut String, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    for &byte in bytes {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => {
                out.push(char::from(byte));
            }
            b' ' => out.push('+'),
            byte => {
                out.push('%');
                out.push(char::from(DIGITS[usize::from(byte >> 4)]));
                out.push(char::from(DIGITS[usize::from(byte & 15)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        for (bytes, wanted) in [
            (&b"p w&x"[..], "p+w%26x"),
            (b"a/yes/+", "a%2Fyes%2F%2B"),
            (b"127.0.0.1", "127.0.0.1"),
            (b"::1", "%3A%3A1"),
            (b"p&=%", "p%26%3D%25"),
            ("ü~-_".as_bytes(), "%C3%BC~-_"),
            (b"\r\n\0\xff", "%0D%0A%00%FF"),
            (b"", ""),
        ] {
            let mut out = String::new();
            form_encoded(&mut out, bytes);
            assert_eq!(out, wanted);
        }
    }
}
