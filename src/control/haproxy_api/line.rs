//! Lines: how the bytes of a client become commands, each with its words.
//!
//! A command ends at a line end or at a semicolon; a backslash before either, or before a blank, makes it a part of a
//! word. A command whose last characters are `<<` takes the lines up to the next empty one along, as they are.

/// Bytes that have come and are not taken yet.
#[derive(Debug, Default)]
pub(super) struct Lines {
    buffer: Vec<u8>,
    /// A command that waits for the end of its payload, and what has come of that.
    waiting: Option<(Vec<u8>, Vec<u8>)>,
}

/// What was taken from the bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    Command(CommandWords),
    /// A line of a payload, or one that begins it: more is to come.
    Part,
}

/// A command, word by word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct CommandWords {
    words: Vec<String>,
    /// `None`: it had none. No command for TCP reads it.
    payload: Option<String>,
}

/// A line that is longer than any command.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooLong;

impl Lines {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether nothing is left, not even a piece of a line.
    pub(super) fn is_empty(&self) -> bool {
        self.buffer.is_empty() && self.waiting.is_none()
    }

    /// The next one that is complete.
    pub(super) fn take(&mut self) -> Result<Option<Taken>, TooLong> {
        let end = match self.waiting {
            Some(_) => self.buffer.iter().position(|byte| *byte == b'\n'),
            None => command_end(&self.buffer),
        };
        let held = self.waiting.as_ref().map_or(0, |(command, payload)| command.len() + payload.len());
        if held + end.unwrap_or(self.buffer.len()) > LONGEST {
            return Err(TooLong);
        }
        let Some(end) = end else {
            return Ok(None);
        };
        let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        Ok(Some(self.accept(line)))
    }

    fn accept(&mut self, line: Vec<u8>) -> Taken {
        match self.waiting.take() {
            None if line.ends_with(PAYLOAD) => {
                self.waiting = Some((line, Vec::new()));
                Taken::Part
            }
            None => Taken::Command(CommandWords::of(&line, None)),
            Some((command, payload)) if line.is_empty() => Taken::Command(CommandWords::of(&command, Some(&payload))),
            Some((command, mut payload)) => {
                if !payload.is_empty() {
                    payload.push(b'\n');
                }
                payload.extend(line);
                self.waiting = Some((command, payload));
                Taken::Part
            }
        }
    }
}

impl CommandWords {
    /// The words of a line. What is no UTF-8 is replaced: no name of a configuration has it.
    fn of(line: &[u8], payload: Option<&[u8]>) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let mut words = Vec::new();
        let mut rest = line;
        while words.len() < MOST_WORDS {
            rest = rest.trim_ascii_start();
            if rest.is_empty() || (payload.is_some() && rest == PAYLOAD) {
                break;
            }
            let (word, after) = word(rest);
            words.push(text(&word));
            rest = after;
        }
        Self { words, payload: payload.map(text) }
    }

    /// A word by its place; empty beyond the end, as HAProxy has it.
    pub(super) fn get(&self, index: usize) -> &str {
        self.words.get(index).map_or("", String::as_str)
    }

    pub(super) fn as_slice(&self) -> &[String] {
        &self.words
    }

    /// The same without its first word.
    pub(super) fn behind_first(&self) -> Self {
        Self { words: self.words.iter().skip(1).cloned().collect(), payload: self.payload.clone() }
    }
}

#[cfg(test)]
impl From<&str> for CommandWords {
    fn from(line: &str) -> Self {
        Self::of(line.as_bytes(), None)
    }
}

/// Where a command ends: the place of a line end or semicolon without a backslash before it.
fn command_end(bytes: &[u8]) -> Option<usize> {
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        match byte {
            b'\\' => index += 1,
            b'\n' | b';' => return Some(index),
            _ => {}
        }
        index += 1;
    }
    None
}

/// The word that a text begins with, without its backslashes, and what is behind it.
fn word(bytes: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut word = Vec::new();
    let mut index = 0;
    while let Some(byte) = bytes.get(index) {
        match byte {
            b' ' | b'\t' => break,
            b'\\' => {
                index += 1;
                word.extend(bytes.get(index));
            }
            other => word.push(*other),
        }
        index += 1;
    }
    (word, &bytes[index.min(bytes.len())..])
}

/// Ends a command that has a payload.
const PAYLOAD: &[u8] = b"<<";

/// A command with its payload. HAProxy closes beyond its buffer of 16 KiB.
const LONGEST: usize = 16 * 1024;

const MOST_WORDS: usize = 64;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn all(bytes: &[u8]) -> Vec<String> {
        let mut lines = Lines::default();
        lines.push(bytes);
        let mut found = Vec::new();
        while let Ok(Some(taken)) = lines.take() {
            match taken {
                Taken::Command(words) => {
                    let payload = words.payload.map(|payload| format!(" <<{payload}")).unwrap_or_default();
                    found.push(words.words.join("|") + &payload);
                }
                Taken::Part => found.push("+".to_owned()),
            }
        }
        found
    }

    #[test]
    fn lines_become_commands() {
        for (bytes, commands) in [
            ("show stat\n", &["show|stat"][..]),
            ("show stat\r\nshow info", &["show|stat"]),
            ("show info;show stat\r\n", &["show|info", "show|stat"]),
            (";;\n", &["", "", ""]),
            ("a\\;b\n", &["a;b"]),
            ("  a\t b  \n", &["a|b"]),
            ("a\\ b \\\\c\n", &["a b|\\c"]),
            ("a \\\nb\n", &["a|\nb"]),
            ("set x <<\n one;two\n\nthree\n", &["+", "+", "set|x << one;two", "three"]),
            ("set x <<\n\n", &["+", "set|x <<"]),
            ("set x <<\none\r\ntwo\n\r\n", &["+", "+", "+", "set|x <<one\ntwo"]),
            ("set << x\n", &["set|<<|x"]),
        ] {
            assert_eq!(all(bytes.as_bytes()), commands, "{bytes:?}");
        }
    }

    #[test]
    fn a_line_without_end_is_refused_in_time() {
        let mut lines = Lines::default();
        lines.push(&vec![b'x'; LONGEST]);
        assert_eq!(lines.take(), Ok(None));
        lines.push(b"x");
        assert_eq!(lines.take(), Err(TooLong));
        let mut lines = Lines::default();
        lines.push(b"set x <<\n");
        assert_eq!(lines.take(), Ok(Some(Taken::Part)));
        let line = [vec![b'x'; 1000], vec![b'\n']].concat();
        let refused = (0..).find(|_| {
            lines.push(&line);
            lines.take() == Err(TooLong)
        });
        assert_eq!(refused, Some(16));
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_mean_the_same(
            bytes in vec(prop_oneof![Just(b'\n'), Just(b';'), Just(b'\\'), Just(b' '), Just(b'<'), any::<u8>()], 0..300),
            cuts in vec(1..9usize, 0..300),
        ) {
            let whole = all(&bytes);
            let mut lines = Lines::default();
            let (mut rest, mut count, mut cuts) = (&bytes[..], 0, cuts.into_iter());
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(cuts.next().unwrap_or(usize::MAX).min(rest.len()));
                lines.push(piece);
                rest = after;
                while let Some(taken) = lines.take().unwrap() {
                    if let Taken::Command(words) = taken {
                        prop_assert!(words.words.iter().all(|word| word.len() <= 3 * bytes.len()));
                    }
                    count += 1;
                }
            }
            prop_assert_eq!(count, whole.len());
        }
    }
}
