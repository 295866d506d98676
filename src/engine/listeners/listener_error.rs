//! Why a frontend cannot listen, with the process that is in its way and the remedy.

use std::io;

use nix::libc;

use crate::config::{self, BindEntry};
use crate::engine::listeners::unix_place::UnixFailure;
use crate::sys::port_holder::PortHolder;

/// Why a frontend cannot listen.
#[derive(Debug, thiserror::Error)]
#[error("frontend {frontend}: cannot bind {bind}: {error}{remedy}")]
pub(crate) struct ListenerError {
    frontend: String,
    bind: String,
    error: io::Error,
    remedy: String,
}

impl ListenerError {
    pub(super) fn new(frontend: &config::Frontend, bind: &BindEntry, error: io::Error, holders: &[PortHolder]) -> Self {
        let remedy = match (holders, error.kind()) {
            ([holder, ..], _) if frontend.reuse_port => {
                format!(": {holder}; stop it, or let it set SO_REUSEPORT too and run as the same user")
            }
            ([holder, ..], _) => {
                let takeover = if holder.is_lb() { " take over from it with --takeover," } else { "" };
                let other =
                    if bind.is_unix() { "choose another path or name" } else { "share with `reuse_port = true`" };
                format!(": {holder}; stop it,{takeover} or {other}")
            }
            ([], io::ErrorKind::AddrInUse) if bind.is_unix() => {
                " (another program listens there: ss -lxp shows which)".to_owned()
            }
            ([], _) if bind.is_unix() => String::new(),
            ([], io::ErrorKind::AddrInUse) => " (another program listens there: ss -ltnp shows which)".to_owned(),
            ([], _) if bind.interface.is_some() && error.raw_os_error() == Some(libc::ENODEV) => {
                " (this host has no interface of that name: ip link)".to_owned()
            }
            ([], io::ErrorKind::PermissionDenied) => " (ports below 1024 need CAP_NET_BIND_SERVICE: run under the \
                systemd unit, or setcap the binary)"
                .to_owned(),
            ([], io::ErrorKind::AddrNotAvailable) => " (no interface of this host has that address)".to_owned(),
            ([], _) => String::new(),
        };
        Self { frontend: frontend.name.clone(), bind: bind.to_string(), error, remedy }
    }

    /// Of a unix socket.
    pub(super) fn of_unix(frontend: &config::Frontend, bind: &BindEntry, failure: UnixFailure) -> Self {
        match failure {
            UnixFailure::Io(error) => Self::new(frontend, bind, error, &[]),
            UnixFailure::Taken(holder) => Self::new(frontend, bind, io::ErrorKind::AddrInUse.into(), holder.as_slice()),
        }
    }
}
