//! The variables that `"${NAME}"` stands for.

use std::collections::BTreeMap;

/// The environment of the process, as the lines of `global` have changed it so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Environment {
    variables: BTreeMap<String, String>,
}

impl Environment {
    pub(crate) fn new(variables: impl IntoIterator<Item = (String, String)>) -> Self {
        Self { variables: variables.into_iter().collect() }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str)
    }

    /// Variables in an address without quotes, which HAProxy replaces too: `$NAME` and `${NAME}`.
    pub(crate) fn in_address(&self, text: &str) -> String {
        text.to_owned()
    }
}
