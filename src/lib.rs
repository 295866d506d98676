//! `lb`: a TCP load balancer.
pub mod app;
pub mod backend;
pub mod cli;
pub mod config;
pub mod control;
pub mod exit;
pub mod lifecycle;
pub mod log;
pub mod proxy;
pub mod proxy_protocol;
pub mod stats;
pub mod sys;
