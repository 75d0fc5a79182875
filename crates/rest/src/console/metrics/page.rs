//! The text format of Prometheus, 0.0.4.

use std::fmt::{Display, Write};

/// What a figure does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// it only grows, until the process starts again
    Counter,
    /// it goes up and down
    Gauge,
}

/// A page of figures.
#[derive(Debug, Default)]
pub struct Page(String);

impl Page {
    /// Begins a family of figures; its samples come next. `help` is a line.
    pub fn family(&mut self, name: &'static str, kind: Kind, help: &str) -> Family<'_> {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
        Family { page: self, name }
    }

    /// A family of one figure.
    pub fn one(&mut self, name: &'static str, kind: Kind, help: &str, value: impl Display) {
        self.family(name, kind, help).sample(&[], value);
    }

    /// All of it.
    pub fn into_text(self) -> String {
        self.0
    }
}

/// The family that is being written.
pub struct Family<'a> {
    page: &'a mut Page,
    name: &'static str,
}

impl Family<'_> {
    /// Adds a figure with labels, names and values.
    pub fn sample(&mut self, labels: &[(&str, &str)], value: impl Display) {
        let out = &mut self.page.0;
        out.push_str(self.name);
        for (n, (label, text)) in labels.iter().enumerate() {
            out.push(if n == 0 { '{' } else { ',' });
            out.push_str(label);
            out.push_str("=\"");
            for c in text.chars() {
                match c {
                    '\\' => out.push_str("\\\\"),
                    '"' => out.push_str("\\\""),
                    '\n' => out.push_str("\\n"),
                    c => out.push(c),
                }
            }
            out.push('"');
        }
        if !labels.is_empty() {
            out.push('}');
        }
        let _ = writeln!(out, " {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_prometheus_reads_it() {
        let mut page = Page::default();
        page.one("a_total", Kind::Counter, "As many.", 7u64);
        let mut family = page.family("b", Kind::Gauge, "Much.");
        family.sample(&[("x", "1"), ("y", "a\"b\\c\nd")], 0.5);
        family.sample(&[("x", "2"), ("y", "é")], 1.0);
        assert_eq!(
            page.into_text(),
            "# HELP a_total As many.\n# TYPE a_total counter\na_total 7\n\
             # HELP b Much.\n# TYPE b gauge\n\
             b{x=\"1\",y=\"a\\\"b\\\\c\\nd\"} 0.5\nb{x=\"2\",y=\"é\"} 1\n"
        );
    }
}
