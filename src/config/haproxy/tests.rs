//! The grammar as a whole: which words come out, and what is said of what cannot be read.

use super::fate::{Fates, Verdict};
use super::lines::{Line, lines};
use super::spot::Spot;
use super::*;

mod accepted;
mod checks;
mod documented;
mod meanings;
mod mixtures;
mod properties;
mod samples;
mod stats_sockets;
mod translations;

fn read(text: &str) -> (Vec<Vec<String>>, Vec<String>) {
    let (lines, fates) = read_with(text, &mut Environment::new([("X", "80"), ("LIST", " a  b "), ("EMPTY", "")]));
    let words = lines.into_iter().filter(|line| !line.words.is_empty());
    let words = words.map(|line| line.words.into_iter().map(|word| word.text).collect()).collect();
    (words, fates.iter().map(ToString::to_string).collect())
}

fn read_with(text: &str, environment: &mut Environment) -> (Vec<Line>, Fates) {
    let source = Source::new("f", text.as_bytes());
    let mut fates = Fates::new(["f"]);
    (lines(&[source], environment, &mut fates), fates)
}

/// The words of the one line of a section.
fn words(line: &str) -> Vec<String> {
    let (mut lines, fates) = read(&format!("listen l\n{line}\n"));
    assert_eq!(fates, Vec::<String>::new(), "{line}");
    if lines.len() > 1 { lines.remove(1) } else { Vec::new() }
}

#[test]
fn words_are_those_of_haproxy() {
    let table: &[(&str, &[&str])] = &[
        (" a\tb  c ", &["a", "b", "c"]),
        ("a\x0bb\x0cc", &["a", "b", "c"]),
        ("a # b", &["a"]),
        ("a#b", &["a"]),
        ("a\\#b", &["a#b"]),
        ("a\\ b\\\\c", &["a b\\c"]),
        ("a\\nb\\rc\\td", &["a\nb\rc\td"]),
        ("a\\qb\\", &["a\\qb\\"]),
        ("a\\x41\\x62c", &["aAbc"]),
        ("a\\xc3\\xa9", &["aé"]),
        ("é ü", &["é", "ü"]),
        ("\"a b\" c", &["a b", "c"]),
        ("\"a 'b\\\" # c\"", &["a 'b\" # c"]),
        ("'a \"b\\n $X'", &["a \"b\\n $X"]),
        ("a\"b c\"'d e'f", &["ab cd ef"]),
        ("a\\'b\\\"c", &["a'b\"c"]),
        ("a \"\" b", &["a", "", "b"]),
        ("a \"\"", &["a"]),
        ("a '' # c", &["a", ""]),
        ("$X ${X}", &["$X", "${X}"]),
        ("a\\$X", &["a\\$X"]),
        ("\"a$X.${X}b\"", &["a80.80b"]),
        ("\"a\\$X\"", &["a$X"]),
        ("\"a$NO.b\"", &["a.b"]),
        ("\"${NO-d e}${X-d}${EMPTY-d}\"", &["d e80"]),
        ("\"${NO-d\"e}\"", &["d\"e"]),
        ("a \"x${LIST[*]}y\" b", &["a", "x", "a", "b", "y", "b"]),
        ("a \"${LIST[*]}\"", &["a", "", "a", "b"]),
        ("a \"${NO[*]-c d}\"", &["a", "c", "d"]),
        ("a \"${LIST}\"", &["a", " a  b "]),
        ("a \"${.FILE}:${.LINE} $.SECTION\"", &["a", "f:2 l"]),
        ("a b\r", &["a", "b"]),
        ("a b \r", &["a", "b"]),
    ];
    for (line, expected) in table {
        assert_eq!(words(line), *expected, "{line}");
    }
    let most = vec!["w"; 64];
    assert_eq!(words(&most.join(" ")), most);
}

#[test]
fn what_cannot_be_read_has_haproxys_words_and_a_remedy() {
    let table = [
        ("a \"b", "f:2:3: error: unmatched quote at position 3; close it, or write a backslash before the quote"),
        ("a 'b", "f:2:3: error: unmatched quote at position 3; "),
        ("a \"b\rc\"", "f:2:3: error: unmatched quote at position 3; "),
        ("a \"${X", "f:2:5: error: unmatched brace in environment variable name at position 5; "),
        ("é \"${X-b", "f:2:5: error: unmatched brace in environment variable name at position 6; "),
        ("a \"$1\"", "f:2:5: error: forbidden first char in environment variable name at position 5; "),
        ("a \"${}\"", "f:2:6: error: forbidden first char in environment variable name at position 6; "),
        ("a \"${.FOO}\"", "f:2:6: error: forbidden first char in environment variable name at position 6; "),
        ("a \\x4", "f:2:3: error: truncated or invalid hexadecimal sequence at position 3; "),
        ("a \"${X[0]}\"", "f:2:7: error: truncated or invalid word expansion sequence at position 7; "),
        ("a \\xff", "f:2:3: error: the word is not UTF-8 text once its escapes are undone; in `tcp-check` write "),
        ("a b\rc", "f:2:4: notice: a carriage return ends the line for HAProxy; the rest is not read; "),
        ("a b\\x00c", "f:2:3: notice: `\\x00` ends the word for HAProxy; the rest is not read; "),
        ("\"\" a", "f:2:1: ignored: the line begins with an empty word, and HAProxy skips it; "),
        (".notice a\0b", "f:2:1: notice: 'a'"),
        ("a\0b", "f:2:2: error: Stray NUL character at position 2; "),
        ("[a]", "f:2:1: ignored: the scope `a` means nothing; "),
        ("[a] b", "f:2:1: error: character 'b' is not permitted after scope declaration; "),
        ("[]", "f:2:1: error: this is no scope of HAProxy"),
        (".foo", "f:2:1: error: unknown directive '.foo'; known are "),
        (".notice a b", "f:2:1: error: Unexpected argument 'b' for '.notice'; "),
        (".notice \"a $X\"", "f:2:1: notice: 'a 80'"),
        (".warning a", "f:2:1: notice: 'a'"),
        (".alert", "f:2:1: error: ''"),
        (".if bad(", "f:2:1: error: unparsable conditional expression 'bad(' in '.if' at position 1"),
        (".else", "f:2:1: error: lone '.else' with no matching '.if'"),
        (".elif 1", "f:2:1: error: lone '.elif' with no matching '.if'"),
        (".endif", "f:2:1: error: lone '.endif' with no matching '.if'"),
    ];
    for (line, start) in table {
        let (_, fates) = read(&format!("global\n{line}\n.if 1\n.endif\n"));
        assert!(fates.first().is_some_and(|fate| fate.starts_with(start)), "{line:?}: {fates:?}");
    }
    let (_, fates) = read(&format!("global\n{} \n", vec!["w"; 64].join(" ")));
    assert_eq!(fates, ["f:2:129: error: too many words, truncating after word 64; write it in several lines"]);
}

#[test]
fn the_file_as_a_whole_may_be_wrong() {
    let table: &[(&str, &[&str])] = &[
        (
            "global\n maxconn 1",
            &["f:2:11: error: Missing LF on last line, file might have been truncated at position 11"],
        ),
        ("\u{feff}global\n", &["f:1:1: error: unknown keyword '\\u{feff}global' out of section: the file begins with"]),
        ("maxconn 1\nglobal\n", &["f:1:1: error: unknown keyword 'maxconn' out of section; "]),
        ("global\n.if 1\n", &["f:2:1: error: non-terminated '.if' block; "]),
        (
            "global\n.if 0\n.else x\n.else\n.elif 1\n.endif y\n.endif\n",
            &[
                "f:3:1: error: Unexpected argument 'x' for '.else'",
                "f:4:1: error: '.else' after '.else' is not permitted",
                "f:5:1: error: '.elif' after '.else' is not permitted",
                "f:6:1: error: Unexpected argument 'y' for '.endif'",
                "f:7:1: error: lone '.endif' with no matching '.if'",
            ],
        ),
        ("global\n.if 0\n \"\n a \\xff\n.alert x\n.foo\n.endif\n", &["f:3:2: error: unmatched quote at position 2"]),
        ("", &[]),
        ("\n# c\n", &[]),
    ];
    for (text, starts) in table {
        let (_, fates) = read(text);
        assert_eq!(fates.len(), starts.len(), "{text:?}: {fates:?}");
        for (fate, start) in fates.iter().zip(*starts) {
            assert!(fate.starts_with(start), "{text:?}: {fate}");
        }
    }
    let (_, fates) = read(&"bogus\n".repeat(60));
    assert_eq!(fates.len(), 51);
    assert!(fates[50].starts_with("f:51:1: error: too many fatal errors (50), stopping now"));
    let latin = Source::new("f", b"# caf\xe9\nglobal # \xc3\xa9\n");
    assert_eq!((latin.text.as_str(), latin.latin_line), ("# café\nglobal # é\n", Some(1)));
}

#[test]
fn conditions_choose_lines() {
    let table = [
        (".if 1\n a\n.else\n b\n.endif\n c\n", "a c"),
        (".if 0\n a\n.else\n b\n.endif\n c\n", "b c"),
        (".if 0\n a\n.elif 1\n b\n.elif 1\n c\n.else\n d\n.endif\n", "b"),
        (".if 1\n a\n.if 0\n b\n.else\n c\n.endif\n d\n.else\n e\n.if 1\n f\n.endif\n.endif\n", "a c d"),
        (".if 0\n.if 1\n a\n.else\n b\n.endif\n.elif bad(\n.endif\n", ""),
        (".if 1\n.elif bad(\n.endif\n.if 0\n.if bad(\n.endif\n.endif\n a\n", "a"),
        (".if streq(\"$X\",80) && defined(X)\n a\n.endif\n", "a"),
        (".if \"streq($X,80) && defined(X)\"\n a\n.endif\n", "a"),
        (".if\n a\n.else\n b\n.endif\n", "b"),
    ];
    for (text, expected) in table {
        let (lines, _) = read(&format!("global\n{text}"));
        assert_eq!(lines[1..].concat().join(" "), expected, "{text}");
    }
    let nested = |depth: usize| read(&format!("global\n{}{}", ".if 1\n".repeat(depth), ".endif\n".repeat(depth))).1;
    assert_eq!(nested(99), Vec::<String>::new());
    assert_eq!(nested(100), ["f:101:1: error: too many nested '.if', max is 100"]);
}

#[test]
fn variables_are_as_they_are_at_each_line() {
    let text = "global\n a \"$A\"\n setenv A 1 # why\n a \"$A\"\n.if defined(A)\n unsetenv A\n.endif\n a \"$A\"\n\
                defaults\n setenv A 2\n b \"$A\"\n";
    let (lines, fates) = read_with(text, &mut Environment::default());
    let shown: Vec<_> = lines
        .iter()
        .map(|line| {
            let words: Vec<_> = line.words.iter().map(|word| word.text.as_str()).collect();
            format!("{}{}", words.join(" "), line.comment.as_deref().unwrap_or_default())
        })
        .collect();
    let frozen = " the variables of this line are replaced by their values";
    let expected = [
        "global".to_owned(),
        format!("a{frozen}"),
        " why".to_owned(),
        format!("a 1{frozen}"),
        " `.if defined(A)` holds here".to_owned(),
        String::new(),
        String::new(),
        format!("a{frozen}"),
        "defaults".to_owned(),
        "setenv A 2".to_owned(),
        format!("b{frozen}"),
    ];
    assert_eq!(shown, expected);
    assert_eq!((fates.fine(), fates.iter().len()), (4, 0));
}

#[test]
fn sections_and_conditions_end_with_their_file() {
    let sources = [Source::new("a", b"global\n.if 0\n"), Source::new("b", b" maxconn 1\n")];
    let mut fates = Fates::new(["a", "b"]);
    lines(&sources, &mut Environment::default(), &mut fates);
    let told: Vec<_> = fates.iter().map(ToString::to_string).collect();
    assert!(told[0].starts_with("a:2:1: error: non-terminated '.if' block"), "{told:?}");
    assert!(told[1].starts_with("b:1:2: error: unknown keyword 'maxconn' out of section"), "{told:?}");
    assert_eq!(told.len(), 2);
}

#[test]
fn fates_are_sorted_and_serialize() {
    let mut fates = Fates::new(["f"]);
    let at = |line| Spot { file: 0, line, column: 3 };
    fates.error(at(2), "what", "remedy");
    fates.notice(at(1), "this", "");
    fates.refused(at(2), "more", "");
    fates.ok();
    assert_eq!(fates.to_string(), "f:1:3: notice: this\nf:2:3: error: what; remedy\nf:2:3: refused: more");
    assert_eq!((fates.fine(), fates.worst()), (1, Verdict::Error));
    let json = serde_json::to_value(fates.iter().next().unwrap()).unwrap();
    let expected = r#"{"file":"f","line":1,"column":3,"verdict":"notice","reason":"this","remedy":""}"#;
    assert_eq!(json, serde_json::from_str::<serde_json::Value>(expected).unwrap());
}

#[test]
fn ten_thousand_lines_are_read_in_bounded_work() {
    let mut text = "global\n maxconn 1000\nlisten l\n".to_owned();
    for number in 0..9997 {
        text += &format!(" server s{number} \"10.0.${{X}}.{}\":80 check inter 2s # c\n", number % 250);
    }
    let start = std::time::Instant::now();
    let (lines, fates) = read_with(&text, &mut Environment::new([("X", "80")]));
    println!("FIGURE 10,000 lines of haproxy.cfg as words: {:?}", start.elapsed());
    assert_eq!((lines.len(), fates.iter().len()), (10_000, 0));
    // A variable that holds another one many times is refused before it fills the memory.
    let mut text = "global\n setenv A 0123456789\n".to_owned();
    text += &" setenv A \"$A$A$A$A$A$A$A$A\"\n".repeat(20);
    let (_, fates) = read(&text);
    assert!(fates[0].contains("line too long") && fates.len() > 10, "{fates:?}");
}
