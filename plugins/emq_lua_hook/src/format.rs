//! Values as text, as `string.format` of Lua 5.2 writes them, which is as C's `printf` does.

use std::fmt::Write;

/// `%`, flags, width and precision; what follows is the conversion.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spec {
    left: bool,
    plus: bool,
    space: bool,
    alternate: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
}

/// Why a specification is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    RepeatedFlags,
    TooLong,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Refused::RepeatedFlags => "invalid format (repeated flags)",
            Refused::TooLong => "invalid format (width or precision too long)",
        })
    }
}

impl Spec {
    /// Reads what follows a `%`, and says how long it is.
    pub fn read(text: &[u8]) -> Result<(Spec, usize), Refused> {
        let mut spec = Spec::default();
        let mut at = 0;
        loop {
            match text.get(at) {
                Some(b'-') => spec.left = true,
                Some(b'+') => spec.plus = true,
                Some(b' ') => spec.space = true,
                Some(b'#') => spec.alternate = true,
                Some(b'0') => spec.zero = true,
                _ => break,
            }
            at += 1;
        }
        if at > 5 {
            return Err(Refused::RepeatedFlags);
        }
        // Two digits at most, so that no item is long.
        let number = |at: &mut usize| {
            let mut n = 0;
            for _ in 0..2 {
                if let Some(digit) = text.get(*at).filter(|b| b.is_ascii_digit()) {
                    n = n * 10 + usize::from(digit - b'0');
                    *at += 1;
                }
            }
            n
        };
        spec.width = number(&mut at);
        if text.get(at) == Some(&b'.') {
            at += 1;
            spec.precision = Some(number(&mut at));
        }
        if text.get(at).is_some_and(u8::is_ascii_digit) {
            return Err(Refused::TooLong);
        }
        Ok((spec, at))
    }

    /// `%s`, `%c`
    pub fn text(&self, text: &[u8], out: &mut Vec<u8>) {
        let text = &text[..text.len().min(self.precision.unwrap_or(usize::MAX))];
        self.pad(&[], &[], text, false, out);
    }

    /// `%c`
    pub fn byte(&self, byte: u8, out: &mut Vec<u8>) {
        self.pad(&[], &[], &[byte], false, out);
    }

    /// `%d`, `%i`
    pub fn signed(&self, n: i64, out: &mut Vec<u8>) {
        let digits = self.digits(n == 0, n.unsigned_abs().to_string());
        let zeros = self.zero && self.precision.is_none();
        self.pad(self.sign(n < 0), &[], digits.as_bytes(), zeros, out);
    }

    /// `%u`, `%o`, `%x`, `%X`
    pub fn unsigned(&self, conversion: u8, n: u64, out: &mut Vec<u8>) {
        let digits = match conversion {
            b'o' => format!("{n:o}"),
            b'x' => format!("{n:x}"),
            b'X' => format!("{n:X}"),
            _ => n.to_string(),
        };
        let mut digits = self.digits(n == 0, digits);
        let mut prefix: &[u8] = &[];
        if self.alternate {
            match conversion {
                b'o' if !digits.starts_with('0') => digits.insert(0, '0'),
                b'x' if n != 0 => prefix = b"0x",
                b'X' if n != 0 => prefix = b"0X",
                _ => {}
            }
        }
        let zeros = self.zero && self.precision.is_none();
        self.pad(&[], prefix, digits.as_bytes(), zeros, out);
    }

    /// `%e`, `%f`, `%g`, `%a` and, but for `%F`, their capitals.
    pub fn float(&self, conversion: u8, n: f64, out: &mut Vec<u8>) {
        let sign = self.sign(n.is_sign_negative());
        let size = n.abs();
        let mut prefix: &[u8] = &[];
        let mut text = if n.is_nan() {
            "nan".to_owned()
        } else if n.is_infinite() {
            "inf".to_owned()
        } else {
            match conversion.to_ascii_lowercase() {
                b'e' => exponential(size, self.precision.unwrap_or(6), self.alternate),
                b'f' => fixed(size, self.precision.unwrap_or(6), self.alternate),
                b'g' => general(size, self.precision.unwrap_or(6), self.alternate),
                _ => {
                    prefix = if conversion == b'A' { b"0X" } else { b"0x" };
                    hexadecimal(size, self.precision, self.alternate)
                }
            }
        };
        if conversion.is_ascii_uppercase() {
            text.make_ascii_uppercase();
        }
        self.pad(
            sign,
            prefix,
            text.as_bytes(),
            self.zero && n.is_finite(),
            out,
        );
    }

    fn sign(&self, negative: bool) -> &'static [u8] {
        match (negative, self.plus, self.space) {
            (true, ..) => b"-",
            (_, true, _) => b"+",
            (_, _, true) => b" ",
            _ => b"",
        }
    }

    /// Digits of an integer, as many as the precision asks for at least; none for a zero of precision 0.
    fn digits(&self, zero: bool, digits: String) -> String {
        match self.precision {
            Some(0) if zero => String::new(),
            Some(n) => format!("{digits:0>n$}"),
            None => digits,
        }
    }

    fn pad(&self, sign: &[u8], prefix: &[u8], body: &[u8], zeros: bool, out: &mut Vec<u8>) {
        let missing = self
            .width
            .saturating_sub(sign.len() + prefix.len() + body.len());
        let mut fill = |n, byte| out.resize(out.len() + n, byte);
        if !self.left && !zeros {
            fill(missing, b' ');
        }
        out.extend_from_slice(sign);
        out.extend_from_slice(prefix);
        if !self.left && zeros {
            out.resize(out.len() + missing, b'0');
        }
        out.extend_from_slice(body);
        if self.left {
            out.resize(out.len() + missing, b' ');
        }
    }
}

/// A number as Lua turns it into a string (`%.14g`).
pub fn number(n: f64) -> String {
    let mut out = Vec::new();
    if n.trunc() == n && n.abs() < 1e14 && (n != 0.0 || n.is_sign_positive()) {
        return (n as i64).to_string();
    }
    Spec {
        precision: Some(14),
        ..Spec::default()
    }
    .float(b'g', n, &mut out);
    // Digits, signs, letters: nothing but ASCII was written.
    String::from_utf8_lossy(&out).into_owned()
}

/// `%q`: between quotes, so that Lua reads it back.
pub fn quoted(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for (at, &byte) in text.iter().enumerate() {
        match byte {
            b'"' | b'\\' | b'\n' => out.extend_from_slice(&[b'\\', byte]),
            byte if byte.is_ascii_control() => {
                let escape = if text.get(at + 1).is_some_and(u8::is_ascii_digit) {
                    format!("\\{byte:03}")
                } else {
                    format!("\\{byte}")
                };
                out.extend_from_slice(escape.as_bytes());
            }
            byte => out.push(byte),
        }
    }
    out.push(b'"');
}

/// `%f`
fn fixed(n: f64, precision: usize, point: bool) -> String {
    let mut text = format!("{n:.precision$}");
    if point && precision == 0 {
        text.push('.');
    }
    text
}

/// `%e`
fn exponential(n: f64, precision: usize, point: bool) -> String {
    let (mut mantissa, exponent) = scientific(n, precision);
    if point && precision == 0 {
        mantissa.push('.');
    }
    with_exponent(mantissa, exponent)
}

/// `%g`: as many significant digits as the precision says, without zeros at the end.
fn general(n: f64, precision: usize, point: bool) -> String {
    let precision = precision.max(1);
    let (mantissa, exponent) = scientific(n, precision - 1);
    let places = i64::try_from(precision).unwrap_or(i64::MAX) - 1 - i64::from(exponent);
    let small = exponent < -4;
    let mut text = match usize::try_from(places) {
        Ok(places) if !small => fixed(n, places, point),
        _ => mantissa,
    };
    if point && !text.contains('.') {
        text.push('.');
    }
    if !point && text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    if small || places < 0 {
        text = with_exponent(text, exponent);
    }
    text
}

/// A mantissa below 10 with so many places, and the power of ten.
fn scientific(n: f64, places: usize) -> (String, i32) {
    let text = format!("{n:.places$e}");
    // Rust always writes the `e` and a number behind it.
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    (mantissa.to_owned(), exponent.parse().unwrap_or(0))
}

fn with_exponent(mut mantissa: String, exponent: i32) -> String {
    let sign = if exponent < 0 { '-' } else { '+' };
    // Writing into a string cannot fail.
    let _ = write!(mantissa, "e{sign}{:02}", exponent.unsigned_abs());
    mantissa
}

/// `%a` without its prefix.
fn hexadecimal(n: f64, precision: Option<usize>, point: bool) -> String {
    const PLACES: usize = 13;
    let bits = n.to_bits();
    let fraction = bits & ((1 << 52) - 1);
    let (lead, exponent) = match bits >> 52 {
        0 if fraction == 0 => (0, 0),
        0 => (0, -1022),
        biased => (1, biased as i64 - 1023),
    };
    let mut mantissa: u64 = lead << 52 | fraction;
    let mut places = PLACES;
    match precision {
        Some(wanted) if wanted < PLACES => {
            let dropped = 4 * (PLACES - wanted) as u32;
            let (half, rest) = (1_u64 << (dropped - 1), mantissa & ((1 << dropped) - 1));
            mantissa >>= dropped;
            // To the nearest; to the even one of two that are equally near.
            if rest > half || rest == half && mantissa & 1 == 1 {
                mantissa += 1;
            }
            places = wanted;
        }
        Some(_) => {}
        None => {
            while places > 0 && mantissa & 0xf == 0 {
                mantissa >>= 4;
                places -= 1;
            }
        }
    }
    let lead = mantissa >> (4 * places);
    let mut text = format!("{lead:x}");
    if point || precision.unwrap_or(places) > 0 {
        text.push('.');
    }
    if places > 0 {
        let rest = mantissa & ((1 << (4 * places)) - 1);
        let _ = write!(text, "{rest:0places$x}");
    }
    for _ in places..precision.unwrap_or(0) {
        text.push('0');
    }
    let _ = write!(text, "p{exponent:+}");
    text
}
