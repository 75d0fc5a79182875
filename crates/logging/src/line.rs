//! Severities and the text of a line.

use emqttd_config::LogLevel;
use std::fmt::{self, Write};

/// Longest message, bytes; the rest is cut off.
pub(crate) const MAX_MESSAGE: usize = 8192;

/// Characters of a text that [`escape`] shows.
const MAX_ESCAPED: usize = 256;

/// The severity of a record: its level, unless its target names one.
pub(crate) fn severity(metadata: &log::Metadata<'_>) -> LogLevel {
    match metadata.target() {
        "notice" => LogLevel::Notice,
        "critical" => LogLevel::Critical,
        "alert" => LogLevel::Alert,
        "emergency" => LogLevel::Emergency,
        _ => match metadata.level() {
            log::Level::Error => LogLevel::Error,
            log::Level::Warn => LogLevel::Warning,
            log::Level::Info => LogLevel::Info,
            log::Level::Debug | log::Level::Trace => LogLevel::Debug,
        },
    }
}

/// The word between brackets.
pub(crate) fn name(severity: LogLevel) -> &'static str {
    match severity {
        LogLevel::Debug => "debug",
        LogLevel::Info => "info",
        LogLevel::Notice => "notice",
        LogLevel::Warning => "warning",
        LogLevel::Error => "error",
        LogLevel::Critical => "critical",
        LogLevel::Alert => "alert",
        LogLevel::Emergency => "emergency",
        LogLevel::None => "none",
    }
}

/// What the `log` crate has to let through so that `level` and all above it arrive. A record can
/// have a severity above its level, so notice needs the level info.
pub(crate) fn filter(level: LogLevel) -> log::LevelFilter {
    match level {
        LogLevel::Debug => log::LevelFilter::Debug,
        LogLevel::Info | LogLevel::Notice => log::LevelFilter::Info,
        LogLevel::Warning => log::LevelFilter::Warn,
        LogLevel::Error | LogLevel::Critical | LogLevel::Alert | LogLevel::Emergency => {
            log::LevelFilter::Error
        }
        LogLevel::None => log::LevelFilter::Off,
    }
}

/// Characters that could end a line or turn the direction of what follows.
fn is_forging(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn write_escape(out: &mut impl Write, c: char) -> fmt::Result {
    match c {
        '\n' => out.write_str("\\n"),
        '\r' => out.write_str("\\r"),
        '\t' => out.write_str("\\t"),
        c => write!(out, "\\u{{{:x}}}", u32::from(c)),
    }
}

/// A message while it is written: one line, and never longer than its limit and `...`.
pub(crate) struct Message {
    text: String,
    limit: usize,
    full: bool,
}

impl Message {
    pub(crate) fn new(limit: usize) -> Message {
        Message {
            text: String::new(),
            limit,
            full: false,
        }
    }

    pub(crate) fn format(limit: usize, arguments: fmt::Arguments<'_>) -> String {
        let mut message = Message::new(limit);
        // An error means that it is full, or that a Display of somebody failed: the text so far stays.
        let _ = message.write_fmt(arguments);
        message.finish()
    }

    pub(crate) fn finish(mut self) -> String {
        if self.full {
            self.text.push_str("...");
        }
        self.text
    }

    fn push(&mut self, text: &str) -> fmt::Result {
        let room = self.limit.saturating_sub(self.text.len());
        if text.len() <= room {
            self.text.push_str(text);
            return Ok(());
        }
        self.text.push_str(&text[..text.floor_char_boundary(room)]);
        self.full = true;
        Err(fmt::Error)
    }
}

impl Write for Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.full {
            return Err(fmt::Error);
        }
        let mut rest = text;
        while let Some(at) = rest.find(is_forging) {
            self.push(&rest[..at])?;
            let mut characters = rest[at..].chars();
            if let Some(c) = characters.next() {
                let mut escape = String::new();
                write_escape(&mut escape, c)?;
                self.push(&escape)?;
            }
            rest = characters.as_str();
        }
        self.push(rest)
    }
}

/// Shows a text that a client chose: control characters and backslashes as escapes, and no more
/// than 256 characters.
///
/// ```
/// let id = "c1\n2026-11-22 21:41:42.414 [info] all is well";
/// let line = format!("client {} is refused", emqttd_logging::escape(&id[..3]));
/// assert_eq!(line, r"client c1\n is refused");
/// ```
pub fn escape(text: &str) -> Escaped<'_> {
    Escaped(text)
}

/// See [`escape`].
#[derive(Debug, Clone, Copy)]
pub struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (count, c) in self.0.chars().enumerate() {
            if count == MAX_ESCAPED {
                return f.write_str("...");
            }
            match c {
                '\\' => f.write_str("\\\\")?,
                c if is_forging(c) => write_escape(f, c)?,
                c => f.write_char(c)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_one_line() {
        let text = "a\nb\r\t\u{1b}[31m\u{0}\u{7f}\u{85}\u{2028}\u{202e}\u{e9}\\";
        let line = Message::format(MAX_MESSAGE, format_args!("{text}"));
        assert_eq!(
            line,
            r"a\nb\r\t\u{1b}[31m\u{0}\u{7f}\u{85}\u{2028}\u{202e}".to_owned() + "\u{e9}\\"
        );
    }

    #[test]
    fn a_message_is_cut() {
        assert_eq!(Message::format(4, format_args!("abcd")), "abcd");
        assert_eq!(Message::format(4, format_args!("ab{}", "cde")), "abcd...");
        assert_eq!(Message::format(4, format_args!("abc\u{e9}f")), "abc...");
        assert_eq!(
            Message::format(4, format_args!("a{}b{}c", "\u{1b}", 1)),
            "a\\u{..."
        );
    }

    #[test]
    fn escaped_texts_are_unambiguous_and_short() {
        assert_eq!(escape("a\\n\n").to_string(), r"a\\n\n");
        let long = "\u{e9}".repeat(300);
        assert_eq!(escape(&long).to_string(), "\u{e9}".repeat(256) + "...");
        assert_eq!(escape(&long[..512]).to_string(), "\u{e9}".repeat(256));
    }

    #[test]
    fn severities() {
        let of = |level, target| {
            let metadata = log::Metadata::builder().level(level).target(target).build();
            name(severity(&metadata))
        };
        assert_eq!(of(log::Level::Trace, "x"), "debug");
        assert_eq!(of(log::Level::Debug, "x"), "debug");
        assert_eq!(of(log::Level::Info, "x"), "info");
        assert_eq!(of(log::Level::Info, "notice"), "notice");
        assert_eq!(of(log::Level::Warn, "x"), "warning");
        assert_eq!(of(log::Level::Error, "x"), "error");
        assert_eq!(of(log::Level::Error, "critical"), "critical");
        assert_eq!(of(log::Level::Error, "alert"), "alert");
        assert_eq!(of(log::Level::Error, "emergency"), "emergency");
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_logged_is_one_short_line(text in "(\\PC|[\n\r\u{1b}\u{2028}\\\\]){0,40}", limit in 0_usize..60) {
            let line = Message::format(limit, format_args!("{text}|{}", escape(&text)));
            proptest::prop_assert!(!line.contains(is_forging));
            proptest::prop_assert!(line.len() <= limit + 3);
        }
    }
}
