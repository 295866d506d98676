//! Whatever the text: no panic, and every problem has a place in it. Whatever the configuration: written down and
//! read again it is the same.

use proptest::collection::vec;
use proptest::prelude::*;

use super::arbitrary::config;
use super::written::written;
use super::*;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn any_text_is_survived(text in any::<String>()) {
        survives(&text)?;
    }

    #[test]
    fn any_bytes_are_survived(bytes in vec(any::<u8>(), 0..256)) {
        if let Err(problems) = parse_bytes("f", &bytes) {
            prop_assert!(problems.iter().all(|problem| problem.line > 0 && problem.column > 0));
        }
    }

    #[test]
    fn pieces_of_toml_in_any_order_are_survived(pieces in vec(0..PIECES.len(), 0..40)) {
        survives(&pieces.into_iter().map(|piece| PIECES[piece]).collect::<String>())?;
    }

    #[test]
    fn a_mutilated_sample_is_survived(cuts in vec((any::<u16>(), 0..40usize, 0..PIECES.len()), 1..8)) {
        let mut text = SAMPLE.replace("# ", "");
        if cuts.len() % 2 == 0 {
            text = SAMPLE.to_owned();
        }
        for (at, length, piece) in cuts {
            let start = text.floor_char_boundary(usize::from(at) % (text.len() + 1));
            let end = text.floor_char_boundary((start + length).min(text.len())).max(start);
            text.replace_range(start..end, PIECES[piece]);
        }
        survives(&text)?;
    }

    #[test]
    fn what_is_written_is_what_is_meant(config in config()) {
        let text = written(&config);
        match parse("f", &text) {
            Ok(read) => prop_assert_eq!(read, config, "{}", text),
            Err(problems) => prop_assert!(false, "{}\n{}", problems, text),
        }
    }
}

fn survives(text: &str) -> Result<(), TestCaseError> {
    let Err(problems) = parse("f", text) else {
        return Ok(());
    };
    prop_assert!(problems.iter().len() > 0);
    let lines: Vec<_> = text.split('\n').collect();
    let mut last = (0, 0);
    for problem in &problems {
        let place = (problem.line, problem.column);
        prop_assert!(place >= last, "{} is out of order in {:?}", problem, text);
        last = place;
        let line = lines.get(problem.line.wrapping_sub(1));
        let columns = 1..=line.map_or(0, |line| line.chars().count() + 1);
        prop_assert!(columns.contains(&problem.column), "{} is not within {:?}", problem, text);
        prop_assert!(!problem.message.contains(char::is_control), "{:?}", problem);
    }
    Ok(())
}

/// What TOML is made of, and what breaks it.
const PIECES: &[&str] = &[
    "",
    "\n",
    "[",
    "]",
    "[[",
    "]]",
    "{",
    "}",
    "=",
    ",",
    ".",
    "\"",
    "'",
    "\"\"\"",
    "'''",
    "#",
    "\\",
    "\u{0}",
    "\r",
    "\r\n",
    " = 5\n",
    " = \"5s\"\n",
    " = [1, ",
    " = { a = 1",
    "é",
    "\u{feff}",
    "frontend",
    "backend",
    "[frontend.web]\n",
    "[backend.app]\n",
    "[defaults.backend]\n",
    "[backend.app.servers]\n",
    "[global]\n",
    "[[backend.app]]\n",
    "backend = \"app\"\n",
    "bind = [\":80\"]\n",
    "check",
    "timeout",
    "servers",
    "a = \"h:1\"\n",
    "weight = 999\n",
    "server x 1.2.3.4:80\n",
    "[etcd",
    "0x",
    "1e9",
    "1979-05-27",
    "inf",
    "true",
    "-",
    "blance",
    "steps = [{ send = \"x\" }]\n",
    "status = 99999999999999999999",
    "\u{1b}[31m",
    "\\u0007",
];
