//! The kernel wrapped once.
pub mod addr;
