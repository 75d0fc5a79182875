//! Patterns of Lua 5.2, matched with a count of the work done.
//!
//! The matcher backtracks as Lua's own does and gives its results and its errors, byte for byte. What differs is that the
//! work is counted, so that whoever calls can end a match that would take for ever.

use memchr::memchr;
use std::fmt;
use std::ops::Range;

/// Captures a pattern may have.
const MAX_CAPTURES: usize = 32;

/// Depth of recursion that a match may reach.
const MAX_DEPTH: u32 = 200;

/// Units of work in one step of the meter; a unit is about the comparison of a byte with an item of the pattern.
const UNITS: u32 = 4;

/// Units between two calls of the meter.
const BLOCK: u32 = 1024;

/// Bytes that a fast search (`memchr`, `memmem`, `memcmp`) passes in one step.
const FAST: usize = 64;

const ESCAPE: u8 = b'%';

/// Why a match came to no result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The meter said stop.
    Stopped,
    /// The replacements are longer than they may be.
    TooLong,
    /// More than [`MAX_DEPTH`] levels of recursion.
    TooComplex,
    TooManyCaptures,
    /// `%1` to `%9` in the pattern without a finished capture of that number.
    CaptureIndex(i32),
    /// A capture that the pattern does not have, in the replacement.
    NoSuchCapture,
    /// `)` without `(`.
    NothingToClose,
    /// `(` without `)`.
    Unfinished,
    EndsWithEscape,
    MissingBracket,
    MissingBalance,
    MissingFrontier,
    /// `%` before something else than a digit or `%` in the replacement.
    Replacement,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Stopped => "out of steps",
            Fault::TooLong => "replacement too long",
            Fault::TooComplex => "pattern too complex",
            Fault::TooManyCaptures => "too many captures",
            Fault::CaptureIndex(n) => return write!(f, "invalid capture index %{n}"),
            Fault::NoSuchCapture => "invalid capture index",
            Fault::NothingToClose => "invalid pattern capture",
            Fault::Unfinished => "unfinished capture",
            Fault::EndsWithEscape => "malformed pattern (ends with '%')",
            Fault::MissingBracket => "malformed pattern (missing ']')",
            Fault::MissingBalance => "malformed pattern (missing arguments to '%b')",
            Fault::MissingFrontier => "missing '[' after '%f' in pattern",
            Fault::Replacement => "invalid use of '%' in replacement string",
        })
    }
}

/// What a capture holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Captured {
    Text(Range<usize>),
    /// `()`: a position, the first being 1.
    Position(usize),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Extent {
    Open,
    Position,
    Length(usize),
}

#[derive(Clone, Copy)]
struct Capture {
    start: usize,
    extent: Extent,
}

/// A subject, a pattern, and the captures of the last match.
///
/// The meter is told of steps (about one instruction of an interpreter each) and answers whether the match may go on.
pub struct Matcher<'a, M> {
    subject: &'a [u8],
    pattern: &'a [u8],
    anchored: bool,
    /// The byte that every match begins with.
    first: Option<u8>,
    meter: M,
    units: u32,
    depth: u32,
    level: usize,
    captures: [Capture; MAX_CAPTURES],
}

/// Whether a pattern says nothing but its own bytes.
pub fn is_plain(pattern: &[u8]) -> bool {
    !pattern.iter().any(|b| b"^$*+?.([%-".contains(b))
}

/// Finds `needle` in `hay`, and tells the meter.
pub fn find_plain(
    hay: &[u8],
    needle: &[u8],
    mut meter: impl FnMut(u64) -> bool,
) -> Result<Option<usize>, Fault> {
    // Both ways through memory are linear, whatever the bytes are.
    if !meter(steps(hay.len() + needle.len())) {
        return Err(Fault::Stopped);
    }
    Ok(match needle {
        [] => Some(0),
        [byte] => memchr(*byte, hay),
        _ => memchr::memmem::find(hay, needle),
    })
}

/// Steps of a fast pass over `bytes`.
pub fn steps(bytes: usize) -> u64 {
    (bytes / FAST) as u64
}

impl<'a, M: FnMut(u64) -> bool> Matcher<'a, M> {
    /// With `anchors`, a `^` at the start binds matches to where the search begins; else it is a byte like others.
    pub fn new(subject: &'a [u8], pattern: &'a [u8], anchors: bool, meter: M) -> Self {
        let (anchored, pattern) = match pattern {
            [b'^', rest @ ..] if anchors => (true, rest),
            _ => (false, pattern),
        };
        let first = match pattern {
            [b, ..] if b"^$*+?.([%-)".contains(b) => None,
            [_, b'*' | b'?' | b'-', ..] | [] => None,
            [b, ..] => Some(*b),
        };
        Matcher {
            subject,
            pattern,
            anchored,
            first,
            meter,
            units: BLOCK,
            depth: MAX_DEPTH,
            level: 0,
            captures: [Capture {
                start: 0,
                extent: Extent::Open,
            }; MAX_CAPTURES],
        }
    }

    /// Whether the pattern began with an anchor.
    pub fn anchored(&self) -> bool {
        self.anchored
    }

    /// The first match that begins at `from` or later; `from` is not beyond the end of the subject.
    pub fn search(&mut self, from: usize) -> Result<Option<Range<usize>>, Fault> {
        self.depth = MAX_DEPTH;
        let mut start = from;
        while start <= self.subject.len() {
            if let Some(byte) = self.first.filter(|_| !self.anchored) {
                let skip = memchr(byte, &self.subject[start..]);
                let passed = skip.unwrap_or(self.subject.len() - start);
                self.work((passed / (FAST / UNITS as usize)) as u32)?;
                match skip {
                    Some(n) => start += n,
                    None => break,
                }
            }
            self.level = 0;
            if let Some(end) = self.step(start, 0)? {
                return Ok(Some(start..end));
            }
            if self.anchored {
                break;
            }
            start += 1;
        }
        Ok(None)
    }

    /// Captures of the last match; 0 stands for the whole match alone.
    pub fn captures(&self) -> usize {
        self.level
    }

    /// A capture of the last match, the first being 0; without captures that is the whole match.
    pub fn capture(&self, n: usize, whole: &Range<usize>) -> Result<Captured, Fault> {
        if n >= self.level {
            return if n == 0 {
                Ok(Captured::Text(whole.clone()))
            } else {
                Err(Fault::NoSuchCapture)
            };
        }
        let Capture { start, extent } = self.captures[n];
        match extent {
            Extent::Open => Err(Fault::Unfinished),
            Extent::Position => Ok(Captured::Position(start + 1)),
            Extent::Length(n) => Ok(Captured::Text(start..start + n)),
        }
    }

    /// Appends a replacement to `out`, which must not grow beyond `limit` bytes: `%0` is the whole match, `%1` to `%9`
    /// are captures.
    pub fn replace(
        &mut self,
        replacement: &[u8],
        whole: &Range<usize>,
        limit: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), Fault> {
        let before = out.len();
        let mut rest = replacement;
        while let Some(n) = memchr(ESCAPE, rest) {
            out.extend_from_slice(&rest[..n]);
            match rest.get(n + 1) {
                Some(b'%') => out.push(b'%'),
                Some(b'0') => out.extend_from_slice(&self.subject[whole.clone()]),
                Some(digit @ b'1'..=b'9') => {
                    match self.capture(usize::from(digit - b'1'), whole)? {
                        Captured::Text(range) => out.extend_from_slice(&self.subject[range]),
                        Captured::Position(at) => out.extend_from_slice(at.to_string().as_bytes()),
                    }
                }
                _ => return Err(Fault::Replacement),
            }
            rest = &rest[n + 2..];
            // A short replacement can name long captures many times.
            if out.len() > limit {
                return Err(Fault::TooLong);
            }
        }
        out.extend_from_slice(rest);
        if out.len() > limit {
            return Err(Fault::TooLong);
        }
        self.pay(1 + steps(out.len() - before))
    }

    /// Tells the meter of work that is not a match.
    pub fn pay(&mut self, steps: u64) -> Result<(), Fault> {
        if (self.meter)(steps) {
            Ok(())
        } else {
            Err(Fault::Stopped)
        }
    }

    /// Tells the meter of all work so far.
    pub fn settle(&mut self) -> Result<(), Fault> {
        let done = BLOCK - self.units;
        self.units = BLOCK;
        self.pay(u64::from(done.div_ceil(UNITS)))
    }

    #[inline]
    fn work(&mut self, units: u32) -> Result<(), Fault> {
        match self.units.checked_sub(units) {
            Some(left) => {
                self.units = left;
                Ok(())
            }
            None => self.work_on(units),
        }
    }

    #[cold]
    fn work_on(&mut self, units: u32) -> Result<(), Fault> {
        let done = u64::from(BLOCK - self.units) + u64::from(units);
        self.units = BLOCK;
        self.pay(done.div_ceil(u64::from(UNITS)))
    }

    /// A byte of the pattern; behind the last stands a NUL, as in Lua.
    #[inline]
    fn at(&self, p: usize) -> u8 {
        self.pattern.get(p).copied().unwrap_or(0)
    }

    /// Matches the pattern from `p` on at `s`, and says where the match ends.
    fn step(&mut self, mut s: usize, mut p: usize) -> Result<Option<usize>, Fault> {
        if self.depth == 0 {
            return Err(Fault::TooComplex);
        }
        self.depth -= 1;
        let end = loop {
            self.work(1)?;
            if p >= self.pattern.len() {
                break Some(s);
            }
            match (self.pattern[p], self.at(p + 1)) {
                (b'(', b')') => break self.open(s, p + 2, Extent::Position)?,
                (b'(', _) => break self.open(s, p + 1, Extent::Open)?,
                (b')', _) => break self.close(s, p + 1)?,
                (b'$', _) if p + 1 == self.pattern.len() => {
                    break (s == self.subject.len()).then_some(s);
                }
                (ESCAPE, b'b') => match self.balance(s, p + 2)? {
                    Some(after) => (s, p) = (after, p + 4),
                    None => break None,
                },
                (ESCAPE, b'f') => match self.frontier(s, p + 2)? {
                    Some(after) => p = after,
                    None => break None,
                },
                (ESCAPE, digit @ b'0'..=b'9') => match self.again(s, digit)? {
                    Some(after) => (s, p) = (after, p + 2),
                    None => break None,
                },
                _ => {
                    let next = self.item_end(p)?;
                    let suffix = self.at(next);
                    if !self.single(s, p, next) {
                        if !matches!(suffix, b'*' | b'?' | b'-') {
                            break None;
                        }
                        p = next + 1;
                        continue;
                    }
                    match suffix {
                        b'?' => match self.step(s + 1, next + 1)? {
                            Some(end) => break Some(end),
                            None => p = next + 1,
                        },
                        b'+' => break self.longest(s + 1, p, next)?,
                        b'*' => break self.longest(s, p, next)?,
                        b'-' => break self.shortest(s, p, next)?,
                        _ => (s, p) = (s + 1, next),
                    }
                }
            }
        };
        self.depth += 1;
        Ok(end)
    }

    /// The end of the item at `p` (a byte, `%x` or a set), without its suffix.
    #[inline]
    fn item_end(&mut self, p: usize) -> Result<usize, Fault> {
        match self.pattern[p] {
            ESCAPE if p + 1 >= self.pattern.len() => Err(Fault::EndsWithEscape),
            ESCAPE => Ok(p + 2),
            b'[' => self.set_end(p),
            _ => Ok(p + 1),
        }
    }

    fn set_end(&mut self, start: usize) -> Result<usize, Fault> {
        let mut p = start + 1;
        if self.at(p) == b'^' {
            p += 1;
        }
        // The first byte belongs to the set, even if it is a `]`.
        loop {
            match self.pattern.get(p) {
                None => {
                    self.work((p - start) as u32 / 4)?;
                    return Err(Fault::MissingBracket);
                }
                Some(&ESCAPE) if p + 1 < self.pattern.len() => p += 2,
                Some(_) => p += 1,
            }
            if self.at(p) == b']' {
                self.work((p - start) as u32 / 4)?;
                return Ok(p + 1);
            }
        }
    }

    /// Whether the byte at `s` is one that the item between `p` and `end` stands for.
    #[inline]
    fn single(&self, s: usize, p: usize, end: usize) -> bool {
        let Some(&byte) = self.subject.get(s) else {
            return false;
        };
        match self.pattern[p] {
            b'.' => true,
            ESCAPE => in_class(byte, self.pattern[p + 1]),
            b'[' => in_set(byte, &self.pattern[p + 1..end - 1]),
            literal => literal == byte,
        }
    }

    /// What one look at the item between `p` and `end` costs.
    #[inline]
    fn cost(p: usize, end: usize) -> u32 {
        // A long set is looked through for each byte. Patterns are no longer than memory allows, far below 2^32.
        1 + ((end - p) as u32 >> 3)
    }

    fn longest(&mut self, s: usize, p: usize, end: usize) -> Result<Option<usize>, Fault> {
        let mut n = 0;
        if self.pattern[p] == b'.' {
            n = self.subject.len() - s;
        } else {
            let cost = Self::cost(p, end);
            while self.single(s + n, p, end) {
                n += 1;
                self.work(cost)?;
            }
        }
        loop {
            if let Some(end) = self.step(s + n, end + 1)? {
                return Ok(Some(end));
            }
            if n == 0 {
                return Ok(None);
            }
            n -= 1;
        }
    }

    fn shortest(&mut self, mut s: usize, p: usize, end: usize) -> Result<Option<usize>, Fault> {
        let cost = Self::cost(p, end);
        loop {
            if let Some(end) = self.step(s, end + 1)? {
                return Ok(Some(end));
            }
            self.work(cost)?;
            if !self.single(s, p, end) {
                return Ok(None);
            }
            s += 1;
        }
    }

    fn open(&mut self, s: usize, p: usize, extent: Extent) -> Result<Option<usize>, Fault> {
        let level = self.level;
        let Some(capture) = self.captures.get_mut(level) else {
            return Err(Fault::TooManyCaptures);
        };
        *capture = Capture { start: s, extent };
        self.level = level + 1;
        let end = self.step(s, p)?;
        if end.is_none() {
            self.level -= 1;
        }
        Ok(end)
    }

    fn close(&mut self, s: usize, p: usize) -> Result<Option<usize>, Fault> {
        let open = self.captures[..self.level]
            .iter()
            .rposition(|c| c.extent == Extent::Open)
            .ok_or(Fault::NothingToClose)?;
        self.captures[open].extent = Extent::Length(s - self.captures[open].start);
        let end = self.step(s, p)?;
        if end.is_none() {
            self.captures[open].extent = Extent::Open;
        }
        Ok(end)
    }

    /// `%1` to `%9`: what a capture holds, once more.
    fn again(&mut self, s: usize, digit: u8) -> Result<Option<usize>, Fault> {
        let number = i32::from(digit) - i32::from(b'0');
        let capture = usize::from(digit)
            .checked_sub(usize::from(b'1'))
            .and_then(|n| self.captures[..self.level].get(n));
        let length = match capture.map(|c| c.extent) {
            None | Some(Extent::Open) => return Err(Fault::CaptureIndex(number)),
            // A position is never found again.
            Some(Extent::Position) => return Ok(None),
            Some(Extent::Length(length)) => length,
        };
        let start = capture.map_or(0, |c| c.start);
        self.work((length / (FAST / UNITS as usize)) as u32)?;
        let same = self.subject[s..].starts_with(&self.subject[start..start + length]);
        Ok(same.then_some(s + length))
    }

    /// `%bxy`: from an `x` to the `y` that closes it; `p` is where `x` stands.
    fn balance(&mut self, s: usize, p: usize) -> Result<Option<usize>, Fault> {
        if p + 1 >= self.pattern.len() {
            return Err(Fault::MissingBalance);
        }
        let (open, close) = (self.pattern[p], self.pattern[p + 1]);
        let subject = self.subject;
        let Some((first, rest)) = subject.get(s..).and_then(<[u8]>::split_first) else {
            return Ok(None);
        };
        if *first != open {
            return Ok(None);
        }
        let mut depth = 1_usize;
        for (n, &byte) in rest.iter().enumerate() {
            // Close goes first: they may be the same byte.
            if byte == close {
                depth -= 1;
                if depth == 0 {
                    return Ok(Some(s + n + 2));
                }
            } else if byte == open {
                depth += 1;
            }
            if n % 4 == 0 {
                self.work(1)?;
            }
        }
        Ok(None)
    }

    /// `%f[set]`: between a byte outside of the set and one in it; `p` is where the set begins.
    fn frontier(&mut self, s: usize, p: usize) -> Result<Option<usize>, Fault> {
        if self.at(p) != b'[' {
            return Err(Fault::MissingFrontier);
        }
        let end = self.item_end(p)?;
        self.work(2 * Self::cost(p, end))?;
        // Before the first byte and behind the last stands a NUL.
        let before = s.checked_sub(1).map_or(0, |n| self.subject[n]);
        let here = self.subject.get(s).copied().unwrap_or(0);
        let set = &self.pattern[p + 1..end - 1];
        Ok((!in_set(before, set) && in_set(here, set)).then_some(end))
    }
}

/// Whether a byte is in a set; `set` is what stands between the brackets.
fn in_set(byte: u8, set: &[u8]) -> bool {
    let (found, set) = match set {
        [b'^', rest @ ..] => (false, rest),
        _ => (true, set),
    };
    let mut p = 0;
    while p < set.len() {
        match (set[p], set.get(p + 1), set.get(p + 2)) {
            (ESCAPE, class, _) => {
                // Behind an escape that is the last byte stands the closing bracket.
                if in_class(byte, class.copied().unwrap_or(b']')) {
                    return found;
                }
                p += 2;
            }
            (low, Some(b'-'), Some(&high)) => {
                if low <= byte && byte <= high {
                    return found;
                }
                p += 3;
            }
            (literal, ..) => {
                if literal == byte {
                    return found;
                }
                p += 1;
            }
        }
    }
    !found
}

/// Whether a byte is in the class `%class`; in the C locale, as the interpreter is.
#[inline]
fn in_class(byte: u8, class: u8) -> bool {
    let within = match class.to_ascii_lowercase() {
        b'a' => byte.is_ascii_alphabetic(),
        b'c' => byte.is_ascii_control(),
        b'd' => byte.is_ascii_digit(),
        b'g' => byte.is_ascii_graphic(),
        b'l' => byte.is_ascii_lowercase(),
        b'p' => byte.is_ascii_punctuation(),
        b's' => matches!(byte, b' ' | b'\t'..=b'\r'),
        b'u' => byte.is_ascii_uppercase(),
        b'w' => byte.is_ascii_alphanumeric(),
        b'x' => byte.is_ascii_hexdigit(),
        b'z' => byte == 0,
        _ => return class == byte,
    };
    within == class.is_ascii_lowercase()
}
