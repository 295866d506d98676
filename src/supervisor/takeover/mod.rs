//! A supervisor that was started elsewhere takes everything over: `predecessor` is the side that runs, `successor` the
//! other, `socket` where they meet.

pub(crate) mod socket;

pub(crate) mod predecessor;
pub(crate) mod successor;
