//! `timeout …`, and the three words that HAProxy 1.4 had for it.

use super::known::{Half, KnownWord, Meaning, hint};
use super::phrase::{Desk, Phrase, Sign};
use super::proxy::Proxy;
use super::setting::{Settings, duration};

pub(super) const TABLE: &[KnownWord<Proxy>] = &[
    KnownWord::new("timeout", Half::Both, Meaning::Does(timeout)),
    KnownWord::new("contimeout", Half::Back, Meaning::Does(old)),
    KnownWord::new("clitimeout", Half::Front, Meaning::Does(old)),
    KnownWord::new("srvtimeout", Half::Back, Meaning::Does(old)),
];

/// The word, its key in [frontend.NAME] or [backend.NAME], and whose it is. Without a key it has no effect.
pub(super) const TIMEOUTS: &[(&str, &str, Half)] = &[
    ("client", "timeout.client", Half::Front),
    ("client-fin", "timeout.client_fin", Half::Front),
    ("connect", "timeout.connect", Half::Back),
    ("server", "timeout.server", Half::Back),
    ("server-fin", "timeout.server_fin", Half::Back),
    ("queue", "timeout.queue", Half::Back),
    ("check", "timeout.check", Half::Back),
    ("tunnel", "timeout.tunnel", Half::Both),
    ("http-request", "", Half::Both),
    ("http-keep-alive", "", Half::Both),
    ("client-hs", "", Half::Both),
    ("tarpit", "", Half::Both),
];

fn timeout(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let name = phrase.text(1);
    let Some((_, key, half)) = TIMEOUTS.iter().find(|(word, ..)| *word == name) else {
        let near = hint(name, TIMEOUTS.iter().map(|(word, ..)| *word));
        let what = "'timeout' supports 'client', 'server', 'connect', 'check', 'queue', 'http-keep-alive', \
                    'http-request', 'tunnel', 'tarpit', 'client-fin' and 'server-fin'";
        desk.error(phrase.place(1), format!("{what} (got '{name}'){near}"));
        return;
    };
    if phrase.sign != Sign::Plain {
        desk.error(phrase.at(), format!("a timeout has no negation; write `timeout {name} 0`"));
        return;
    }
    let Some(ms) = value(phrase, 2, &format!("timeout {name}"), desk) else {
        return;
    };
    match half {
        Half::Front if !proxy.kind.is_front() => wrong_half(proxy, phrase, name, "frontend", desk),
        Half::Back if !proxy.kind.is_back() => wrong_half(proxy, phrase, name, "backend", desk),
        _ if key.is_empty() => desk.fates.ignored(phrase.at(), format!("'timeout {name}' is about HTTP requests"), ""),
        Half::Front => put(&mut proxy.front, key, ms, phrase),
        // Where both halves have a tunnel, that of the backend counts.
        Half::Both if !proxy.kind.is_back() => put(&mut proxy.front, key, ms, phrase),
        Half::Back | Half::Both => put(&mut proxy.back, key, ms, phrase),
    }
}

fn wrong_half(proxy: &mut Proxy, phrase: &Phrase<'_>, name: &str, capability: &str, desk: &mut Desk<'_>) {
    let reason = format!("'timeout {name}' will be ignored because {} has no {capability} capability", proxy.shown());
    desk.fates.ignored(phrase.at(), reason, "");
}

fn put(settings: &mut Settings, key: &'static str, ms: u64, phrase: &Phrase<'_>) {
    match ms {
        0 => drop(settings.remove(key)),
        _ => settings.set(key, duration(ms), phrase.at()),
    }
}

fn old(proxy: &mut Proxy, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let word = phrase.text(0);
    let (name, key, settings) = match word {
        "contimeout" => ("connect", "timeout.connect", &mut proxy.back),
        "clitimeout" => ("client", "timeout.client", &mut proxy.front),
        _ => ("server", "timeout.server", &mut proxy.back),
    };
    if let Some(ms) = value(phrase, 1, word, desk) {
        put(settings, key, ms, phrase);
        let reason = format!("the '{word}' directive is not supported anymore since HAProxy 2.1");
        desk.fates.notice(phrase.at(), reason, format!("write `timeout {name}`"));
    }
}

fn value(phrase: &Phrase<'_>, index: usize, name: &str, desk: &mut Desk<'_>) -> Option<u64> {
    let text = phrase.text(index);
    if text.is_empty() {
        desk.error(phrase.at(), format!("'{name}' expects an integer value (in milliseconds)"));
        return None;
    }
    if let Some(word) = phrase.words.get(index + 1) {
        desk.error(word.at, format!("'{name}' : unexpected extra argument '{}' after value '{text}'.", word.text));
    }
    let ms = desk.time(phrase.place(index), text);
    ms.map_err(|error| desk.error(phrase.place(index), format!("{error} in '{name}'"))).ok()
}
