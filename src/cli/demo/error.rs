//! Why a demo cannot run to its end.

use std::io;

/// Why a demo could not run to its end. Failed requests are a result, not an error.
#[derive(Debug, thiserror::Error)]
pub(super) enum DemoError {
    #[error("{doing}: {source}")]
    Io { doing: &'static str, source: io::Error },
    #[error("{what} did not start: {why}")]
    Start { what: String, why: String },
    #[error("the balancer ended during the demo: {0}")]
    BalancerEnded(String),
    #[error("the admin socket: {0}")]
    DemoAdmin(String),
    #[error("interrupted")]
    Interrupted,
}

impl DemoError {
    /// For `map_err`: an error of the system with what was being done.
    pub(super) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }
}
