//! Sources → lines of words: without what conditions exclude, with variables as they are at each line.

use super::super::words::shown;
use super::conditions::Conditions;
use super::environment::Environment;
use super::fate::Fates;
use super::lexer::{LexedLine, LexedWord, lex};
use super::recognise::SECTIONS;
use super::sources::Source;
use super::spot::Spot;

/// A word with its quotes and escapes undone and its variables replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) text: String,
    pub(crate) at: Spot,
    /// A part of it at least stood in quotes.
    pub(crate) quoted: bool,
}

/// What stands on a line. Without words it is blank, or a comment alone, or has done its work here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) words: Vec<Word>,
    /// What follows `#`, as it stands there.
    pub(crate) comment: Option<String>,
    /// Of its first word, or of its comment.
    pub(crate) at: Spot,
}

/// All lines but those that conditions exclude; each begins, or is within, a section of its own file. Those that set
/// variables and those that begin with `.` are done with, and of them only the comment is left.
pub(crate) fn lines(sources: &[Source], environment: &mut Environment, fates: &mut Fates) -> Vec<Line> {
    let mut lines = Vec::new();
    for (file, source) in sources.iter().enumerate() {
        environment.set(".FILE", &source.name);
        environment.set(".SECTION", "");
        let conditions = Conditions::default();
        let mut reader =
            FileReader { file, environment, fates, conditions, section: String::new(), line: 0, errors: 0 };
        reader.read(source, &mut lines);
    }
    lines
}

struct FileReader<'a> {
    file: usize,
    environment: &'a mut Environment,
    fates: &'a mut Fates,
    conditions: Conditions,
    /// The word that began the section; empty before the first one.
    section: String,
    line: usize,
    errors: usize,
}

impl FileReader<'_> {
    fn read(&mut self, source: &Source, lines: &mut Vec<Line>) {
        if let Some(line) = source.latin_line {
            let at = Spot { file: self.file, line, column: 1 };
            self.fates.notice(at, "this is not UTF-8 and is read as ISO-8859-1", "save the file as UTF-8 text");
        }
        let text = self.without_mark(&source.text);
        for line in text.split_inclusive('\n') {
            self.line += 1;
            self.environment.set(".LINE", &self.line.to_string());
            if self.errors >= MOST_ERRORS {
                let what = format!("too many fatal errors ({MOST_ERRORS}), stopping now");
                return self.error(0, "", what, "mend the first ones");
            }
            if let Some(at) = line.find('\0') {
                lines.extend(self.read_line(&line[..at]));
                let what = format!("Stray NUL character at position {}", at + 1);
                return self.error(at, line, what, "save the file as text; what follows is not read");
            }
            let code = line.strip_suffix('\n');
            lines.extend(self.read_line(code.unwrap_or(line)));
            if code.is_none() {
                let what =
                    format!("Missing LF on last line, file might have been truncated at position {}", line.len() + 1);
                self.error(line.len(), line, what, "end the line with a newline");
            }
        }
        if self.conditions.is_open() {
            self.error(0, "", "non-terminated '.if' block", "end it with `.endif`");
        }
    }

    /// The text behind the mark that some editors put before it, which is part of the first word for HAProxy.
    fn without_mark<'t>(&mut self, text: &'t str) -> &'t str {
        let Some(text) = text.strip_prefix('\u{feff}') else {
            return text;
        };
        let word = shown(text.split(char::is_whitespace).next().unwrap_or_default());
        self.line = 1;
        let what =
            format!("unknown keyword '\\u{{feff}}{word}' out of section: the file begins with a byte-order mark");
        self.error(0, "", what, "save it without, as plain UTF-8");
        self.line = 0;
        text
    }

    /// `None`: the line is not there.
    fn read_line(&mut self, text: &str) -> Option<Line> {
        if text.trim_start().starts_with('[') {
            self.scope(text);
            return None;
        }
        let lexed = match lex(text, self.environment) {
            Ok(lexed) => lexed,
            Err(error) => {
                self.errors += 1;
                let at = self.spot(error.at(), text);
                self.fates.unreadable(at, error.to_string(), error.remedy(), error.excerpt(text));
                return None;
            }
        };
        let comment = lexed.comment.map(|at| text[at..].trim_end_matches('\r').to_owned());
        let comment_at = lexed.comment.map_or(0, |at| at - 1);
        if !self.conditions.hold() && !lexed.words.first().is_some_and(|word| word.bytes.starts_with(b".")) {
            return None;
        }
        let mut words = self.words(text, &lexed);
        let is_blank = words.iter().all(|word| word.text.is_empty()) && words.len() < 2;
        let at = words.first().filter(|_| !is_blank).map_or_else(|| self.spot(comment_at, text), |word| word.at);
        let was_there = self.conditions.hold();
        let is_done = is_blank || {
            let texts: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
            self.do_here(&texts, at)
        };
        let code = &text[..lexed.comment.map_or(text.len(), |at| at - 1)];
        let remark =
            if is_done { self.decided(&words, was_there) } else { is_frozen(code, &words).then_some(FROZEN.into()) };
        if !self.conditions.hold() && remark.is_none() {
            return None;
        }
        let comment = match (comment, remark) {
            (Some(comment), Some(remark)) => Some(format!("{};{remark}", comment.trim_end())),
            (comment, remark) => comment.or(remark),
        };
        if is_done {
            words.clear();
        } else if words.last().is_some_and(|word| word.text.is_empty()) {
            words.pop();
        }
        Some(Line { words, comment, at })
    }

    /// Whether the line says nothing to the sections.
    fn do_here(&mut self, words: &[&str], at: Spot) -> bool {
        let (first, rest) = words.split_first().map_or(("", words), |(first, rest)| (*first, rest));
        if first.is_empty() {
            self.fates.ignored(at, "the line begins with an empty word, and HAProxy skips it", "leave the word out");
            return true;
        }
        if let Some(obeyed) = self.conditions.obey(first, rest, self.environment) {
            self.tell(obeyed, at, "");
            return true;
        }
        if first.starts_with('.') {
            if self.conditions.hold() {
                self.say(first, rest, at);
            }
            return true;
        }
        if SECTIONS.contains(&first) {
            self.section = first.to_owned();
            self.environment.set(".SECTION", rest.first().unwrap_or(&first));
        } else if self.section.is_empty() {
            let what = format!("unknown keyword '{}' out of section", shown(first));
            self.tell(Err(what), at, "begin the file with e.g. `global` or `defaults`");
            return true;
        } else if self.section == "global"
            && let Some(obeyed) = self.environment.obey(words)
        {
            self.tell(obeyed.map_err(|error| error.to_string()), at, "write `setenv NAME VALUE`");
            return true;
        }
        false
    }

    /// What a condition came to, for the text that has only the lines it chose.
    fn decided(&self, words: &[Word], was_there: bool) -> Option<String> {
        let first = words.first().map_or("", |word| word.text.as_str());
        let (holds, changes) = (self.conditions.hold(), self.conditions.hold() != was_there);
        let decides = (first == ".if" && was_there) || ([".elif", ".else"].contains(&first) && changes);
        let texts: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
        let what = if holds { "holds here" } else { "does not hold here, and its lines are left out" };
        decides.then(|| format!(" `{}` {what}", shown(texts.join(" ").trim_end())))
    }

    /// `.notice` and its like say their one argument.
    fn say(&mut self, word: &str, rest: &[&str], at: Spot) {
        if !["notice", "warning", "alert", "diag"].contains(&&word[1..]) {
            let remedy = "known are `.if`, `.elif`, `.else`, `.endif`, `.notice`, `.warning`, `.alert` and `.diag`";
            return self.tell(Err(format!("unknown directive '{}'", shown(word))), at, remedy);
        }
        if let [_, argument, ..] = rest
            && !argument.is_empty()
        {
            let what = format!("Unexpected argument '{}' for '{word}'", shown(argument));
            return self.tell(Err(what), at, "use quotes if the message should contain spaces");
        }
        let message = format!("'{}'", rest.first().unwrap_or(&""));
        match word {
            ".alert" => self.tell(Err(message), at, ""),
            ".diag" => self.fates.ok(),
            _ => self.fates.notice(at, message, ""),
        }
    }

    /// `[name]` before a section, which nothing ever used.
    fn scope(&mut self, text: &str) {
        let inside = text.trim_start().trim_start_matches('[');
        let at = text.len() - text.trim_start().len();
        let (name, behind) = inside.split_once(']').unwrap_or((inside, ""));
        let is_name = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.:-".contains(&b));
        let behind = behind.trim_start();
        if !inside.contains(']') || !is_name {
            let what = "this is no scope of HAProxy, which would be a name in brackets";
            self.error(at, text, what, "leave the line out; in TOML all of the file is TOML");
        } else if !behind.is_empty() && !behind.starts_with('#') {
            let c = behind.chars().next().unwrap_or_default();
            self.error(at, text, format!("character '{c}' is not permitted after scope declaration"), "leave it out");
        } else {
            self.fates.ignored(
                self.spot(at, text),
                format!("the scope `{}` means nothing", shown(name)),
                "leave the line out",
            );
        }
    }

    fn words(&mut self, text: &str, lexed: &LexedLine) -> Vec<Word> {
        if let Some(at) = lexed.cut {
            let at = self.spot(at, text);
            self.fates.notice(at, "a carriage return ends the line for HAProxy; the rest is not read", "leave it out");
        }
        lexed.words.iter().map(|word| self.word(text, word)).collect()
    }

    /// A NUL ends a word for HAProxy. What is no UTF-8 cannot be carried.
    fn word(&mut self, line: &str, word: &LexedWord) -> Word {
        let at = self.spot(word.at, line);
        let bytes = word.bytes.split(|byte| *byte == 0).next().unwrap_or_default();
        if bytes.len() < word.bytes.len() {
            self.fates.notice(at, "`\\x00` ends the word for HAProxy; the rest is not read", "leave it out");
        }
        let text = String::from_utf8_lossy(bytes).into_owned();
        if str::from_utf8(bytes).is_err() {
            let what = "the word is not UTF-8 text once its escapes are undone".to_owned();
            self.tell(Err(what), at, "in `tcp-check` write `send-binary` or `expect binary` with hexadecimal digits");
        }
        Word { text, at, quoted: word.quoted }
    }

    /// The fate of a line that is done with here.
    fn tell(&mut self, done: Result<(), String>, at: Spot, remedy: &str) {
        match done {
            Ok(()) => self.fates.ok(),
            Err(what) => {
                self.errors += 1;
                self.fates.error(at, what.trim_end_matches('.'), remedy);
            }
        }
    }

    fn error(&mut self, at: usize, line: &str, what: impl Into<String>, remedy: &str) {
        let at = self.spot(at, line);
        self.tell(Err(what.into()), at, remedy);
    }

    /// Of a byte of this line.
    fn spot(&self, at: usize, line: &str) -> Spot {
        let column = line[..line.floor_char_boundary(at)].chars().count() + 1;
        Spot { file: self.file, line: self.line, column }
    }
}

/// Whether variables of the line are replaced by their values.
fn is_frozen(code: &str, words: &[Word]) -> bool {
    let named = |text: &str| {
        let begins = |rest: &&str| rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '{');
        text.split('$').skip(1).filter(begins).count()
    };
    let left: usize = words.iter().map(|word| named(&word.text)).sum();
    let has_address = words.first().is_some_and(|word| WITH_ADDRESSES.contains(&word.text.as_str()));
    named(code) > left || (has_address && left > 0)
}

/// Of the TOML that is written.
const FROZEN: &str = " the variables of this line are replaced by their values";
const WITH_ADDRESSES: [&str; 6] = ["bind", "server", "server-template", "source", "log", "nameserver"];

/// After so many HAProxy does not go on either.
const MOST_ERRORS: usize = 50;
