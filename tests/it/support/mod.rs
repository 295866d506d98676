//! Support for the tests: real programs, a misbehaving server, a client that checks every byte, and /proc.
//!
//! Readiness is an event and ports are chosen by the kernel. A fact without an event is polled by `wait::eventually`.
//! Time passes by itself only in `wait::observe`, where a span is the subject of the test or the pace of its load.

pub(crate) mod ab;
pub(crate) mod agent;
pub(crate) mod as_haproxy;
pub(crate) mod beside;
pub(crate) mod certificates;
pub(crate) mod client;
pub(crate) mod config;
pub(crate) mod dns;
pub(crate) mod etcd;
pub(crate) mod etcd_cluster;
pub(crate) mod failing_upgrade;
pub(crate) mod fault;
pub(crate) mod fifo;
pub(crate) mod figure;
pub(crate) mod followed;
pub(crate) mod hammer;
pub(crate) mod haproxy;
pub(crate) mod imports;
pub(crate) mod knocker;
pub(crate) mod lb;
pub(crate) mod leftovers;
pub(crate) mod limits;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod netns;
pub(crate) mod nginx;
pub(crate) mod notify;
pub(crate) mod origin;
pub(crate) mod other_build;
pub(crate) mod outcome;
pub(crate) mod ping_pong;
pub(crate) mod plan;
pub(crate) mod port;
pub(crate) mod proc;
pub(crate) mod process;
pub(crate) mod proxy_header;
pub(crate) mod redis;
pub(crate) mod sample;
pub(crate) mod session;
pub(crate) mod site;
pub(crate) mod source;
pub(crate) mod stats_socket;
pub(crate) mod status;
pub(crate) mod stream;
pub(crate) mod syslog;
pub(crate) mod takeover;
pub(crate) mod totals;
pub(crate) mod wait;
pub(crate) mod waiting;
pub(crate) mod witness;
