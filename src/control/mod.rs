//! The control plane: learns who may serve and says so to `backend`.
pub mod admin;
pub mod checker;
pub mod discovery;
pub mod etcd;
pub mod last_known_good;
pub mod probe;
pub mod resolver;
