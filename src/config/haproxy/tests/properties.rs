//! Whatever the text: no panic, and every fate has a place in it. Whatever the words: quoted and read again they are
//! the same.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..512)) {
        survives(&bytes)?;
    }

    #[test]
    fn any_text_is_survived(text in any::<String>()) {
        survives(format!("global\n{text}\n").as_bytes())?;
    }

    #[test]
    fn pieces_of_a_cfg_in_any_order_are_survived(pieces in vec(0..PIECES.len(), 0..60)) {
        survives(pieces.into_iter().map(|piece| PIECES[piece]).collect::<String>().as_bytes())?;
    }

    #[test]
    fn pieces_of_conditions_in_any_order_are_survived(pieces in vec(0..CONDITIONS.len(), 0..60)) {
        let condition: String = pieces.into_iter().map(|piece| CONDITIONS[piece]).collect();
        survives(format!("global\n.if {condition}\n.endif\n").as_bytes())?;
    }

    #[test]
    fn a_mutilated_file_is_survived(cuts in vec((any::<u16>(), 0..40usize, 0..PIECES.len()), 1..8)) {
        let mut text = SAMPLE.to_owned();
        for (at, length, piece) in cuts {
            let start = text.floor_char_boundary(usize::from(at) % (text.len() + 1));
            let end = text.floor_char_boundary((start + length).min(text.len())).max(start);
            text.replace_range(start..end, PIECES[piece]);
        }
        survives(text.as_bytes())?;
    }

    #[test]
    fn quoted_words_are_read_as_they_were(
        written in vec(("[^\0]{0,20}", 0..3usize), 1..8),
        value in "[^\0]{0,20}",
    ) {
        let quoted: Vec<_> = written.iter().map(|(word, how)| quoted(word, *how)).collect();
        let text = format!("listen l\n w {} \"x${{V}}y\" end\n", quoted.join(" "));
        let (lines, fates) = read_with(&text, &mut Environment::new([("V", value.as_str())]));
        prop_assert_eq!(fates.to_string(), "", "{}", text);
        let read: Vec<_> = lines[1].words.iter().map(|word| word.text.clone()).collect();
        let mut expected = vec!["w".to_owned()];
        expected.extend(written.iter().map(|(word, _)| word.clone()));
        expected.extend([format!("x{value}y"), "end".to_owned()]);
        prop_assert_eq!(read, expected, "{}", text);
    }
}

/// A word so that HAProxy reads it back: between weak quotes, between strong ones, or with escapes alone.
fn quoted(word: &str, how: usize) -> String {
    match how {
        1 if !word.contains(['\'', '\n', '\r']) => format!("'{word}'"),
        2 if !word.is_empty() => word.chars().map(escaped).collect(),
        _ => format!(
            "\"{}\"",
            word.chars().map(|c| if c == '$' { "\\$".to_owned() } else { escaped(c) }).collect::<String>()
        ),
    }
}

fn escaped(c: char) -> String {
    match c {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        ' ' | '\\' | '#' | '"' | '\'' => format!("\\{c}"),
        c if c.is_ascii_control() => format!("\\x{:02x}", c as u32),
        c => c.to_string(),
    }
}

fn survives(bytes: &[u8]) -> Result<(), TestCaseError> {
    let source = Source::new("f", bytes);
    let text = source.text.clone();
    let mut fates = Fates::new(["f"]);
    let mut environment = Environment::new([("X", "a b"), ("A", "$X ${X[*]} \" \\")]);
    let read = lines(&[source], &mut environment, &mut fates);
    let written: Vec<_> = text.split('\n').collect();
    let within = |at: Spot| {
        let line = written.get(at.line.wrapping_sub(1)).map_or(0, |line| line.chars().count());
        // The mark before the first line is no column.
        at.file == 0 && (1..=line + 2).contains(&at.column)
    };
    prop_assert!(fates.iter().all(|fate| within(fate.at)), "{fates} {text:?}");
    prop_assert!(fates.iter().is_sorted_by_key(|fate| fate.at));
    prop_assert!(!fates.to_string().contains(|c: char| c.is_control() && c != '\n'), "{fates} {text:?}");
    prop_assert!(read.iter().all(|line| within(line.at) && line.words.iter().all(|word| within(word.at))));
    prop_assert!(read.iter().all(|line| line.words.first().is_none_or(|word| !word.text.is_empty())));
    Ok(())
}

/// What a cfg is made of, and what breaks it.
const PIECES: &[&str] = &[
    "\n",
    " ",
    "\t",
    "\r",
    "\r\n",
    "\0",
    "\"",
    "'",
    "\\",
    "\\\\",
    "\\\"",
    "\\x4",
    "\\x41",
    "\\xff",
    "\\x00",
    "#",
    "$",
    "${",
    "}",
    "${X}",
    "$X",
    "${X[*]}",
    "${A-",
    "[",
    "]",
    "\n[a]\n",
    "\nglobal\n",
    "\ndefaults\n",
    "\nlisten l\n",
    "\n.if ",
    "\n.if 0\n",
    "\n.if 1\n",
    "\n.elif 1\n",
    "\n.else\n",
    "\n.endif\n",
    "\n.notice ",
    "\n.alert x\n",
    "\n.foo\n",
    "\nsetenv A \"$A$A\"\n",
    "\nunsetenv A\n",
    "\nresetenv\n",
    "\nsetenv A=\n",
    "é",
    "\u{feff}",
    "\u{1b}[31m",
    "maxconn 5",
    "no option x",
    "a",
    "\u{85}",
];

const CONDITIONS: &[&str] = &[
    "(",
    ")",
    "!",
    "&&",
    "||",
    " ",
    ",",
    "1",
    "0",
    "-",
    "0x",
    "\\\"",
    "'",
    "\\\\",
    "defined(",
    "streq(",
    "strneq(a,b)",
    "feature(",
    "version_atleast(",
    "version_before(2.6)",
    "2.8-dev1",
    "X",
    "\"$A\"",
    "é",
    "99999999999999999999",
];

const SAMPLE: &str = include_str!("sample.cfg");
