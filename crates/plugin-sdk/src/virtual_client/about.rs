//! What a message says of itself beside its payload.

use super::options::STRING;
use emqttd_mqtt::{Properties, Property};

/// Content type and user properties, which MQTT 5 has and 3.1.1 has not.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct About {
    /// what the payload is, usually a MIME type
    pub content_type: Option<String>,
    /// names and values in their order; a name may stand several times
    pub user_properties: Vec<(String, String)>,
}

impl About {
    /// Bytes of memory that it takes, nearly: many short properties take more than their texts.
    pub fn size(&self) -> usize {
        let pairs = self.user_properties.len() * size_of::<(String, String)>();
        size_of::<About>() + pairs + self.text()
    }

    /// Bytes of all texts.
    fn text(&self) -> usize {
        self.texts().map(str::len).sum()
    }

    /// Bytes of the properties at the most: each has an identifier and up to two lengths of two bytes.
    pub(super) fn encoded(&self) -> usize {
        self.text() + 5 * (self.user_properties.len() + 1)
    }

    fn texts(&self) -> impl Iterator<Item = &str> {
        let pairs = self.user_properties.iter();
        let pairs = pairs.flat_map(|(name, value)| [name.as_str(), value.as_str()]);
        self.content_type.as_deref().into_iter().chain(pairs)
    }

    /// Whether MQTT can say it.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        // [MQTT-1.5.4-2]
        match self
            .texts()
            .any(|text| text.len() > STRING || text.contains('\0'))
        {
            true => Err("a property is longer than 65535 bytes or has a NUL"),
            false => Ok(()),
        }
    }

    /// Bytes of the properties.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut properties = Vec::with_capacity(self.encoded());
        if let Some(content_type) = &self.content_type {
            Property::ContentType(content_type).encode(&mut properties);
        }
        for (name, value) in &self.user_properties {
            Property::UserProperty(name, value).encode(&mut properties);
        }
        properties
    }

    /// What came with a message, if anything did.
    pub(super) fn read(properties: Properties<'_>) -> Option<Box<About>> {
        let mut about = About::default();
        for property in properties.iter() {
            match property {
                Property::ContentType(text) => about.content_type = Some(text.into()),
                Property::UserProperty(name, value) => {
                    about.user_properties.push((name.into(), value.into()));
                }
                _ => {}
            }
        }
        (about != About::default()).then(|| Box::new(about))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_takes() {
        let pair = ("a".to_owned(), String::new());
        let about = About {
            content_type: Some("b".into()),
            user_properties: vec![pair; 1000],
        };
        // In a packet a pair is six bytes, in memory two strings.
        let encoded = about.encode();
        assert_eq!(encoded.len(), 4 + 6 * 1000);
        assert!((encoded.len()..=encoded.len() + 10).contains(&about.encoded()));
        assert!(about.size() > 1000 * 2 * size_of::<String>());
        assert_eq!(
            About::read(Properties::new(&encoded)).as_deref(),
            Some(&about)
        );
        assert_eq!(About::read(Properties::EMPTY), None);
    }
}
