//! The words behind the address of a `bind` or `server`: a table says how many values each takes and what it means.

use super::known::hint;
use super::measure::leading;
use super::phrase::{Desk, Phrase};
use super::setting::{Settings, duration, quoted};
use super::spot::Spot;

/// Sets what a word means; the index is its place in the line.
pub(super) type Sets = fn(&mut Settings, &Phrase<'_>, usize, &mut Desk<'_>);

/// What an argument means here. Two texts are the reason and the remedy.
pub(super) enum ArgumentMeaning {
    /// A key with what follows as its string.
    Text(&'static str),
    /// A key with a number within these bounds; `Lifted`: 0 is no limit, and unsets the key.
    Number(&'static str, i64, i64),
    /// A key with a port; 0 unsets it.
    Port(&'static str),
    Lifted(&'static str),
    Time(&'static str),
    Flag(&'static str),
    /// `no-…`: unsets these keys.
    Unset(&'static [&'static str]),
    Does(Sets),
    Same,
    Notice(&'static str, &'static str),
    Ignored(&'static str, &'static str),
    Refused(&'static str, &'static str),
}

/// A row of a table of arguments.
pub(super) struct KnownArgument {
    pub(super) name: &'static str,
    /// The values behind it.
    takes: usize,
    meaning: ArgumentMeaning,
}

impl KnownArgument {
    pub(super) const fn new(name: &'static str, takes: usize, meaning: ArgumentMeaning) -> Self {
        Self { name, takes, meaning }
    }
}

/// Why a section cannot run.
pub(super) type ArgumentRefusal = (Spot, &'static str, &'static str, &'static str);

/// Reads the words from an index on. `place`: how HAProxy's sentence begins.
pub(super) fn read(
    table: &'static [KnownArgument],
    phrase: &Phrase<'_>,
    from: usize,
    place: &str,
    settings: &mut Settings,
    desk: &mut Desk<'_>,
) -> Vec<ArgumentRefusal> {
    let mut refusals = Vec::new();
    let mut index = from;
    while let Some(word) = phrase.words.get(index) {
        let Some(known) = table.iter().find(|known| known.name == word.text) else {
            let near = hint(&word.text, table.iter().map(|known| known.name));
            desk.error(word.at, format!("{place} unknown keyword '{}'{near}", word.text));
            index += 1;
            continue;
        };
        if known.takes > 0 && phrase.words.len() <= index + known.takes {
            desk.error(word.at, format!("{place} '{}' expects {}.", word.text, known.expected()));
            break;
        }
        known.apply(settings, phrase, index, place, desk, &mut refusals);
        index += 1 + known.takes;
    }
    refusals
}

impl KnownArgument {
    fn apply(
        &self,
        settings: &mut Settings,
        phrase: &Phrase<'_>,
        index: usize,
        place: &str,
        desk: &mut Desk<'_>,
        refusals: &mut Vec<ArgumentRefusal>,
    ) {
        let (at, name, value) = (phrase.place(index), self.name, phrase.text(index + 1));
        match self.meaning {
            ArgumentMeaning::Text(key) => settings.set(key, quoted(value), at),
            ArgumentMeaning::Number(key, least, most) => match leading(value).0 {
                number if (least..=most).contains(&number) => {
                    settings.set(key, desk.number(phrase.place(index + 1), name, value).to_string(), at);
                }
                number => {
                    let range = format!("is not within {least} and {most} ({number})");
                    desk.error(phrase.place(index + 1), format!("{place} '{name}' {range}."));
                }
            },
            ArgumentMeaning::Port(key) => match desk.number(phrase.place(index + 1), name, value) {
                0 => drop(settings.remove(key)),
                number @ 1..=65535 => settings.set(key, number.to_string(), at),
                _ => refusals.push((at, name, "this is no port", "write one from 1 to 65535")),
            },
            ArgumentMeaning::Lifted(key) => match desk.number(phrase.place(index + 1), name, value) {
                0 => drop(settings.remove(key)),
                number if number > 0 => settings.set(key, number.to_string(), at),
                number => {
                    let reason = format!("{place} '{name}' : invalid value {number}, must be >= 0");
                    desk.error(phrase.place(index + 1), reason);
                }
            },
            ArgumentMeaning::Time(key) => match desk.time(phrase.place(index + 1), value) {
                Ok(0) => {
                    desk.error(phrase.place(index + 1), format!("{place} invalid value 0 for argument '{name}'."));
                }
                Ok(ms) => settings.set(key, duration(ms), at),
                Err(error) => desk.error(phrase.place(index + 1), format!("{place} {error} in '{name}' argument.")),
            },
            ArgumentMeaning::Flag(key) => settings.set(key, "true", at),
            ArgumentMeaning::Unset(keys) => keys.iter().for_each(|key| drop(settings.remove(key))),
            ArgumentMeaning::Does(sets) => sets(settings, phrase, index, desk),
            ArgumentMeaning::Same => {}
            ArgumentMeaning::Notice(reason, remedy) => desk.fates.notice(at, format!("'{name}': {reason}"), remedy),
            ArgumentMeaning::Ignored(reason, remedy) => desk.fates.ignored(at, format!("'{name}': {reason}"), remedy),
            ArgumentMeaning::Refused(reason, remedy) => refusals.push((at, name, reason, remedy)),
        }
    }

    /// As HAProxy's sentence goes on.
    fn expected(&self) -> &'static str {
        match self.meaning {
            ArgumentMeaning::Number(..) | ArgumentMeaning::Port(_) | ArgumentMeaning::Lifted(_) => {
                "an integer argument"
            }
            ArgumentMeaning::Time(_) => "a delay as argument",
            _ => "an argument",
        }
    }
}

#[cfg(test)]
impl KnownArgument {
    /// As docs/haproxy.md has it.
    pub(super) fn shown(&self) -> String {
        let (verdict, why, remedy) = match self.meaning {
            ArgumentMeaning::Same => return "ok: done anyway, or judged with another word".to_owned(),
            ArgumentMeaning::Notice(why, remedy) => ("notice", why, remedy),
            ArgumentMeaning::Ignored(why, remedy) => ("ignored", why, remedy),
            ArgumentMeaning::Refused(why, remedy) => ("refused", why, remedy),
            _ => return "read".to_owned(),
        };
        if remedy.is_empty() { format!("{verdict}: {why}") } else { format!("{verdict}: {why}; {remedy}") }
    }
}
