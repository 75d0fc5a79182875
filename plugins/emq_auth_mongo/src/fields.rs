//! Fields of documents.

use mongodb::bson::{RawBsonRef, RawDocument};

/// The field at a path such as `password` or `login.password`; `None` = there is none, or it is null.
///
/// # Errors
/// When the document is no BSON.
pub fn field<'a>(document: &'a RawDocument, path: &str) -> Result<Option<RawBsonRef<'a>>, String> {
    let mut within = document;
    let mut names = path.split('.').peekable();
    while let Some(name) = names.next() {
        let value = within.get(name).map_err(|error| error.to_string())?;
        match (value, names.peek()) {
            (None | Some(RawBsonRef::Null), _) => return Ok(None),
            (Some(value), None) => return Ok(Some(value)),
            (Some(RawBsonRef::Document(inner)), Some(_)) => within = inner,
            (Some(_), Some(_)) => return Ok(None),
        }
    }
    Ok(None)
}

/// The bytes of a text (or of binary data); `None` = it is something else.
pub fn bytes(value: RawBsonRef<'_>) -> Option<&[u8]> {
    match value {
        RawBsonRef::String(text) => Some(text.as_bytes()),
        RawBsonRef::Binary(binary) => Some(binary.bytes),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use mongodb::bson::{RawDocumentBuf, doc};

    #[test]
    fn paths() {
        let document =
            doc! {"a": "x", "b": {"c": {"d": "y"}, "n": null}, "n": null, "l": ["z"], "i": 1};
        let document = RawDocumentBuf::try_from(&document).unwrap();
        let text = |path: &str| {
            let value = field(&document, path).unwrap();
            value
                .and_then(bytes)
                .map(|bytes| String::from_utf8(bytes.to_vec()).unwrap())
        };
        assert_eq!(text("a").unwrap(), "x");
        assert_eq!(text("b.c.d").unwrap(), "y");
        for path in ["none", "n", "b.n", "a.b", "b.c.x", "l.0", "i", "b.c", ""] {
            assert_eq!(text(path), None, "{path}");
        }
        assert!(matches!(
            field(&document, "i"),
            Ok(Some(RawBsonRef::Int32(1)))
        ));
    }
}
