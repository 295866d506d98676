//! What the lines of a section set, as keys and values of TOML.

use super::spot::Spot;

/// A key with its value, and the word that said so.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Setting {
    /// Dotted: `timeout.client`.
    pub(super) key: &'static str,
    /// As it stands in TOML.
    pub(super) value: String,
    pub(super) at: Spot,
}

/// In the order in which they were set last.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Settings(Vec<Setting>);

impl Settings {
    /// Replaces what the key had before.
    pub(super) fn set(&mut self, key: &'static str, value: impl Into<String>, at: Spot) {
        self.remove(key);
        self.0.push(Setting { key, value: value.into(), at });
    }

    /// As `set`, if the key has no value yet.
    pub(super) fn fill(&mut self, key: &'static str, value: impl Into<String>, at: Spot) {
        if self.get(key).is_none() {
            self.set(key, value, at);
        }
    }

    pub(super) fn remove(&mut self, key: &str) -> Option<Setting> {
        let index = self.0.iter().position(|setting| setting.key == key)?;
        Some(self.0.remove(index))
    }

    pub(super) fn get(&self, key: &str) -> Option<&Setting> {
        self.0.iter().find(|setting| setting.key == key)
    }

    /// Whether the key has this value.
    pub(super) fn says(&self, key: &str, value: &str) -> bool {
        self.get(key).is_some_and(|setting| setting.value == value)
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Setting> {
        self.0.iter()
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Setting) -> bool) {
        self.0.retain(|setting| keep(setting));
    }
}

/// A string on one line.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// A name as a key.
pub(super) fn key(name: &str) -> String {
    let bare = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
    if !name.is_empty() && name.bytes().all(bare) { name.to_owned() } else { quoted(name) }
}

/// A duration in the largest unit that it is a whole number of.
pub(super) fn duration(ms: u64) -> String {
    let units = [(3_600_000, "h"), (60_000, "m"), (1_000, "s")];
    match units.into_iter().find(|(length, _)| ms > 0 && ms.is_multiple_of(*length)) {
        Some((length, unit)) => format!("\"{}{unit}\"", ms / length),
        None if ms == 0 => "\"0\"".to_owned(),
        None => format!("\"{ms}ms\""),
    }
}

/// What `duration` has written.
pub(super) fn millis(value: &str) -> Option<u64> {
    let text = value.trim_matches('"');
    let units = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
    units.into_iter().find_map(|(unit, length)| Some(text.strip_suffix(unit)?.parse::<u64>().ok()? * length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_replaces_the_one_before_it() {
        let mut settings = Settings::default();
        settings.set("retries", "3", Spot::default());
        settings.set("maxqueue", "5", Spot::default());
        settings.set("retries", "0", Spot { line: 7, ..Spot::default() });
        settings.fill("retries", "9", Spot::default());
        let keys: Vec<_> = settings.iter().map(|setting| (setting.key, setting.value.as_str())).collect();
        assert_eq!(keys, [("maxqueue", "5"), ("retries", "0")]);
        assert!(settings.says("retries", "0") && settings.remove("retries").is_some_and(|gone| gone.at.line == 7));
    }

    #[test]
    fn values_stand_on_one_line() {
        assert_eq!(quoted("a\"b\\c\r\n\t\u{1}é"), r#""a\"b\\c\r\n\t\u0001é""#);
        assert_eq!([key("web-1"), key("a.b:c"), key("")], ["web-1", "\"a.b:c\"", "\"\""]);
        let texts = [0, 1, 1500, 5000, 60_000, 90_000, 7_200_000].map(duration);
        assert_eq!([texts[1].as_str(), &texts[2], &texts[5]].map(millis), [Some(1), Some(1500), Some(90_000)]);
        assert_eq!(texts, ["\"0\"", "\"1ms\"", "\"1500ms\"", "\"5s\"", "\"1m\"", "\"90s\"", "\"2h\""]);
    }
}
