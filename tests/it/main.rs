//! The product, tested by running it: the real binary, real sockets, real servers. One binary, one module a behaviour.

mod bytes;
mod cli;
mod dead_server;
mod demo;
mod descriptors;
mod floors;
mod health;
mod idle;
mod listeners;
mod logs;
mod maxconn;
mod operating;
mod queue;
mod real_servers;
mod reload;
mod schedulers;
mod stopping;
mod support;
mod support_works;
mod systemd;
mod timeouts;
mod unprivileged;
mod upgrade_bad_binary;
mod upgrade_listeners;
mod upgrade_restart;
