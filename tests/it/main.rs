//! The product, tested by running it: the real binary, real sockets, real servers. One binary, one module a behaviour.

mod cli;
mod demo;
mod etcd_churn;
mod etcd_follower;
mod etcd_guard;
mod etcd_last_known;
mod etcd_members;
mod etcd_register;
mod etcd_secured;
mod floors;
mod support;
mod support_works;
