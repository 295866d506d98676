//! Control plane.

pub mod admin;
