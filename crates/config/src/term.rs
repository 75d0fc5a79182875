//! Reader of Erlang terms, as far as configuration files hold them: atoms, strings, binaries,
//! integers, tuples and lists, each top-level term ended by a full stop, `%` comments.
//!
//! Reading never stops at the first mistake: what is wrong with a term is noted and reading goes
//! on behind its full stop.

use std::fmt;

/// Something wrong, or merely odd, in a file of terms. Line and column count from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TermError {
    /// line of the file
    pub line: usize,
    /// character of the line
    pub column: usize,
    /// what is wrong, as a sentence without a full stop
    pub message: String,
}

impl fmt::Display for TermError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "line {}, column {}: {}",
            self.line, self.column, self.message
        )
    }
}

impl std::error::Error for TermError {}

/// Tuples and lists may be nested this deep; more is refused instead of recursing.
const MAX_DEPTH: usize = 64;

/// Where something begins. Both count from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// line
    pub line: usize,
    /// character of the line
    pub column: usize,
}

impl Position {
    /// What is wrong here.
    pub fn error(self, message: impl Into<String>) -> TermError {
        TermError {
            line: self.line,
            column: self.column,
            message: message.into(),
        }
    }
}

/// A term and the place where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Term {
    /// where it begins
    pub at: Position,
    /// what it is
    pub kind: Kind,
}

/// What a term is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `name`, `'any text'`
    Atom(String),
    /// `"…"`
    Text(String),
    /// `<<…>>`
    Binary(String),
    /// `42`, `$c`
    Integer(i64),
    /// `{…}`
    Tuple(Vec<Term>),
    /// `[…]`
    List(Vec<Term>),
}

impl Term {
    /// The text of a string or binary.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) | Kind::Binary(text) => Some(text),
            _ => None,
        }
    }

    /// The name of an atom.
    pub fn atom(&self) -> Option<&str> {
        match &self.kind {
            Kind::Atom(name) => Some(name),
            _ => None,
        }
    }
}

/// The term on one line, without comments, as `acl test` and error messages show it.
impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            Kind::Atom(name) if is_plain_atom(name) => f.write_str(name),
            Kind::Atom(name) => write_quoted(f, name, '\''),
            Kind::Text(text) => write_quoted(f, text, '"'),
            Kind::Binary(text) => {
                f.write_str("<<")?;
                write_quoted(f, text, '"')?;
                f.write_str(">>")
            }
            Kind::Integer(number) => write!(f, "{number}"),
            Kind::Tuple(items) => write_items(f, "{", items, "}"),
            Kind::List(items) => write_items(f, "[", items, "]"),
        }
    }
}

fn write_items(f: &mut fmt::Formatter<'_>, open: &str, items: &[Term], close: &str) -> fmt::Result {
    f.write_str(open)?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            f.write_str(", ")?;
        }
        write!(f, "{item}")?;
    }
    f.write_str(close)
}

fn write_quoted(f: &mut fmt::Formatter<'_>, text: &str, quote: char) -> fmt::Result {
    write!(f, "{quote}")?;
    for c in text.chars() {
        match c {
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\r' => f.write_str("\\r")?,
            '\t' => f.write_str("\\t")?,
            c if c == quote => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "\\x{{{:x}}}", c as u32)?,
            c => write!(f, "{c}")?,
        }
    }
    write!(f, "{quote}")
}

/// Words of the language that are atoms only between quotes.
const RESERVED: [&str; 28] = [
    "after", "and", "andalso", "band", "begin", "bnot", "bor", "bsl", "bsr", "bxor", "case",
    "catch", "cond", "div", "end", "fun", "if", "let", "not", "of", "or", "orelse", "receive",
    "rem", "try", "when", "xor", "maybe",
];

fn is_plain_atom(name: &str) -> bool {
    name.starts_with(|c: char| c.is_lowercase())
        && name.chars().all(is_name_character)
        && !RESERVED.contains(&name)
}

fn is_name_character(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '@'
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Atom(String),
    Text(String),
    Integer(i64),
    /// `{ } [ ] , / |` and the two binary brackets as `<` and `>`
    Mark(char),
    /// `.`
    FullStop,
    /// Something that was already reported.
    Broken,
}

struct Lexer<'a> {
    rest: std::iter::Peekable<std::str::Chars<'a>>,
    at: Position,
    errors: Vec<TermError>,
}

impl Lexer<'_> {
    fn next_char(&mut self) -> Option<char> {
        let c = self.rest.next()?;
        if c == '\n' {
            self.at.line += 1;
            self.at.column = 1;
        } else {
            self.at.column += 1;
        }
        Some(c)
    }

    fn take_if(&mut self, wanted: char) -> bool {
        let found = self.rest.peek() == Some(&wanted);
        if found {
            self.next_char();
        }
        found
    }

    fn tokens(mut self) -> (Vec<(Position, Token)>, Position, Vec<TermError>) {
        let mut tokens = Vec::new();
        while let Some(&c) = self.rest.peek() {
            let at = self.at;
            if c.is_whitespace() || c == '\u{feff}' {
                self.next_char();
            } else if c == '%' {
                while self.rest.peek().is_some_and(|&c| c != '\n') {
                    self.next_char();
                }
            } else {
                let token = self.token(c, at);
                tokens.push((at, token));
            }
        }
        (tokens, self.at, self.errors)
    }

    fn token(&mut self, first: char, at: Position) -> Token {
        match first {
            '"' => self.quoted('"', at).map_or(Token::Broken, Token::Text),
            '\'' => self.quoted('\'', at).map_or(Token::Broken, Token::Atom),
            '$' => self.character(at),
            '-' | '+' | '0'..='9' => self.number(at),
            '{' | '}' | '[' | ']' | ',' | '/' | '|' => {
                self.next_char();
                Token::Mark(first)
            }
            '.' => {
                self.next_char();
                Token::FullStop
            }
            '<' | '>' => {
                self.next_char();
                if self.take_if(first) {
                    return Token::Mark(first);
                }
                self.broken(
                    at,
                    format!("'{first}' alone; a binary is written <<\"text\">>"),
                )
            }
            c if is_name_character(c) => self.name(at),
            c => {
                self.next_char();
                self.broken(at, format!("'{}' has no meaning here", c.escape_default()))
            }
        }
    }

    fn broken(&mut self, at: Position, message: String) -> Token {
        self.errors.push(at.error(message));
        Token::Broken
    }

    fn name(&mut self, at: Position) -> Token {
        let mut name = String::new();
        while let Some(&c) = self.rest.peek() {
            if !is_name_character(c) {
                break;
            }
            name.push(c);
            self.next_char();
        }
        if RESERVED.contains(&name.as_str()) {
            let message = format!("{name} is a reserved word: write '{name}' with single quotes");
            return self.broken(at, message);
        }
        if !is_plain_atom(&name) {
            let message = format!("{name} would be a variable: a text stands in double quotes");
            return self.broken(at, message);
        }
        Token::Atom(name)
    }

    /// `$c`: the code of a character.
    fn character(&mut self, at: Position) -> Token {
        self.next_char();
        let code = match self.next_char() {
            Some('\\') => self.escape(at),
            other => other,
        };
        match code {
            Some(c) => Token::Integer(i64::from(c as u32)),
            None => self.broken(at, "a character must follow $".to_owned()),
        }
    }

    fn number(&mut self, at: Position) -> Token {
        let mut word = String::new();
        while let Some(&c) = self.rest.peek() {
            let sign = word.is_empty() && (c == '-' || c == '+');
            if !sign && !c.is_ascii_alphanumeric() && c != '#' && c != '_' {
                break;
            }
            word.push(c);
            self.next_char();
        }
        // A point between two digits makes a float; before anything else it is the full stop.
        let mut ahead = self.rest.clone();
        if ahead.next() == Some('.') && ahead.next().is_some_and(|c| c.is_ascii_digit()) {
            while self
                .rest
                .peek()
                .is_some_and(|&c| c.is_ascii_alphanumeric() || c == '.')
            {
                self.next_char();
            }
            return self.broken(at, "a number with a fraction has no use here".to_owned());
        }
        match integer(&word) {
            Some(number) => Token::Integer(number),
            None => self.broken(at, format!("{word} is not an integer")),
        }
    }

    /// A string or quoted atom; `None` when it was reported.
    fn quoted(&mut self, quote: char, at: Position) -> Option<String> {
        self.next_char();
        let mut text = String::new();
        let mut sound = true;
        loop {
            let here = self.at;
            match self.next_char() {
                None => {
                    self.errors
                        .push(at.error(format!("the closing {quote} is missing")));
                    return None;
                }
                Some(c) if c == quote => return sound.then_some(text),
                Some('\\') => match self.escape(here) {
                    Some(c) => text.push(c),
                    None => {
                        self.errors.push(here.error("unknown escape after \\"));
                        sound = false;
                    }
                },
                Some(c) => text.push(c),
            }
        }
    }

    /// What stands behind a backslash.
    fn escape(&mut self, at: Position) -> Option<char> {
        Some(match self.next_char()? {
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            's' => ' ',
            'b' => '\u{8}',
            'd' => '\u{7f}',
            'e' => '\u{1b}',
            'f' => '\u{c}',
            'v' => '\u{b}',
            '^' => char::from((self.next_char()? as u32 & 0x1f) as u8),
            'x' => return self.hexadecimal(),
            c @ '0'..='7' => {
                let mut code = c as u32 - '0' as u32;
                for _ in 0..2 {
                    match self.rest.peek().and_then(|c| c.to_digit(8)) {
                        Some(digit) => code = code * 8 + digit,
                        None => break,
                    }
                    self.next_char();
                }
                return char::from_u32(code);
            }
            // A backslash at the end of a line would join lines in no way Erlang knows.
            '\n' => {
                self.errors.push(at.error("\\ at the end of a line"));
                ' '
            }
            other => other,
        })
    }

    /// `\xHH` or `\x{H…}`.
    fn hexadecimal(&mut self) -> Option<char> {
        let braces = self.take_if('{');
        let mut code = 0_u32;
        let mut digits = 0;
        while let Some(digit) = self.rest.peek().and_then(|c| c.to_digit(16)) {
            if digits == if braces { 6 } else { 2 } {
                break;
            }
            code = code * 16 + digit;
            digits += 1;
            self.next_char();
        }
        if digits == 0 || (braces && !self.take_if('}')) || (!braces && digits != 2) {
            return None;
        }
        char::from_u32(code)
    }
}

/// `42`, `-1`, `16#ff`.
fn integer(word: &str) -> Option<i64> {
    let (negative, digits) = match word.as_bytes().first()? {
        b'-' => (true, &word[1..]),
        b'+' => (false, &word[1..]),
        _ => (false, word),
    };
    let (base, digits) = match digits.split_once('#') {
        Some((base, digits)) => (base.parse().ok().filter(|b| (2..=36).contains(b))?, digits),
        None => (10, digits),
    };
    // from_str_radix would accept a second sign
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let number = i64::from_str_radix(digits, base).ok()?;
    Some(if negative { -number } else { number })
}

/// Reads every term of `text`. The terms that could be read come with everything that is wrong
/// with the others, in the order of the file.
pub fn read_terms(text: &str) -> (Vec<Term>, Vec<TermError>) {
    let lexer = Lexer {
        rest: text.chars().peekable(),
        at: Position { line: 1, column: 1 },
        errors: Vec::new(),
    };
    let (tokens, end, mut errors) = lexer.tokens();
    let mut parser = Parser {
        tokens,
        next: 0,
        end,
    };
    let mut terms = Vec::new();
    while parser.next < parser.tokens.len() {
        match parser.sentence() {
            Ok(term) => terms.push(term),
            Err(error) => {
                errors.extend(error);
                parser.skip_to_full_stop();
            }
        }
    }
    errors.sort_by_key(|error| (error.line, error.column));
    (terms, errors)
}

struct Parser {
    tokens: Vec<(Position, Token)>,
    next: usize,
    /// End of the text.
    end: Position,
}

/// `None`: the lexer has reported it already.
type Failure = Option<TermError>;

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.next).map(|(_, token)| token)
    }

    fn here(&self) -> Position {
        self.tokens.get(self.next).map_or(self.end, |(at, _)| *at)
    }

    fn take(&mut self, wanted: &Token) -> bool {
        let found = self.peek() == Some(wanted);
        self.next += usize::from(found);
        found
    }

    /// A term and its full stop.
    fn sentence(&mut self) -> Result<Term, Failure> {
        let term = self.term(0)?;
        match self.peek() {
            Some(Token::FullStop) => {
                self.next += 1;
                Ok(term)
            }
            Some(Token::Broken) => Err(None),
            _ => Err(Some(
                self.here().error(format!("full stop missing after {term}")),
            )),
        }
    }

    /// Goes on behind the next full stop, or at a line that begins with `{` where the stop was
    /// forgotten, so that one mistake is not reported as many.
    fn skip_to_full_stop(&mut self) {
        while let Some((at, token)) = self.tokens.get(self.next) {
            if *token == Token::Mark('{') && at.column == 1 && self.follows_a_term() {
                return;
            }
            self.next += 1;
            if self.tokens[self.next - 1].1 == Token::FullStop {
                return;
            }
        }
    }

    fn follows_a_term(&self) -> bool {
        let before = self.next.checked_sub(1).map(|index| &self.tokens[index].1);
        before == Some(&Token::Mark('}'))
    }

    fn term(&mut self, depth: usize) -> Result<Term, Failure> {
        let at = self.here();
        if depth > MAX_DEPTH {
            return Err(Some(at.error("nested too deeply")));
        }
        let Some(token) = self.peek().cloned() else {
            return Err(Some(at.error("the file ends inside a rule")));
        };
        self.next += 1;
        let kind = match token {
            Token::Atom(name) => Kind::Atom(name),
            Token::Integer(number) => Kind::Integer(number),
            Token::Text(text) => Kind::Text(self.adjacent(text)),
            Token::Mark('{') => Kind::Tuple(self.items('}', depth)?),
            Token::Mark('[') => Kind::List(self.items(']', depth)?),
            Token::Mark('<') => Kind::Binary(self.binary()?),
            Token::Mark('>') => return Err(Some(at.error(">> without <<"))),
            Token::Mark(c) => return Err(Some(at.error(format!("unexpected {c}")))),
            Token::FullStop => {
                // Left for the recovery, which ends at this very stop.
                self.next -= 1;
                return Err(Some(at.error("unexpected full stop")));
            }
            Token::Broken => return Err(None),
        };
        Ok(Term { at, kind })
    }

    /// `"a" "b"` is one string.
    fn adjacent(&mut self, mut text: String) -> String {
        while let Some(Token::Text(more)) = self.peek() {
            text.push_str(more);
            self.next += 1;
        }
        text
    }

    fn items(&mut self, close: char, depth: usize) -> Result<Vec<Term>, Failure> {
        let mut items = Vec::new();
        if self.take(&Token::Mark(close)) {
            return Ok(items);
        }
        loop {
            items.push(self.term(depth + 1)?);
            if self.take(&Token::Mark(close)) {
                return Ok(items);
            }
            if !self.take(&Token::Mark(',')) {
                return Err(match self.peek() {
                    Some(Token::Broken) => None,
                    None => Some(
                        self.end
                            .error(format!("the file ends where , or {close} is missing")),
                    ),
                    _ => Some(self.here().error(format!("expected , or {close}"))),
                });
            }
        }
    }

    /// Behind `<<`: strings and byte values, each perhaps with a type, up to `>>`.
    fn binary(&mut self) -> Result<String, Failure> {
        let at = self.here();
        let mut bytes = Vec::new();
        if self.take(&Token::Mark('>')) {
            return Ok(String::new());
        }
        loop {
            let here = self.here();
            match self.peek().cloned() {
                Some(Token::Text(text)) => bytes.extend_from_slice(text.as_bytes()),
                Some(Token::Integer(byte)) => match u8::try_from(byte) {
                    Ok(byte) => bytes.push(byte),
                    Err(_) => return Err(Some(here.error(format!("{byte} is not a byte")))),
                },
                Some(Token::Broken) => return Err(None),
                _ => return Err(Some(here.error("a binary holds a string or byte values"))),
            }
            self.next += 1;
            if self.take(&Token::Mark('/')) && !self.take(&Token::Atom("utf8".to_owned())) {
                return Err(Some(self.here().error("only /utf8 is known here")));
            }
            if self.take(&Token::Mark('>')) {
                break;
            }
            if !self.take(&Token::Mark(',')) {
                return Err(Some(self.here().error("expected , or >>")));
            }
        }
        String::from_utf8(bytes).map_err(|_| Some(at.error("the binary is not valid UTF-8")))
    }
}
