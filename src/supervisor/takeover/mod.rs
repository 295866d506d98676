//! Takeover: a supervisor that was started elsewhere takes over listeners and sessions. `predecessor` is the side that
//! runs, `successor` the side that was started; they meet at `socket`.

pub(crate) mod by_pid;
pub(crate) mod predecessor;
pub(crate) mod socket;
pub(crate) mod successor;
