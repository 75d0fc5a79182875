//! `etc/acl.conf`: the access rules of the file, read once and asked for every topic.
//!
//! The file is a sequence of Erlang terms, `{allow|deny, Who, Access, Topics}.` each; the first
//! rule that speaks of the client, the action and the topic decides. Reading is strict: a file
//! with any mistake is refused as a whole, with all its mistakes, because a rule that is left out
//! may be the one that keeps somebody out.
//!
//! A name put in by a client never widens a rule. `%u` and `%c` stand for one whole level and are
//! compared with the name as it is: a name with a `/` equals no level, one with a wildcard is
//! never granted anything through them, and where there is no name the rule does not match.

mod rule;
#[cfg(test)]
mod tests;

use emqttd_config::term;
use rule::Rule;
use std::net::IpAddr;

/// Something wrong, or merely odd, in the file. Line and column count from 1.
pub use emqttd_config::term::TermError as AclError;

/// Whom the rules are asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Who<'a> {
    /// client identifier
    pub clientid: &'a str,
    /// user name, if the client has one
    pub username: Option<&'a str>,
    /// address of the client; `None` is matched by no `ipaddr` rule
    pub ip: Option<IpAddr>,
}

pub use emqttd_plugin_sdk::Access;

/// The rule that decided, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// allowed or denied
    pub allow: bool,
    /// line on which the rule begins
    pub line: usize,
}

/// The rules of one `acl.conf`.
#[derive(Debug, Clone, Default)]
pub struct AclFile {
    rules: Vec<Rule>,
    /// Indices of the rules that speak of publishing, in the order of the file.
    publish: Vec<usize>,
    /// The same for subscribing.
    subscribe: Vec<usize>,
    warnings: Vec<AclError>,
}

impl AclFile {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// Everything that is wrong with it, in the order of the file.
    pub fn parse(text: &str) -> Result<AclFile, Vec<AclError>> {
        let (terms, mut errors) = term::read_terms(text);
        let mut file = AclFile::default();
        for term in &terms {
            match Rule::compile(term, &mut file.warnings) {
                Ok(rule) => file.add(rule),
                Err(found) => errors.extend(found),
            }
        }
        if !errors.is_empty() {
            errors.sort_by_key(|error| (error.line, error.column));
            return Err(errors);
        }
        if file.rules.is_empty() {
            let start = term::Position { line: 1, column: 1 };
            file.warnings
                .push(start.error("there is no rule: mqtt.acl_nomatch decides everything"));
        }
        Ok(file)
    }

    fn add(&mut self, rule: Rule) {
        let index = self.rules.len();
        if rule.applies_to(Access::Publish) {
            self.publish.push(index);
        }
        if rule.applies_to(Access::Subscribe) {
            self.subscribe.push(index);
        }
        self.rules.push(rule);
    }

    /// What is accepted but probably not meant, or written in the form of an older release.
    pub fn warnings(&self) -> &[AclError] {
        &self.warnings
    }

    /// The number of rules.
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Whether there is no rule at all.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The first rule that speaks of this client, action and topic; `None` leaves the decision
    /// to the next module. Allocates nothing.
    ///
    /// A subscription filter is compared as it is written, wildcards and all: a rule on `a/+`
    /// covers the filter `a/+`, one on `a/b` does not. One thing differs from EMQ 2.x on purpose:
    /// the `+` of an *allow* rule does not cover a `#` of the filter, which asks for more.
    pub fn check(&self, who: &Who<'_>, access: Access, topic: &str) -> Option<Decision> {
        let candidates = match access {
            Access::Publish => &self.publish,
            Access::Subscribe => &self.subscribe,
        };
        candidates
            .iter()
            .map(|&index| &self.rules[index])
            .find(|rule| rule.matches(who, topic))
            .map(|rule| Decision {
                allow: rule.allow,
                line: rule.line,
            })
    }

    /// The rules that begin on a line, in one line and without comments, for `acl test`.
    pub fn rule_text(&self, line: usize) -> Option<String> {
        let texts: Vec<&str> = self
            .rules
            .iter()
            .filter(|rule| rule.line == line)
            .map(|rule| rule.text.as_str())
            .collect();
        (!texts.is_empty()).then(|| texts.join(" "))
    }
}
