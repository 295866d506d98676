//! The product, tested by running it: the real binary, real sockets, real servers. One binary, one module a behaviour.

mod cli;
mod demo;
mod floors;
mod support;
mod support_works;
