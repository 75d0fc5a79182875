//! `$(other.key)` inside a value stands for that key's value; `\$(` stands for `$(` itself.

use std::collections::HashMap;

/// Deeper nesting is taken for a mistake.
const MAX_DEPTH: usize = 16;
/// Longest value after expansion, bytes.
const MAX_LENGTH: usize = 65_536;

/// Expands the values of one table, remembering what it has expanded.
pub(crate) struct Expander<'a> {
    raw: &'a dyn Fn(&str) -> Option<&'a str>,
    done: HashMap<String, Result<String, String>>,
    /// keys being expanded, outermost first
    path: Vec<String>,
}

impl<'a> Expander<'a> {
    /// `raw` gives the value of a key as written.
    pub(crate) fn new(raw: &'a dyn Fn(&str) -> Option<&'a str>) -> Self {
        Self {
            raw,
            done: HashMap::new(),
            path: Vec::new(),
        }
    }

    /// The value of `key`, all references replaced.
    pub(crate) fn expand(&mut self, key: &str) -> Result<String, String> {
        if let Some(done) = self.done.get(key) {
            return done.clone();
        }
        let Some(raw) = (self.raw)(key) else {
            return Err(format!(
                "$({key}) names a key without a value; write \\$({key}) if the text itself is meant"
            ));
        };
        if let Some(first) = self.path.iter().position(|seen| seen == key) {
            let mut circle = self.path[first..].to_vec();
            circle.push(key.to_owned());
            return Err(format!(
                "the references go in a circle: {}",
                circle.join(" -> ")
            ));
        }
        if self.path.len() >= MAX_DEPTH {
            return Err(format!("references are nested more than {MAX_DEPTH} deep"));
        }
        self.path.push(key.to_owned());
        let result = self.replace(raw);
        self.path.pop();
        self.done.insert(key.to_owned(), result.clone());
        result
    }

    fn replace(&mut self, raw: &str) -> Result<String, String> {
        let mut out = String::with_capacity(raw.len());
        let mut rest = raw;
        while let Some(open) = rest.find("$(") {
            if let Some(before) = rest[..open].strip_suffix('\\') {
                out.push_str(before);
                out.push_str("$(");
                rest = &rest[open + 2..];
                continue;
            }
            let Some(close) = rest[open..].find(')') else {
                break;
            };
            out.push_str(&rest[..open]);
            out.push_str(&self.expand(rest[open + 2..open + close].trim())?);
            rest = &rest[open + close + 1..];
            if out.len() > MAX_LENGTH {
                return Err(format!(
                    "the references make it longer than {MAX_LENGTH} bytes"
                ));
            }
        }
        out.push_str(rest);
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn expand(table: &[(&str, &str)], key: &str) -> Result<String, String> {
        let table: HashMap<String, String> = table
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let raw = |key: &str| table.get(key).map(String::as_str);
        Expander::new(&raw).expand(key)
    }

    #[test]
    fn references_are_replaced() {
        let table = [
            ("dir", "/var"),
            ("log", "$(dir)/log"),
            ("file", "$(log)/x-$(dir)"),
        ];
        assert_eq!(expand(&table, "file").unwrap(), "/var/log/x-/var");
    }

    #[test]
    fn circles_are_named() {
        let table = [("a", "$(b)"), ("b", "$(c)"), ("c", "x$(b)")];
        assert!(expand(&table, "a").unwrap_err().contains("b -> c -> b"));
        assert!(
            expand(&[("a", "$(a)")], "a")
                .unwrap_err()
                .contains("a -> a")
        );
    }

    #[test]
    fn a_missing_key_shows_how_to_escape() {
        let error = expand(&[("password", "s3$(cr)et")], "password").unwrap_err();
        assert!(error.contains(r"\$(cr)"), "{error}");
        assert_eq!(
            expand(&[("password", r"s3\$(cr)et")], "password").unwrap(),
            "s3$(cr)et"
        );
    }

    #[test]
    fn lone_dollars_and_parentheses_stay() {
        for value in ["$", "$$", "$(", "a$(b", "()", "$%^&*()", ")"] {
            assert_eq!(expand(&[("k", value)], "k").unwrap(), value);
        }
    }

    #[test]
    fn growth_and_depth_are_bounded() {
        let mut table = vec![("k0".to_owned(), "0123456789".to_owned())];
        for i in 1..12 {
            table.push((format!("k{i}"), format!("$(k{})", i - 1).repeat(10)));
        }
        let table: Vec<(&str, &str)> = table
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert!(expand(&table, "k11").unwrap_err().contains("longer"));

        let table: Vec<(String, String)> = (0..40)
            .map(|i| (format!("k{i}"), format!("$(k{})", i + 1)))
            .collect();
        let table: Vec<(&str, &str)> = table
            .iter()
            .map(|(k, v)| (k.as_str(), v.as_str()))
            .collect();
        assert!(expand(&table, "k0").unwrap_err().contains("nested"));
    }
}
