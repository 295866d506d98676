//! The control plane: learns which servers there are and which are well, and applies it to `backend`.
pub mod admin;
pub mod checker;
pub mod discovery;
pub mod etcd;
pub mod last_known_good;
pub mod probe;
pub mod resolver;
