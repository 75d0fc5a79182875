//! Figures for readers: numbers, sizes and times in the text that people see.

use std::time::Duration;

/// `1,234,567`
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `512 bytes`, `1.5 KB`, `32.0 MB`: of 1024, as in the configuration.
pub fn bytes(n: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("TB", 40), ("GB", 30), ("MB", 20), ("KB", 10)];
    match UNITS.iter().find(|(_, shift)| n >> shift > 0) {
        // Tenths, without floating point: sizes may be larger than what that holds exactly.
        Some((unit, shift)) => {
            let tenths = (u128::from(n) * 10) >> shift;
            format!("{}.{} {unit}", tenths / 10, tenths % 10)
        }
        None => format!("{n} bytes"),
    }
}

/// `0.3 s`, `12.0 s`
pub fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

/// `0.125`: milliseconds
pub fn millis(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1000.0)
}

/// `2026-11-23T18:40:00Z`: of unix seconds
pub fn time(at: u64) -> String {
    let at = i64::try_from(at).ok();
    let at = at.and_then(|at| jiff::Timestamp::from_second(at).ok());
    at.map_or_else(|| "beyond all calendars".into(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_people_read_them() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(n), text);
        }
        for (n, text) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (1024, "1.0 KB"),
            (1536, "1.5 KB"),
            (32 << 20, "32.0 MB"),
            (u64::MAX, "16777215.9 TB"),
        ] {
            assert_eq!(bytes(n), text);
        }
        assert_eq!(time(1_790_000_000), "2026-09-21T14:13:20Z");
        assert_eq!(time(u64::MAX), "beyond all calendars");
        assert_eq!(seconds(Duration::from_millis(1234)), "1.2 s");
        assert_eq!(millis(Duration::from_micros(125)), "0.125");
    }
}
