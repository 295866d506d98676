//! Lifecycle: the supervisor, the engine's link to it, and the hand-off between two engines.
//!
//! `lb run` is the supervisor: one thread, no traffic, a pid that never changes. It starts the engine (the same
//! binary, hidden subcommand) with one SOCK_SEQPACKET socket between them, keeps a duplicate of every listening
//! socket, restarts an engine that dies, and leads an upgrade. Two engines speak over a pair of their own, that
//! the supervisor has made for them. There is no path that anyone could squat; a takeover by a supervisor that was started
//! elsewhere is the one exception, and asked for (`supervisor/door.rs`).
//!
//! Rule: nothing that came in is trusted: a message is decoded as a whole or refused as a whole.

pub mod bridge;
pub mod channel;
pub mod fault;
pub mod frame;
pub mod inherited;
pub mod link;
pub mod message;
pub mod peer;
pub mod supervisor;
pub mod version;
pub mod wire;
