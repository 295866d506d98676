//! Listening sockets: bound here, or left by an engine before this one.

pub(crate) mod bind;
pub(crate) mod inherited;
