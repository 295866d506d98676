//! Boot: how a supervisor begins: fresh, with what the program before it in the same process has left, or by taking over
//! from another supervisor.

use std::env;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::exit::ExitStatus;
use crate::handoff::channel::{ChannelError, STATE_VARIABLE};
use crate::handoff::control::Mode;
use crate::log::voice;
use crate::supervisor::binary::{self, Binary};
use crate::supervisor::children::Engines;
use crate::supervisor::engine_process::LOST_VARIABLE;
use crate::supervisor::handed_down::{adopt, handed_down};
use crate::supervisor::kept_names::KeptNames;
use crate::supervisor::listeners::HeldListeners;
use crate::supervisor::options::{RunOptions, TakeoverOptions};
use crate::supervisor::reexec::record::{Inheritance, SupervisorRecord};
use crate::supervisor::restart::Restart;
use crate::supervisor::role::Role;
use crate::supervisor::service::Service;
use crate::supervisor::systemd::ServiceManager;
use crate::supervisor::takeover::by_pid;
use crate::supervisor::takeover::predecessor::Predecessor;
use crate::supervisor::takeover::socket::{Claimed, TakeoverSocket, TakeoverSocketError};
use crate::supervisor::takeover::successor::Successor;
use crate::sys::{process, resources};

/// Why the supervisor could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BootError {
    #[error("cannot start: {0}")]
    Io(#[from] io::Error),
    #[error("cannot start an engine: {0}")]
    Engine(#[from] ChannelError),
    #[error(transparent)]
    TakeoverSocket(#[from] TakeoverSocketError),
}

impl BootError {
    /// The exit code of the process.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Io(_) | Self::Engine(_) => ExitStatus::Failed.code(),
            Self::TakeoverSocket(error) => error.exit().code(),
        }
    }
}

/// Prepares the process and starts the first engine, unless one is inherited or another supervisor is to be asked first.
/// Signals must be blocked.
pub(crate) fn boot(mut options: RunOptions, now: Instant) -> Result<(Role, Service), BootError> {
    process::set_name()?;
    process::own_files();
    resources::raise_descriptor_limit();
    voice::start();
    if let Some(lines) = env::var(LOST_VARIABLE).ok().and_then(|lines| lines.parse().ok()) {
        voice::inherit_lost(lines);
    }
    let inherited = env::var_os(STATE_VARIABLE).map(|number| SupervisorRecord::take_over(&number, now));
    let inheritance = match inherited {
        Some(inheritance) => inheritance?,
        None => fresh(std::mem::take(&mut options.adopted))?,
    };
    let Inheritance { generation, age, binary, listeners, engines, ready, takeover_socket, names } = inheritance;
    let claimed = match (&options.takeover, takeover_socket) {
        (Some(own), Some(socket)) => Some(Claimed::Ours(TakeoverSocket::restore(own.path.clone(), socket))),
        (Some(own), None) => Some(TakeoverSocket::claim(&own.path)?),
        (None, _) if process::is_haproxy() => claim_by_pid(&mut options),
        (None, _) => None,
    };
    let (socket, successor) = match (claimed, &options.takeover) {
        (Some(Claimed::Ours(socket)), _) => (Some(socket), None),
        (Some(Claimed::Answered(socket)), Some(own)) => (None, Some(Successor::ask(socket, own, now))),
        _ => (None, None),
    };
    let mut service = Service {
        options,
        manager: ServiceManager::new(ready, now),
        binary,
        generation,
        began: now.checked_sub(age).unwrap_or(now),
        listeners,
        names,
        engines: Engines::restore(engines),
        restart: Restart::default(),
        predecessor: Predecessor::new(socket),
    };
    let role = match successor {
        Some(successor) => Role::Succeeding(Box::new(successor)),
        None => start(&mut service, now)?,
    };
    Ok((role, service))
}

/// Starts the engine if none is inherited.
fn start(service: &mut Service, now: Instant) -> Result<Role, ChannelError> {
    if service.engines.active.is_some() || service.manager.is_ready() {
        if service.engines.active.is_none() {
            service.restart.at_once(now);
            service.restart_if_due(now);
        }
        return Ok(Role::Serving);
    }
    if let Err(error) = service.start_engine(Mode::Fresh, now) {
        service.unlink_paths();
        return Err(error);
    }
    Ok(Role::Starting)
}

/// Where `haproxy -sf` finds this process.
fn claim_by_pid(options: &mut RunOptions) -> Option<Claimed> {
    let (path, socket) = by_pid::claim()?;
    options.takeover = Some(TakeoverOptions { path, probation: None, linger: false });
    Some(Claimed::Ours(socket))
}

fn fresh(adopted: Vec<OwnedFd>) -> io::Result<Inheritance> {
    let binary = Binary::own(binary::started_from()?).map_err(io::Error::other)?;
    let mut listeners = HeldListeners::default();
    listeners.keep_handed_down(handed_down());
    listeners.keep_handed_down(adopted.into_iter().filter_map(|socket| adopt(socket).ok()).collect());
    Ok(Inheritance {
        generation: 1,
        age: Duration::ZERO,
        binary: Rc::new(binary),
        listeners,
        engines: Vec::new(),
        ready: false,
        takeover_socket: None,
        names: KeptNames::default(),
    })
}
