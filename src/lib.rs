//! `lb`: a TCP load balancer.
pub mod cli;
pub mod config;
pub mod control;
pub mod exit;
