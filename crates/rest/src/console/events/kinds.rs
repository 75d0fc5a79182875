//! What can be heard of.

/// A set of kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kinds(pub(super) u8);

/// As they are called in questions.
const NAMES: [(&str, Kinds); 6] = [
    ("clients", Kinds::CLIENTS),
    ("sessions", Kinds::SESSIONS),
    ("alarms", Kinds::ALARMS),
    ("plugins", Kinds::PLUGINS),
    ("listeners", Kinds::LISTENERS),
    ("stats", Kinds::STATS),
];

impl Kinds {
    /// none
    pub const NONE: Kinds = Kinds(0);
    /// clients that come and go
    pub const CLIENTS: Kinds = Kinds(1);
    /// sessions that begin and end
    pub const SESSIONS: Kinds = Kinds(2);
    /// alarms
    pub const ALARMS: Kinds = Kinds(4);
    /// plugins that start and stop
    pub const PLUGINS: Kinds = Kinds(8);
    /// listeners that are opened and closed
    pub const LISTENERS: Kinds = Kinds(16);
    /// figures
    pub const STATS: Kinds = Kinds(32);
    /// all
    pub const ALL: Kinds = Kinds(63);

    /// Names with commas between them.
    ///
    /// # Errors
    /// The names there are.
    pub fn parse(text: &str) -> Result<Kinds, String> {
        let words = text
            .split(',')
            .map(str::trim)
            .filter(|word| !word.is_empty());
        let mut all = Kinds::NONE;
        for word in words {
            match NAMES.iter().find(|(name, _)| *name == word) {
                Some((_, kind)) => all = all.with(*kind),
                None => {
                    let names = NAMES.map(|(name, _)| name).join(", ");
                    return Err(format!("kinds should be some of {names}, with commas"));
                }
            }
        }
        Ok(if all == Kinds::NONE { Kinds::ALL } else { all })
    }

    /// Both sets.
    #[must_use]
    pub fn with(self, other: Kinds) -> Kinds {
        Kinds(self.0 | other.0)
    }

    /// Whether they have something in common.
    pub fn has(self, other: Kinds) -> bool {
        self.0 & other.0 != 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names() {
        assert_eq!(Kinds::parse("").unwrap(), Kinds::ALL);
        assert_eq!(Kinds::parse("alarms").unwrap(), Kinds::ALARMS);
        let some = Kinds::parse("clients, stats,").unwrap();
        assert!(some.has(Kinds::CLIENTS) && some.has(Kinds::STATS) && !some.has(Kinds::ALARMS));
        assert!(
            Kinds::parse("clients,Stats")
                .unwrap_err()
                .contains("sessions, alarms")
        );
        let all = NAMES
            .iter()
            .fold(Kinds::NONE, |all, (_, kind)| all.with(*kind));
        assert_eq!(all, Kinds::ALL);
    }
}
