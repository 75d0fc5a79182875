//! What is wrong, or only odd, in a configuration: where, which key, and what was probably meant.

use std::fmt;
use std::path::{Path, PathBuf};

/// How bad a [`Problem`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The broker starts; the operator should know.
    Warning,
    /// The broker does not start.
    Error,
}

/// One remark about the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// how bad it is
    pub severity: Severity,
    /// the file it stands in; `None` for environment variables and for the configuration as a whole
    pub file: Option<PathBuf>,
    /// line, counted from 1
    pub line: Option<usize>,
    /// column of the first offending character, counted from 1
    pub column: Option<usize>,
    /// environment variable it came from
    pub variable: Option<String>,
    /// the key as written
    pub key: Option<String>,
    /// one sentence without a full stop
    pub message: String,
    /// known keys nearest to an unknown one, best first
    pub nearest: Vec<String>,
}

impl Problem {
    /// An error without a place.
    pub fn error(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, message.into())
    }

    /// A warning without a place.
    pub fn warning(message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, message.into())
    }

    fn new(severity: Severity, message: String) -> Self {
        Self {
            severity,
            file: None,
            line: None,
            column: None,
            variable: None,
            key: None,
            message,
            nearest: Vec::new(),
        }
    }

    /// The same problem, in this file.
    #[must_use]
    pub fn in_file(mut self, file: &Path) -> Self {
        self.file = Some(file.to_path_buf());
        self
    }

    /// The same problem, on this line (and column) of its file.
    #[must_use]
    pub fn at(mut self, line: usize, column: usize) -> Self {
        self.line = Some(line);
        self.column = Some(column);
        self
    }

    /// The same problem, about this key.
    #[must_use]
    pub fn about(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    /// The same problem, where `origin` says.
    #[must_use]
    pub fn from_origin(mut self, origin: &crate::Origin) -> Self {
        match origin {
            crate::Origin::File { path, line } => {
                self.file = Some(path.clone());
                self.line = Some(*line);
            }
            crate::Origin::Environment(name) => self.variable = Some(name.clone()),
            crate::Origin::Default | crate::Origin::Set => {}
        }
        self
    }

    /// Whether it keeps the broker from starting.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// `etc/emq.conf:12:1: mqtt.foo: unknown key; the nearest known keys are mqtt.bar, mqtt.baz`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
                if let Some(column) = self.column {
                    write!(f, "{column}:")?;
                }
            }
            f.write_str(" ")?;
        }
        if let Some(variable) = &self.variable {
            write!(f, "environment variable {variable}: ")?;
        }
        if let Some(key) = &self.key {
            write!(f, "{key}: ")?;
        }
        f.write_str(&self.message)?;
        match self.nearest.as_slice() {
            [] => Ok(()),
            [one] => write!(f, "; the nearest known key is {one}"),
            many => write!(f, "; the nearest known keys are {}", many.join(", ")),
        }
    }
}

/// Levenshtein distance in characters, or `None` beyond `limit`.
pub(crate) fn edit_distance(a: &str, b: &str, limit: usize) -> Option<usize> {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    if a.len().abs_diff(b.len()) > limit {
        return None;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, &ca) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        let mut best = row[0];
        for (j, &cb) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(ca != cb);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
            best = best.min(row[j + 1]);
        }
        if best > limit {
            return None;
        }
    }
    row.last().copied().filter(|&distance| distance <= limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_edits() {
        assert_eq!(edit_distance("kitten", "sitting", 9), Some(3));
        assert_eq!(edit_distance("", "abc", 9), Some(3));
        assert_eq!(edit_distance("abc", "abc", 0), Some(0));
        assert_eq!(edit_distance("kitten", "sitting", 2), None);
    }

    #[test]
    fn a_problem_reads_as_one_line() {
        let mut problem = Problem::error("unknown key")
            .in_file(Path::new("etc/emq.conf"))
            .at(12, 1)
            .about("mqtt.foo");
        problem.nearest = vec!["mqtt.a".into(), "mqtt.b".into()];
        assert_eq!(
            problem.to_string(),
            "etc/emq.conf:12:1: mqtt.foo: unknown key; the nearest known keys are mqtt.a, mqtt.b"
        );
    }
}
