//! `lb`: a TCP load balancer.
pub mod backend;
pub mod config;
pub mod proxy_protocol;
pub mod stats;
pub mod lifecycle;
pub mod sys;
