//! `qos=0&retain=0&message=payload&topic=hello`: how the first versions of the gateway said what to publish.

/// Fields at the most; what follows is part of the last one.
const MOST: usize = 16;

/// The fields of a form, in their order, percent-decoded. What is no percent code stays as it is, for the oldest
/// devices do not encode anything.
pub fn fields(form: &[u8]) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    form.splitn(MOST, |byte| *byte == b'&')
        .filter(|field| !field.is_empty())
        .map(|field| {
            let mut halves = field.splitn(2, |byte| *byte == b'=');
            let name = halves.next().unwrap_or_default();
            (decode(name), decode(halves.next().unwrap_or_default()))
        })
}

/// Bytes for `%41`; everything else is left alone, `+` too.
pub fn decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        let code = match behind {
            [high, low, ..] if byte == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        match code {
            Some((high, low)) => {
                decoded.push(high << 4 | low);
                rest = &behind[2..];
            }
            None => decoded.push(byte),
        }
    }
    decoded
}

fn digit(byte: u8) -> Option<u8> {
    // A digit is below 16.
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(form: &str) -> Vec<(String, String)> {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        fields(form.as_bytes())
            .map(|(name, value)| (text(name), text(value)))
            .collect()
    }

    #[test]
    fn the_command_of_the_seed() {
        let wanted = [
            ("qos", "0"),
            ("retain", "0"),
            ("message", "payload"),
            ("topic", "hello"),
        ]
        .map(|(name, value)| (name.to_string(), value.to_string()));
        assert_eq!(
            read("qos=0&retain=0&message=payload&topic=hello"),
            wanted.to_vec()
        );
    }

    #[test]
    fn codes_are_decoded_and_what_is_none_stays() {
        for (form, value) in [
            ("x=a%2Fb", "a/b"),
            ("x=%c3%a4", "ä"),
            ("x=100%", "100%"),
            ("x=%4", "%4"),
            ("x=%zz%41", "%zzA"),
            ("x=%%41", "%A"),
            ("x=a+b", "a+b"),
            ("x=a=b", "a=b"),
            ("x", ""),
            ("x=", ""),
        ] {
            assert_eq!(read(form), [("x".to_string(), value.to_string())], "{form}");
        }
        assert_eq!(read(""), []);
        assert_eq!(read("&&").len(), 0);
    }

    #[test]
    fn fields_are_bounded() {
        assert_eq!(fields("a=b&".repeat(100_000).as_bytes()).count(), MOST);
    }
}
