//! Where a backend's servers come from, in a few words: `etcd, revision 12`, or `file, revision 9, 3 held, 95s old: …`.

use crate::cli::table::{Cell, Colour};
use crate::control::etcd::{AppliedFrom, SourceStatus};

/// The cell of one backend.
pub(super) fn cell(discovery: Option<&SourceStatus>) -> Cell {
    let Some(discovery) = discovery else {
        return Cell::left("");
    };
    let source = match discovery.source {
        AppliedFrom::None => "none",
        AppliedFrom::File => "file",
        AppliedFrom::Etcd => "etcd",
        AppliedFrom::Unknown => "?",
    };
    let mut words = vec![source.to_owned(), format!("revision {}", discovery.revision)];
    for (count, word) in [(discovery.held.len(), "held"), (discovery.bad.len(), "bad")] {
        if count > 0 {
            words.push(format!("{count} {word}"));
        }
    }
    if let Some(error) = &discovery.error {
        let age = discovery.age_s.map_or_else(String::new, |age| format!("{age}s old: "));
        words.push(format!("{age}{error}"));
    }
    let cell = Cell::left(words.join(", "));
    let troubled = discovery.error.is_some() || !discovery.held.is_empty();
    if troubled { cell.coloured(Colour::Yellow) } else { cell }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cli::table::Table;

    fn shown(discovery: &Value) -> String {
        let discovery: SourceStatus = serde_json::from_value(discovery.clone()).unwrap();
        let mut table = Table::new(&["D"]);
        table.row(vec![cell(Some(&discovery))]);
        table.render(false)
    }

    #[test]
    fn a_source_is_shown_in_few_words() {
        let well = json!({"source": "etcd", "revision": 12, "held": [], "bad": [], "error": null, "age_s": 1});
        assert!(shown(&well).contains("etcd, revision 12\n"), "{}", shown(&well));
        let ill =
            json!({"source": "file", "revision": 9, "held": [{}, {}], "bad": [{}], "error": "no answer", "age_s": 95});
        let text = "file, revision 9, 2 held, 1 bad, 95s old: no answer";
        assert!(shown(&ill).contains(text), "{}", shown(&ill));
    }
}
