//! Which keys about name servers the reader of TOML has.

use super::super::{Backend, Config};

/// `resolvers` of a server, and sections of them.
pub(super) fn resolvers() -> bool {
    Config::SHAPE.keys.contains(&"resolvers")
}

/// Whether a server may have this key.
pub(super) fn server(key: &str) -> bool {
    !["resolvers", "resolve_prefer"].contains(&key) || Backend::SHAPE.keys.contains(&key)
}
