//! Who may connect to a unix socket: its mode, user and group.

use super::section::Section;
use super::value::RawValue;

/// `None`: as the kernel makes it, by the umask and for the user of this process.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SocketAccess {
    pub mode: Option<u32>,
    /// By name or number.
    pub user: Option<String>,
    pub group: Option<String>,
}

impl SocketAccess {
    pub(super) fn read(section: &Section<'_>) -> Self {
        Self {
            mode: section.value("mode").and_then(mode),
            user: section.filled_text("user", "www-data").map(str::to_owned),
            group: section.filled_text("group", "www-data").map(str::to_owned),
        }
    }
}

/// As chmod(1) has it. A number without quotes would be decimal.
fn mode(value: RawValue<'_>) -> Option<u32> {
    let text = value.text("0660")?;
    let digits = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
    if mode.is_none() {
        value.wrong("is no mode from \"0\" to \"0777\"; write e.g. \"0660\"");
    }
    mode
}
