//! Why an engine cannot start, or ends without an order.

use std::io;

use crate::backend::TooManyServers;
use crate::engine::listeners::listener_error::ListenerError;
use crate::engine::succession::peer_link::PeerLinkError;
use crate::engine::supervisor_link::SupervisorLinkError;
use crate::sys::private_dir::PrivateDirError;

/// Why an engine cannot start or cannot continue. The engine ends with it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    #[error("{0}")]
    Bind(#[from] ListenerError),
    #[error("admin socket {path}: {problem}")]
    Admin { path: String, problem: String },
    #[error("state_dir: {0}")]
    StateDir(#[from] PrivateDirError),
    #[error("{what}: {error}")]
    System { what: &'static str, error: io::Error },
    #[error("backend {name}: {error}")]
    Servers { name: String, error: TooManyServers },
    #[error(transparent)]
    Link(#[from] SupervisorLinkError),
    #[error("hand-off: {0}")]
    Handoff(#[from] PeerLinkError),
    #[error("an engine is started by `lb run`, not by hand")]
    Alone,
    #[error("a worker thread does not answer")]
    Hangs,
    #[error("a worker thread has ended")]
    WorkerLost,
    #[error("the supervisor ended this engine: {0}")]
    Aborted(String),
}

impl EngineError {
    pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::System { what, error }
    }
}
