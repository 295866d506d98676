//! `log ADDRESS [len N] [format F] FACILITY [LEVEL [MINLEVEL]]`: where lines go.

use std::net::{IpAddr, SocketAddr};

use super::super::log_target::{FACILITIES, FORMS, LEVELS};
use super::super::words::nearest;
use super::document::TomlLine;
use super::phrase::{Desk, Phrase};
use super::setting::quoted;
use super::spot::Spot;

/// The target as a value of TOML. `or_global`: how HAProxy's sentence goes on where `log global` is possible.
pub(super) fn read(phrase: &Phrase<'_>, desk: &mut Desk<'_>, or_global: &str) -> Option<String> {
    let mut index = 2;
    let to = destination(&desk.environment.in_address(phrase.text(1)));
    let mut parts = vec![("to", quoted(&to))];
    loop {
        match phrase.text(index) {
            "len" => parts.push(("length", number(phrase, index + 1, desk)?)),
            "format" => parts.push(("format", word(phrase, index + 1, &FORMS, "format", desk)?)),
            "sample" => {
                desk.fates.notice(phrase.place(index), "every line goes to every target", "");
            }
            _ => break,
        }
        index += 2;
    }
    if phrase.text(1).is_empty() || phrase.text(index).is_empty() {
        desk.error(phrase.at(), format!("log : expects <address> and <facility> {or_global} as arguments"));
        return None;
    }
    parts.push(("facility", word(phrase, index, &FACILITIES, "facility", desk)?));
    for (offset, key) in [(1, "level"), (2, "min_level")] {
        if !phrase.text(index + offset).is_empty() {
            parts.push((key, word(phrase, index + offset, &LEVELS, "level", desk)?));
        }
    }
    if let Some(word) = phrase.words.get(index + 3) {
        desk.error(word.at, format!("log : cannot handle unexpected argument '{}'", word.text));
    }
    let is_stream = ["stdout", "stderr"].contains(&to.as_str()) || to.starts_with("fd@");
    if !is_stream && !to.starts_with('/') && to.parse::<SocketAddr>().is_err() {
        let reason = format!("'log {}': lines go to IP addresses, files and sockets only", phrase.text(1));
        desk.fates.notice(phrase.place(1), reason, "write the IP address of the log server");
        return None;
    }
    // The usual form is another one for a stream.
    if is_stream && !parts.iter().any(|(key, _)| *key == "format") {
        parts.push(("format", quoted("rfc3164")));
    }
    let parts: Vec<_> = parts.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    Some(format!("{{ {} }}", parts.join(", ")))
}

/// A key with these targets.
pub(super) fn lines(key: &str, targets: &[(String, Spot)]) -> Vec<TomlLine> {
    match targets {
        [(target, at)] => vec![TomlLine::new(format!("{key} = [{target}]"), Some(*at))],
        several => {
            let mut toml = vec![TomlLine::new(format!("{key} = ["), None)];
            toml.extend(several.iter().map(|(target, at)| TomlLine::new(format!("  {target},"), Some(*at))));
            toml.push(TomlLine::new("]", None));
            toml
        }
    }
}

/// HAProxy takes an address without a port for 514.
fn destination(text: &str) -> String {
    let text = ["unix@", "ipv4@", "ipv6@", "udp@", "udp4@", "udp6@"]
        .into_iter()
        .find_map(|family| text.strip_prefix(family))
        .unwrap_or(text);
    if ["stdout", "stderr"].contains(&text) || text.starts_with('/') || text.contains('@') {
        return text.to_owned();
    }
    match text.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => return format!("[{ip}]:514"),
        Ok(ip) => return format!("{ip}:514"),
        Err(_) => {}
    }
    match text.rsplit_once(':') {
        Some((host, "")) => format!("{host}:514"),
        Some(("", port)) => format!("127.0.0.1:{port}"),
        Some(_) => text.to_owned(),
        None => format!("{text}:514"),
    }
}

fn number(phrase: &Phrase<'_>, index: usize, desk: &mut Desk<'_>) -> Option<String> {
    let number: Option<u32> = phrase.text(index).parse().ok().filter(|number| (80..=65535).contains(number));
    if number.is_none() {
        desk.error(phrase.place(index), "log : invalid log length: expected a number between 80 and 65535");
    }
    number.map(|number| number.to_string())
}

fn word<T>(phrase: &Phrase<'_>, index: usize, known: &[(&str, T)], what: &str, desk: &mut Desk<'_>) -> Option<String> {
    let text = phrase.text(index);
    if known.iter().any(|(name, _)| *name == text) {
        return Some(quoted(text));
    }
    let optional = if what == "level" { "optional " } else { "" };
    let near = nearest(text, known.iter().map(|(name, _)| *name))
        .map_or_else(String::new, |near| format!("; did you mean '{near}' maybe ?"));
    desk.error(phrase.place(index), format!("log : unknown {optional}log {what} '{text}'{near}"));
    None
}
