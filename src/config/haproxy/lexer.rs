//! A line → words: quotes and escapes undone, variables replaced. As HAProxy does it, byte for byte: strong quotes hold
//! everything as it is, weak ones replace variables, and outside of both a blank ends the word.

use super::environment::Environment;
use super::excerpt::excerpt;

/// What stands on a line. What follows its last blank is a word, too, if an empty one.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LexedLine {
    pub(super) words: Vec<LexedWord>,
    /// Where its text begins, behind the `#`.
    pub(super) comment: Option<usize>,
    /// A carriage return in the middle of the line, behind which nothing is read.
    pub(super) cut: Option<usize>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct LexedWord {
    pub(super) bytes: Vec<u8>,
    /// Its first byte in the line.
    pub(super) at: usize,
    /// A part of it at least stands in quotes.
    pub(super) quoted: bool,
}

/// Why a line has no words. All but the last are HAProxy's sentences.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unreadable {
    #[error("unmatched quote at position {}", .0 + 1)]
    Quote(usize),
    #[error("unmatched brace in environment variable name at position {}", .0 + 1)]
    Brace(usize),
    #[error("forbidden first char in environment variable name at position {}", .0 + 1)]
    VariableName(usize),
    #[error("truncated or invalid hexadecimal sequence at position {}", .0 + 1)]
    Hex(usize),
    #[error("truncated or invalid word expansion sequence at position {}", .0 + 1)]
    WordExpansion(usize),
    #[error("too many words, truncating after word {MOST_WORDS}")]
    Words(usize),
    #[error("line too long, its variables make it larger than 1 MiB")]
    Long(usize),
}

impl Unreadable {
    /// The byte where it shows.
    pub(super) fn at(&self) -> usize {
        match *self {
            Self::Quote(at)
            | Self::Brace(at)
            | Self::VariableName(at)
            | Self::Hex(at)
            | Self::WordExpansion(at)
            | Self::Words(at)
            | Self::Long(at) => at,
        }
    }

    /// The line, and a mark below the place.
    pub(super) fn excerpt(&self, line: &str) -> String {
        match self {
            Self::Words(_) | Self::Long(_) => String::new(),
            _ => excerpt(line, self.at()),
        }
    }

    pub(super) fn remedy(&self) -> &'static str {
        match self {
            Self::Quote(_) => "close it, or write a backslash before the quote",
            Self::Brace(_) => "write `${NAME}` or `${NAME-default}`",
            Self::VariableName(_) => "write `${NAME}`, or `\\$` for a dollar sign",
            Self::Hex(_) => "write two hexadecimal digits, or `\\\\` for a backslash",
            Self::WordExpansion(_) => "write `${NAME[*]}`",
            Self::Words(_) => "write it in several lines",
            Self::Long(_) => "set shorter variables",
        }
    }
}

/// Reads `line`, which has no line feed.
pub(super) fn lex(line: &str, environment: &Environment) -> Result<LexedLine, Unreadable> {
    let mut lexer = Lexer { line: line.as_bytes(), at: 0, environment, read: LexedLine::default(), long: 0 };
    lexer.skip_blanks();
    lexer.begin_word();
    lexer.run()?;
    Ok(lexer.read)
}

struct Lexer<'l> {
    line: &'l [u8],
    at: usize,
    environment: &'l Environment,
    read: LexedLine,
    /// Bytes of all words.
    long: usize,
}

impl<'l> Lexer<'l> {
    fn run(&mut self) -> Result<(), Unreadable> {
        // The quote that is open, with its place.
        let mut open: Option<(u8, usize)> = None;
        while let Some(byte) = self.peek(0) {
            match (byte, open) {
                (b'\r', _) => {
                    self.read.cut = Some(self.at).filter(|at| !self.line[*at..].trim_ascii().is_empty());
                    break;
                }
                (b'#', None) => {
                    self.read.comment = Some(self.at + 1);
                    break;
                }
                (b'"' | b'\'', None) => {
                    open = Some((byte, self.at));
                    self.word().quoted = true;
                    self.at += 1;
                }
                (_, Some((quote, _))) if byte == quote => {
                    open = None;
                    self.at += 1;
                }
                (b'\\', None | Some((b'"', _))) => {
                    let escaped = self.escape(open.is_some())?;
                    self.put(escaped)?;
                }
                (b'$', Some((b'"', _))) => self.variable()?,
                (_, None) if is_blank(byte) => {
                    self.skip_blanks();
                    self.next_word()?;
                }
                _ => {
                    self.put(byte)?;
                    self.at += 1;
                }
            }
        }
        open.map_or(Ok(()), |(_, at)| Err(Unreadable::Quote(at)))
    }

    /// The byte that an escape stands for. One that is none stays as it is, with its backslash.
    fn escape(&mut self, weak: bool) -> Result<u8, Unreadable> {
        let next = self.peek(1);
        let (byte, length) = match next {
            Some(b' ' | b'\\' | b'#' | b'\'' | b'"') => (next.unwrap_or_default(), 2),
            Some(b'$') if weak => (b'$', 2),
            Some(b't') => (b'\t', 2),
            Some(b'n') => (b'\n', 2),
            Some(b'r') => (b'\r', 2),
            Some(b'x') => {
                let digits = self.line.get(self.at + 2..self.at + 4).and_then(|digits| str::from_utf8(digits).ok());
                let digits = digits.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));
                let value = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok());
                (value.ok_or(Unreadable::Hex(self.at))?, 4)
            }
            _ => (b'\\', 1),
        };
        self.at += length;
        Ok(byte)
    }

    /// `$NAME`, `${NAME}`, `${NAME-default}` and `${NAME[*]}`, whose blanks separate words.
    fn variable(&mut self) -> Result<(), Unreadable> {
        self.at += 1;
        let brace = self.at;
        let braces = self.peek(0) == Some(b'{');
        self.at += usize::from(braces);
        let name = self.name()?;
        let environment = self.environment;
        let mut value = environment.get(name).map(str::as_bytes);
        let split = braces && self.peek(0) == Some(b'[');
        if split {
            if self.line.get(self.at..self.at + 3) != Some(b"[*]") {
                return Err(Unreadable::WordExpansion(self.at));
            }
            self.at += 3;
        }
        if braces {
            let rest = &self.line[self.at..];
            let end = match rest.first() {
                Some(b'}') => 0,
                Some(b'-') => rest.iter().position(|byte| *byte == b'}').ok_or(Unreadable::Brace(brace))?,
                _ => return Err(Unreadable::Brace(brace)),
            };
            value = value.or_else(|| rest.get(1..end));
            self.at += end + 1;
        }
        self.put_value(value.unwrap_or_default(), split)
    }

    /// A name begins with a letter, `_`, or the `.` of what HAProxy itself defines.
    fn name(&mut self) -> Result<&'l str, Unreadable> {
        let start = self.at;
        let first = self.peek(0).filter(|first| first.is_ascii_alphabetic() || b"_.".contains(first));
        first.ok_or(Unreadable::VariableName(start))?;
        self.at += 1;
        while self.peek(0).is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            self.at += 1;
        }
        let name = self.line.get(start..self.at).and_then(|name| str::from_utf8(name).ok()).unwrap_or_default();
        if name.starts_with('.') && self.environment.get(name).is_none() {
            return Err(Unreadable::VariableName(start));
        }
        Ok(name)
    }

    fn put_value(&mut self, value: &[u8], split: bool) -> Result<(), Unreadable> {
        let mut bytes = value.iter().copied().peekable();
        while let Some(byte) = bytes.next() {
            if split && is_blank(byte) {
                while bytes.next_if(|byte| is_blank(*byte)).is_some() {}
                self.next_word()?;
                self.word().quoted = true;
            } else {
                self.put(byte)?;
            }
        }
        Ok(())
    }

    fn put(&mut self, byte: u8) -> Result<(), Unreadable> {
        self.long += 1;
        if self.long > MOST_BYTES.max(self.line.len()) {
            return Err(Unreadable::Long(self.at));
        }
        self.word().bytes.push(byte);
        Ok(())
    }

    /// The word at the end of the list, which always has one.
    fn word(&mut self) -> &mut LexedWord {
        if self.read.words.is_empty() {
            self.begin_word();
        }
        let last = self.read.words.len() - 1;
        &mut self.read.words[last]
    }

    fn next_word(&mut self) -> Result<(), Unreadable> {
        if self.read.words.len() == MOST_WORDS {
            return Err(Unreadable::Words(self.at));
        }
        self.begin_word();
        Ok(())
    }

    fn begin_word(&mut self) {
        self.read.words.push(LexedWord { at: self.at, ..LexedWord::default() });
    }

    fn skip_blanks(&mut self) {
        while self.peek(0).is_some_and(is_blank) {
            self.at += 1;
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.line.get(self.at + ahead).copied()
    }
}

/// As `isspace` of the C library.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\x0b' | b'\x0c' | b'\r')
}

/// A word more makes the line an error, and so does a blank behind the last one.
const MOST_WORDS: usize = 64;

/// Of a line once its variables are replaced: a variable can hold another one many times.
const MOST_BYTES: usize = 1 << 20;
