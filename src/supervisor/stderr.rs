//! Messages of the supervisor on stderr.

/// Prints one line.
pub(crate) use crate::log::voice::say as print;
