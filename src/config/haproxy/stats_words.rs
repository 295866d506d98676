//! `stats …` in a section: HAProxy's page about itself.

use super::known::{Half, KnownWord, Meaning};
use super::phrase::{Desk, Phrase};
use super::proxy::Proxy;

pub(super) const TABLE: &[KnownWord<Proxy>] = &[KnownWord::new("stats", Half::Both, Meaning::Does(stats))];

/// What may follow `stats`.
pub(super) const WORDS: &[&str] = &[
    "enable",
    "uri",
    "auth",
    "realm",
    "refresh",
    "admin",
    "scope",
    "hide-version",
    "show-version",
    "show-desc",
    "show-legends",
    "show-modules",
    "show-node",
    "http-request",
];

fn stats(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    if WORDS.contains(&phrase.text(1)) {
        proxy.page.get_or_insert_with(|| phrase.at());
    } else {
        let near = super::known::hint(phrase.text(1), WORDS.iter().copied());
        let known = "'admin', 'uri', 'realm', 'auth', 'scope', 'enable', 'hide-version', 'show-node', 'show-desc' or \
                     'show-legends'";
        let what = format!("unknown stats parameter '{}', expects {known}{near}", phrase.text(1));
        desk.error(phrase.place(1), what);
    }
}
