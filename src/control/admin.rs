//! The admin socket: how `lb status`, `lb server …`, `lb reload` and `lb upgrade` speak with a running daemon.
//!
//! A connection carries one request, a line of JSON, and its answers, a line of JSON each; the last one is
//! [`Answer::Ok`] or [`Answer::Error`], then the daemon closes. `protocol` has the words, `status` the
//! form of `lb status --json`, `server` and `client` the two ends. What a request *does* is not here: the
//! daemon gives the server a handler.
//!
//! Rule: client and daemon may be of different versions (an upgrade is asked for by either side's binary),
//! so fields are added and never renamed, unknown fields are ignored, and unknown requests get an
//! answer for that.

pub(crate) mod client;
pub(crate) mod conversations;
mod facts;
pub(crate) mod name_pattern;
pub(crate) mod protocol;
pub(crate) mod server;
pub(crate) mod sessions;
pub mod status;

pub(crate) use client::{Client, ClientError};
pub use conversations::Conversations;
pub(crate) use facts::{KnownServer, ServerFacts};
pub use protocol::{Answer, Request};
pub(crate) use server::ProgressSender;
pub use server::serve;
pub use sessions::{SessionId, SessionOrder};
pub use status::Status;
