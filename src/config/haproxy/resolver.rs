//! `resolvers NAME`: which name servers are asked, and how patiently.

use super::known::hint;
use super::measure::integer;
use super::phrase::{Desk, Phrase};
use super::setting::{Settings, duration, quoted};
use super::spot::Spot;

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Resolver {
    pub(super) name: String,
    pub(super) at: Spot,
    /// Quoted addresses.
    pub(super) nameservers: Vec<(String, Spot)>,
    /// Keys of [resolvers.NAME].
    pub(super) settings: Settings,
}

impl Resolver {
    pub(super) fn new(name: &str, at: Spot) -> Self {
        Self { name: name.to_owned(), at, nameservers: Vec::new(), settings: Settings::default() }
    }
}

/// The words of the section, each with its fate.
pub(super) const WORDS: [(&str, &str); 6] = [
    ("nameserver", "read"),
    ("parse-resolv-conf", "read"),
    ("resolve_retries", "read"),
    ("timeout", "read"),
    ("accepted_payload_size", "ignored: answers may have any size"),
    ("hold", "ignored: an address stays until the name has another one"),
];

/// `hold` has no keys.
const KEYS: [(&str, &str, &str); 8] = [
    ("timeout", "resolve", "timeout_resolve"),
    ("timeout", "retry", "timeout_retry"),
    ("hold", "valid", ""),
    ("hold", "obsolete", ""),
    ("hold", "other", ""),
    ("hold", "refused", ""),
    ("hold", "nx", ""),
    ("hold", "timeout", ""),
];

pub(super) fn line(resolver: &mut Resolver, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let (word, at) = (phrase.text(0), phrase.at());
    match word {
        "nameserver" => {
            let addr = desk.environment.in_address(phrase.text(2));
            match addr.parse::<std::net::SocketAddr>() {
                Ok(addr) => resolver.nameservers.push((quoted(&addr.to_string()), at)),
                Err(_) => {
                    let reason = "'nameserver' expects <name> and <ip>:<port> as arguments.";
                    desk.error(phrase.place(2), reason);
                }
            }
        }
        "resolve_retries" => match integer(phrase.text(1)).filter(|number| (1..=100).contains(number)) {
            Some(number) => resolver.settings.set("retries", number.to_string(), at),
            None => desk.error(phrase.place(1), "'resolve_retries' expects <nb> as argument."),
        },
        "parse-resolv-conf" => {}
        "accepted_payload_size" => {
            desk.fates.ignored(at, format!("'{word}': answers may have any size"), "");
        }
        "hold" | "timeout" => held(resolver, phrase, desk),
        other => {
            let near = hint(other, WORDS.map(|(word, _)| word));
            desk.error(at, format!("unknown keyword '{other}' in 'resolvers' section{near}"));
        }
    }
}

fn held(resolver: &mut Resolver, phrase: &Phrase<'_>, desk: &mut Desk<'_>) {
    let (word, event) = (phrase.text(0), phrase.text(1));
    let Some((.., key)) = KEYS.iter().find(|(first, second, _)| (*first, *second) == (word, event)) else {
        let near = hint(event, KEYS.iter().filter(|(first, ..)| *first == word).map(|(_, second, _)| *second));
        desk.error(phrase.place(1), format!("'{word}' has no event '{event}'{near}"));
        return;
    };
    match desk.time(phrase.place(2), phrase.text(2)) {
        Ok(_) if key.is_empty() => {
            let reason = format!("'{word} {event}': an address stays until the name has another one");
            desk.fates.ignored(phrase.at(), reason, "");
        }
        Ok(ms) => resolver.settings.set(key, duration(ms), phrase.at()),
        Err(error) => desk.error(phrase.place(2), format!("{error} in '{word} {event}'.")),
    }
}
