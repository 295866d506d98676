//! The control plane: learns who may serve and says so to `backend`.
pub mod admin;
pub mod checker;
pub mod probe;
pub mod resolver;
