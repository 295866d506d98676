//! The kernel wrapped once. The only place with `unsafe`; everything handed out owns or borrows its descriptor.
#![allow(unsafe_code)] // Each block below states why it is sound.

pub mod addr;
pub mod clock;
pub mod credentials;
pub mod fd;
pub mod local;
pub mod pipe;
pub mod process;
pub mod resources;
pub mod socket;
