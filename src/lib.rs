//! `lb`: a TCP load balancer.
pub mod config;
pub mod control;
