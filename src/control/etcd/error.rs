//! Why a connection to etcd ended.

use std::error::Error as _;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::secret::SecretError;
use crate::control::discovery::Relist;

/// Why a connection ended or never began. Every one of them is answered with a new connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EtcdError {
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("cannot read {path}: {source}")]
    Read { path: PathBuf, source: io::Error },
    #[error("the password file is not UTF-8")]
    Password,
    #[error("`ca` is not set and this system has no list of trusted authorities")]
    NoAuthority,
    #[error("{0}")]
    Etcd(String),
    #[error("no answer in time while {what}")]
    Timeout { what: &'static str },
    #[error("not a word for {} s", .0.as_secs())]
    Silent(Duration),
    #[error("the watch was closed")]
    Closed,
    #[error("the watch was canceled: {0}")]
    Canceled(String),
    #[error("{0}")]
    Moved(#[from] Relist),
    #[error("an answer without a header")]
    NoHeader,
}

impl EtcdError {
    /// The cluster has no users. etcd has no code of its own for it.
    pub(super) fn is_authentication_off(&self) -> bool {
        matches!(self, Self::Etcd(text) if text.contains("authentication is not enabled"))
    }
}

impl From<etcd_client::Error> for EtcdError {
    fn from(error: etcd_client::Error) -> Self {
        Self::Etcd(explain(&error))
    }
}

/// The library's errors name their kind and hide the cause in nested sources.
fn explain(error: &etcd_client::Error) -> String {
    let mut text = match error {
        etcd_client::Error::GRpcStatus(status) if !status.message().is_empty() => status.message().to_owned(),
        other => other.to_string(),
    };
    let mut source: Option<&dyn std::error::Error> = match error {
        etcd_client::Error::GRpcStatus(status) => status.source(),
        etcd_client::Error::TransportError(transport) => transport.source(),
        _ => None,
    };
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
