//! The keys of an `external` check: a program judges the server.

use std::path::PathBuf;

use super::section::Section;

/// A program that is run for each check; it needs `external_checks = true` in `[global]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalCheck {
    /// Absolute. Exit code 0: the server is well.
    pub command: PathBuf,
    /// Its PATH. Default: empty, as in HAProxy.
    pub env_path: String,
}

impl ExternalCheck {
    pub(super) const KEYS: &[&str] = &["command", "env_path"];

    pub(super) fn read(section: &Section<'_>) -> Option<Self> {
        let value = section.required("command", "\"/usr/local/bin/is-well\"")?;
        let command = value.path("/usr/local/bin/is-well")?;
        if !command.is_absolute() {
            value.wrong("is no absolute path; write e.g. \"/usr/local/bin/is-well\"");
            return None;
        }
        let env_path = section.value("env_path").and_then(|value| value.text("/usr/bin:/bin"));
        Some(Self { command, env_path: env_path.unwrap_or_default().to_owned() })
    }
}
