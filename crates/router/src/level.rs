//! One level of a topic name or filter: where it ends, its key, its hash.

use std::hash::{BuildHasher, RandomState};

/// Longest level, in bytes, that a [`Key`] holds itself.
const INLINE: usize = 11;
/// What stands in the last byte of a key in place of a length.
const LONG: u8 = 0xFC;
const PLUS: u8 = 0xFD;
const ROOT: u8 = 0xFE;
const FREE: u8 = 0xFF;

/// The text of a level as a trie node keeps it: 11 bytes and a length, or the id of a longer text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key([u8; 12]);

/// What a [`Key`] stands for.
pub(crate) enum Kind<'a> {
    /// The text itself.
    Inline(&'a str),
    /// The id of the text in the trie's table of long texts.
    Long(u32),
    /// A `+` of a filter.
    Plus,
    /// The root, or a node that is not in use.
    Nothing,
}

impl Key {
    pub const PLUS: Key = Key::special(PLUS);
    pub const ROOT: Key = Key::special(ROOT);
    pub const FREE: Key = Key::special(FREE);

    const fn special(kind: u8) -> Key {
        let mut bytes = [0; 12];
        bytes[INLINE] = kind;
        Key(bytes)
    }

    /// The key of a longer text: its id and, to tell most others apart without a look at the text, part of its hash.
    pub fn long(id: u32, hash: u64) -> Key {
        let mut key = Key::special(LONG);
        key.0[..4].copy_from_slice(&id.to_le_bytes());
        key.0[4..8].copy_from_slice(&Self::check(hash));
        key
    }

    fn check(hash: u64) -> [u8; 4] {
        // Not the bits that the hash table compares already.
        ((hash >> 24) as u32).to_le_bytes()
    }

    /// The id of the long text, when this key may be that of a text with this hash.
    #[inline]
    pub fn long_like(&self, hash: u64) -> Option<u32> {
        (self.0[INLINE] == LONG && self.0[4..8] == Self::check(hash))
            .then(|| u32::from_le_bytes([self.0[0], self.0[1], self.0[2], self.0[3]]))
    }

    pub fn kind(&self) -> Kind<'_> {
        match self.0[INLINE] {
            PLUS => Kind::Plus,
            ROOT | FREE => Kind::Nothing,
            LONG => Kind::Long(u32::from_le_bytes([
                self.0[0], self.0[1], self.0[2], self.0[3],
            ])),
            // Cut from a `str` at separators, so it is valid UTF-8.
            len => {
                Kind::Inline(std::str::from_utf8(&self.0[..usize::from(len)]).unwrap_or_default())
            }
        }
    }

    #[inline]
    fn words(&self) -> (u64, u64) {
        let b = &self.0;
        (
            u64::from_le_bytes([b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]]),
            u64::from(u32::from_le_bytes([b[8], b[9], b[10], b[11]])),
        )
    }
}

/// One level of a text that is being walked.
pub(crate) struct Level<'a> {
    whole: &'a str,
    start: usize,
    end: usize,
    /// The key when the level is short enough for one.
    pub key: Option<Key>,
    pub hash: u64,
}

impl<'a> Level<'a> {
    pub fn text(&self) -> &'a str {
        &self.whole[self.start..self.end]
    }

    /// Where the next level starts, unless this is the last.
    #[inline]
    pub fn next(&self) -> Option<usize> {
        (self.end < self.whole.len()).then_some(self.end + 1)
    }

    #[inline]
    pub fn is_plus(&self) -> bool {
        self.text() == "+"
    }

    /// A `#`, which is a wildcard only as the last level.
    #[inline]
    pub fn is_hash(&self) -> bool {
        self.end == self.whole.len() && self.text() == "#"
    }
}

/// Cuts levels and hashes them. While the seed is a secret, nobody outside can aim at collisions.
pub(crate) struct Cutter {
    seeds: [u64; 3],
}

impl Cutter {
    pub fn new(seed: u64) -> Self {
        let mut seed = seed;
        let seeds = [(); 3].map(|()| {
            seed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
            fold(seed ^ 0xD6E8_FEB8_6659_FD93, 0xA076_1D64_78BD_642F)
        });
        Self { seeds }
    }

    /// The level that starts at `start`, which is at most `whole.len()`.
    #[inline]
    pub fn cut<'a>(&self, whole: &'a str, start: usize) -> Level<'a> {
        let bytes = whole.as_bytes();
        let low = eight(bytes, start);
        let found = separators(low);
        if found != 0 {
            let len = found.trailing_zeros() as usize / 8;
            return self.short(whole, start, len, low & before(found), 0);
        }
        let high = eight(bytes, start + 8);
        let found = separators(high);
        let len = 8 + found.trailing_zeros() as usize / 8;
        if len <= INLINE {
            return self.short(whole, start, len, low, high & before(found));
        }
        self.long(whole, start, (found != 0).then_some(len))
    }

    /// The same for a level that does not fit into a key. Of the length it is known that it is at least 16, or what it is.
    #[inline(never)]
    fn long<'a>(&self, whole: &'a str, start: usize, len: Option<usize>) -> Level<'a> {
        let end = match len {
            Some(len) => start + len,
            None => {
                let rest = &whole.as_bytes()[start + 16..];
                start + 16 + rest.iter().position(|b| *b == b'/').unwrap_or(rest.len())
            }
        };
        let hash = self.hash_long(&whole[start..end]);
        Level {
            whole,
            start,
            end,
            key: None,
            hash,
        }
    }

    #[inline]
    fn short<'a>(
        &self,
        whole: &'a str,
        start: usize,
        len: usize,
        low: u64,
        high: u64,
    ) -> Level<'a> {
        let mut key = Key([0; 12]);
        key.0[..8].copy_from_slice(&low.to_le_bytes());
        key.0[8..].copy_from_slice(&(high as u32 | (len as u32) << 24).to_le_bytes());
        Level {
            whole,
            start,
            end: start + len,
            key: Some(key),
            hash: self.hash_key(&key),
        }
    }

    /// The hash of a level whose text is in the key.
    #[inline]
    pub fn hash_key(&self, key: &Key) -> u64 {
        let (low, high) = key.words();
        fold(low ^ self.seeds[0], high ^ self.seeds[1])
    }

    /// The hash of any text: of a level that is too long for a key, or of a whole filter.
    #[inline]
    pub fn hash_long(&self, text: &str) -> u64 {
        let text = text.as_bytes();
        let mut hash = self.seeds[0] ^ text.len() as u64;
        let mut at = 0;
        while at < text.len() {
            hash = fold(eight(text, at) ^ hash, eight(text, at + 8) ^ self.seeds[1]);
            at += 16;
        }
        fold(hash, self.seeds[2] | 1)
    }

    /// The hash of the edge from a node to its child with this level.
    #[inline]
    pub fn edge(&self, parent: u32, level: u64) -> u64 {
        let parent = u64::from(parent);
        fold(level ^ (parent << 32 | parent), self.seeds[2] | 1)
    }
}

const SLASHES: u64 = u64::from_ne_bytes([b'/'; 8]);

/// Eight bytes from `at` on, the first one lowest. Behind the end of the text there are separators.
#[inline]
fn eight(text: &[u8], at: usize) -> u64 {
    let read = |at: usize| {
        text.get(at..)
            .and_then(|rest| rest.first_chunk())
            .map(|bytes| u64::from_le_bytes(*bytes))
    };
    if let Some(bytes) = read(at) {
        return bytes;
    }
    if at >= text.len() {
        return SLASHES;
    }
    let have = text.len() - at;
    let bytes = match text.last_chunk() {
        // The last eight of the text, moved so that the byte at `at` is lowest.
        Some(bytes) => u64::from_le_bytes(*bytes) >> (8 * (8 - have)),
        None => text[at..]
            .iter()
            .rev()
            .fold(0, |all, byte| all << 8 | u64::from(*byte)),
    };
    bytes | SLASHES << (8 * have)
}

/// The lowest bit set is the top bit of the first byte that is a separator.
#[inline]
fn separators(bytes: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    let differs = bytes ^ SLASHES;
    differs.wrapping_sub(ONES) & !differs & (ONES << 7)
}

/// The bytes before the first separator.
#[inline]
fn before(found: u64) -> u64 {
    (found ^ (found - 1)) >> 8
}

/// A seed that nobody outside knows.
pub(crate) fn random_seed() -> u64 {
    RandomState::new().hash_one(0)
}

/// Multiplies to 128 bits and mixes both halves.
#[inline]
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(text: &str) -> Vec<(String, bool)> {
        let cutter = Cutter::new(1);
        let mut found = Vec::new();
        let mut at = Some(0);
        while let Some(start) = at {
            let level = cutter.cut(text, start);
            if let Some(key) = level.key {
                assert!(matches!(key.kind(), Kind::Inline(inline) if inline == level.text()));
            }
            found.push((level.text().to_owned(), level.key.is_some()));
            at = level.next();
        }
        found
    }

    #[test]
    fn cuts_as_split_does() {
        let long = "x".repeat(40);
        for text in [
            "",
            "/",
            "//",
            "a",
            "a/",
            "/a",
            "a/b",
            "sensors/12345678901/temperature",
            "123456789012",
            "1234567890123456",
            "12345678901234567/x",
            "a/é€𝄞/b",
            "..........0/..........0",
            "~}/|{.-,",
            &long,
            &format!("{long}/{long}"),
            &format!("/{long}/"),
            &"/".repeat(60),
            &format!("{}é/é", "x".repeat(15)),
        ] {
            let expected: Vec<_> = text
                .split('/')
                .map(|l| (l.to_owned(), l.len() <= INLINE))
                .collect();
            assert_eq!(levels(text), expected, "{text}");
        }
    }

    #[test]
    fn equal_levels_have_equal_hashes_wherever_they_stand() {
        let cutter = Cutter::new(1);
        let long = format!("{0}/b/{0}", "y".repeat(30));
        for text in ["ab/ab", "ab/c/defghijklmnopqrstuvw/ab", &long] {
            let last = text.rfind('/').map_or(0, |at| at + 1);
            let (first, last) = (cutter.cut(text, 0), cutter.cut(text, last));
            assert_eq!(first.text(), last.text());
            assert_eq!(first.hash, last.hash);
            assert!(first.key == last.key);
        }
        // Behind the end, the bytes are taken for separators.
        assert_ne!(cutter.hash_long("a"), cutter.hash_long("a/"));
        assert_ne!(cutter.hash_long("a"), Cutter::new(2).hash_long("a"));
        assert_ne!(cutter.cut("a", 0).hash, cutter.cut("a\0", 0).hash);
    }
}
