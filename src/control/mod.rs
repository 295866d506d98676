//! Control plane: what decides who may serve. It publishes, the data plane reads; the two never import each other.
pub mod discovery;
pub mod etcd;
pub mod last_known_good;
