//! The control plane: learns which servers there are and which are well, and applies it to `backend`.
pub(crate) mod admin;
pub(crate) mod checker;
pub(crate) mod discovery;
pub(crate) mod etcd;
pub(crate) mod haproxy_api;
pub(crate) mod last_known_good;
pub(crate) mod names;
pub(crate) mod probe;
pub(crate) mod server_states;
pub(crate) mod state_file;
