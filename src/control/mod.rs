//! Control plane: learns who may serve and says so to `backend`. The data plane reads; the two never import each other.
pub mod discovery;
pub mod etcd;
pub mod last_known_good;
pub mod probe;
