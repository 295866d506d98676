//! Backends and the servers found for them.

pub(crate) mod followers;
