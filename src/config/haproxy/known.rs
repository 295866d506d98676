//! The words that are known, as rows of tables, and what becomes of each.

use super::super::words::nearest;
use super::phrase::{Desk, Phrase};

/// Reads one line into its section.
pub(super) type Act<S> = fn(&mut S, &Phrase<'_>, &mut Desk<'_>);

/// What a word means here. Two texts are the reason and the remedy.
pub(super) enum Meaning<S: 'static> {
    /// Carried over, or judged by its arguments.
    Does(Act<S>),
    /// It asks for what is done anyway.
    Same,
    Notice(&'static str, &'static str),
    Ignored(&'static str, &'static str),
    Refused(&'static str, &'static str),
    /// As `Notice` in mode http. HAProxy ignores the word in mode tcp.
    HttpNotice(&'static str, &'static str),
    HttpIgnored(&'static str, &'static str),
    HttpRefused(&'static str, &'static str),
}

/// Which half of a section a word belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Front,
    Back,
    Both,
}

/// A row of a table of words. With `*` at its end the name stands for all that begin so.
pub(super) struct KnownWord<S: 'static> {
    pub(super) name: &'static str,
    pub(super) half: Half,
    pub(super) meaning: Meaning<S>,
}

impl<S> KnownWord<S> {
    pub(super) const fn new(name: &'static str, half: Half, meaning: Meaning<S>) -> Self {
        Self { name, half, meaning }
    }

    fn is(&self, word: &str) -> bool {
        match self.name.strip_suffix('*') {
            Some(start) => word.starts_with(start),
            None => self.name == word,
        }
    }
}

/// The row of a word.
pub(super) fn find<'t, S>(tables: &[&'t [KnownWord<S>]], word: &str) -> Option<&'t KnownWord<S>> {
    tables.iter().flat_map(|table| table.iter()).find(|known| known.is(word))
}

/// HAProxy's hint at the word that was probably meant; may be empty.
pub(super) fn hint<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known = known.into_iter().filter(|name| !name.ends_with('*'));
    nearest(written, known).map_or_else(String::new, |near| format!("; did you mean '{near}' maybe ?"))
}

#[cfg(test)]
impl<S> Meaning<S> {
    /// As docs/haproxy.md has it.
    pub(super) fn shown(&self) -> String {
        let (verdict, why, remedy) = match self {
            Self::Does(_) => return "read".to_owned(),
            Self::Same => return "ok: done anyway".to_owned(),
            Self::Notice(why, remedy) => ("notice", why, remedy),
            Self::Ignored(why, remedy) => ("ignored", why, remedy),
            Self::Refused(why, remedy) => ("refused", why, remedy),
            Self::HttpNotice(why, remedy) => ("mode http: notice", why, remedy),
            Self::HttpIgnored(why, remedy) => ("mode http: ignored", why, remedy),
            Self::HttpRefused(why, remedy) => ("mode http: refused", why, remedy),
        };
        if remedy.is_empty() { format!("{verdict}: {why}") } else { format!("{verdict}: {why}; {remedy}") }
    }
}
