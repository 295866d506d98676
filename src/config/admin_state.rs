//! Administration: what the operator asks of a server, by hand or by `disabled`.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AdminState {
    /// Takes sessions as its health allows.
    #[default]
    Ready,
    /// Takes no new session; open ones finish; checks continue.
    Drain,
    /// Takes no new session and is not checked.
    Maint,
}

impl AdminState {
    /// The state that the configuration gives a server.
    pub(crate) fn configured(disabled: bool) -> Self {
        if disabled { Self::Maint } else { Self::Ready }
    }
}
