//! What two processes of `lb` say to each other: a supervisor and its engine (`control`), two engines of an upgrade
//! (`peer`).
//!
//! Pure but for `channel`, which carries the messages over a SOCK_SEQPACKET socket. Rule: nothing that came in is
//! trusted: a message is decoded as a whole or refused as a whole.

pub mod channel;
pub mod control;
pub mod features;
pub mod frame;
pub mod peer;
pub mod wire;
