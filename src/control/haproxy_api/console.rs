//! The engine as clients ask it: by the requests that `lb` itself makes.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::answer::{NO_BACKEND, NO_PROXY, NO_SERVER, Said};
use crate::config::SocketLevel;
use crate::control::admin::{Answer, KnownServer, Request, ServerFacts, Status};

/// Asks the engine. The answer comes when its loop has come to it.
pub(crate) type Asks = Box<dyn Fn(Request) -> Pin<Box<dyn Future<Output = Answer>>>>;

/// What all clients share.
pub(super) struct Console {
    pub(super) asks: Asks,
    /// Where commands are answered, as `show cli sockets` has it.
    pub(super) places: RefCell<Vec<(String, SocketLevel)>>,
    /// How long a client may be silent.
    pub(super) silence: Cell<Duration>,
}

impl Console {
    /// A request that only has to succeed.
    pub(super) async fn done(&self, request: Request) -> Result<Said, String> {
        match (self.asks)(request).await {
            Answer::Error { message, .. } => Err(message),
            _ => Ok(Said::Nothing),
        }
    }

    /// A request for facts.
    pub(super) async fn facts<T: DeserializeOwned>(&self, request: Request) -> Result<T, String> {
        match (self.asks)(request).await {
            Answer::Ok(value) => serde_json::from_value(value).map_err(|error| error.to_string()),
            Answer::Error { message, .. } => Err(message),
            Answer::Progress(_) | Answer::Heartbeat => Err("the engine gave no answer".to_owned()),
        }
    }

    pub(super) async fn status(&self) -> Result<Status, String> {
        self.facts(Request::Status).await
    }

    pub(super) async fn server(&self, backend: &str, server: &str) -> Result<KnownServer, String> {
        let request = Request::ServerFacts { backend: backend.to_owned(), server: server.to_owned() };
        let facts: ServerFacts = self.facts(request).await?;
        let missing = if facts.backend { NO_SERVER } else { NO_BACKEND };
        facts.server.ok_or_else(|| missing.to_owned())
    }

    /// Whether a proxy of this name, or number, is there.
    pub(super) async fn expect_proxy(&self, name: &str) -> Result<(), String> {
        let status = self.status().await?;
        let names = status.frontends.iter().map(|frontend| &frontend.name);
        let mut names = names.chain(status.backends.iter().map(|backend| &backend.name));
        let found = name.parse::<u32>().is_ok() || names.any(|other| other == name);
        if found { Ok(()) } else { Err(NO_PROXY.to_owned()) }
    }
}
