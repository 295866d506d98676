//! Text → TOML tables with positions, continuing after mistakes.
//!
//! The parser recovers from most of them. Two it does not survive: a line that is no `key = value` ends its reading,
//! and a header without `]` swallows what follows. Such a line is overwritten, byte for byte so that positions stay,
//! and the text is read again.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, Error};

use super::report::ProblemReport;
use super::words::shown;

/// A text with the lines overwritten that the parser cannot get over.
pub(super) fn mend(report: &ProblemReport<'_>) -> String {
    let mut text = report.text().to_owned();
    for _ in 0..MOST_MENDED {
        let (_, errors) = DeTable::parse_recoverable(&text);
        let mut mended = false;
        for error in &errors {
            let at = place(error, &text);
            let (start, end) = line_around(&text, at);
            let line = &report.text()[start..end];
            let filler = match error.message() {
                m if m.starts_with(NO_VALUE) => {
                    report.syntax(first_word(start, line), no_key_value(line));
                    " ".repeat(end - start)
                }
                // Its table becomes one that is unknown, and all that is reported of a broken line is its first error.
                m if m.starts_with(NO_HEADER_END) && end - start >= 3 => {
                    report.syntax(first_word(start, line), no_header(line));
                    format!("[{}]", "-".repeat(end - start - 2))
                }
                _ => continue,
            };
            if text[start..end] != filler {
                text.replace_range(start..end, &filler);
                mended = true;
            }
        }
        if !mended {
            break;
        }
    }
    text
}

/// The tables of a text that `mend` has seen; what is left of its errors goes into the report.
pub(super) fn tables<'t>(mended: &'t str, report: &ProblemReport<'_>) -> Spanned<DeTable<'t>> {
    let (tables, errors) = DeTable::parse_recoverable(mended);
    let unclosed = errors.iter().find_map(|error| {
        let closed_by = |what| match what {
            "array" => "`]`",
            _ => "`}`",
        };
        ["array", "inline table"]
            .into_iter()
            .find(|what| error.message().starts_with(&format!("unclosed {what}")))
            .map(|what| (what, closed_by(what)))
    });
    if let Some((what, end)) = unclosed {
        // The first complaint about its inside is the nearest to the place where the end was forgotten.
        let at = errors.iter().filter(|error| error.message().contains(what)).map(|error| place(error, mended)).min();
        if let Some(at) = at {
            report.swallows(at, format!("an {what} is not closed before this; add {end}"));
        }
    }
    for error in &errors {
        report.syntax(bare_word(error, mended).start, explain(error, report.text()));
    }
    tables
}

fn explain(error: &Error, text: &str) -> String {
    let word = text.get(bare_word(error, text)).unwrap_or("");
    let shown = shown(word);
    if let Some(plain) = without_typographic_quotes(word) {
        return format!("`{shown}` has typographic quotes; write \"{plain}\"");
    }
    match error.message() {
        "unexpected key or value, expected newline, `#`" if follows_comma(error, text) => {
            "there is a `,` after the value; leave it out".to_owned()
        }
        "duplicate key" => format!("`{shown}` is defined twice; keep one of them"),
        message if message.starts_with(UNQUOTED) && word.is_empty() => {
            "there is no value after `=`; write one".to_owned()
        }
        message if NOT_EVEN_A.iter().any(|start| message.starts_with(start)) && !word.is_empty() => {
            match word.to_ascii_lowercase().as_str() {
                flag @ ("true" | "false") => format!("`{shown}` is no value; write `{flag}`"),
                _ => format!("`{shown}` is not quoted; write \"{shown}\""),
            }
        }
        message if word.is_empty() => format!("this is not TOML: {message}"),
        message => format!("`{shown}` is not TOML here: {message}"),
    }
}

/// The comma may be what the parser stumbled over, or be before that.
fn follows_comma(error: &Error, text: &str) -> bool {
    let (start, end) = line_around(text, place(error, text));
    text[start..end].split('#').next().is_some_and(|code| code.trim_end().ends_with(','))
}

/// As a word processor or a web page writes them. `None`: there are none.
fn without_typographic_quotes(word: &str) -> Option<String> {
    let quotes = ['“', '”', '„', '‟', '‘', '’', '‚', '«', '»', '″'];
    let inside = word.trim_matches(|c| quotes.contains(&c) || c == ',');
    (word.starts_with(quotes) || word.ends_with(quotes)).then(|| shown(inside))
}

/// What the parser stumbled over. In the middle of what looked like a number it is the whole word.
fn bare_word(error: &Error, text: &str) -> Range<usize> {
    let span = error.span().unwrap_or_default();
    let offending = text.get(span.clone()).unwrap_or("");
    if offending.is_empty() || !error.message().starts_with("invalid ") {
        return span;
    }
    let ends = |c: char| c.is_whitespace() || "=,[]{}#\"'".contains(c);
    let start = text[..span.start].rfind(ends).map_or(0, |at| at + 1);
    let end = text[span.end..].find(ends).map_or(text.len(), |length| span.end + length);
    // A separator in front of the word may be longer than one byte.
    if text.is_char_boundary(start) { start..end } else { span }
}

fn no_key_value(line: &str) -> String {
    format!("`{}` is no `key = value`; write it so", shown(line.trim()))
}

fn no_header(line: &str) -> String {
    let inside = line.trim().trim_start_matches('[');
    let inside = inside.split([']', '#']).next().unwrap_or("");
    let words: Vec<_> = inside.split_whitespace().collect();
    let meant = if words.is_empty() { "frontend.NAME".to_owned() } else { words.join(".") };
    format!("`{}` is no table header; write `[{}]`", shown(line.trim()), shown(&meant))
}

fn place(error: &Error, text: &str) -> usize {
    error.span().map_or(0, |span| text.floor_char_boundary(span.start))
}

/// Start and end of the line that holds this offset, without its end-of-line characters.
fn line_around(text: &str, at: usize) -> (usize, usize) {
    let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let end = text[at..].find('\n').map_or(text.len(), |length| at + length);
    let line = &text[start..end];
    (start, start + line.strip_suffix('\r').unwrap_or(line).len())
}

fn first_word(start: usize, line: &str) -> usize {
    start + (line.len() - line.trim_start().len())
}

const NO_VALUE: &str = "key with no value";
const NO_HEADER_END: &str = "unclosed table";
const UNQUOTED: &str = "string values must be quoted";

/// A word without quotes is taken for what it begins like.
const NOT_EVEN_A: [&str; 5] = [UNQUOTED, "invalid float", "invalid boolean", "invalid date", "invalid integer"];

/// Rounds of mending: a text with more broken lines than this is no configuration, and the rest can wait.
const MOST_MENDED: usize = 64;
