//! What `expect` of `tcp-check` and `http-check` says.

use super::fate::Verdict;
use super::known::hint;
use super::lines::Word;
use super::phrase::{Desk, Phrase};
use super::proxy::Proxy;

/// A match with its options, which may stand before and behind it.
#[derive(Debug)]
pub(super) struct ExpectRule<'a> {
    pub(super) negated: bool,
    /// The kind of match.
    pub(super) matcher: &'a Word,
    pub(super) pattern: &'a Word,
    /// Each with its value.
    pub(super) options: Vec<(&'a Word, &'a str)>,
}

impl<'a> ExpectRule<'a> {
    /// `None`: an error was told, or the section is refused.
    pub(super) fn read(proxy: &mut Proxy, phrase: &Phrase<'a>, desk: &mut Desk<'_>) -> Option<Self> {
        let word = if phrase.text(0) == "tcp-check" { "tcp-check" } else { "http-check" };
        let kinds = if word == "tcp-check" { TCP_MATCHES } else { HTTP_MATCHES };
        let place = format!("'{word} expect' :");
        let (mut index, mut negated, mut found, mut options) = (2, false, None, Vec::new());
        while let Some(one) = phrase.words.get(index) {
            let (name, value) = (one.text.as_str(), phrase.words.get(index + 1));
            if name == "!" && found.is_none() {
                negated = true;
                index += 1;
                continue;
            }
            let (is_option, is_match) = (OPTIONS.contains(&name), kinds.contains(&name));
            let wrong = if !is_option && !is_match {
                let near = hint(name, kinds.iter().chain(OPTIONS).copied());
                Some(format!(
                    "only supports 'min-recv', 'comment', '[!]{}' (got '{name}'){near}",
                    kinds.join("', '[!]")
                ))
            } else if is_option && negated && found.is_none() {
                Some(format!("[!] not supported with '{name}'"))
            } else if is_match && found.is_some() {
                Some("only on pattern expected".to_owned())
            } else if value.is_none() {
                let what = if is_match { "a <pattern>" } else { "a string" };
                Some(format!("'{name}' expects {what} as argument"))
            } else {
                None
            };
            if let Some(wrong) = wrong {
                desk.error(one.at, format!("{place} {wrong}"));
                return None;
            }
            if is_match && !SUPPORTED.contains(&name) {
                let reason = format!("'{word} expect {}{name}' is not supported", if negated { "! " } else { "" });
                let remedy = format!("expect `{}`", kinds[..4].join("`, `"));
                proxy.refuse(one.at, word, reason, &remedy);
                return None;
            }
            match value {
                Some(value) if is_match => found = Some((one, value)),
                Some(value) => options.push((one, value.text.as_str())),
                None => {}
            }
            index += 2;
        }
        let Some((matcher, pattern)) = found else {
            let what =
                if phrase.text(2).is_empty() { "expects at least a matching pattern" } else { "pattern not found" };
            desk.error(phrase.place(2), format!("{place} {what}."));
            return None;
        };
        let rule = Self { negated, matcher, pattern, options };
        rule.judge_states(proxy, word, desk);
        Some(rule)
    }

    /// `ok-status` and its like choose the state that is shown; `L7OKC` also takes new sessions from the server.
    fn judge_states(&self, proxy: &mut Proxy, word: &'static str, desk: &mut Desk<'_>) {
        for (option, value) in &self.options {
            let Some((name, states)) = STATES.iter().find(|(name, _)| *name == option.text) else {
                continue;
            };
            if !states.contains(value) {
                let states = states.join("', '");
                desk.error(option.at, format!("'{word} expect' : '{name}' only supports '{states}' (got '{value}')."));
            } else if *value == "L7OKC" {
                let reason = format!("'{word} expect … {name} L7OKC': a server of lb is UP or DOWN after a check");
                proxy.refuse(
                    option.at,
                    word,
                    reason,
                    "leave it out; `lb server drain` takes new sessions from a server",
                );
            } else {
                let reason = format!("'{word} expect … {name}': the state that is shown is lb's own");
                proxy.doubt(Verdict::Ignored, option.at, word, reason, "");
            }
        }
    }
}

/// Those with a key in TOML come first.
const TCP_MATCHES: &[&str] = &["string", "rstring", "binary", "rbinary", "string-lf", "binary-lf", "custom"];
const HTTP_MATCHES: &[&str] =
    &["status", "rstatus", "string", "rstring", "string-lf", "hdr", "fhdr", "hdr-lf", "fhdr-lf"];
const SUPPORTED: [&str; 6] = ["string", "rstring", "binary", "rbinary", "status", "rstatus"];
const OPTIONS: &[&str] =
    &["min-recv", "comment", "ok-status", "error-status", "tout-status", "on-success", "on-error", "status-code"];
const STATES: [(&str, &[&str]); 3] = [
    ("ok-status", &["L4OK", "L6OK", "L7OK", "L7OKC"]),
    ("error-status", &["L4CON", "L6RSP", "L7RSP", "L7STS", "L7OKC"]),
    ("tout-status", &["L4TOUT", "L6TOUT", "L7TOUT"]),
];
