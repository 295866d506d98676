//! Whether a text is an haproxy.cfg: its first word says so.

/// `line`: the first one that is neither blank nor a comment.
pub(in crate::config) fn is_haproxy(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let first = words.next().unwrap_or_default();
    let section = first.trim_matches(['"', '\'']);
    let second = words.next().unwrap_or_default();
    match section {
        ".if" | ".notice" | ".warning" | ".alert" | ".diag" => true,
        _ => SECTIONS.contains(&section) && (second.starts_with('#') || !second.contains(['{', '=']) && second != ":"),
    }
}

/// The words that begin a section.
pub(super) const SECTIONS: [&str; 15] = [
    "global",
    "defaults",
    "frontend",
    "backend",
    "listen",
    "userlist",
    "resolvers",
    "peers",
    "mailers",
    "program",
    "cache",
    "ring",
    "http-errors",
    "fcgi-app",
    "log-forward",
];
