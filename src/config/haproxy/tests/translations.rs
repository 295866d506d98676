//! Whatever lines a cfg has: the translation does not panic, its TOML is TOML that reads back as the same, every fate
//! has a place, and what may run is what `check` calls usable.

use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use toml::de::DeTable;

use super::super::super::parse;
use super::super::{bind_words, global_words, judgement, server_arguments, timeout_words};
use super::samples::Sample;
use super::*;

proptest! {
    #[test]
    fn known_words_with_any_arguments_are_survived(
        lines in vec((any::<u16>(), 0..8usize, vec(any::<u16>(), 0..6)), 0..30)
    ) {
        let mut text = "global\n".to_owned();
        for (word, kind, arguments) in lines {
            let pick = |words: &[String], index: u16| words[usize::from(index) % words.len()].clone();
            let start = match kind {
                0 => pick(&HEADERS, word),
                1 => format!(" bind 127.0.0.1:{word}"),
                2 => format!(" server s{word} 10.0.0.1:80"),
                3 => " default-server".to_owned(),
                4 => " default_backend b".to_owned(),
                _ => format!(" {}", pick(&WORDS, word)),
            };
            let arguments: Vec<_> = arguments.into_iter().map(|index| pick(&ARGUMENTS, index)).collect();
            text += &format!("{start} {}\n", arguments.join(" "));
        }
        translates(&text)?;
    }

    #[test]
    fn one_word_in_a_whole_file_is_survived(word in any::<u16>(), kind in 0..4usize, arguments in vec(any::<u16>(), 0..5)) {
        let pick = |words: &[String], index: u16| words[usize::from(index) % words.len()].clone();
        let arguments: Vec<_> = arguments.into_iter().map(|index| pick(&ARGUMENTS, index)).collect();
        let arguments = arguments.join(" ");
        let mut lines = [String::new(), String::new(), String::new(), String::new()];
        match kind {
            2 => lines[2] = format!(" bind 127.0.0.1:7001 {arguments}\n"),
            3 => lines[3] = format!(" server s 10.0.0.1:80 {arguments}\n"),
            kind => lines[kind] = format!(" {} {arguments}\n", pick(&WORDS, word)),
        }
        let [global, defaults, front, back] = lines;
        translates(&format!(
            "global\n maxconn 9\n{global}defaults\n mode tcp\n{defaults}frontend f\n bind :7000\n{front} default_backend b\n\
             backend b\n server a 10.0.0.1:80 check\n{back}"
        ))?;
    }

    #[test]
    fn a_mutilated_sample_is_survived(
        sample in any::<prop::sample::Index>(),
        cuts in vec((any::<u16>(), 0..40usize, any::<u16>()), 1..6),
    ) {
        let mut text = SAMPLES[sample.index(SAMPLES.len())].text.clone();
        for (at, length, piece) in cuts {
            let start = text.floor_char_boundary(usize::from(at) % (text.len() + 1));
            let end = text.floor_char_boundary((start + length).min(text.len())).max(start);
            text.replace_range(start..end, &ARGUMENTS[usize::from(piece) % ARGUMENTS.len()]);
        }
        translates(&text)?;
    }
}

fn translates(text: &str) -> Result<(), TestCaseError> {
    let environment = Environment::new([("PORT", "7101"), ("HOST", "127.0.0.1")]);
    let reading = HaproxyReading::of(&[Source::new("f", text.as_bytes())], environment);
    let (toml, fates) = (reading.toml.clone(), reading.fates.to_string());
    let (_, errors) = DeTable::parse_recoverable(&toml);
    let wrong = reading.fates.worst() == Verdict::Error;
    prop_assert!(errors.is_empty() || wrong, "{text}\n{toml}\n{errors:?}");
    prop_assert!(!["TOML", "defined twice"].iter().any(|what| fates.contains(what)), "{text}\n{toml}\n{fates}");
    let lines = text.lines().count();
    for fate in reading.fates.iter() {
        prop_assert!((1..=lines.max(1)).contains(&fate.at.line) && fate.at.column > 0, "{fate}\n{text}");
        prop_assert!(!fate.reason.is_empty() && !fate.to_string().contains(char::is_control), "{fate:?}");
    }
    if let Some(config) = reading.config() {
        let again = parse("f", &toml);
        prop_assert!(again.as_ref() == Ok(config), "{text}\n{toml}\n{again:?}");
    } else {
        prop_assert!(!fates.is_empty(), "{text}\n{toml}");
    }
    let usable = [reading.is_usable(false), reading.is_usable(true)];
    let other = HaproxyReading::of(
        &[Source::new("f", text.as_bytes())],
        Environment::new([("PORT", "7101"), ("HOST", "127.0.0.1")]),
    );
    prop_assert_eq!(usable, [reading.result(false).is_ok(), other.result(true).is_ok()], "{}\n{}", text, fates);
    Ok(())
}

static SAMPLES: LazyLock<Vec<Sample>> = LazyLock::new(Sample::all);

static HEADERS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let headers = ["global", "defaults", "defaults d", "frontend f", "backend b", "listen l", "resolvers r", "peers p"];
    headers.map(str::to_owned).into()
});

/// Every word that is known, and some that are not.
static WORDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let tables = judgement::PROXY_TABLES.iter().flat_map(|table| table.iter()).map(|word| word.name);
    let mut words: Vec<_> = tables.chain(global_words::TABLE.iter().map(|word| word.name)).map(str::to_owned).collect();
    words.extend(timeout_words::TIMEOUTS.iter().map(|(name, ..)| format!("timeout {name}")));
    words.extend(
        ["bind", "server", "no option", "default option", "nonsense", "use_backend", "server-template"]
            .map(str::to_owned),
    );
    words
});

/// Every argument that is known of a bind and of a server, and values that may stand behind a word.
static ARGUMENTS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let binds = bind_words::ARGUMENTS.iter().map(|argument| argument.name);
    let names = binds.chain(server_arguments::ARGUMENTS.iter().map(|argument| argument.name));
    names.chain(VALUES.iter().copied()).map(str::to_owned).collect()
});

const VALUES: &[&str] = &[
    "",
    "\"\"",
    "0",
    "1",
    "7",
    "65536",
    "99999999999999999999",
    "-1",
    "5s",
    "0ms",
    "1d",
    "9x",
    "10k",
    "127.0.0.1:80",
    ":80",
    "*:80-90",
    ":80-70",
    ":::80",
    "[::1]:80",
    "::1",
    "10.0.0.1",
    "10.0.0.1:+1",
    "10.0.0.1:-1",
    "/run/x.sock",
    "unix@/run/y",
    "abns@x",
    "fd@3",
    "fd@x",
    "ipv4@h:80",
    "h:80",
    "$PORT",
    "\"$PORT\"",
    "127.0.0.1:$PORT",
    "roundrobin",
    "random(2)",
    "random(x)",
    "source",
    "hdr(h)",
    "tcp",
    "http",
    "global",
    "local0",
    "info",
    "stdout",
    "format",
    "raw",
    "2s",
    "check",
    "inter",
    "rise",
    "GET",
    "/up",
    "status",
    "200-299",
    "!",
    "string",
    "rstring",
    "(",
    "binary",
    "0a0g",
    "comment",
    "'a b'",
    "\"\\\\\\\"\"",
    "{",
    "}",
    "if",
    "TRUE",
    "é",
    "a\\ b",
    "\\x01",
    "#",
    "b",
    "f",
    "mode",
    "from",
    "d",
    "user",
    "id",
    "name",
    "interface",
    "lo",
    "%ci",
    "%[src]",
    "*",
    "-",
    "layer4",
    "up",
    "b/s",
];
