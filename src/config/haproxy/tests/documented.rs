//! docs/haproxy.md has every word with what becomes of it, and no other.

use std::fmt::Write as _;

use super::super::argument::KnownArgument;
use super::super::judgement::PROXY_TABLES;
use super::super::known::KnownWord;
use super::super::sections::ASIDE;
use super::super::{bind_words, global_words, resolver, server_arguments, stats_socket, stats_words, timeout_words};

/// The words of a place, each with its fate.
struct Words {
    place: &'static str,
    words: Vec<(String, String)>,
}

impl Words {
    fn of<S>(place: &'static str, tables: &[&'static [KnownWord<S>]]) -> Self {
        let words = tables.iter().flat_map(|table| table.iter());
        Self { place, words: words.map(|known| (known.name.to_owned(), known.meaning.shown())).collect() }
    }

    fn of_arguments(place: &'static str, table: &'static [KnownArgument]) -> Self {
        Self { place, words: table.iter().map(|known| (known.name.to_owned(), known.shown())).collect() }
    }

    fn all() -> Vec<Self> {
        let timeouts = timeout_words::TIMEOUTS.iter();
        let about = |key: &str| if key.is_empty() { "ignored: it is about HTTP requests" } else { "read" };
        vec![
            Self::of("global", &[global_words::TABLE]),
            Self::of("a section", &PROXY_TABLES),
            Self {
                place: "`timeout`",
                words: timeouts.map(|(name, key, _)| ((*name).to_owned(), about(key).to_owned())).collect(),
            },
            Self {
                place: "`stats` in a section",
                words: stats_words::WORDS.iter().map(|name| ((*name).to_owned(), "read".to_owned())).collect(),
            },
            Self::of_arguments("`bind`", bind_words::ARGUMENTS),
            Self::of_arguments("`stats socket`", stats_socket::ARGUMENTS),
            Self::of_arguments("`server`", server_arguments::ARGUMENTS),
            Self {
                place: "`resolvers`",
                words: resolver::WORDS.iter().map(|(name, fate)| ((*name).to_owned(), (*fate).to_owned())).collect(),
            },
            Self {
                place: "the file",
                words: ASIDE
                    .iter()
                    .map(|(name, verdict, why)| ((*name).to_owned(), format!("{verdict}: {why}")))
                    .collect(),
            },
        ]
    }

    /// Rows of one fate each, in the order of the tables.
    fn rows(&self) -> String {
        let mut fates: Vec<&str> = Vec::new();
        for (_, fate) in &self.words {
            if !fates.contains(&fate.as_str()) {
                fates.push(fate);
            }
        }
        fates.sort_by_key(|fate| !fate.starts_with("read"));
        let mut text = String::new();
        for fate in fates {
            let words = self.words.iter().filter(|(_, other)| other == fate).map(|(word, _)| format!("`{word}`"));
            let words: Vec<_> = words.collect();
            writeln!(text, "| {} | {} | {fate} |", self.place, words.join(" ")).unwrap();
        }
        text
    }
}

#[test]
fn the_page_has_the_fate_of_every_word() {
    let page = include_str!("../../../../docs/haproxy.md");
    let (_, rest) = page.split_once("| in | words | fate |\n|---|---|---|\n").expect("the table of words");
    let written: String = rest.split_inclusive('\n').take_while(|line| line.starts_with('|')).collect();
    let expected: String = Words::all().iter().map(Words::rows).collect();
    assert!(written == expected, "the table of docs/haproxy.md is to be:\n{expected}");
}

#[test]
fn a_word_stands_once_in_the_tables() {
    for Words { place, words } in Words::all() {
        for (index, (word, _)) in words.iter().enumerate() {
            assert!(words[..index].iter().all(|(other, _)| other != word), "{place}: {word}");
        }
    }
}
