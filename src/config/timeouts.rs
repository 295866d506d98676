//! `timeout` of a backend, and of a frontend.

use std::time::Duration;

use super::section::{Section, Shape, set};

/// `None` is "no limit", which is written `"0"`. Connect and queue always have a limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// Default 5 s.
    pub connect: Duration,
    /// Default 50 s.
    pub client: Option<Duration>,
    /// Default 50 s.
    pub server: Option<Duration>,
    /// Default: as connect.
    pub queue: Duration,
    /// Replaces client and server once both sides are established. Default: unset, they stay.
    pub tunnel: Option<Duration>,
    /// Replaces client (or tunnel) once the client has sent its FIN. Default: unset.
    pub client_fin: Option<Duration>,
    pub server_fin: Option<Duration>,
}

/// What a frontend says in place of its backend. `None`: nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FrontendTimeouts {
    /// `Some(None)`: no limit.
    pub client: Option<Option<Duration>>,
    pub client_fin: Option<Duration>,
    /// Holds where the backend has none.
    pub tunnel: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        let connect = Duration::from_secs(5);
        let idle = Some(Duration::from_secs(50));
        Self { connect, client: idle, server: idle, queue: connect, tunnel: None, client_fin: None, server_fin: None }
    }
}

impl Timeouts {
    /// Also returns `check`, which belongs to the checks.
    pub(super) fn read(section: &Section<'_>) -> (Self, Option<Duration>) {
        let mut timeouts = Self::default();
        set(&mut timeouts.connect, section.duration("connect", ALWAYS));
        timeouts.queue = section.duration("queue", ALWAYS).unwrap_or(timeouts.connect);
        set(&mut timeouts.client, section.limit("client"));
        set(&mut timeouts.server, section.limit("server"));
        timeouts.tunnel = section.duration("tunnel", "leave it out, and client and server stay in force");
        timeouts.client_fin = section.duration("client_fin", "leave it out, and the timeout before it stays in force");
        timeouts.server_fin = section.duration("server_fin", "leave it out, and the timeout before it stays in force");
        (timeouts, section.duration("check", ALWAYS))
    }

    pub(super) const SHAPE: Shape = Shape {
        keys: &["connect", "client", "server", "queue", "tunnel", "client_fin", "server_fin", "check"],
        foreign: &[
            ("http_request", "leave it out: lb is always in TCP mode"),
            ("http_keep_alive", "leave it out: lb is always in TCP mode"),
            ("tarpit", "leave it out: lb is always in TCP mode"),
        ],
    };
}

impl FrontendTimeouts {
    /// What holds for a session of this frontend on a backend with `timeouts`.
    pub(crate) fn over(&self, timeouts: &Timeouts) -> Timeouts {
        Timeouts {
            client: self.client.unwrap_or(timeouts.client),
            client_fin: self.client_fin.or(timeouts.client_fin),
            tunnel: timeouts.tunnel.or(self.tunnel),
            ..timeouts.clone()
        }
    }

    pub(super) fn read(section: &Section<'_>) -> Self {
        Self {
            client: section.limit("client"),
            client_fin: section.duration("client_fin", "leave it out, and the timeout before it stays in force"),
            tunnel: section.duration("tunnel", "leave it out, and client and server stay in force"),
        }
    }

    pub(super) const SHAPE: Shape = Shape {
        keys: &["client", "client_fin", "tunnel"],
        foreign: &[
            ("connect", "write it in [backend.NAME.timeout]"),
            ("server", "write it in [backend.NAME.timeout]"),
            ("server_fin", "write it in [backend.NAME.timeout]"),
            ("queue", "write it in [backend.NAME.timeout]"),
            ("check", "write it in [backend.NAME.timeout]"),
            ("http_request", "leave it out: lb is always in TCP mode"),
            ("http_keep_alive", "leave it out: lb is always in TCP mode"),
            ("tarpit", "leave it out: lb is always in TCP mode"),
        ],
    };
}

const ALWAYS: &str = "write a time such as \"5s\", a wait without end is not possible";
