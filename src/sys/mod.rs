//! The kernel wrapped once. The only place with `unsafe`; everything handed out owns or borrows its descriptor.
#![allow(unsafe_code)] // Each block below states why it is sound.

pub(crate) mod addr;
pub(crate) mod clock;
pub(crate) mod credentials;
pub mod fd;
pub mod local;
pub(crate) mod local_ip;
pub(crate) mod other_process;
pub(crate) mod output;
pub(crate) mod pipe;
pub(crate) mod port_holder;
pub(crate) mod private_dir;
pub(crate) mod process;
pub(crate) mod resources;
pub(crate) mod signals;
pub(crate) mod socket;
