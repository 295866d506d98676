//! The files of a configuration, as `-f` names them.

/// A file as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Source {
    /// As it was named.
    pub(crate) name: String,
    pub(crate) text: String,
}
