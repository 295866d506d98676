//! `lb`: a TCP load balancer.
pub mod backend;
pub mod config;
