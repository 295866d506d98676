//! Hand-off: the protocol between two processes of `lb`: a supervisor and its engine, or two supervisors (`control`), and
//! the two engines of an upgrade (`peer`).
//!
//! Upwards from the bytes: `frame` (header and fields), `wire` (values, records, messages), `features` (negotiated
//! versions), the two sets of messages, and `channel`, which carries them over a SOCK_SEQPACKET socket and is the only
//! part that is not pure. Rule: input is untrusted: a message is decoded as a whole or refused as a whole.

pub(crate) mod channel;
pub mod control;
pub(crate) mod features;
pub(crate) mod frame;
pub mod peer;
pub(crate) mod wire;
