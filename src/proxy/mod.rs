//! The data plane: sessions from accept to their last byte.
//!
//! A session lives and dies on one worker thread. It reads snapshots and atomics; it takes no lock and waits only for
//! its own two sockets. It never imports `control`: what it finds out about servers goes out as [`Notice`]s.

pub(crate) mod context;
pub(crate) mod frontend;
pub(crate) mod frozen;
pub(crate) mod gate;
pub(crate) mod limit;
pub(crate) mod sighting;
pub(crate) mod worker;

mod connect;
mod flow;
mod listener;
mod preamble;
mod pump;
mod rate;
mod record;
mod registry;
mod relay;
mod replay;
mod session;

use std::sync::Arc;
use std::time::Duration;

use crate::backend::{Backend, Server};

/// What live traffic found out about a server, for control to examine.
#[derive(Debug, Clone)]
pub struct Notice {
    pub backend: Arc<Backend>,
    pub server: Arc<Server>,
    pub finding: Finding,
}

#[derive(Debug, Clone)]
pub enum Finding {
    /// A connect failed at once: refused, unreachable.
    Failed { cause: String, after: Duration },
    /// A connect ran into `timeout.connect`.
    TimedOut { after: Duration },
    /// A connect takes suspiciously long.
    Slow,
}

#[cfg(test)]
mod tests;
