//! `track`: a server whose state is that of another one, which is checked.

use std::fmt;

use super::section::Section;

/// The server that another one follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tracked {
    pub backend: String,
    pub server: String,
}

impl Tracked {
    /// `backend`: of the server that follows.
    pub(super) fn read(section: &Section<'_>, backend: &str) -> Option<Self> {
        let text = section.filled_text("track", "app/app1")?;
        let (backend, server) = text.split_once('/').unwrap_or((backend, text));
        Some(Self { backend: backend.to_owned(), server: server.to_owned() })
    }
}

impl fmt::Display for Tracked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.backend, self.server)
    }
}
