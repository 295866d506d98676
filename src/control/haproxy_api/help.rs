//! `help`, and what is said to an unknown command: those that it may have meant.
//!
//! Nearness is HAProxy's: of the words behind those that match, the pairs of neighbouring characters are counted, and two
//! commands are as far apart as these counts differ.

use super::keyword::Keyword;

/// The answer to `help WORD…`; without words all commands.
pub(super) fn help(table: &[&Keyword], words: &[String]) -> String {
    listed("The following commands are valid at this level:", table, words)
}

/// The answer to words that are no command.
pub(super) fn unknown(table: &[&Keyword], words: &[String]) -> String {
    let text = match words {
        [] => "Unknown command. Please enter one of the following commands only:",
        _ => "Unknown command, but maybe one of the following ones is a better match:",
    };
    listed(text, table, words)
}

fn listed(text: &str, table: &[&Keyword], words: &[String]) -> String {
    let matched = |keyword: &Keyword| keyword.words.iter().zip(words).take_while(|(known, word)| known == word).count();
    let longest = table.iter().map(|keyword| matched(keyword)).max().unwrap_or(0);
    let fits = |keyword: &&&Keyword| !keyword.usage.is_empty() && matched(keyword) >= longest;
    let mut usages: Vec<_> = match nearest(table.iter().filter(fits), words, longest) {
        near if near.is_empty() => table.iter().filter(fits).map(|keyword| keyword.usage).collect(),
        near => near,
    };
    usages.sort_unstable();
    let lines = usages.iter().map(|usage| format!("  {usage}\n"));
    format!("{text}\n{}{ALWAYS}", lines.collect::<String>())
}

/// Those that are near to the words from a place on, the nearest first.
fn nearest<'t>(candidates: impl Iterator<Item = &'t &'t Keyword>, words: &[String], from: usize) -> Vec<&'static str> {
    let rest = words.get(from..words.len().min(MOST_WORDS)).unwrap_or_default();
    if rest.is_empty() {
        return Vec::new();
    }
    let (written, length) = (Fingerprint::of(rest), rest.iter().map(String::len).sum::<usize>());
    let mut near: Vec<_> = candidates
        .filter_map(|keyword| {
            let known = keyword.words.get(from..).unwrap_or_default();
            let length = length + known.iter().map(|word| word.len()).sum::<usize>();
            let distance = written.distance(&Fingerprint::of(known));
            (distance < 5 * length / 2).then_some((distance, keyword.usage))
        })
        .collect();
    near.sort_by_key(|(distance, _)| *distance);
    let most = near.first().map_or(0, |(best, _)| 5 * best / 2);
    near.into_iter().take(MOST).take_while(|(distance, _)| *distance <= most).map(|(_, usage)| usage).collect()
}

/// Which characters some words have, and how often one follows another.
struct Fingerprint(Vec<u16>);

impl Fingerprint {
    fn of(words: &[impl AsRef<str>]) -> Self {
        let mut counts = vec![0_u16; KINDS * KINDS];
        for word in words {
            let mut before = EDGE;
            for byte in word.as_ref().bytes() {
                let kind = kind(byte);
                counts[kind] = 1;
                counts[KINDS * before + kind] += 1;
                before = kind;
            }
            counts[KINDS * before + EDGE] += 1;
        }
        Self(counts)
    }

    fn distance(&self, other: &Self) -> usize {
        self.0.iter().zip(&other.0).map(|(one, other)| usize::from(one.abs_diff(*other))).sum()
    }
}

/// Letters from 1 on, digits, and everything else, which is as the edge of a word.
fn kind(byte: u8) -> usize {
    match byte.to_ascii_lowercase() {
        letter @ b'a'..=b'z' => usize::from(letter - b'a') + 1,
        b'0'..=b'9' => EDGE - 1,
        _ => EDGE,
    }
}

const EDGE: usize = 28;
const KINDS: usize = 32;

/// CommandWords of a command that are compared.
const MOST_WORDS: usize = 5;
/// Commands that are proposed.
const MOST: usize = 5;

const ALWAYS: &str = "  help [<command>]                        : list matching or all commands
  prompt                                  : toggle interactive mode with prompt
  quit                                    : disconnect
";

#[cfg(test)]
mod tests {
    use super::super::keyword::of_process;
    use super::super::line::CommandWords;
    use super::*;

    fn proposed(line: &str) -> Vec<String> {
        let words = CommandWords::from(line);
        let text = unknown(&of_process(), words.as_slice());
        let lines: Vec<_> = text.lines().skip(1).map(|line| line.trim_start().to_owned()).collect();
        let names = lines[..lines.len() - 3].iter();
        names.map(|line| line.split([':', '[', '<', '(']).next().unwrap().trim().to_owned()).collect()
    }

    #[test]
    fn a_slip_of_the_fingers_finds_its_command() {
        for (line, found) in [
            ("shw stat", &["show stat"][..]),
            ("enable", &["enable agent", "enable frontend", "enable health", "enable server"]),
            ("enable sever zz/z1", &["enable agent", "enable health", "enable server"]),
            ("set maxconn foo", &["set maxconn frontend", "set maxconn global", "set maxconn server"]),
            ("shutdown sessions", &["shutdown sessions server"]),
            ("show servers", &["show servers conn", "show servers state"]),
        ] {
            assert_eq!(proposed(line), found, "{line}");
        }
        assert!(proposed("").len() > 40);
    }
}
