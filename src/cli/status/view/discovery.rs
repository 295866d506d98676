//! Where a backend's servers come from, in a few words: `etcd, revision 12`, or `file, revision 9, 3 held, 95s old: …`.

use serde_json::Value;

use crate::cli::table::{Cell, Colour};

/// The cell of one backend. Facts that this version does not know are for `--json`.
pub(super) fn cell(discovery: Option<&Value>) -> Cell {
    let Some(discovery) = discovery else {
        return Cell::left("");
    };
    let text = |key: &str| discovery.get(key).and_then(Value::as_str);
    let number = |key: &str| discovery.get(key).and_then(Value::as_i64);
    let count = |key: &str| {
        let list = discovery.get(key).and_then(Value::as_array);
        list.map_or(0, Vec::len)
    };
    let mut words = vec![text("source").unwrap_or("?").to_owned()];
    words.extend(number("revision").map(|revision| format!("revision {revision}")));
    for (key, word) in [("held", "held"), ("bad", "bad")] {
        if count(key) > 0 {
            words.push(format!("{} {word}", count(key)));
        }
    }
    let error = text("error");
    if let Some(error) = error {
        let age = number("age_s").map_or_else(String::new, |age| format!("{age}s old: "));
        words.push(format!("{age}{error}"));
    }
    let cell = Cell::left(words.join(", "));
    if error.is_some() || count("held") > 0 { cell.coloured(Colour::Yellow) } else { cell }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cli::table::Table;

    fn shown(discovery: &Value) -> String {
        let mut table = Table::new(&["D"]);
        table.row(vec![cell(Some(discovery))]);
        table.render(false)
    }

    #[test]
    fn a_source_is_told_in_few_words() {
        let well = json!({"source": "etcd", "revision": 12, "held": [], "bad": [], "error": null, "age_s": 1});
        assert!(shown(&well).contains("etcd, revision 12\n"), "{}", shown(&well));
        let ill =
            json!({"source": "file", "revision": 9, "held": [1, 2], "bad": [3], "error": "no answer", "age_s": 95});
        let text = "file, revision 9, 2 held, 1 bad, 95s old: no answer";
        assert!(shown(&ill).contains(text), "{}", shown(&ill));
    }
}
